"""Telling a lack of memory from other failures."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that memory, the host's or a device's, was not enough."""
    text = str(error).casefold()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text

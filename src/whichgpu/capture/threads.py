"""Threads a program starts: torch's modes are of one thread, the phantom GPU is there in all of them."""

from __future__ import annotations

import threading
from typing import Any

from whichgpu.capture.patches import Patches


def install(patches: Patches, *modes: Any) -> None:
    """Enter `modes` in every thread started from now on."""
    plain: Any = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def bootstrap_inner(thread: threading.Thread) -> None:
        for mode in modes:
            mode.__enter__()
        try:
            plain(thread)
        finally:
            for mode in reversed(modes):
                mode.__exit__(None, None, None)

    patches.set(threading.Thread, "_bootstrap_inner", bootstrap_inner)

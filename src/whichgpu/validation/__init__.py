"""Predictions held against measurements that somebody published: rows in, errors out.

A row of a file becomes a `Case` (what ran, where, for how long) or is counted as unresolved with the reason; the job of
a case is captured once and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from whichgpu.validation.resolve import Case, Unresolved, resolve
from whichgpu.validation.rows import Row, read_rows
from whichgpu.validation.traces import Traces

__all__ = ["Case", "Row", "Traces", "Unresolved", "kept_traces", "load_rows", "read_rows", "resolve"]


def load_rows(paths: Iterable[str | Path]) -> Iterator[Case | Unresolved]:
    """Yield what every row of the files at `paths` is a measurement of, or why that cannot be said.

    Raises:
        MeasurementFileError: If a file cannot be read.
    """
    for path in paths:
        yield from map(resolve, read_rows(path))


def kept_traces() -> Traces:
    """Return the traces kept in the user's cache directory, under ``traces``."""
    from whichgpu.measure.cache import cache_directory

    return Traces(cache_directory() / "traces")

"""Kernel tables of published steps, kept beside their traces: counting a step takes a tenth of a second.

A kept table is good as long as the code that counts is what it was.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import whichgpu
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.errors import WhichGpuError
from whichgpu.validation import Case, Traces, kept_traces
from whichgpu.validation.spread import spread
from whichgpu.validation.tables import kernel_table
from whichgpu.validation.traces import trace_key

# What decides of a table beside its trace.
_CODE = (
    "work",
    "graph",
    "cost/kernel_table.py",
    "cost/timeline.py",
    "cost/group.py",
    "cost/tiles.py",
    "cost/tile_names.py",
)
_CASES_A_TASK = 32


def kept_table(case: Case, traces: Traces) -> KernelTable:
    """Return the kernels of one step of a case, counted once.

    Raises:
        CaptureError: If its job has not been captured, or could not be.
    """
    kept = _path(case, traces.folder)
    with suppress(OSError, EOFError, pickle.UnpicklingError, AttributeError, TypeError):
        found = pickle.loads(kept.read_bytes())
        if isinstance(found, KernelTable):
            return found
    table = kernel_table(case, traces)
    part = kept.with_suffix(f".{os.getpid()}")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(pickle.dumps(table, protocol=5))
    part.replace(kept)
    return table


def keep_tables(cases: Sequence[Case], processes: int, tell: Callable[[str], None]) -> None:
    """Count the steps of `cases` whose tables are not kept, `processes` at a time."""
    traces = kept_traces()
    missing = [c for c in cases if not _path(c, traces.folder).exists()]
    missing.sort(key=lambda c: (str(c.job), c.batch))
    tasks = [missing[i : i + _CASES_A_TASK] for i in range(0, len(missing), _CASES_A_TASK)]
    for done, _ in enumerate(spread(_keep, tasks, processes), 1):
        if not done % 10 or done == len(tasks):
            tell(f"counted {min(done * _CASES_A_TASK, len(missing))} of {len(missing)} steps")


def _keep(cases: Sequence[Case]) -> None:
    traces = kept_traces()
    for case in cases:
        with suppress(WhichGpuError):
            kept_table(case, traces)


def _path(case: Case, traces: Path) -> Path:
    """Return where the table of a case is kept."""
    assert case.job is not None
    how = "compiled" if case.compiled else "eager"
    key = hashlib.sha256(f"{trace_key(case.job)} {case.batch} {how} {_code_sum()}".encode()).hexdigest()[:24]
    return traces.parent / "tables" / f"{key}.pickle"


@cache
def _code_sum() -> str:
    package = Path(whichgpu.__file__).parent
    files = [
        f for name in _CODE for f in ([package / name] if name.endswith(".py") else (package / name).rglob("*.py"))
    ]
    return hashlib.sha256(b"".join(f.read_bytes() for f in sorted(files))).hexdigest()

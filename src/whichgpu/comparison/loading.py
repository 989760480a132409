"""Whether loading data takes longer than the step it feeds: then no faster GPU helps."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from whichgpu.comparison.comparison import JobSummary, Row
from whichgpu.units import duration

# Loading in the training process is added to every step; below this share of one nobody would do anything about it.
_NOTICED = 0.2


def loading_answer(job: JobSummary, gpus: Sequence[Row]) -> tuple[str, ...]:
    """Return what data loading does to the rows of GPUs; nothing where it does not matter or was not seen.

    What was seen here is taken for the host of every GPU, process for process.
    """
    seconds, workers = job.options.get("loading_s"), job.options.get("loader_workers", 0)
    if not seconds or not gpus:
        return ()
    fastest = min(gpus, key=lambda row: row.step_s)
    # One more than just enough: batches do not all take the same time.
    enough = _workers(ceil(seconds / fastest.step_s) + 1)
    if not workers:
        share = seconds / fastest.step_s
        if share < _NOTICED:
            return ()
        return (
            f"Data: loading adds {duration(seconds)} to each step on a host like this one, where {fastest.label} takes "
            f"{duration(fastest.step_s)} for the rest; no GPU shortens it, {enough} would hide it.",
        )
    needed_s = seconds / workers
    waiting = [row for row in gpus if row.step_s < needed_s]
    if not waiting:
        return ()
    where = waiting[0].label if len(waiting) == 1 else f"{len(waiting)} of {len(gpus)} GPUs"
    return (
        f"Data: loading takes up to {duration(needed_s)} a step with {_workers(workers)} of a host like this one, "
        f"longer than the step on {where}: there it may decide, not the GPU; at most {enough} would keep up with "
        f"{fastest.label}.",
    )


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"

"""Capturing the jobs of files of measurements ahead of time: ``python -m benchmarks.capture_traces FILE.csv.gz ...``.

First 150 models drawn at random of each kind of run (task, precision, layout, generation of torch), the same ones as
far as a kind has them, then all others. What is captured already is left alone: it can be stopped and started again.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import groupby
from random import Random

from whichgpu.references import Reference
from whichgpu.validation import Case, kept_traces, load_rows

FIRST = 150
SEED = 0


def main(paths: list[str], processes: int = 1) -> None:
    """Capture the jobs of the files at `paths`, `processes` at a time."""
    os.nice(15)
    cases: dict[Reference, Case] = {}
    for case in load_rows(paths):
        if isinstance(case, Case) and case.job is not None:
            cases.setdefault(case.job, case)
    traces = kept_traces()
    begin = time.monotonic()
    for name, some in _ordered(list(cases.values())):
        count = traces.capture_missing(some, processes)
        sys.stderr.write(f"{time.monotonic() - begin:.0f} s: {name}: {len(some)} jobs, {count} captured\n")
        sys.stderr.flush()


def _ordered(cases: list[Case]) -> list[tuple[str, list[Case]]]:
    """Return the cases in the order to capture them, by kind."""
    names = sorted({case.name for case in cases})
    Random(SEED).shuffle(names)
    rank = {name: number for number, name in enumerate(names)}
    first, rest = [], []
    for name, group in groupby(sorted(cases, key=_kind), _kind):
        some = sorted(group, key=lambda case: (rank[case.name], str(case.job)))
        first.append((f"{name}, first {FIRST}", some[:FIRST]))
        rest.append((f"{name}, others", some[FIRST:]))
    return [*first, *rest]


def _kind(case: Case) -> str:
    job = case.job
    assert job is not None
    # Training first: it is what most is fitted to.
    order = 0 if job.task == "train" else 1
    return f"{order} {job.task} {job.precision} {job.layout} torch {job.torch_major}"


if __name__ == "__main__":
    main(sys.argv[1:])

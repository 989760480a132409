"""Repeated measurements become one, their median; and a sample of measurements is drawn the same way every time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from statistics import median

from whichgpu.validation.resolve import Case


def medians(cases: Iterable[Case]) -> list[Case]:
    """Return one case for each device, job, precision, layout, batch and version of torch, with the median time.

    Each keeps the first of its rows, in the order they came.
    """
    found: defaultdict[tuple[object, ...], list[Case]] = defaultdict(list)
    for case in cases:
        row = case.row
        how = (row.source, row.task, row.precision, case.precision.name, row.layout, case.compiled, row.input_shape)
        found[row.gpu, row.model, case.job, case.batch, case.torch, row.optimizer, *how].append(case)
    return [
        some[0] if len(some) == 1 else replace(some[0], measured_s=median(c.measured_s for c in some))
        for some in found.values()
    ]


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """Return `count` of `cases`, drawn by `seed`, in their order; all of them where there are no more."""
    if count >= len(cases):
        return list(cases)
    drawn = Random(seed).sample(range(len(cases)), count)
    return [cases[i] for i in sorted(drawn)]

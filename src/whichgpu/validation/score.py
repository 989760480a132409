"""Scores: how far predictions are from what was measured, and whether they rank alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from whichgpu.validation.predict import Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Two times closer than this may trade places by noise alone.
APART = 1.1


class Group(NamedTuple):
    """What measurements of one kind share."""

    gpu: str
    task: str
    precision: str
    layout: str
    compiled: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of measurements more than 10 % apart in time a sample, and how many of them are predicted in order."""

    count: int
    right: int

    @property
    def share(self) -> float | None:
        """Share of the pairs predicted in order; None where there are none."""
        return self.right / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class Score:
    """How good the predictions of some measurements are; errors are relative: 0.1 for 10 %.

    Attributes:
        count: Measurements.
        mean_error: Mean of |predicted / measured - 1|.
        median_error: Median of the same.
        bias: Geometric mean of predicted / measured, minus 1.
        error_90: What nine in ten errors stay below.
        coverage: Share of measurements inside of their 80 % interval.
        pairs: Pairs of jobs on one device, in one group and by one version of torch.
    """

    count: int
    mean_error: float
    median_error: float
    bias: float
    error_90: float
    coverage: float
    pairs: Pairs


def group_of(prediction: Prediction) -> Group:
    """Return the group of a measurement."""
    case = prediction.case
    row = case.row
    task = f"{row.task} {case.name}" if case.job is None else row.task
    return Group(row.gpu, task, row.precision, row.layout, case.compiled)


def by_group(
    predictions: Iterable[Prediction], key: Callable[[Prediction], tuple[object, ...]] = group_of
) -> list[tuple[tuple[object, ...], list[Prediction]]]:
    """Return the predictions by `key`, groups in its order."""
    ordered = sorted(predictions, key=lambda p: (key(p), p.case.row.file, p.case.row.line))
    return [(found, list(some)) for found, some in groupby(ordered, key)]


def score(predictions: Sequence[Prediction]) -> Score:
    """Return the score of at least one prediction."""
    import numpy as np

    ratios = np.array([p.ratio for p in predictions])
    errors = np.abs(ratios - 1)
    pairs = [_pairs(some) for _, some in by_group(predictions, _ranked_together)]
    return Score(
        len(predictions),
        float(np.mean(errors)),
        float(np.median(errors)),
        float(np.exp(np.mean(np.log(ratios))) - 1),
        float(np.quantile(errors, 0.9)),
        float(np.mean([p.is_covered for p in predictions])),
        Pairs(sum(p.count for p in pairs), sum(p.right for p in pairs)),
    )


def device_pairs(predictions: Iterable[Prediction]) -> Pairs:
    """Return the pairs of devices that ran the same job in the same way, and how many are predicted in order."""
    found = [_pairs(some) for _, some in by_group(predictions, _same_job)]
    return Pairs(sum(p.count for p in found), sum(p.right for p in found))


def worst(predictions: Iterable[Prediction], count: int) -> list[Prediction]:
    """Return the predictions farthest off, by the logarithm of predicted over measured, farthest first."""
    import math

    return sorted(predictions, key=lambda p: (-abs(math.log(p.ratio)), p.case.row.file, p.case.row.line))[:count]


def _ranked_together(prediction: Prediction) -> tuple[object, ...]:
    return (*group_of(prediction), prediction.case.row.source, prediction.case.torch or (0, 0))


def _same_job(prediction: Prediction) -> tuple[object, ...]:
    row = prediction.case.row
    how = (row.precision, row.layout, prediction.case.compiled, row.input_shape, row.source)
    return (row.task, row.model, *how, prediction.case.torch or (0, 0))


def _pairs(predictions: Sequence[Prediction]) -> Pairs:
    """Return the pairs among measurements, by time a sample: batches differ."""
    import numpy as np

    samples = np.array([p.case.batch for p in predictions], dtype=np.float64)
    measured = np.log(np.array([p.case.measured_s for p in predictions]) / samples)
    predicted = np.log(np.array([p.predicted_s for p in predictions]) / samples)
    order = np.argsort(measured, kind="stable")
    return _ordered_pairs(measured[order], predicted[order])


def _ordered_pairs(measured: NDArray[np.float64], predicted: NDArray[np.float64]) -> Pairs:
    import numpy as np

    count = right = 0
    apart = np.searchsorted(measured, measured + np.log(APART), side="right")
    for i, first in enumerate(apart.tolist()):
        later = predicted[first:]
        count += len(later)
        right += int(np.count_nonzero(later > predicted[i]))
    return Pairs(count, right)

"""Predicting every measurement by coefficients that have seen nothing of its GPU, its architecture, or its kind of job.

Refitting from scratch for each fold would take an hour. One step of Gauss and Newton from the full fit, with the held
rows taken out of the normal equations and no coefficient beyond its bound, comes near to a refit where a fold is small;
larger ones are refitted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from benchmarks.fit import SOFT, Fit, Floats, Problem, fit
from benchmarks.measured import Measured, batched
from benchmarks.parameters import Document, fill
from whichgpu.cost.family import Efficiencies, efficiencies_from_document
from whichgpu.devices.cpu_reading import usable_cpus

# Which rows are left out, in the order of the problem's.
Held = NDArray[np.bool_]

# A fold with more of the rows' weight than this is refitted.
LARGE_FOLD = 0.05
# A step moves a coefficient by this many standard deviations of its prior at most.
MOST = 2.0
# How far from its bound a coefficient may still move: bounds must not meet.
_NEAR = 1e-9
# Evaluations of the Jacobian where a fold is refitted.
REFIT_STEPS = 6


@dataclass(frozen=True)
class Check:
    """A measurement and its prediction.

    Attributes:
        row: What was measured.
        predicted_s: What was predicted. Of a step as the product predicts it: nothing added for loaders or start-up; of
            a single kernel with the eager call around it.
    """

    row: Measured
    predicted_s: float

    @property
    def log_error(self) -> float:
        """log(predicted / measured)."""
        return float(np.log(self.predicted_s / self.row.seconds))


def check(rows: Sequence[Measured], efficiencies: Efficiencies, values: Mapping[str, float]) -> list[Check]:
    """Return the predictions of `rows`; of `values` only the eager calls around kernels are used."""
    calls = {name: value for name, value in values.items() if name.startswith("call_s.")}
    found = []
    for batch in batched(rows):
        predicted = batch.predict(efficiencies, calls)
        found += [Check(row, float(s)) for row, s in zip(batch.rows, predicted, strict=True)]
    return found


class LeaveOut:
    """The full fit, and what it would be without some of its rows."""

    def __init__(self, rows: Sequence[Measured], full: Fit, structure: Document) -> None:
        """Linearize the fit at its optimum."""
        self.full, self.structure = full, structure
        self.problem = Problem(batched(rows), structure)
        self.theta = np.log([full.values[p.name] for p in self.problem.parameters])
        residuals = self.problem.residuals(self.theta)
        # Weights of the robust loss at the optimum, by which a least-squares step stands for it: the priors' as well.
        robust = (1 + (residuals / SOFT) ** 2) ** -0.25
        self.jacobian = self.problem.jacobian(self.theta) * robust[:, None]
        self.residuals = residuals * robust
        self._normal: Floats = self.jacobian.T @ self.jacobian
        self._gradient: Floats = self.jacobian.T @ self.residuals
        self.order = [row for batch in self.problem.batches for row in batch.rows]

    def predict(
        self,
        key: Callable[[Measured], Hashable],
        tell: Callable[[str], None] = lambda _: None,
        never_fitted: Sequence[Measured] = (),
    ) -> list[Check]:
        """Return the predictions of all rows, those with one key held out together; rows whose key is None are not.

        Args:
            key: Of a row.
            tell: Hears of each fold.
            never_fitted: More rows to predict, each with the fold of its key.
        """
        keys = [key(row) for row in self.order]
        folds = {
            name: np.array([k == name for k in keys]) for name in sorted({k for k in keys if k is not None}, key=str)
        }
        found: list[Check] = []
        for name, values in zip(folds, self._fitted(folds.values()), strict=True):
            rows = [row for row, is_held in zip(self.order, folds[name], strict=True) if is_held]
            tell(f"{name}: {len(rows)} rows")
            efficiencies = efficiencies_from_document(fill(self.structure, values, self.problem.nodes))
            more = [row for row in never_fitted if key(row) == name]
            found += check([*rows, *more], efficiencies, self.full.values)
        return found

    def _fitted(self, folds: Iterable[Held]) -> Iterator[Mapping[str, float]]:
        """Yield the fitted values without the rows of each fold, in order; in as many processes as there are cores."""
        _at_work.append(self)
        try:
            with get_context("fork").Pool(len(usable_cpus())) as pool:
                yield from pool.imap(_values_without, folds)
        finally:
            _at_work.remove(self)

    def values_without(self, held: Held) -> Mapping[str, float]:
        """Return the fitted values without the `held` rows: a step away, or refitted where they are many."""
        values = self._step_without(held)
        weights = np.array([row.weight for row in self.order])
        if weights[held].sum() <= LARGE_FOLD * weights.sum():
            return values
        kept = [row for row, is_held in zip(self.order, held, strict=True) if not is_held]
        return fit(batched(kept), self.structure, values, REFIT_STEPS).values

    def _step_without(self, held: Held) -> dict[str, float]:
        """Return the values one Gauss-Newton step away, with the held rows out of the equations."""
        of_held: Floats = self.jacobian[: len(held)][held]
        normal = self._normal - of_held.T @ of_held
        # A fit stops before its optimum, so that the gradient of all rows is not quite nil.
        gradient = self._gradient - of_held.T @ self.residuals[: len(held)][held]
        # Where little else says anything of a coefficient the linear step overshoots; its prior would not let it. And a
        # coefficient at its bound stays there: the others must not move as if it could go on.
        most = MOST * self.problem.sigma
        step = _least(normal, gradient, -most, np.minimum(most, np.maximum(self.problem.high - self.theta, _NEAR)))
        return self.problem.values(np.minimum(self.theta + step, self.problem.high))


def _least(normal: Floats, gradient: Floats, low: Floats, high: Floats) -> Floats:
    """Return where the parabola of `normal` and `gradient` is least, within bounds."""
    from scipy.optimize import lsq_linear

    root = np.linalg.cholesky(normal)
    found: Floats = lsq_linear(root.T, -np.linalg.solve(root, gradient), (low, high), method="bvls").x
    return found


# Processes forked from this one find it here: the measurements are too many to send.
_at_work: list[LeaveOut] = []


def _values_without(held: Held) -> Mapping[str, float]:
    return _at_work[-1].values_without(held)

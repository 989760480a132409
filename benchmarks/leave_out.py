"""Predicting every measurement by coefficients that have seen nothing of its GPU, its architecture, or its kind of job.

Refitting from scratch for each fold would take an hour. One step of Gauss and Newton from the full fit, with the held
rows taken out of the normal equations, gives what a refit gives to a tenth of its error where a fold is a small part of
the data; larger folds are refitted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.fit import SOFT, Fit, Floats, Problem, fit
from benchmarks.measured import Measured, batched
from benchmarks.parameters import Document, fill
from whichgpu.cost.family import Efficiencies, efficiencies_from_document

# A fold with more of the rows' weight than this is refitted.
LARGE_FOLD = 0.15
# A step moves a coefficient by this many standard deviations of its prior at most.
MOST = 2.0
# Evaluations of the Jacobian then.
REFIT_STEPS = 4


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
        self.rows, self.full, self.structure = rows, full, structure
        self.problem = Problem(batched(rows), structure)
        self.theta = np.log([full.values[p.name] for p in self.problem.parameters])
        residuals = self.problem.residuals(self.theta)
        count = len(self.problem.measured)
        # Weights of the robust loss at the optimum, by which a least-squares step stands for it.
        robust = np.ones(len(residuals))
        robust[:count] = (1 + (residuals[:count] / SOFT) ** 2) ** -0.25
        self.jacobian = self.problem.jacobian(self.theta) * robust[:, None]
        self.residuals = residuals * robust
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
        found: list[Check] = []
        keys = [key(row) for row in self.order]
        total = sum(row.weight for row in self.order)
        for name in sorted({k for k in keys if k is not None}, key=str):
            held = np.array([k == name for k in keys])
            rows = [row for row, is_held in zip(self.order, held, strict=True) if is_held]
            large = sum(row.weight for row in rows) > LARGE_FOLD * total
            tell(f"{name}: {len(rows)} rows{', refitted' if large else ''}")
            efficiencies = self._refitted(key, name) if large else self._without(held)
            more = [row for row in never_fitted if key(row) == name]
            found += check([*rows, *more], efficiencies, self.full.values)
        return found

    def _refitted(self, key: Callable[[Measured], Hashable], name: Hashable) -> Efficiencies:
        kept = [row for row in self.rows if key(row) != name]
        return fit(batched(kept), self.structure, self.full.values, REFIT_STEPS).efficiencies

    def _without(self, held: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Efficiencies:
        """Return the coefficients one Gauss-Newton step away, with the held rows out of the equations."""
        of_held: Floats = self.jacobian[: len(held)][held]
        normal = self.jacobian.T @ self.jacobian - of_held.T @ of_held
        # At the optimum the gradient of all rows is nil, so that of the kept is the held rows' with its sign turned.
        step = np.linalg.solve(normal, of_held.T @ self.residuals[: len(held)][held])
        # Where little else says anything of a coefficient the linear step overshoots; its prior would not let it.
        step = np.clip(step, -MOST * self.problem.sigma, MOST * self.problem.sigma)
        theta = np.minimum(self.theta + step, self.problem.high)
        values = self.problem.values(theta)
        return efficiencies_from_document(fill(self.structure, values, self.problem.nodes))

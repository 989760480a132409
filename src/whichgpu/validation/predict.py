"""Predicting cases with the shipped coefficients, spread over the cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from whichgpu.errors import WhichGpuError
from whichgpu.estimate import estimate
from whichgpu.validation.resolve import Case, Unresolved
from whichgpu.validation.spread import Failed, spread
from whichgpu.validation.traces import Traces

_ROWS_A_TASK = 16


@dataclass(frozen=True, slots=True)
class Prediction:
    """A case and what was predicted of it.

    Attributes:
        case: What was measured.
        predicted_s: The time predicted, in seconds.
        low_s: Lower end of its 80 % interval.
        high_s: Upper end.
    """

    case: Case
    predicted_s: float
    low_s: float
    high_s: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted_s / self.case.measured_s

    @property
    def is_covered(self) -> bool:
        """Whether the interval holds what was measured."""
        return self.low_s <= self.case.measured_s <= self.high_s


def predict(case: Case, traces: Traces) -> Prediction:
    """Return the prediction of one case.

    A device without units for the precision is predicted in what it would run instead, as a comparison does.

    Raises:
        CaptureError: If its job has not been captured, or could not be.
        WhichGpuError: If it cannot be priced.
    """
    job = traces.job(case)
    if not case.compiled:
        # Times are asked for: without lifetimes nobody replays memory. What is compiled hangs on them.
        job = replace(job, graph=replace(job.graph, storages=()))
    version = "" if case.torch is None else ".".join(map(str, case.torch))
    found = estimate(job, case.device, precision=case.precision, allow_fallback=True, torch_version=version)
    return Prediction(case, found.step_s, found.interval.low, found.interval.high)


def predict_all(
    cases: Sequence[Case], traces: Traces, processes: int, tell: Callable[[int, int], None] | None = None
) -> Iterator[Prediction | Unresolved]:
    """Yield the prediction of every case, or why there is none, in no particular order.

    Args:
        cases: What to predict.
        traces: Where their jobs are kept.
        processes: How many work at a time; 1 works here.
        tell: Called with how many are done, of how many.
    """
    # Rows of one job next to each other: it is read once.
    ordered = sorted(cases, key=lambda c: (str(c.job), c.batch))
    tasks = [ordered[i : i + _ROWS_A_TASK] for i in range(0, len(ordered), _ROWS_A_TASK)]
    done = 0
    for task, result in _done(tasks, traces, processes):
        if isinstance(result, Failed):
            yield from (Unresolved(case.row, f"predicting it failed: {result.reason}") for case in task)
        else:
            yield from result
        done += len(task)
        if tell is not None:
            tell(done, len(ordered))


Result = list[Prediction | Unresolved]


def _done(
    tasks: Sequence[Sequence[Case]], traces: Traces, processes: int
) -> Iterator[tuple[Sequence[Case], Result | Failed]]:
    if processes == 1 or len(tasks) < 2:
        return ((task, _predicted(traces, task)) for task in tasks)
    return spread(partial(_predicted, traces), tasks, processes)


def _predicted(traces: Traces, cases: Sequence[Case]) -> Result:
    found: Result = []
    for case in cases:
        try:
            found.append(predict(case, traces))
        except WhichGpuError as error:
            found.append(Unresolved(case.row, str(error)))
    return found

"""Validating: files of measurements in, a `Validation` out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from whichgpu.measure import Progress
from whichgpu.validation import Case, Traces, Unresolved, load_rows
from whichgpu.validation.merge import medians, sample
from whichgpu.validation.predict import Prediction, predict_all

_TELL_EVERY_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Validation:
    """What came of holding predictions against files of measurements.

    Attributes:
        files: Names of the files.
        rows: Rows read.
        measurements: Measurements they amount to: repeated rows are one, with their median time.
        drawn: How many of them were to be predicted.
        seed: Of the draw, where not all were, else None.
        predictions: Measurements with their predictions.
        unresolved: Rows that were not predicted, by reason, the most frequent first.
    """

    files: tuple[str, ...]
    rows: int
    measurements: int
    drawn: int
    seed: int | None
    predictions: tuple[Prediction, ...]
    unresolved: tuple[tuple[str, int], ...]


def validate(
    paths: Iterable[str | Path],
    traces: Traces,
    *,
    count: int | None = None,
    seed: int = 0,
    processes: int = 1,
    capture: bool = True,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Validation:
    """Return the predictions of the measurements in files.

    Args:
        paths: Files of measurements.
        traces: Where captured jobs are kept.
        count: How many measurements to draw; all of them if None.
        seed: Of the draw.
        processes: How many processes capture and predict.
        capture: Whether jobs that are not kept are captured; else they are unresolved.
        tell: Hears where it stands.

    Raises:
        MeasurementFileError: If a file cannot be read.
    """
    paths = list(paths)
    found: list[Case] = []
    reasons: Counter[str] = Counter()
    rows = 0
    for rows, one in enumerate(load_rows(paths), 1):
        if isinstance(one, Case):
            found.append(one)
        else:
            reasons[one.reason] += 1
        if not rows % _TELL_EVERY_ROWS:
            tell(Progress("read", rows, None, f"{rows:,} rows"))
    merged = medians(found)
    cases = merged if count is None else sample(merged, count, seed)
    if capture:
        traces.capture_missing(cases, processes, lambda n, of, name: tell(Progress("capture", n, of, name)))
    predictions: list[Prediction] = []
    for result in predict_all(cases, traces, processes, lambda n, of: tell(Progress("predict", n, of, ""))):
        if isinstance(result, Unresolved):
            reasons[result.reason] += 1
        else:
            predictions.append(result)
    predictions.sort(key=lambda p: (p.case.row.file, p.case.row.line))
    return Validation(
        tuple(Path(p).name for p in paths),
        rows,
        len(merged),
        len(cases),
        None if len(cases) == len(merged) else seed,
        tuple(predictions),
        tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )

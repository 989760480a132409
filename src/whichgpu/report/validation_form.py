"""A validation as a table and as JSON."""

from __future__ import annotations

import json
from typing import Any

from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import Line, numbered, ruled_table
from whichgpu.units import duration
from whichgpu.validation.predict import Prediction
from whichgpu.validation.score import Group, Score, by_group, device_pairs, group_of, score, worst
from whichgpu.validation.validate import Validation

SCHEMA = "whichgpu.validation/1"
_HEADINGS = (
    ("", "Job"),
    ("", "n"),
    ("Mean", "error"),
    ("Median", "error"),
    ("", "Bias"),
    ("90 %", "within"),
    ("In 80 %", "interval"),
    ("Pairs", "right"),
)


def render_validation(found: Validation, worst_count: int, page: Page) -> str:
    """Return the scores by device and kind of job, the worst predictions, and what was not predicted, by reason."""
    from rich.text import Text

    drawn = "" if found.seed is None else f", {found.drawn:,} of them drawn by seed {found.seed}"
    title = f"{found.rows:,} rows of {', '.join(found.files)}: {found.measurements:,} measurements{drawn}"
    blocks: list[Any] = [Text(title, "bold")]
    if found.predictions:
        everything = score(found.predictions)
        blocks.append(numbered([("•", sentence) for sentence in _answer(found, everything)]))
        blocks.append(ruled_table(_HEADINGS, (False, *(True,) * 7), _lines(found, everything), 1, folding=(0,)))
        blocks.append(numbered([("•", _EXPLAINED)], "dim"))
    if found.predictions and worst_count:
        rows = [_worst_line(p) for p in worst(found.predictions, worst_count)]
        heads = (("Farthest off",), ("Measured",), ("Predicted",), ("Error",))
        blocks.append(ruled_table(heads, (False, True, True, True), rows, 1, folding=(0,)))
    if found.unresolved:
        lines = [Line((reason, f"{count:,}")) for reason, count in found.unresolved]
        blocks.append(ruled_table((("Not predicted, because",), ("Rows",)), (False, True), lines, folding=(0,)))
    return print_on(page, blocks)


_EXPLAINED = (
    "Errors are |predicted / measured - 1|; bias is the geometric mean of predicted / measured, less 1. A pair is two "
    "measurements of one device, group, source and version of torch whose times a sample differ by more than 10 %."
)


def _answer(found: Validation, everything: Score) -> list[str]:
    sentences = [
        f"Predictions are {everything.mean_error:.1%} off on average, {everything.median_error:.1%} in the middle; "
        f"{everything.coverage:.0%} of the measurements lie inside of the 80 % interval."
    ]
    pairs, devices = everything.pairs, device_pairs(found.predictions)
    if pairs.share is not None:
        sentences.append(f"Which of two jobs is faster: right in {pairs.share:.1%} of {pairs.count:,} pairs.")
    if devices.share is not None:
        right = f"right in {devices.share:.1%} of {devices.count:,} pairs"
        sentences.append(f"Which of two devices runs a job faster: {right}.")
    return sentences


def _lines(found: Validation, everything: Score) -> list[Line]:
    lines: list[Line] = []
    gpu = None
    for key, some in by_group(found.predictions):
        group = Group(*key)  # type: ignore[arg-type]
        if group.gpu != gpu:
            gpu = group.gpu
            lines.append(Line((gpu,), "bold", rule_above=bool(lines)))
        lines.append(Line((f"  {_group_label(group)}", *_cells(score(some)))))
    lines.append(Line(("all", *_cells(everything)), "bold", rule_above=True))
    return lines


def _group_label(group: Group) -> str:
    parts = (group.task, group.precision, group.layout, "compiled" if group.compiled else "")
    return " ".join(p for p in parts if p)


def _cells(found: Score) -> tuple[str, ...]:
    pairs = "–" if found.pairs.share is None else f"{found.pairs.share:.1%}"
    return (
        f"{found.count:,}",
        f"{found.mean_error:.1%}",
        f"{found.median_error:.1%}",
        f"{found.bias:+.1%}",
        f"{found.error_90:.0%}",
        f"{found.coverage:.0%}",
        pairs,
    )


def _worst_line(found: Prediction) -> Line:
    case = found.case
    batch = "" if case.job is None else f", batch {case.batch}"
    label = f"{case.row.gpu}, {case.row.model} {_group_label(group_of(found)._replace(task=case.row.task))}{batch}"
    if case.job is None:
        label += f" {case.row.input_shape}"
    return Line((label, duration(case.measured_s), duration(found.predicted_s), f"{found.ratio - 1:+.0%}"))


def validation_document(found: Validation, worst_count: int) -> dict[str, Any]:
    """Return a validation as plain data; docs/json.md describes it."""
    groups = [{**Group(*key)._asdict(), **_score_form(score(some))} for key, some in by_group(found.predictions)]  # type: ignore[arg-type]
    devices = device_pairs(found.predictions)
    return {
        "schema": SCHEMA,
        "files": list(found.files),
        "rows": found.rows,
        "measurements": found.measurements,
        "drawn": found.drawn,
        "seed": found.seed,
        "total": _score_form(score(found.predictions)) if found.predictions else None,
        "device_pairs": {"count": devices.count, "right": devices.right},
        "groups": groups,
        "worst": [_prediction_form(p) for p in worst(found.predictions, worst_count)],
        "unresolved": [{"reason": reason, "rows": rows} for reason, rows in found.unresolved],
        "predictions": [_prediction_form(p) for p in found.predictions],
    }


def render_validation_json(found: Validation, worst_count: int) -> str:
    """Return `validation_document` as text."""
    return json.dumps(validation_document(found, worst_count), indent=1) + "\n"


def _score_form(found: Score) -> dict[str, Any]:
    return {
        "count": found.count,
        "mean_error": found.mean_error,
        "median_error": found.median_error,
        "bias": found.bias,
        "error_90": found.error_90,
        "coverage": found.coverage,
        "pairs": found.pairs.count,
        "pairs_right": found.pairs.right,
    }


def _prediction_form(found: Prediction) -> dict[str, Any]:
    case, row = found.case, found.case.row
    return {
        "file": row.file,
        "line": row.line,
        "gpu": row.gpu,
        "device": case.device.name,
        "task": row.task,
        "model": row.model,
        "precision": row.precision,
        "layout": row.layout,
        "compiled": case.compiled,
        "input_shape": row.input_shape,
        "batch": case.batch,
        "framework_version": row.framework_version,
        "measured_s": case.measured_s,
        "predicted_s": found.predicted_s,
        "low_s": found.low_s,
        "high_s": found.high_s,
    }

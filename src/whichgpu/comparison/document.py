"""The JSON form of comparisons: schema "whichgpu.comparison/1", described in docs/json.md.

``schema/comparison-1.schema.json`` in this folder says the same to a machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any, cast

from whichgpu.comparison.answer import answer
from whichgpu.comparison.comparison import SCHEMA, Comparison, Row

LIST_SCHEMA = "whichgpu.comparisons/1"
# What a row whose device has too little memory does not tell.
TIMES = (
    *("step_s", "step_s_low", "step_s_high", "samples_per_s", "epoch_s", "job_s", "speedup", "bound"),
    *("usd_per_epoch", "usd_per_job", "eager_step_s", "compiled_step_s"),
)


def comparison_to_document(comparison: Comparison) -> dict[str, Any]:
    """Return the document of one comparison: dicts, lists, strings, numbers, booleans and None only."""
    job = asdict(comparison.job)
    return {
        "schema": SCHEMA,
        "job": {**job, "options": _plain(job["options"]), "notes": list(job["notes"])},
        "reference": comparison.reference,
        "interval_level": comparison.interval_level,
        "ignore_memory": comparison.ignore_memory,
        "answer": list(answer(comparison)),
        "compile": _compiling(comparison),
        "rows": [_row(row, comparison.withholds(row)) for row in comparison.rows],
        "notes": list(comparison.notes),
    }


def comparisons_to_document(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the document of one comparison as it is, or one of schema "whichgpu.comparisons/1" that holds several."""
    if len(comparisons) == 1:
        return comparison_to_document(comparisons[0])
    return {"schema": LIST_SCHEMA, "comparisons": [comparison_to_document(c) for c in comparisons]}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a comparison document, as it ships."""
    file = resources.files("whichgpu.comparison") / "schema" / "comparison-1.schema.json"
    return cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))


def _compiling(comparison: Comparison) -> dict[str, Any] | None:
    found = comparison.compiling
    return None if found is None else {**asdict(found), "pays": found.pays}


def _row(row: Row, withheld: bool) -> dict[str, Any]:
    document = {**asdict(row), "notes": list(row.notes)}
    return {**document, **dict.fromkeys(TIMES)} if withheld else document


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value

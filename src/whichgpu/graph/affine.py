"""Documents that are affine in one number: two captures at small batches give the job at every batch.

Every shape, stride, storage size and sample count of a training step is ``fixed + per_sample * batch``. So two JSON
forms of one job, captured at two batches, that differ only in whole numbers, merge into one document in which each such
number is written ``{"n": [fixed, per_sample]}``. A third capture checks that the step really is affine.
"""

from __future__ import annotations

from typing import Any

from whichgpu.errors import GraphError

MARK = "n"


def merge(first: Any, first_batch: int, second: Any, second_batch: int, where: str = "$") -> Any:
    """Return the document that `evaluate` turns into `first` at `first_batch` and `second` at `second_batch`.

    Floats that differ (such as a loss scaled by 1/batch) keep the value of `first`: no work depends on them.

    Raises:
        GraphError: If the two differ in anything but numbers, or a difference is not a whole number per sample.
    """
    if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
        return {k: merge(v, first_batch, second[k], second_batch, f"{where}.{k}") for k, v in first.items()}
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [merge(a, first_batch, b, second_batch, f"{where}[{i}]") for i, (a, b) in pairs]
    if type(first) is type(second) and first == second:
        return first
    if isinstance(first, float) and isinstance(second, float):
        return first
    if type(first) is int and type(second) is int:
        per_sample, rest = divmod(second - first, second_batch - first_batch)
        if not rest:
            return {MARK: [first - per_sample * first_batch, per_sample]}
    raise GraphError(
        f"The step is not affine in its batch: at {where} it has {_short(first)} at batch {first_batch} "
        f"and {_short(second)} at batch {second_batch}."
    )


def evaluate(document: Any, batch: int) -> Any:
    """Return `document` with every affine number replaced by its value at `batch`."""
    if isinstance(document, list):
        return [evaluate(v, batch) if isinstance(v, (list, dict)) else v for v in document]
    if isinstance(document, dict):
        if len(document) == 1 and MARK in document:
            fixed, per_sample = document[MARK]
            return fixed + per_sample * batch
        return {k: evaluate(v, batch) if isinstance(v, (list, dict)) else v for k, v in document.items()}
    return document


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

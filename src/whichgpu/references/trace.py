"""Capturing a published job at every batch: two captures that merge, or one a batch where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from whichgpu.errors import GraphError
from whichgpu.graph import Graph, Job, job_from_document, job_to_document
from whichgpu.graph.affine import evaluate, merge
from whichgpu.references import build
from whichgpu.references.reference import Reference, Steps

# Two primes that are no size inside of common models, so that no two tensors look alike by chance at one of them only.
BATCHES = (53, 59)

Document = dict[str, Any]


def trace(reference: Reference) -> Document:
    """Return what `job_at` makes the job of at any batch: {"affine": ...}, or {"not_affine": why}.

    Torch sees a phantom GPU while it runs; two steps of one model are captured, about a second for most models.

    Raises:
        Exception: Whatever the library says of a model it does not know, or that does not take such samples.
    """
    from whichgpu.capture import phantom_gpu

    first, second = BATCHES
    with phantom_gpu():
        steps = build(reference)
        about = _about(steps)
        documents = [job_to_document(job) for job in _captured(reference, steps, BATCHES)]
    try:
        return {**about, "affine": merge(documents[0], first, documents[1], second)}
    except GraphError as error:
        return {**about, "not_affine": str(error)}


def trace_at(reference: Reference, batch: int) -> Document:
    """Return what `job_at` makes the job of at this batch alone: {"job": ..., "batch": ...}; see `trace`."""
    from whichgpu.capture import phantom_gpu

    with phantom_gpu():
        steps = build(reference)
        (document,) = (job_to_document(job) for job in _captured(reference, steps, (batch,)))
    return {**_about(steps), "job": document, "batch": batch}


def _about(steps: Steps) -> Document:
    return {"depends_on_torch": steps.depends_on_torch, "merges": steps.merges}


def job_at(found: Document, batch: int, precision: str) -> Job:
    """Return the job of a trace at `batch` samples a step.

    Args:
        found: What `trace` or `trace_at` returned.
        batch: Samples a step.
        precision: Its name; "tf32" where the trace, in "fp32", is to be priced so.

    Raises:
        GraphError: If the trace is of one other batch alone.
    """
    if "affine" in found:
        document = cast(Document, evaluate(found["affine"], batch))
    elif found.get("batch") == batch:
        document = dict(found["job"])
    else:
        raise GraphError(f"The trace is not one of batch {batch}. Capture it there.")
    document["precision"] = precision
    return job_from_document(document)


def _captured(reference: Reference, steps: Steps, batches: tuple[int, ...]) -> Iterator[Job]:
    from whichgpu.capture.record import record_jobs

    about = Job(
        reference.name,
        Graph(()),
        samples_per_step=1,
        precision=reference.precision,
        layout=reference.layout,
        sample="image" if len(reference.sample) == 3 else "sequence",
    )
    return record_jobs(((steps.at(batch), batch) for batch in batches), about)

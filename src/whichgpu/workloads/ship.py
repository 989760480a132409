"""Making the shipped graphs anew: ``python -m whichgpu.workloads.ship [JOB ...]`` (``make graphs``).

Each job is captured on the phantom GPU at two batches, merged into one document affine in the batch, and checked
against a third capture.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgpu.errors import GraphError
from whichgpu.graph import job_to_document
from whichgpu.graph.affine import evaluate, merge
from whichgpu.workloads import definition, workload_names
from whichgpu.workloads.shipped import SAME_GRAPH, graph_file_name

if TYPE_CHECKING:
    from whichgpu.graph import Job

# Primes, larger than any head count or kernel size by chance equal to a batch, so that no size coincides with another.
CAPTURE_BATCHES = (11, 13)
CHECK_BATCH = 17

FOLDER = Path(__file__).parent / "graphs"


def capture_workload(name: str, batch: int, precision: str, layout: str) -> Job:
    """Return a fresh capture of a built-in job on the phantom GPU.

    Raises:
        MissingExtraError: If torch or the package of the model is not installed.
        CaptureError: If the step cannot be captured.
    """
    from whichgpu.capture import capture, phantom_gpu

    job = definition(name)
    job.check_installed()
    with phantom_gpu():
        captured = capture(
            job.training_step(batch, "cuda", precision, layout),
            name=name,
            samples_per_step=batch,
            samples_per_epoch=job.samples_per_epoch,
            precision=precision,
            layout=layout,
            sample=job.sample,
            options={"batch": batch},
        )
    packages = [required.partition(".")[0] for required in job.requires]
    return replace(captured, source=", ".join([captured.source, *(f"{p} {version(p)}" for p in packages)]))


def make_template(name: str, precision: str, layout: str) -> dict[str, Any]:
    """Return the document of a job that is affine in its batch, checked at a third batch.

    Raises:
        GraphError: If the step is not affine in its batch.
    """
    first, second = CAPTURE_BATCHES
    documents = {
        batch: job_to_document(capture_workload(name, batch, precision, layout))
        for batch in (first, second, CHECK_BATCH)
    }
    template: dict[str, Any] = merge(documents[first], first, documents[second], second)
    # Floats such as a loss scaled by 1/batch may differ; merging at the checked batch leaves exactly those.
    difference = merge(evaluate(template, CHECK_BATCH), 0, documents[CHECK_BATCH], 1)
    if difference != evaluate(template, CHECK_BATCH):
        raise GraphError(f"{name} ({precision}, {layout or 'no layout'}) is not affine in its batch.")
    return template


def variants(name: str) -> Iterator[tuple[str, str]]:
    """Yield each precision and layout of a job that has a graph of its own."""
    job = definition(name)
    for precision in job.precisions:
        if precision not in SAME_GRAPH:
            for layout in job.layouts:
                yield precision, layout


def main(names: list[str]) -> None:
    """Write the graphs of the named jobs, or of all."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or workload_names():
        for precision, layout in variants(name):
            text = json.dumps(make_template(name, precision, layout), separators=(",", ":"))
            file = FOLDER / graph_file_name(name, precision, layout)
            # No name and no time in the header: the same graph gives the same bytes.
            file.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
            sys.stderr.write(f"{file.name}: {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The shipped graphs: jobs as data, at any batch, with no framework installed.

A file ``graphs/<job>.<precision>[.<layout>].json.gz`` holds the JSON form of a job, affine in its batch (see
`whichgpu.graph.affine`). ``make graphs`` makes them anew from the definitions.
"""

from __future__ import annotations

import gzip
import json
from importlib import resources
from typing import Any, cast

from whichgpu.errors import GraphError
from whichgpu.graph import Job, job_from_document
from whichgpu.graph.affine import evaluate

# TF32 changes how a kernel multiplies, not which kernels run: these precisions share one graph.
SAME_GRAPH = {"tf32": "fp32"}


def graph_file_name(name: str, precision: str, layout: str) -> str:
    """Return the name of the file that holds a job's graph."""
    parts = [name, SAME_GRAPH.get(precision, precision), *([layout] if layout else [])]
    return ".".join(parts) + ".json.gz"


def load_shipped(name: str, batch: int, precision: str, layout: str) -> Job:
    """Return the shipped job at `batch` samples a step.

    Raises:
        GraphError: If no graph is shipped for it, or the file is broken.
    """
    file_name = graph_file_name(name, precision, layout)
    file = resources.files("whichgpu.workloads") / "graphs" / file_name
    try:
        template = json.loads(gzip.decompress(file.read_bytes()))
    except FileNotFoundError:
        raise GraphError(
            f"No graph is shipped as {file_name}; `make graphs` makes them from the definitions."
        ) from None
    except (OSError, EOFError, ValueError) as error:
        raise GraphError(f"The shipped graph {file_name} is broken ({error}); install whichgpu again.") from error
    document = cast("dict[str, Any]", evaluate(template, batch))
    document["precision"] = precision
    return job_from_document(document)

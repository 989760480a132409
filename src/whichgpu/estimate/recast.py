"""A step captured in one precision, as it would be in another: what a fallback runs.

Exact where only the name of the format differs; where float16 or bfloat16 becomes float32 the casts between them
vanish and tensors double. The other way cannot be derived: which ops autocast would turn is known only when capturing.
"""

from __future__ import annotations

from dataclasses import replace

from whichgpu.errors import PrecisionError
from whichgpu.graph import Graph, Job, Precision, dtype_bytes
from whichgpu.graph import precision as precision_named
from whichgpu.graph.retype import retyped

_HALVES = ("float16", "bfloat16")
# What is kept in the weights' number format.
_STAYS = ("parameter", "gradient", "optimizer_state")


def renaming(job: Job, to: Precision) -> tuple[str, str] | None:
    """Return the number format of `job` and the one that takes its place in `to`, if nothing else changes."""
    captured = precision_named(job.precision)
    if captured.autocast in _HALVES and to.autocast in _HALVES and captured.weights == to.weights:
        return captured.autocast, to.autocast
    return None


def recast(job: Job, to: Precision) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of `job` as it would be in the precision `to`, and what is only approximate about it.

    Raises:
        PrecisionError: If it cannot be derived from the graph that was captured.
    """
    captured = precision_named(job.precision)
    if to.name == captured.name or (to.autocast, to.weights) == (captured.autocast, captured.weights):
        return job.graph, ()
    half = captured.autocast or captured.weights
    if half in _HALVES and to.matrix_format in ("fp32", "tf32"):
        return retyped(job.graph, half, "float32"), (f"Derived from the {captured.name} step.",)
    if half in _HALVES and to.autocast is not None:
        graph = retyped(job.graph, half, to.autocast)
        if captured.autocast is not None:
            return graph, ()
        return _with_whole_weights(graph, to.autocast, to.weights), (
            f"Priced as if weights were {to.autocast}: {to.name} keeps them in {to.weights}, which takes somewhat more "
            "time. Their memory is counted.",
        )
    raise PrecisionError(
        f"{job.name} was captured in {captured.name}; what it would run in {to.name} cannot be derived from that. "
        f"Capture it in {to.name}, or build the job with precision={to.name!r}."
    )


def _with_whole_weights(graph: Graph, half: str, weights: str) -> Graph:
    """Return `graph` with the memory of parameters, gradients and optimizer state that `weights` takes, not `half`."""
    held = {t.storage for op in graph.ops for t in (*op.input_tensors(), *op.output_tensors()) if t.dtype == half}
    times = dtype_bytes(weights) // dtype_bytes(half)
    storages = (
        replace(s, nbytes=s.nbytes * times) if s.kind in _STAYS and number in held else s
        for number, s in enumerate(graph.storages)
    )
    return replace(graph, storages=tuple(storages))

"""A step captured in one precision, as it would be in another: what a fallback runs.

Exact where only the name of the format differs; where float16 or bfloat16 becomes float32 the casts between them
vanish and tensors double. The other way cannot be derived: which ops autocast would turn is known only when capturing.
"""

from __future__ import annotations

from whichgpu.errors import PrecisionError
from whichgpu.graph import Graph, Job, Precision
from whichgpu.graph import precision as precision_named
from whichgpu.graph.retype import retyped

_HALVES = ("float16", "bfloat16")


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
        return graph, (
            f"Priced as if weights were {to.autocast}: {to.name} keeps them in {to.weights}, which takes more memory "
            "and somewhat more time.",
        )
    raise PrecisionError(
        f"{job.name} was captured in {captured.name}; what it would run in {to.name} cannot be derived from that. "
        f"Capture it in {to.name}, or build the job with precision={to.name!r}."
    )

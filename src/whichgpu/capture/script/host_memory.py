"""What memory of this machine a script's step takes when it is really run: asked before it is."""

from __future__ import annotations

from dataclasses import replace

from whichgpu.graph import Graph
from whichgpu.units import MIB

# Python with torch and a library of models, before a model is made: 350 to 600 MiB (torch 2.13, transformers 5.23).
_PROCESS_BYTES = 500 * MIB
_HALVES = frozenset({"float16", "bfloat16"})


def host_bytes(graph: Graph) -> int:
    """Return about the most bytes a process takes that runs the step of `graph` on the host.

    What is half precision on a GPU counts as float32: a CPU may train without it, and must not be made to swap.

    Args:
        graph: As captured for a GPU, with lifetimes.
    """
    halved = {
        t.storage
        for op in graph.ops
        for t in (*op.input_tensors(), *op.output_tensors())
        if t.storage is not None and t.dtype in _HALVES
    }
    storages = tuple(
        replace(s, nbytes=2 * s.nbytes) if number in halved else s for number, s in enumerate(graph.storages)
    )
    return replace(graph, storages=storages).peak_bytes() + _PROCESS_BYTES

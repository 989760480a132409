"""Weights and all that follows from them in bfloat16, derived from a float32 step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from whichgpu.graph import Graph, Op, Tensor
from whichgpu.graph.op import Input


def is_float32(graph: Graph) -> bool:
    """Return whether a step computes in float32 alone."""
    return all(t.dtype not in ("float16", "bfloat16") for op in graph.ops for t in _tensors(op))


def in_bfloat16(graph: Graph) -> Graph:
    """Return a float32 step as it would be in bfloat16: half the bytes of every floating-point tensor.

    Leaves out: what frameworks still do in float32, such as the logarithm of a softmax.
    """
    halved = {t.storage for op in graph.ops for t in _tensors(op) if t.storage is not None and t.dtype == "float32"}
    storages = tuple(replace(s, nbytes=-(-s.nbytes // 2)) if n in halved else s for n, s in enumerate(graph.storages))
    return replace(graph, ops=tuple(_retyped(op) for op in graph.ops), storages=storages)


def _retyped(op: Op) -> Op:
    def tensor(t: Tensor) -> Tensor:
        return replace(t, dtype="bfloat16") if t.dtype == "float32" else t

    def each(value: Input) -> Input:
        return tensor(value) if isinstance(value, Tensor) else tuple(t if t is None else tensor(t) for t in value)

    return replace(
        op,
        inputs={name: each(value) for name, value in op.inputs.items()},
        outputs=tuple(t if t is None else tensor(t) for t in op.outputs),
    )


def _tensors(op: Op) -> Iterable[Tensor]:
    return (*op.input_tensors(), *op.output_tensors())

"""Gradients that meet in one place: autograd adds the second to the first where nobody else holds the first.

It never does so for tensors of a subclass, such as those of the phantom GPU: there it makes a third tensor. What was
recorded is put right here, or every residual connection would need one tensor more than on a GPU.

Source: torch/csrc/autograd/input_buffer.cpp, can_accumulate_inplace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from whichgpu.graph import Graph, Op, Storage

_SUM = "aten.add.Tensor"
_IN_PLACE = "aten.add_.Tensor"


class GradientSums:
    """Tells autograd's own sums of gradients from those in the formulas of its nodes, while a step is recorded.

    Both run while the node is the current one. But of the engine's sums the first operand was made by another node,
    and a formula in C++ adds what it made itself.

    Attributes:
        indices: Of the ops that are sums of gradients that met.
    """

    def __init__(self) -> None:
        self.indices: list[int] = []
        self._makers: dict[int, int] = {}

    def note(self, index: int, op: Op) -> None:
        """Take note of `op`, the one of this index, which runs in a backward pass."""
        node = torch._C._current_autograd_node()
        if node is None or torch.is_grad_enabled() or _may_add(node):
            return
        number = node._sequence_nr()
        if op.name == _SUM:
            first = op.tensor("self").storage
            if first is not None and self._makers.get(first, number) != number:
                self.indices.append(index)
        for out in op.output_tensors():
            if out.storage is not None:
                self._makers.setdefault(out.storage, number)


def _may_add(node: Any) -> bool:
    """Return whether the formula of a node is Python of the user's own, which may add what it was given."""
    is_python = isinstance(node, torch.autograd.function.BackwardCFunction)
    return is_python and not getattr(node._forward_cls, "adds_no_gradients", False)


def accumulated_in_place(graph: Graph, sums: Iterable[int]) -> Graph:
    """Return `graph` with those of its `sums` in place whose first operand is dropped right after.

    Args:
        graph: As recorded.
        sums: Indices of the ops that are sums of gradients.
    """
    ops, storages = list(graph.ops), list(graph.storages)
    for index in sums:
        op = ops[index]
        first, out = op.tensor("self"), op.output()
        if first.storage is None or out.storage is None or first.shape != out.shape or first.dtype != out.dtype:
            continue
        before, after = storages[first.storage], storages[out.storage]
        if before.allocated_at is None or before.freed_at != index + 1 or before.nbytes != after.nbytes:
            continue
        # The sum's storage takes the place of the first gradient's, which keeps its number and no bytes.
        storages[out.storage] = replace(after, allocated_at=before.allocated_at)
        storages[first.storage] = Storage(0, before.kind, before.allocated_at, before.freed_at)
        ops[index] = Op(_IN_PLACE, op.inputs, op.outputs, op.attributes, op.phase, op.module, op.repeat)
    return replace(graph, ops=tuple(ops), storages=tuple(storages))

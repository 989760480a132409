"""Graphs with ops put in or taken out, the lifetimes of their storages following."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from whichgpu.graph.graph import Graph, Storage
from whichgpu.graph.op import Input, Op
from whichgpu.graph.tensor import Tensor


class Insertions:
    """Where the ops of a graph come to stand once others are put before some of them.

    Args:
        count: Ops of the graph.
        before: How many ops are put before the op of each index.
    """

    def __init__(self, count: int, before: Mapping[int, int]) -> None:
        self._ops: list[int] = []
        self._starts: list[int] = []
        at = 0
        for index in range(count + 1):
            self._starts.append(at)
            at += before.get(index, 0)
            self._ops.append(at)
            at += 1

    def op(self, index: int) -> int:
        """Return the new index of an op."""
        return self._ops[index]

    def start(self, index: int) -> int:
        """Return where the ops put before an op begin; its own new index if there are none."""
        return self._starts[index]

    def moved(self, storage: Storage) -> Storage:
        """Return `storage` with its lifetime in new indices: dropped before an op is before what is put there."""
        begins = None if storage.allocated_at is None else self.op(storage.allocated_at)
        ends = None if storage.freed_at is None else self.start(storage.freed_at)
        return replace(storage, allocated_at=begins, freed_at=ends)


def with_storages(op: Op, change: Callable[[int], int | None]) -> Op:
    """Return `op` with its tensors in the storages that `change` gives for their own."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor if tensor.storage is None else replace(tensor, storage=change(tensor.storage))

    def each(value: Input) -> Input:
        if isinstance(value, Tensor):
            return moved(value)
        return tuple(t if t is None else moved(t) for t in value)

    return replace(
        op,
        inputs={name: each(value) for name, value in op.inputs.items()},
        outputs=tuple(t if t is None else moved(t) for t in op.outputs),
    )


def uses(op: Op) -> set[int]:
    """Return the storages `op` reads or writes."""
    found = {t.storage for t in op.input_tensors()} | {t.storage for t in op.output_tensors()}
    return {number for number in found if number is not None}


def update_begins(graph: Graph) -> int:
    """Return the index of the first op of the update: none after it belongs to another phase."""
    for index in range(len(graph.ops) - 1, -1, -1):
        if graph.ops[index].phase != "optimizer":
            return index + 1
    return 0


def without_ops(graph: Graph, gone: Sequence[int], drop: set[int]) -> Graph:
    """Return `graph` without some ops, and without the storages of these numbers, which keep them and no bytes.

    Args:
        graph: One step.
        gone: Indices of the ops, in order.
        drop: Numbers of storages that are no more.
    """
    away = set(gone)
    kept = [index for index in range(len(graph.ops)) if index not in away]
    place: list[int] = []
    at = 0
    for index in range(len(graph.ops) + 1):
        place.append(at)
        at += index not in away
    last = len(kept)
    storages = []
    for number, storage in enumerate(graph.storages):
        nbytes = 0 if number in drop else storage.nbytes
        begins = None if storage.allocated_at is None else min(place[storage.allocated_at], last - 1)
        ends = None if storage.freed_at is None else place[min(storage.freed_at, len(graph.ops))]
        if begins is not None and ends is not None:
            ends = max(ends, begins + 1)
        storages.append(Storage(nbytes, storage.kind, begins, ends))
    return replace(graph, ops=tuple(graph.ops[index] for index in kept), storages=tuple(storages))

"""Who reads and overwrites the storages of a graph, and where compiled regions begin and end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whichgpu.graph import Graph, Op, Phase, Tensor
from whichgpu.graph.op import is_replayed
from whichgpu.work.count import count_op
from whichgpu.work.registry import rule_for
from whichgpu.work.view import no_kernel

# What a compiler leaves to eager PyTorch, by the beginning of the name: copies from and to the host, recurrent layers
# (torch._dynamo.config.allow_rnn is off), updates of many tensors.
_EAGER = ("memcpy.", "cuda.", "aten._cudnn_rnn", "aten._foreach_", "aten._fused_ad", "aten._fused_sgd", "aten._amp_")


@dataclass(frozen=True, slots=True)
class Region:
    """Ops a compiler turns into one program: indices `start` to `end`, the latter left out."""

    start: int
    end: int
    phase: Phase


class Uses:
    """Readers and writers of every storage, in the order of the ops.

    Attributes:
        graph: The graph.
        regions: What is compiled, in order; ops in none of them run eagerly.
        is_inference: Whether there is no backward pass.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._readers: dict[int, list[int]] = {}
        self._writers: dict[int, list[int]] = {}
        self._eager = [runs_eagerly(op) or self._adds_up_gradients(op) for op in graph.ops]
        self.regions = tuple(self._find_regions())
        self.is_inference = all(region.phase == "forward" for region in self.regions)
        for index, op in enumerate(graph.ops):
            if is_view(op):
                continue
            for tensor in op.input_tensors():
                _append(self._readers, tensor.storage, index)
            for tensor in written(op):
                _append(self._writers, tensor.storage, index)

    def is_eager(self, index: int) -> bool:
        """Return whether op `index` runs eagerly."""
        return self._eager[index]

    def readers(self, storage: int, index: int) -> Sequence[int]:
        """Return the ops that read what op `index` has written to `storage`."""
        writers = self._writers.get(storage, [])
        next_writer = bisect_right(writers, index)
        readers = self._readers.get(storage, [])
        start = bisect_right(readers, index)
        if next_writer == len(writers):
            return readers[start:]
        return readers[start : bisect_right(readers, writers[next_writer])]

    def outlives(self, storage: int, index: int) -> bool:
        """Return whether what op `index` has written to `storage` is a result of the step.

        It is if it outlives the step, or lives to its end and no op reads it: what a model returns.
        """
        writers = self._writers.get(storage, [])
        if bisect_right(writers, index) < len(writers):
            return False
        is_unread = not self.readers(storage, index)
        if not self.graph.storages:
            return is_unread
        freed_at = self.graph.storages[storage].freed_at
        return freed_at is None or (is_unread and freed_at >= len(self.graph.ops))

    def is_resident(self, storage: int) -> bool:
        """Return whether `storage` was there before the step."""
        return bool(self.graph.storages) and self.graph.storages[storage].allocated_at is None

    def _adds_up_gradients(self, op: Op) -> bool:
        """Return whether `op` adds a gradient to one there was before, which autograd does between compiled calls."""
        if op.phase != "backward" or op.base_name != "aten.add_":
            return False
        storage = op.tensor("self").storage
        return storage is not None and self.is_resident(storage) and self._kind(storage) == "gradient"

    def _kind(self, storage: int) -> str:
        return self.graph.storages[storage].kind if self.graph.storages else ""

    def _find_regions(self) -> Iterator[Region]:
        """Yield runs of ops of one phase; views belong to what surrounds them, and an added gradient parts nothing."""
        start: int | None = None
        ops = self.graph.ops
        for index, op in enumerate(ops):
            parts = self._eager[index] and not self._adds_up_gradients(op)
            if start is not None and (parts or op.phase != ops[start].phase):
                yield Region(start, index, ops[start].phase)
                start = None
            if start is None and not parts and op.phase != "optimizer" and not is_view(op):
                start = index
        if start is not None:
            yield Region(start, len(ops), ops[start].phase)


def is_view(op: Op) -> bool:
    """Return whether `op` launches nothing and writes nothing."""
    return rule_for(op) is no_kernel


def written(op: Op) -> tuple[Tensor, ...]:
    """Return the tensors `op` writes: its results, or the argument it changes if it returns nothing."""
    return tuple(op.output_tensors()) or op.tensors("self")


def runs_eagerly(op: Op) -> bool:
    """Return whether a compiler leaves `op` alone: the host needs its result, or it is no part of a model."""
    if op.phase == "optimizer" or op.name.startswith(_EAGER) or is_replayed(op):
        return True
    return not is_view(op) and count_op(op, "bound").synchronizes


def _append(found: dict[int, list[int]], storage: int | None, index: int) -> None:
    if storage is None:
        return
    indices = found.setdefault(storage, [])
    if not indices or indices[-1] != index:
        indices.append(index)

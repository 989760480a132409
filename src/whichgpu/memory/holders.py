"""Who holds the memory of a step: at its peak, and over its course."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from whichgpu.graph import Graph, Phase, Storage
from whichgpu.memory.allocator import MIN_BLOCK_BYTES
from whichgpu.memory.scratch import Workspaces

Holder = Literal["parameters", "gradients", "optimizer state", "input and buffers", "activations", "temporaries"]
# In the order pictures stack them: what always lies there first.
HOLDERS: tuple[Holder, ...] = (
    "parameters",
    "optimizer state",
    "input and buffers",
    "gradients",
    "activations",
    "temporaries",
)
_OF_KIND: dict[str, Holder] = {
    "parameter": "parameters",
    "gradient": "gradients",
    "optimizer_state": "optimizer state",
    "buffer": "input and buffers",
    "input": "input and buffers",
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """The memory of one steady step, op by op.

    Attributes:
        holders: Bytes of each holder while each op runs.
        phases: Each phase and the index of its first op, in order.
        ops: Number of ops.
    """

    holders: dict[Holder, list[int]]
    phases: tuple[tuple[Phase, int], ...]

    @property
    def ops(self) -> int:
        """Number of ops."""
        return len(next(iter(self.holders.values())))

    def total(self, index: int) -> int:
        """Return the bytes held while the op of this index runs."""
        return sum(values[index] for values in self.holders.values())


def timeline(graph: Graph, beside: Workspaces) -> Timeline:
    """Return who holds what over the course of a steady step of `graph`."""
    count = len(graph.ops)
    changes: dict[Holder, list[int]] = {holder: [0] * (count + 1) for holder in HOLDERS}
    for storage in graph.storages:
        change = changes[holder_of(storage, graph)]
        size = _rounded(storage.nbytes)
        change[storage.allocated_at or 0] += size
        if storage.freed_at is not None:
            change[min(storage.freed_at, count)] -= size
    own = changes["temporaries"]
    own[0] += sum(beside.kept.values())
    for index, nbytes in (*beside.needed.items(), *beside.wanted.items()):
        own[index] += nbytes
        own[index + 1] -= nbytes
    return Timeline({holder: list(accumulate(change[:count])) for holder, change in changes.items()}, _phases(graph))


def holders_at(graph: Graph, beside: Workspaces, index: int) -> dict[Holder, int]:
    """Return the bytes of each holder while the op of this index runs."""
    found: dict[Holder, int] = dict.fromkeys(HOLDERS, 0)
    for _, storage in _living(graph, index):
        found[holder_of(storage, graph)] += _rounded(storage.nbytes)
    found["temporaries"] += sum(beside.kept.values()) + beside.needed.get(index, 0) + beside.wanted.get(index, 0)
    return found


def modules_at(graph: Graph, index: int) -> list[tuple[str, int]]:
    """Return the activations of each group of modules while the op of this index runs, largest first.

    Modules that stand in a row, such as the layers of a transformer, are one group: "model.layers.*.mlp".
    """
    found: defaultdict[str, int] = defaultdict(int)
    for _, storage in _living(graph, index):
        if holder_of(storage, graph) == "activations" and storage.allocated_at is not None:
            found[group_of(graph.ops[storage.allocated_at].module)] += _rounded(storage.nbytes)
    return sorted(found.items(), key=lambda item: -item[1])


def holder_of(storage: Storage, graph: Graph) -> Holder:
    """Return who holds `storage`: activations are what the forward pass leaves to the backward pass."""
    known = _OF_KIND.get(storage.kind)
    if known is not None:
        return known
    if storage.allocated_at is None or graph.ops[storage.allocated_at].phase != "forward":
        return "temporaries"
    last = len(graph.ops) if storage.freed_at is None else storage.freed_at
    outlives = last >= len(graph.ops) or graph.ops[last].phase != "forward"
    return "activations" if outlives else "temporaries"


def group_of(module: str) -> str:
    """Return a module's path up to the first number and one name further, numbers as "*"."""
    parts: list[str] = []
    is_last = False
    for part in module.split("."):
        parts.append("*" if part.isdecimal() else part)
        if is_last and not part.isdecimal():
            break
        is_last = is_last or part.isdecimal()
    return ".".join(parts)


def _living(graph: Graph, index: int) -> Iterator[tuple[int, Storage]]:
    for number, storage in enumerate(graph.storages):
        begins = -1 if storage.allocated_at is None else storage.allocated_at
        if begins <= index and (storage.freed_at is None or storage.freed_at > index):
            yield number, storage


def _phases(graph: Graph) -> tuple[tuple[Phase, int], ...]:
    """Return the phases of a step; ops before its forward pass that clear gradients belong to no phase of their own."""
    found: list[tuple[Phase, int]] = []
    for index, op in enumerate(graph.ops):
        if not found or op.phase != found[-1][0]:
            found.append((op.phase, index))
    return tuple(found)


def _rounded(nbytes: int) -> int:
    return -(-nbytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES


def stacked(timeline: Timeline, holders: Sequence[Holder] = HOLDERS) -> list[list[int]]:
    """Return the upper edge of each holder's band, in the order of `holders`, for each op."""
    edges: list[list[int]] = []
    below = [0] * timeline.ops
    for holder in holders:
        below = [a + b for a, b in zip(below, timeline.holders[holder], strict=True)]
        edges.append(below)
    return edges

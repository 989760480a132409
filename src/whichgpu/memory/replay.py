"""A step's allocations and frees, in order, through the caching allocator, until they repeat themselves.

The first step finds parameters and input alone on the device; it makes the gradients and, when the optimizer first
runs, its state, in the gaps that the activations left. The steps after it start from that fragmentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from whichgpu.errors import GraphError
from whichgpu.graph import Graph, Phase
from whichgpu.memory.allocator import CachingAllocator, OutOfDeviceMemory
from whichgpu.memory.allocator_options import AllocatorOptions
from whichgpu.memory.pool import Block
from whichgpu.memory.scratch import NO_WORKSPACES, Workspaces

# The first step, and two of those that all others are like.
STEPS = 3
NO_LIFETIMES = (
    "The job carries no lifetimes of its tensors, so what memory it needs is not known. Capture it again with "
    "`whichgpu capture SCRIPT.py -o job.json` or whichgpu.capture()."
)


@dataclass(frozen=True, slots=True)
class Replay:
    """What the allocator came to hold.

    Attributes:
        allocated_bytes: Most at once in a steady step, as torch.cuda.max_memory_allocated tells it.
        reserved_bytes: Most at once in the whole run, as torch.cuda.max_memory_reserved tells it.
        peak_op: Index of the op during which the most was allocated.
        phase_bytes: Most allocated at once in each phase of a steady step.
        retries: How often segments had to be given back to the driver; 0 without a limit.
    """

    allocated_bytes: int
    reserved_bytes: int
    peak_op: int
    phase_bytes: Mapping[Phase, int]
    retries: int


def replay(
    graph: Graph,
    beside: Workspaces = NO_WORKSPACES,
    limit_bytes: int | None = None,
    options: AllocatorOptions | None = None,
) -> Replay:
    """Return what the allocator holds while `graph` is run step after step.

    Args:
        graph: One step.
        beside: What its ops take beside its tensors.
        limit_bytes: What all segments may take together; None for no limit.
        options: How memory is cut.

    Raises:
        GraphError: If the graph carries no lifetimes.
        OutOfDeviceMemory: If the limit leaves too little room.
    """
    if not graph.storages:
        raise GraphError(NO_LIFETIMES)
    run = _Run(graph, beside, CachingAllocator(limit_bytes, options))
    run.place_residents()
    run.first_step()
    for _ in range(STEPS - 1):
        run.hand_over()
        run.step()
    allocator = run.allocator
    return Replay(run.peak_bytes, allocator.peak_reserved_bytes, run.peak_op, dict(run.phase_bytes), allocator.retries)


class _Run:
    """The steps of one graph on one allocator."""

    def __init__(self, graph: Graph, beside: Workspaces, allocator: CachingAllocator) -> None:
        self.allocator = allocator
        self.graph = graph
        self.kept = beside.kept
        self.needed = beside.needed
        self.wanted = beside.wanted
        self.peak_bytes, self.peak_op = 0, 0
        self.phase_bytes: dict[Phase, int] = {}
        self.sizes = [storage.nbytes for storage in graph.storages]
        self.blocks: list[Block | None] = [None] * len(self.sizes)
        count = len(graph.ops)
        self.made: list[list[int]] = [[] for _ in range(count)]
        self.dropped: list[list[int]] = [[] for _ in range(count + 1)]
        replaced: list[int] = []
        left: list[int] = []
        for number, storage in enumerate(graph.storages):
            if not storage.nbytes:
                continue
            if storage.freed_at is not None:
                self.dropped[min(storage.freed_at, count)].append(number)
            if storage.allocated_at is not None:
                self.made[storage.allocated_at].append(number)
                if storage.freed_at is None:
                    left.append(number)
            elif storage.freed_at is not None:
                replaced.append(number)
        self.successors = _successors(graph, replaced, left)
        heirs = set(self.successors.values())
        self.lost = [number for number in left if number not in heirs]

    def place_residents(self) -> None:
        """Allocate what is there before the first step."""
        for number, storage in enumerate(self.graph.storages):
            is_there = storage.allocated_at is None and storage.kind != "optimizer_state"
            if storage.nbytes and is_there and number not in self.successors:
                self.blocks[number] = self.allocator.allocate(storage.nbytes)

    def first_step(self) -> None:
        """Run the step that makes the optimizer's state."""
        states = [
            number
            for number, storage in enumerate(self.graph.storages)
            if storage.nbytes and storage.allocated_at is None and storage.kind == "optimizer_state"
        ]
        first = next((i for i, op in enumerate(self.graph.ops) if op.phase == "optimizer" and self._is_update(i)), 0)
        allocator, blocks = self.allocator, self.blocks
        for index, made in enumerate(self.made):
            for number in self.dropped[index]:
                self._drop(number)
            if index in self.kept:
                allocator.allocate(self.kept[index])
            if index == first:
                for number in states:
                    blocks[number] = allocator.allocate(self.sizes[number])
            for number in made:
                blocks[number] = allocator.allocate(self.sizes[number])
            own = self._workspace(index)
            if own is not None:
                allocator.free(own)
        for number in self.dropped[-1]:
            self._drop(number)

    def step(self) -> None:
        """Run a step like all others, and note its peaks."""
        allocator, blocks, sizes = self.allocator, self.blocks, self.sizes
        allocate = allocator.allocate
        self.peak_bytes, self.phase_bytes = allocator.allocated_bytes, {}
        phases = self.phase_bytes
        for index, op in enumerate(self.graph.ops):
            for number in self.dropped[index]:
                self._drop(number)
            for number in self.made[index]:
                blocks[number] = allocate(sizes[number])
            own = self._workspace(index)
            now = allocator.allocated_bytes
            if now > phases.get(op.phase, 0):
                phases[op.phase] = now
                if now > self.peak_bytes:
                    self.peak_bytes, self.peak_op = now, index
            if own is not None:
                allocator.free(own)
        for number in self.dropped[-1]:
            self._drop(number)

    def hand_over(self) -> None:
        """Let what a step left be what the next one finds; the rest is dropped."""
        for before, after in self.successors.items():
            self.blocks[before], self.blocks[after] = self.blocks[after], None
        for number in self.lost:
            self._drop(number)

    def _workspace(self, index: int) -> Block | None:
        """Return what an op takes for itself, or None if that is nothing or it makes do without."""
        if index in self.needed:
            return self.allocator.allocate(self.needed[index])
        if index in self.wanted:
            with suppress(OutOfDeviceMemory):
                return self.allocator.allocate(self.wanted[index])
        return None

    def _drop(self, number: int) -> None:
        block = self.blocks[number]
        if block is not None:  # what the first step would replace is not there yet
            self.blocks[number] = None
            self.allocator.free(block)

    def _is_update(self, index: int) -> bool:
        """Whether the op reads or writes a resident of the optimizer."""
        storages = self.graph.storages
        tensors = self.graph.ops[index].input_tensors()
        return any(t.storage is not None and storages[t.storage].kind == "optimizer_state" for t in tensors)


def _successors(graph: Graph, replaced: list[int], left: list[int]) -> dict[int, int]:
    """Return which storage a step leaves in the place of each that it finds and drops: gradients, the last loss."""
    waiting: dict[tuple[str, int], list[int]] = {}
    for number in reversed(left):
        storage = graph.storages[number]
        waiting.setdefault((storage.kind, storage.nbytes), []).append(number)
    pairs: dict[int, int] = {}
    for number in replaced:
        storage = graph.storages[number]
        like = waiting.get((storage.kind, storage.nbytes))
        if like:
            pairs[number] = like.pop()
    return pairs


__all__ = ["NO_LIFETIMES", "STEPS", "OutOfDeviceMemory", "Replay", "replay"]

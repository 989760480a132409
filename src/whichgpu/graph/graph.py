"""A graph: the ops of one training step in the order they run, and the storages their tensors live in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from whichgpu.graph.op import Op

Mode = Literal["eager", "fused"]
StorageKind = Literal["parameter", "gradient", "optimizer_state", "buffer", "input", "activation"]
STORAGE_KINDS: tuple[StorageKind, ...] = (
    "parameter",
    "gradient",
    "optimizer_state",
    "buffer",
    "input",
    "activation",
)


@dataclass(frozen=True, slots=True)
class Storage:
    """A piece of device memory.

    Attributes:
        nbytes: Its size in bytes, unrounded.
        kind: What it holds; "activation" is everything a step makes for itself, "buffer" what stays and is neither
            parameter, gradient nor optimizer state.
        allocated_at: Index of the op that made it; None if it was there before the step.
        freed_at: Index of the first op that runs after it was freed (the number of ops, if that is after the last);
            None if it outlives the step.
    """

    nbytes: int
    kind: StorageKind
    allocated_at: int | None = None
    freed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """The ops of one step and the memory they use.

    Attributes:
        ops: In the order they ran.
        storages: `Tensor.storage` is an index into this.
        mode: "eager" if each op launches kernels of its own, "fused" if a compiler merges them.
    """

    ops: tuple[Op, ...]
    storages: tuple[Storage, ...] = ()
    mode: Mode = "eager"

    def resident_bytes(self) -> int:
        """Bytes that are there before the step begins: parameters, optimizer state, kept gradients, buffers."""
        return sum(s.nbytes for s in self.storages if s.allocated_at is None)

    def live_bytes(self) -> Iterator[int]:
        """Yield the bytes alive while each op runs, in order; a walk over allocations and frees."""
        change = [0] * (len(self.ops) + 1)
        live = self.resident_bytes()
        for storage in self.storages:
            if storage.allocated_at is not None:
                change[storage.allocated_at] += storage.nbytes
            if storage.freed_at is not None:
                change[min(storage.freed_at, len(self.ops))] -= storage.nbytes
        for delta in change[: len(self.ops)]:
            live += delta
            yield live

    def peak_bytes(self) -> int:
        """Largest number of bytes alive at once: what the tensors need, before an allocator rounds and caches."""
        return max(self.live_bytes(), default=self.resident_bytes())

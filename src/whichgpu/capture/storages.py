"""The memory of the phantom GPU: which storages live, since when, until when."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING

import torch

from whichgpu.errors import CaptureError
from whichgpu.graph import Storage

if TYPE_CHECKING:
    from whichgpu.graph import Phase
    from whichgpu.graph.graph import StorageKind


def sparse_refusal(layout: torch.layout, name: str) -> CaptureError:
    """Return the error that says why `name` is not there for tensors of a sparse layout, and what to do."""
    return CaptureError(
        f"The phantom GPU has no {name} for tensors of layout {layout}: which elements they hold decides their work, "
        "and it has no values. Products with dense matrices, sums, softmax and arithmetic with numbers are there, "
        "between tensors of the same device. Pass messages over a sparse graph with index_add_ or scatter_add_ on its "
        "edges; keep what else is sparse on the CPU."
    )


class StorageLife:
    """One storage.

    Attributes:
        nbytes: Its size.
        allocated_at: Number of ops recorded when it was made; None if that was before recording.
        freed_at: Number of ops recorded when it was freed; None while it lives.
        kind: What it holds, if something is known; the first to know it decides.
        index: Its place in the graph, once an op has used it.
    """

    __slots__ = ("allocated_at", "freed_at", "index", "kind", "nbytes", "reference")

    def __init__(self, nbytes: int, allocated_at: int | None) -> None:
        self.nbytes = nbytes
        self.allocated_at = allocated_at
        self.freed_at: int | None = None
        self.kind: StorageKind | None = None
        self.index: int | None = None
        self.reference: weakref.ref[object] | None = None


class Storages:
    """All storages of a phantom GPU.

    Attributes:
        allocated_bytes: Bytes alive now.
        peak_bytes: Most bytes alive at once since the last `reset_peak`.
        clock: Number of ops recorded so far; None while nothing is recorded.
    """

    def __init__(self) -> None:
        self.allocated_bytes = 0
        self.peak_bytes = 0
        self.clock: int | None = None
        self._live: dict[int, StorageLife] = {}
        self._numbered: list[StorageLife] = []
        self._residents: list[StorageLife] = []

    def note(self, tensor: torch.Tensor) -> StorageLife:
        """Return the life of the storage under `tensor`, begun now if it is new."""
        if tensor.layout is not torch.strided:
            raise sparse_refusal(tensor.layout, "memory")
        storage = tensor.untyped_storage()
        # The address is good for a key as long as the storage lives; the weak reference drops it before it is reused.
        key = storage._cdata
        life = self._live.get(key)
        if life is None:
            life = StorageLife(storage.nbytes(), self.clock)
            life.reference = weakref.ref(storage, partial(self._freed, key))
            self._live[key] = life
            self.allocated_bytes += life.nbytes
            self.peak_bytes = max(self.peak_bytes, self.allocated_bytes)
        return life

    def index(self, tensor: torch.Tensor, phase: Phase) -> int:
        """Return the number the graph gives the storage under `tensor`, which an op of `phase` uses."""
        life = self.note(tensor)
        if life.index is None:
            life.index = len(self._numbered)
            self._numbered.append(life)
            if life.kind is None and life.allocated_at is None and phase == "forward":
                # There before the step, no parameter, no buffer of a module, and the forward pass reads it.
                life.kind = "input"
        return life.index

    def mark(self, tensor: torch.Tensor, kind: StorageKind) -> None:
        """Note what the storage under `tensor` holds, unless that is known already."""
        life = self.note(tensor)
        if life.kind is None:
            life.kind = kind

    def start(self) -> None:
        """Begin recording: what lives now was there before the step."""
        self.clock = 0
        self._numbered = []
        self._residents = list(self._live.values())
        for life in self._residents:
            life.allocated_at = life.freed_at = life.index = life.kind = None

    def stop(self) -> tuple[Storage, ...]:
        """End recording and return the storages in the order of their numbers, residents no op used last."""
        unused = [life for life in self._residents if life.index is None and life.nbytes]
        lives = [*self._numbered, *unused]
        self.clock = None
        self._residents = []
        return tuple(Storage(s.nbytes, _kind(s), s.allocated_at, s.freed_at) for s in lives)

    def reset_peak(self) -> None:
        """Forget the largest number of bytes so far."""
        self.peak_bytes = self.allocated_bytes

    def _freed(self, key: int, reference: object) -> None:
        life = self._live.pop(key)
        life.freed_at = self.clock
        self.allocated_bytes -= life.nbytes


def _kind(life: StorageLife) -> StorageKind:
    if life.kind is not None:
        return life.kind
    return "buffer" if life.allocated_at is None else "activation"

"""Copies between host and device."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration.probe import Scope, TransferProbe
from whichgpu.units import GIB, KIB, MIB

SIZES_BYTES = (64 * MIB, 4 * KIB, MIB, 256 * KIB, 16 * MIB, GIB)
_PART = 0.25


def probes(scope: Scope) -> Iterator[TransferProbe]:
    """Yield both directions of each size, page-locked memory first; nothing where there is no link."""
    if scope.is_cpu:
        return
    for nbytes in SIZES_BYTES[: 3 if scope.quick else None]:
        if nbytes <= scope.memory_bytes * _PART:
            for name in ("memcpy.h2d", "memcpy.d2h"):
                for pinned in (True, False):
                    yield TransferProbe(transfer(name, nbytes, pinned), pinned)


def transfer(name: str, nbytes: int, pinned: bool) -> Op:
    """Return a copy of bytes; of page-locked memory it does not block."""
    x = Tensor((nbytes,), "uint8")
    return Op(name, {"self": x}, (x,), {"non_blocking": True} if pinned else {})

"""How much of a device's memory a process can have: the capacity less what the driver and error correction keep."""

from __future__ import annotations

from whichgpu.devices.device import Device
from whichgpu.units import GIB

# Where a device's file does not say: share of the capacity that CUDA reports, by kind of memory. From devices whose
# file does (docs/devices.md): GDDR with error correction on, the default of datacenter boards, 0.918 to 0.926; GDDR
# without, 0.969 to 0.99; HBM, whose error correction has its own bits, 0.985 to 0.992.
_ECC_GDDR, _GDDR, _HBM = 0.92, 0.978, 0.987
_HBM_CAPABILITIES = frozenset({"6.0", "7.0", "8.0", "9.0", "10.0", "10.3"})
# What Metal lets a process hold of an Apple machine's memory, recommendedMaxWorkingSetSize: 11,453 MB of 16 GiB, 14,302
# of 18, 26,801 of 32, 30,151 of 36. Source: start-up lines of llama.cpp in public logs, 2026-11.
_APPLE_SMALL, _APPLE_LARGE = 2 / 3, 0.74
_APPLE_LARGE_FROM_BYTES = 16 * GIB
_OTHER = 0.97


def usable_bytes(device: Device) -> float | None:
    """Return the bytes one process can have on `device`; None if its capacity is not known."""
    if device.usable_memory_bytes is not None:
        return device.usable_memory_bytes
    if device.memory_bytes is None:
        return None
    return device.memory_bytes * _share(device)


def _share(device: Device) -> float:
    if device.segment == "apple":
        large = device.memory_bytes is not None and device.memory_bytes > _APPLE_LARGE_FROM_BYTES
        return _APPLE_LARGE if large else _APPLE_SMALL
    if device.vendor != "NVIDIA":
        return _OTHER if device.vendor != "AMD" else _HBM
    if device.compute_capability in _HBM_CAPABILITIES:
        return _HBM
    return _ECC_GDDR if device.segment == "datacenter" else _GDDR

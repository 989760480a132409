"""How much memory a job may still take on this machine, and how much a step has taken."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from whichgpu.units import KIB

# Part of the free memory a job may take; the rest is for the allocator's rounding and for other programs.
USABLE = 0.8
_UNLIMITED = 2**60  # cgroup v1 writes a number of this order for "no limit"


def available_host_bytes(root: Path = Path("/")) -> float | None:
    """Return the bytes this process can still take before the machine or its container runs out.

    The least of what the kernel calls available and of what each control group around the process leaves; half of
    what is installed where the system tells only that (macOS); None where it tells nothing.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    bounds = [*_meminfo(root), *_control_groups(root)]
    if bounds:
        return max(0.0, min(bounds))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (AttributeError, ValueError, OSError):
        return None


def available_bytes(device: str) -> float | None:
    """Return the bytes a job can still take on `device` ("cpu", "cuda", "cuda:1", "mps"); None if unknown."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return float(free)
    # The GPU of an Apple machine shares the host's memory.
    return available_host_bytes()


def _meminfo(root: Path) -> Iterator[float]:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == "MemAvailable":
                yield float(value.split()[0]) * KIB


def _control_groups(root: Path) -> Iterator[float]:
    """Yield what each control group of the process, of either version, leaves."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit, used = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = base / path.strip("/")
        # Inside a container the path may be the host's, of which only the mounted root is visible.
        for directory in (group, *group.parents):
            yield from _left(directory, limit, used)
            if directory == base:
                break


def _left(directory: Path, limit: str, used: str) -> Iterator[float]:
    with suppress(OSError, ValueError):
        most = int((directory / limit).read_text())  # "max" means no limit
        if most < _UNLIMITED:
            reclaimable = 0
            with suppress(OSError, ValueError):
                for line in (directory / "memory.stat").read_text().splitlines():
                    key, _, value = line.partition(" ")
                    if key in ("inactive_file", "total_inactive_file"):
                        reclaimable = max(reclaimable, int(value))
            yield float(most - int((directory / used).read_text()) + reclaimable)


class PeakMemory:
    """The most memory taken on a device since it was made.

    On the host this is the growth of the process; where the system cannot reset its high-water mark, an earlier peak
    makes the figure larger, never smaller.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(torch.device(device))
            self.before = float(torch.cuda.memory_allocated(torch.device(device)))
        else:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            self.before = _resident_bytes()

    def taken_bytes(self) -> float:
        """Return the bytes taken at most so far."""
        if self.device.startswith("cuda"):
            import torch

            return float(torch.cuda.max_memory_allocated(torch.device(self.device))) - self.before
        return max(0.0, _high_water_bytes() - self.before)


def _status_bytes(key: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return float(line.split()[1]) * KIB
    return None


def _resident_bytes() -> float:
    resident = _status_bytes("VmRSS")
    return _high_water_bytes() if resident is None else resident


def _high_water_bytes() -> float:
    high = _status_bytes("VmHWM")
    if high is not None:
        return high
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) * (1 if sys.platform == "darwin" else KIB)

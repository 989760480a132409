"""What the Linux control groups around this process allow it, in either version of their file tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_UNLIMITED = 2**60  # version 1 writes a number of this order for "no limit"


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many CPUs' worth of time the process may use; None if unlimited or unknown.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    quotas: list[float] = []
    for group, version in _groups(root, "cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            if version == 2:
                quota, period = (group / "cpu.max").read_text().split()  # "max 100000" means no limit
            else:
                quota = (group / "cpu.cfs_quota_us").read_text()  # -1 means no limit
                period = (group / "cpu.cfs_period_us").read_text()
            quotas.append(int(quota) / int(period))
    return min((q for q in quotas if q > 0), default=None)


def memory_limit_bytes(root: Path = Path("/")) -> float | None:
    """Return the memory the process may use; None if unlimited or unknown.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    limits: list[int] = []
    for group, version in _groups(root, "memory"):
        with suppress(OSError, ValueError):
            limits.append(int((group / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text()))
    return min((float(limit) for limit in limits if 0 < limit < _UNLIMITED), default=None)


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Yield the process's group of `controller` and those around it, with the version of their tree."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            base, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        group = base / path.strip("/")
        # Inside a container the path may be the host's, of which only the mounted root is visible.
        for directory in (group, *group.parents):
            yield directory, version
            if directory == base:
                break

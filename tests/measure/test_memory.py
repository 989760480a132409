"""Free memory, from recorded /proc and /sys files, and what a process takes."""

from __future__ import annotations

import gc
import mmap
from pathlib import Path

import pytest

from whichgpu.measure.memory import PeakMemory, available_bytes, available_host_bytes

# Recorded on a virtual machine with 24 GB.
MEMINFO = """\
MemTotal:       24656348 kB
MemFree:         9203176 kB
MemAvailable:   18423456 kB
Buffers:          104576 kB
Cached:          9034328 kB
SwapTotal:             0 kB
"""
AVAILABLE = 18_423_456 * 1024


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_kernel_s_figure(tmp_path: Path) -> None:
    assert available_host_bytes(machine(tmp_path, {})) == AVAILABLE


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # A container with 4 GiB of which 1 GiB is used, 256 MiB of that files that can be dropped.
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "4294967296\n",
                "sys/fs/cgroup/memory.current": "1073741824\n",
                "sys/fs/cgroup/memory.stat": "anon 805306368\ninactive_file 268435456\n",
            },
            3.25 * 2**30,
        ),
        # The limit stands two groups above the process.
        (
            {
                "proc/self/cgroup": "0::/jobs/mine/step\n",
                "sys/fs/cgroup/jobs/memory.max": "2147483648\n",
                "sys/fs/cgroup/jobs/memory.current": "1073741824\n",
                "sys/fs/cgroup/jobs/mine/step/memory.max": "max\n",
                "sys/fs/cgroup/jobs/mine/step/memory.current": "1000\n",
            },
            2**30,
        ),
        # Version 1, where a large number means no limit.
        (
            {
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/abc\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "3221225472\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1073741824\n",
            },
            2 * 2**30,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1073741824\n",
            },
            AVAILABLE,
        ),
        # A full container has nothing left, not less than nothing.
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "1073741824\n",
                "sys/fs/cgroup/memory.current": "2147483648\n",
            },
            0,
        ),
        # A limit above what the machine has does not add to it.
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "1099511627776\n",
                "sys/fs/cgroup/memory.current": "1\n",
            },
            AVAILABLE,
        ),
    ],
)
def test_control_groups(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    assert available_host_bytes(machine(tmp_path, files)) == expected


def test_where_the_kernel_tells_nothing_half_of_what_is_installed(tmp_path: Path) -> None:
    bytes_free = available_host_bytes(tmp_path)
    assert bytes_free is None or bytes_free > 2**28


def test_this_machine() -> None:
    free = available_bytes("cpu")
    assert free is None or 2**26 < free < 2**50


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the process's memory is read from /proc")
def test_what_a_step_takes_is_seen() -> None:
    # Tests before this one may have left much that is freed and only now given back, which would hide the growth.
    gc.collect()
    peak = PeakMemory("cpu")
    block = mmap.mmap(-1, 64 << 20)  # never out of what the process freed before
    block.write(b"x" * (64 << 20))
    taken = peak.taken_bytes()
    assert taken >= 60 << 20
    block.close()
    assert peak.taken_bytes() >= 60 << 20  # the peak stays

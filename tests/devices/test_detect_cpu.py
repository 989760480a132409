"""The processor of this machine, from readings recorded on other ones; expected figures are worked out by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.devices import recorded
from tests.devices.recorded import linux, write
from whichgpu.devices import this_cpu
from whichgpu.devices.cpu_reading import CpuReading, printed_by, read_cpu, read_linux, read_macos
from whichgpu.devices.detect_cpu import cpu_device
from whichgpu.devices.device import Device

TWO = frozenset({0, 1})


def of(root: Path, usable: frozenset[int] = TWO) -> Device:
    return cpu_device(read_linux(root, usable))


def test_a_xeon_in_a_virtual_machine(tmp_path: Path) -> None:
    cpu = of(linux(tmp_path, recorded.XEON_GUEST, 2))
    assert (cpu.name, cpu.short_name) == ("Intel(R) Xeon(R) Processor, 2 cores", "Intel Xeon, 2 cores")
    assert (cpu.vendor, cpu.segment, cpu.multiprocessors) == ("Intel", "cpu", 2)
    # 2 cores x 2.3 GHz x 64: two 512-bit FMA units.
    assert cpu.flops_per_s["fp32"] == pytest.approx(294.4e9)
    assert cpu.flops_per_s["bf16"] == pytest.approx(294.4e9)
    assert cpu.memory_bytes == 24684092 * 1024
    assert cpu.memory_bandwidth_bytes_per_s == pytest.approx(25.6e9)
    assert any("Bandwidth is assumed" in note for note in cpu.notes)


def test_amx_is_1024_flop_a_clock(tmp_path: Path) -> None:
    cpu = of(linux(tmp_path, recorded.XEON_GUEST.replace("avx512_bf16", "avx512_bf16 amx_bf16"), 2))
    assert cpu.flops_per_s["bf16"] == pytest.approx(2 * 2.3e9 * 1024)


def test_two_threads_of_one_core_are_one_core(tmp_path: Path) -> None:
    cpu = of(linux(tmp_path, recorded.EPYC_7R13_GUEST, 2))
    assert (cpu.name, cpu.vendor, cpu.architecture) == ("AMD EPYC 7R13 Processor, 1 core", "AMD", "Zen 3")
    # 1 core x 3.602592 GHz x 32: two 256-bit FMA units.
    assert cpu.flops_per_s == {"fp32": pytest.approx(115.283e9, rel=1e-5)}
    # The socket's 204.8 GB/s are shared by 48 cores.
    assert cpu.memory_bandwidth_bytes_per_s == pytest.approx(12.8e9)
    assert any("part of its cores" in note for note in cpu.notes)


def test_siblings_are_read_where_the_kernel_lists_them(tmp_path: Path) -> None:
    threads = {
        f"sys__devices__system__cpu__cpu{n}__topology__thread_siblings_list": f"{n % 2},{n % 2 + 2}" for n in range(4)
    }
    root = linux(tmp_path, recorded.XEON_GUEST, 4, **threads)
    assert read_linux(root, frozenset(range(4))).cores == 2
    assert read_linux(root, frozenset({0, 2})).cores == 1
    assert read_linux(root, frozenset({0, 1})).cores == 2


def test_a_whole_socket_has_the_bandwidth_of_its_device_file(tmp_path: Path) -> None:
    block = recorded.EPYC_7R13_GUEST.replace("core id\t\t: 0", "core id\t\t: {n}")
    cpu = of(linux(tmp_path, block, 48), frozenset(range(48)))
    assert cpu.memory_bandwidth_bytes_per_s == pytest.approx(204.8e9)
    assert any("1 x AMD EPYC 7R13" in note for note in cpu.notes)


def test_a_desktop_of_a_device_file(tmp_path: Path) -> None:
    block = recorded.EPYC_7R13_GUEST.replace("AMD EPYC 7R13 Processor", "AMD Ryzen 7 7700X 8-Core Processor")
    block = (
        block.replace("core id\t\t: 0", "core id\t\t: {n}")
        .replace("hypervisor ", "")
        .replace("avx2", "avx2 avx512f avx512_bf16")
    )
    cpu = of(
        linux(tmp_path, block, 8, sys__devices__system__cpu__cpu0__cpufreq__cpuinfo_max_freq="5400000"),
        frozenset(range(8)),
    )
    assert cpu.memory_bandwidth_bytes_per_s == pytest.approx(83.2e9)
    # 8 cores x 5.4 GHz x 32: Zen 4 passes 512 bits through 256-bit units, and has one 512-bit BF16 product a clock.
    assert cpu.flops_per_s == {"fp32": pytest.approx(1382.4e9), "bf16": pytest.approx(2764.8e9)}
    assert cpu.boost_clock_hz == 5.4e9
    assert any("highest clock" in note for note in cpu.notes)


def test_base_clocks_go_before_others(tmp_path: Path) -> None:
    named = recorded.XEON_GUEST.replace("Xeon(R) Processor", "Xeon(R) CPU @ 2.20GHz")
    root = linux(tmp_path, named, 2, sys__devices__system__cpu__cpu0__cpufreq__cpuinfo_max_freq="3800000")
    assert read_linux(root, TWO).base_clock_hz == 2.2e9
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "2100000\n")
    assert read_linux(root, TWO).base_clock_hz == 2.1e9
    assert read_linux(root, TWO).max_clock_hz == 3.8e9


def test_an_arm_core_is_named_by_its_part_number(tmp_path: Path) -> None:
    cpu = of(linux(tmp_path, recorded.CORTEX_A76, 4), frozenset(range(4)))
    assert (cpu.name, cpu.vendor, cpu.architecture) == ("ARM Cortex-A76, 4 cores", "other", "Cortex-A76")
    assert cpu.flops_per_s == {"fp32": 4 * 2e9 * 16}
    assert any("clock cannot be read" in note for note in cpu.notes)


def test_a_graviton_computes_in_bf16(tmp_path: Path) -> None:
    block = recorded.CORTEX_A76.replace("0xd0b", "0xd40").replace("asimddp", "asimddp sve i8mm bf16")
    cpu = of(linux(tmp_path, block, 2))
    assert cpu.flops_per_s == {"fp32": 2 * 2e9 * 32, "bf16": 2 * 2e9 * 128}
    assert cpu.memory_bandwidth_bytes_per_s == pytest.approx(25.6e9)


CGROUPS = [
    ({"proc__self__cgroup": "0::/job\n", "sys__fs__cgroup__job__cpuDOTmax": "150000 100000\n"}, 2, 4),
    ({"proc__self__cgroup": "0::/job\n", "sys__fs__cgroup__job__cpuDOTmax": "max 100000\n"}, 4, 4),
    ({"proc__self__cgroup": "0::/job/deeper\n", "sys__fs__cgroup__job__cpuDOTmax": "100000 100000\n"}, 1, 4),
    ({"proc__self__cgroup": "0::/hosts/path\n", "sys__fs__cgroup__cpuDOTmax": "300000 100000\n"}, 3, 4),
    ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpuDOTmax": "50000 100000\n"}, 1, 4),
    ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpuDOTmax": "garbage\n"}, 4, 4),
    ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpuDOTmax": "800000 100000\n"}, 4, 4),
    (
        {
            "proc__self__cgroup": "3:cpu,cpuacct:/job\n",
            "sys__fs__cgroup__cpu__job__cpuDOTcfs_quota_us": "200000\n",
            "sys__fs__cgroup__cpu__job__cpuDOTcfs_period_us": "100000\n",
        },
        2,
        4,
    ),
    (
        {
            "proc__self__cgroup": "3:cpu:/job\n",
            "sys__fs__cgroup__cpu__job__cpuDOTcfs_quota_us": "-1\n",
            "sys__fs__cgroup__cpu__job__cpuDOTcfs_period_us": "100000\n",
        },
        4,
        4,
    ),
]


@pytest.mark.parametrize(("files", "cores", "cpus"), CGROUPS)
def test_a_control_group_limits_the_cores(tmp_path: Path, files: dict[str, str], cores: int, cpus: int) -> None:
    reading = read_linux(linux(tmp_path, recorded.XEON_GUEST, cpus, **files), frozenset(range(cpus)))
    assert reading.cores == cores
    assert any("control group" in note for note in reading.notes) == (cores < cpus)


@pytest.mark.parametrize(
    ("line", "file", "text", "expected"),
    [
        ("0::/job", "sys/fs/cgroup/job/memory.max", "2147483648\n", 2**31),
        ("0::/job", "sys/fs/cgroup/job/memory.max", "max\n", 24684092 * 1024),
        ("4:memory:/job", "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1073741824\n", 2**30),
        ("4:memory:/job", "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n", 24684092 * 1024),
    ],
)
def test_a_control_group_limits_the_memory(tmp_path: Path, line: str, file: str, text: str, expected: float) -> None:
    root = linux(tmp_path, recorded.XEON_GUEST, 2)
    write(root, "proc/self/cgroup", line + "\n")
    write(root, file, text)
    assert of(root).memory_bytes == expected


def test_a_mac_has_its_performance_cores_and_the_memory_of_its_chip() -> None:
    cpu = cpu_device(read_macos(lambda name: recorded.M1.get(name, "")))
    assert (cpu.name, cpu.vendor, cpu.multiprocessors) == ("Apple M1, 4 cores", "Apple", 4)
    # 4 cores x 3.2 GHz x 32: four 128-bit FMA units.
    assert cpu.flops_per_s == {"fp32": pytest.approx(409.6e9)}
    assert cpu.memory_bandwidth_bytes_per_s == pytest.approx(68.25e9)
    assert cpu.memory_bytes == 2**34
    assert cpu.segment == "cpu"


def test_an_intel_mac() -> None:
    cpu = cpu_device(read_macos(lambda name: recorded.I7_9750H.get(name, "")))
    assert (cpu.vendor, cpu.short_name) == ("Intel", "Intel Core i7-9750H, 6 cores")
    # 6 cores x 2.6 GHz x 32: two 256-bit FMA units.
    assert cpu.flops_per_s == {"fp32": pytest.approx(499.2e9)}
    assert cpu.memory_bandwidth_bytes_per_s == pytest.approx(51.2e9)


# Vendor, family, model number, model, instruction sets: FP32 FLOP a clock.
WIDTHS = [
    ("GenuineIntel", 6, 85, "Intel(R) Xeon(R) Platinum 8259CL", {"avx2", "fma", "avx512f"}, 64),
    ("GenuineIntel", 6, 167, "11th Gen Intel(R) Core(TM) i7-11700K", {"avx2", "fma", "avx512f"}, 32),
    ("AuthenticAMD", 25, 97, "AMD Ryzen 7 7700X", {"avx2", "fma", "avx512f"}, 32),
    ("AuthenticAMD", 26, 68, "AMD Ryzen 7 9700X", {"avx2", "fma", "avx512f"}, 64),
    ("AuthenticAMD", 23, 49, "AMD EPYC 7R32", {"avx2", "fma"}, 32),
    ("AuthenticAMD", 23, 1, "AMD Ryzen 7 1700", {"avx2", "fma"}, 16),
    ("GenuineIntel", 6, 45, "Intel(R) Xeon(R) CPU E5-2670", {"avx"}, 16),
    ("GenuineIntel", 6, 23, "Intel(R) Core(TM)2 Duo", {"sse2"}, 8),
]


@pytest.mark.parametrize(("vendor", "family", "number", "model", "flags", "width"), WIDTHS)
def test_flop_a_clock(vendor: str, family: int, number: int, model: str, flags: set[str], width: int) -> None:
    reading = CpuReading(model, vendor, family, number, frozenset(flags), 1, 1e9)
    assert cpu_device(reading).flops_per_s["fp32"] == width * 1e9


def test_a_machine_that_tells_nothing_is_a_device_with_doubts(tmp_path: Path) -> None:
    for reading in (CpuReading(), read_linux(tmp_path, frozenset()), read_macos(lambda name: "")):
        cpu = cpu_device(reading)
        assert cpu.name.startswith("Unknown CPU, ")
        assert cpu.vendor == "other"
        assert cpu.flops_per_s["fp32"] > 0
        assert cpu.memory_bandwidth_bytes_per_s > 0
        assert len(cpu.notes) >= 3


def test_unreadable_text_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", "processor\t: zero\ncpu MHz: fast\n\n:::\n")
    write(tmp_path, "proc/meminfo", "MemTotal: plenty\n")
    assert of(tmp_path).memory_bytes is None


def test_this_machine_has_a_cpu() -> None:
    cpu = this_cpu()
    assert cpu is this_cpu()
    assert cpu.is_cpu
    assert cpu.multiprocessors is not None and 1 <= cpu.multiprocessors <= (os.cpu_count() or 1)
    assert cpu.source_date


@pytest.mark.parametrize("system", ["linux", "darwin", "win32", "freebsd14"])
def test_on_no_system_does_reading_fail(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert cpu_device(read_cpu()).flops_per_s["fp32"] > 0


def test_a_command_that_is_not_there_fails_or_hangs_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def run(*args: Any, **how: Any) -> None:
        assert how["timeout"] == 5
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    assert printed_by("no-such-program-here") == ""
    assert printed_by(sys.executable, "-c", "print('half'); raise SystemExit(9)") == ""
    assert printed_by(sys.executable, "-c", "print(' whole ')") == "whole"
    monkeypatch.setattr(subprocess, "run", run)
    assert printed_by("nvidia-smi") == ""

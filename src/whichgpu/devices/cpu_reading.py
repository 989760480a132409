"""What the operating system says of this machine's processor: read, not yet judged. Nothing here fails."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from whichgpu.devices.control_groups import cpu_quota, memory_limit_bytes
from whichgpu.units import GIGA, KIB, KILO, MEGA

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class CpuReading:
    """One machine's processor as its system describes it; None and empty are what it does not tell.

    Attributes:
        model: Model name as printed: "AMD EPYC 7R13 Processor".
        vendor_id: "GenuineIntel", "AuthenticAMD", an ARM implementer such as "0x41", "Apple".
        family: x86 family, or ARM part number.
        model_number: x86 model.
        flags: Instruction sets, in Linux' spelling.
        cores: Physical cores this process may use.
        base_clock_hz: Clock guaranteed under load, or the one the system states.
        max_clock_hz: Highest clock.
        memory_bytes: Memory this process may use.
        notes: What had to be assumed.
    """

    model: str = ""
    vendor_id: str = ""
    family: int | None = None
    model_number: int | None = None
    flags: frozenset[str] = frozenset()
    cores: int = 1
    base_clock_hz: float | None = None
    max_clock_hz: float | None = None
    memory_bytes: float | None = None
    notes: tuple[str, ...] = ()


def read_cpu() -> CpuReading:
    """Return what this machine's system tells of its processor."""
    system: str = sys.platform  # for the type checker, which knows only the one it runs on
    if system == "linux":
        return read_linux(Path("/"), usable_cpus())
    if system == "darwin":
        return read_macos(_sysctl)
    return read_windows() if system == "win32" else _read_portably()


def usable_cpus() -> frozenset[int]:
    """Return the numbers of the logical CPUs this process may run on."""
    if sys.platform == "linux":
        with suppress(OSError):
            return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def read_linux(root: Path, usable: frozenset[int]) -> CpuReading:
    """Return the reading of a Linux machine.

    Args:
        root: Where its ``proc`` and ``sys`` are.
        usable: Numbers of the logical CPUs the process may run on.
    """
    blocks = _cpuinfo(root)
    first = blocks[min(usable & blocks.keys(), default=next(iter(blocks), 0))] if blocks else {}
    cpufreq = root / "sys/devices/system/cpu" / f"cpu{min(usable, default=0)}" / "cpufreq"
    max_hz = _scaled(_text(cpufreq / "cpuinfo_max_freq"), KILO)
    stated_hz = max((hz for b in blocks.values() if (hz := _scaled(b.get("cpu MHz", ""), MEGA))), default=None)
    cores, notes = _linux_cores(root, usable, blocks)
    memory = [_meminfo_bytes(root), memory_limit_bytes(root)]
    model = first.get("model name") or first.get("Model") or first.get("Hardware") or ""
    base_hz = _scaled(_text(cpufreq / "base_frequency"), KILO) or _clock_in(model)
    return CpuReading(
        model=model,
        vendor_id=first.get("vendor_id", first.get("CPU implementer", "")),
        family=_integer(first.get("cpu family", first.get("CPU part", ""))),
        model_number=_integer(first.get("model", "")),
        flags=frozenset(first.get("flags", first.get("Features", "")).split()),
        cores=cores,
        # "cpu MHz" is the clock of this moment where cpufreq governs it, and the guest's fixed one where nothing does.
        base_clock_hz=base_hz or (None if max_hz else stated_hz),
        max_clock_hz=max_hz,
        memory_bytes=min((m for m in memory if m), default=None),
        notes=notes,
    )


def read_macos(sysctl: Callable[[str], str]) -> CpuReading:
    """Return the reading of a Mac; `sysctl` returns the value of a name, "" where there is none."""
    model = sysctl("machdep.cpu.brand_string")
    features = f"{sysctl('machdep.cpu.features')} {sysctl('machdep.cpu.leaf7_features')}".lower().replace(
        "avx1.0", "avx"
    )
    apple = model.startswith("Apple")
    cores = _integer(sysctl("hw.perflevel0.physicalcpu")) or _integer(sysctl("hw.physicalcpu")) or os.cpu_count() or 1
    return CpuReading(
        model=model,
        vendor_id="Apple" if apple else sysctl("machdep.cpu.vendor"),
        family=_integer(sysctl("machdep.cpu.family")),
        model_number=_integer(sysctl("machdep.cpu.model")),
        flags=frozenset({"asimd"} if apple else features.split()),
        cores=cores,
        base_clock_hz=_scaled(sysctl("hw.cpufrequency"), 1) or _clock_in(model),
        memory_bytes=_scaled(sysctl("hw.memsize"), 1),
        notes=("Its performance cores; the efficient ones are left out.",) if apple else (),
    )


def read_windows() -> CpuReading:
    """Return the reading of a Windows machine: name and clock of the registry, the rest as Python tells it."""
    import ctypes
    import importlib
    import platform

    model, clock_hz, flags = platform.processor(), None, {"sse2"}
    with suppress(OSError, AttributeError, ImportError):
        registry = importlib.import_module("winreg")
        with registry.OpenKey(
            registry.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        ) as processor:
            model = str(registry.QueryValueEx(processor, "ProcessorNameString")[0]).strip()
            clock_hz = float(registry.QueryValueEx(processor, "~MHz")[0]) * MEGA
    with suppress(AttributeError, OSError):
        # Numbers of IsProcessorFeaturePresent, from winnt.h. On other systems ctypes has no windll.
        windll: Any = getattr(ctypes, "windll", None)
        has = windll.kernel32.IsProcessorFeaturePresent
        flags |= ({"avx2", "fma"} if has(40) else set()) | ({"avx512f"} if has(41) else set())
    logical = os.cpu_count() or 1
    return CpuReading(
        model=model,
        vendor_id="AuthenticAMD" if "AMD" in model else "GenuineIntel" if "Intel" in model else "",
        flags=frozenset(flags),
        cores=max(1, logical // 2),
        base_clock_hz=clock_hz,
        notes=(f"Taken for half as many cores as its {logical} logical CPUs.",),
    )


def _read_portably() -> CpuReading:
    import platform

    logical = os.cpu_count() or 1
    return CpuReading(model=platform.processor(), cores=logical, notes=("Each logical CPU is taken for a core.",))


def _cpuinfo(root: Path) -> dict[int, dict[str, str]]:
    """Return the fields of /proc/cpuinfo by logical CPU; what stands apart from all CPUs is in each."""
    blocks: dict[int, dict[str, str]] = {}
    apart: dict[str, str] = {}
    for paragraph in _text(root / "proc/cpuinfo").split("\n\n"):
        pairs = (line.split(":", 1) for line in paragraph.splitlines() if ":" in line)
        fields = {key.strip(): value.strip() for key, value in pairs}
        number = _integer(fields.get("processor", ""))
        if number is None:
            apart |= fields
        else:
            blocks[number] = fields
    return {number: apart | fields for number, fields in blocks.items()}


def _clock_in(model: str) -> float | None:
    """Return the base clock Intel prints into its model names: "... CPU @ 2.30GHz"."""
    stated = re.search(r"@ ([\d.]+)\s?GHz", model)
    return _scaled(stated[1], GIGA) if stated else None


def _linux_cores(
    root: Path, usable: frozenset[int], blocks: Mapping[int, Mapping[str, str]]
) -> tuple[int, tuple[str, ...]]:
    """Return how many physical cores the process may keep busy, and what limits it."""
    cores = set()
    for number in usable:
        siblings = _text(root / f"sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        block = blocks.get(number, {})
        cores.add(siblings or (block.get("physical id"), block.get("core id", number)))
    count = len(cores) or 1
    quota = cpu_quota(root)
    if quota is not None and quota < count:
        return max(1, ceil(quota)), (f"A control group allows {quota:g} of {count} cores.",)
    return count, ()


def _meminfo_bytes(root: Path) -> float | None:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return _scaled(line.split()[1], KIB)
    return None


def printed_by(*command: str) -> str:
    """Return what a command prints; "" if it is not there, fails or hangs."""
    import subprocess

    with suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        return done.stdout.strip()
    return ""


def _sysctl(name: str) -> str:
    return printed_by("/usr/sbin/sysctl", "-n", name)


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""


def _integer(text: str) -> int | None:
    with suppress(ValueError):
        return int(text, 0)
    return None


def _scaled(text: str, factor: float) -> float | None:
    with suppress(ValueError):
        return float(text) * factor or None
    return None

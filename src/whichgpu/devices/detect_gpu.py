"""The GPUs of this machine, found without any framework; each is looked up by the exact name it reports."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from whichgpu.devices.cpu_reading import printed_by
from whichgpu.devices.detect_cpu import this_cpu
from whichgpu.devices.device import Device
from whichgpu.devices.find import find_device
from whichgpu.errors import UnknownNameError
from whichgpu.units import GIB, MIB


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A GPU as its driver describes it.

    Attributes:
        name: What the driver prints.
        memory_bytes: Its memory; None if not told.
    """

    name: str
    memory_bytes: float | None = None


def this_machine() -> tuple[Device, ...]:
    """Return the devices of this machine: its CPU, then each of its GPUs that a device file describes."""
    return (this_cpu(), *(device for reading in _gpus() if (device := known_gpu(reading))))


def unrecognised_gpus() -> tuple[str, ...]:
    """Return the names of this machine's GPUs that no device file describes."""
    return tuple(reading.name for reading in _gpus() if known_gpu(reading) is None)


def known_gpu(reading: GpuReading) -> Device | None:
    """Return the device that reports this name and has this memory; None if none does.

    Variants of different memory may report one name (RTX 4060 Ti, RTX 3060): such a one is looked up by that name and
    its memory, "NVIDIA GeForce RTX 4060 Ti 16GB".
    """
    names = [reading.name]
    if reading.memory_bytes:
        names.append(f"{reading.name} {round(reading.memory_bytes / GIB)}GB")
    for name in names:
        with suppress(UnknownNameError):
            device = find_device(name)
            if not device.is_cpu and _has_memory(device, reading):
                return device
    return None


def _has_memory(device: Device, reading: GpuReading) -> bool:
    """Whether the memory told is the device's, less what error correction and firmware take (a sixteenth on a T4)."""
    if not reading.memory_bytes or not device.memory_bytes:
        return True
    return 0.85 < reading.memory_bytes / device.memory_bytes < 1.1


@cache
def _gpus() -> tuple[GpuReading, ...]:
    system: str = sys.platform  # for the type checker, which knows only the one it runs on
    if system == "darwin":
        return apple_readings(printed_by("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"), _apple_gpu_report())
    return _nvml_readings() or nvidia_smi_readings(
        printed_by("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    )


def nvidia_smi_readings(output: str) -> tuple[GpuReading, ...]:
    """Return the GPUs of ``nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits``."""
    readings = []
    for line in output.splitlines():
        name, _, mebibytes = line.rpartition(",")
        # Its messages ("NVIDIA-SMI has failed because ...", "No devices were found") have no such last column.
        if name and re.fullmatch(r"[\d.]+|\[.*\]", mebibytes.strip()):
            memory = float(mebibytes) * MIB if mebibytes.strip()[0] != "[" else None
            readings.append(GpuReading(name.strip(), memory))
    return tuple(readings)


def apple_readings(chip: str, report: str) -> tuple[GpuReading, ...]:
    """Return the GPU of an Apple chip.

    Args:
        chip: What sysctl calls it: "Apple M2 Max".
        report: Of ``ioreg -rc AGXAccelerator -d1``, for the number of its cores.
    """
    cores = re.search(r'"gpu-core-count"\s*=\s*(\d+)', report)
    if not chip.startswith("Apple"):
        return ()
    return (GpuReading(f"{chip} ({cores[1]}-core GPU)" if cores else f"{chip} GPU"),)


def nvml_readings(nvml: Any) -> tuple[GpuReading, ...]:
    """Return the GPUs NVIDIA's management library tells of; none if there is no driver.

    Args:
        nvml: The module ``pynvml``.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    try:
        readings = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            name = nvml.nvmlDeviceGetName(handle)
            memory = None
            with suppress(nvml.NVMLError):
                memory = float(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            readings.append(GpuReading(name.decode() if isinstance(name, bytes) else name, memory))
        return tuple(readings)
    except nvml.NVMLError:
        return ()
    finally:
        nvml.nvmlShutdown()


def _nvml_readings() -> tuple[GpuReading, ...]:
    try:
        import pynvml
    except ImportError:
        return ()
    return nvml_readings(pynvml)


def _apple_gpu_report() -> str:
    return printed_by("/usr/sbin/ioreg", "-rc", "AGXAccelerator", "-d1")

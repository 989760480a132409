"""What the machine is that was measured: all that decides speed, nothing that tells whose it is.

Left out on purpose: host and user names, serial numbers, unique ids, paths.
"""

from __future__ import annotations

import platform
from typing import Any

from whichgpu.devices import this_cpu
from whichgpu.measure.calibration.power import PowerMeter
from whichgpu.measure.calibration.probe import Scope
from whichgpu.measure.memory import available_host_bytes
from whichgpu.measure.target import Target
from whichgpu.units import GIB, KILO, MEGA

# Compute capability from which matrix units know a format.
# Source: CUDA C++ Programming Guide 13, table "Technical Specifications per Compute Capability".
_FORMATS_FROM = {"bf16": (8, 0), "tf32": (8, 0), "fp8": (8, 9)}
_ASSUMED_HOST_BYTES = 4 * GIB


def machine_form(target: Target, meter: PowerMeter) -> dict[str, Any]:
    """Return the description of the machine, as JSON has it; what is not known is null."""
    import torch

    cpu = this_cpu()
    return {
        "device": {"name": target.name, "torch_device": target.device.partition(":")[0]} | _gpu(target, meter),
        "cpu": {"name": cpu.name, "cores": cpu.multiprocessors, "memory_bytes": cpu.memory_bytes},
        "software": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),  # its own type would need torch to be read
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
            "system": platform.system(),
            "kernel": platform.release(),
            "architecture": platform.machine(),
        },
        "settings": {
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "host_threads": torch.get_num_threads(),
        },
    }


def scope_of(target: Target, quick: bool) -> Scope:
    """Return what can be asked of a device."""
    import torch

    if not target.device.startswith("cuda"):
        free = available_host_bytes() or _ASSUMED_HOST_BYTES
        return Scope(True, ("fp32", "bf16"), free, quick)
    device = torch.device(target.device)
    capability = torch.cuda.get_device_capability(device)
    formats = [f for f in ("bf16", "fp16", "tf32", "fp32", "fp8") if capability >= _FORMATS_FROM.get(f, (0, 0))]
    return Scope(False, tuple(formats), float(torch.cuda.get_device_properties(device).total_memory), quick)


def cache_bytes(target: Target) -> float:
    """Return the last level of cache of a device, 0 if it is not told."""
    if not target.device.startswith("cuda"):
        return 0.0
    import torch

    return float(getattr(torch.cuda.get_device_properties(torch.device(target.device)), "L2_cache_size", 0))


def power_meter(target: Target) -> PowerMeter:
    """Return what reads the power of a device."""
    if not target.device.startswith("cuda"):
        return PowerMeter()
    import torch

    uuid = getattr(torch.cuda.get_device_properties(torch.device(target.device)), "uuid", None)
    return PowerMeter() if uuid is None else PowerMeter.of_gpu(str(uuid))


def _gpu(target: Target, meter: PowerMeter) -> dict[str, Any]:
    """Return what torch and the driver say of a GPU; nothing of a CPU."""
    if not target.device.startswith("cuda"):
        return {}
    import torch

    device = torch.device(target.device)
    properties = torch.cuda.get_device_properties(device)
    major, minor = torch.cuda.get_device_capability(device)
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return {
        "reported_name": torch.cuda.get_device_name(device),
        "compute_capability": f"{major}.{minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "free_memory_bytes": free_bytes,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
        "driver": _text(meter.ask_library("nvmlSystemGetDriverVersion")),
        "vbios": _text(meter.ask("nvmlDeviceGetVbiosVersion")),
        "power_limit_w": meter.scaled(1 / KILO, "nvmlDeviceGetEnforcedPowerLimit"),
        "default_power_limit_w": meter.scaled(1 / KILO, "nvmlDeviceGetPowerManagementDefaultLimit"),
        "idle_power_w": meter.scaled(1 / KILO, "nvmlDeviceGetPowerUsage"),
        "highest_sm_clock_hz": meter.scaled(MEGA, "nvmlDeviceGetMaxClockInfo", "NVML_CLOCK_SM"),
        "highest_memory_clock_hz": meter.scaled(MEGA, "nvmlDeviceGetMaxClockInfo", "NVML_CLOCK_MEM"),
        "temperature_c": meter.scaled(1.0, "nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
        "pcie_generation": meter.ask("nvmlDeviceGetCurrPcieLinkGeneration"),
        "pcie_lanes": meter.ask("nvmlDeviceGetCurrPcieLinkWidth"),
        "memory_error_correction": _first(meter.ask("nvmlDeviceGetEccMode")),
        "mig": _first(meter.ask("nvmlDeviceGetMigMode")),
    }


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)


def _first(value: Any) -> bool | None:
    """Return the current state of a pair (current, after the next start)."""
    return None if not value else bool(value[0])

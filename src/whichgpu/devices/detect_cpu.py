"""This machine's processor as a device: peaks from what its system says, and what had to be assumed in its notes."""

from __future__ import annotations

from datetime import date
from functools import cache
from math import ceil

from whichgpu.devices.cpu_reading import CpuReading, read_cpu
from whichgpu.devices.device import Device, NumberFormat, Vendor
from whichgpu.devices.find import find_device
from whichgpu.errors import UnknownNameError
from whichgpu.units import GIGA

# What one server core can ask of memory: 16 outstanding lines of 64 bytes at 80 ns, which is Little's law for the
# superqueue of Intel's server cores (Intel 64 and IA-32 Optimization Reference Manual, 2023).
CORE_BYTES_PER_S = 12.8 * GIGA
# Two channels of DDR4-3200 (JEDEC JESD79-4), what desktops and laptops since about 2019 have at least.
DESKTOP_BYTES_PER_S = 51.2 * GIGA
# Eight channels of DDR4-3200, what a socket of a server since about 2019 has at least.
SERVER_BYTES_PER_S = 204.8 * GIGA
_ASSUMED_CLOCK_HZ = 2 * GIGA
# Performance cores of the first chip of the line; later ones are clocked higher (Apple, 2020).
_APPLE_CLOCK_HZ = 3.2 * GIGA

_VENDORS: dict[str, Vendor] = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "Apple": "Apple", "0x61": "Apple"}
_SERVER_WORDS = ("Xeon", "EPYC", "Neoverse", "Graviton", "Altra")
# Part numbers of ARM's own cores (Linux, arch/arm64/include/asm/cputype.h): name, FP32 FLOP per clock, BF16 likewise.
# The rates: number of FMA pipes x lanes x 2, from ARM's software optimization guides.
_ARM_CORES: dict[int, tuple[str, int, int | None]] = {
    0xD08: ("Cortex-A72", 8, None),
    0xD0B: ("Cortex-A76", 16, None),
    0xD0C: ("Neoverse N1", 16, None),
    0xD40: ("Neoverse V1", 32, 128),
    0xD49: ("Neoverse N2", 16, 64),
    0xD4F: ("Neoverse V2", 32, 128),
}


@cache
def this_cpu() -> Device:
    """Return the processor of this machine, as far as this process may use it. Never fails: doubts stand in its notes.

    Peaks are physical cores x clock x FLOP per clock of the widest instruction set it reports. Bandwidth is the
    datasheet's where a device file has this processor, by exact name; a part of its cores gets what they can ask for.
    """
    return cpu_device(read_cpu())


def cpu_device(reading: CpuReading) -> Device:
    """Return the device a reading describes."""
    arm = _ARM_CORES.get(reading.family or 0) if reading.vendor_id == "0x41" else None
    model = " ".join(reading.model.split()) or (f"ARM {arm[0]}" if arm else "Unknown CPU")
    known = _known(model)
    clock_hz, clock_notes = _clock(reading, model)
    rates, rate_notes = _flops_per_clock(reading, model, arm)
    bandwidth, bandwidth_notes = _bandwidth(reading.cores, model, reading, known)
    cores = "1 core" if reading.cores == 1 else f"{reading.cores} cores"
    return Device(
        name=f"{model}, {cores}",
        short_name=f"{_shortened(model)}, {cores}",
        vendor=_VENDORS.get(reading.vendor_id, known.vendor if known else "other"),
        architecture=known.architecture if known else (arm[0] if arm else "unknown"),
        segment="cpu",
        flops_per_s={name: reading.cores * clock_hz * rate for name, rate in rates.items()},
        memory_bandwidth_bytes_per_s=bandwidth,
        memory_bytes=reading.memory_bytes,
        multiprocessors=reading.cores,
        boost_clock_hz=reading.max_clock_hz,
        process_nm=known.process_nm if known else None,
        source="what the operating system reports; peak = cores x clock x FLOP per clock",
        source_date=date.today().isoformat(),
        notes=(*reading.notes, *clock_notes, *rate_notes, *bandwidth_notes),
    )


def _known(model: str) -> Device | None:
    """Return the device with this processor's bandwidth: of an Apple chip that is the GPU, which shares the memory."""
    try:
        return find_device(model)
    except UnknownNameError:
        return None


def _clock(reading: CpuReading, model: str) -> tuple[float, tuple[str, ...]]:
    """Return the clock all cores hold under load, in Hz, and how it was found."""
    if reading.base_clock_hz:
        return reading.base_clock_hz, (f"Peaks hold at {reading.base_clock_hz / GIGA:.2f} GHz, the clock it states.",)
    if reading.max_clock_hz:
        ghz = reading.max_clock_hz / GIGA
        return reading.max_clock_hz, (f"Peaks hold at {ghz:.2f} GHz, its highest clock: under load it runs slower.",)
    if model.startswith("Apple"):
        return _APPLE_CLOCK_HZ, (
            f"Its clock cannot be read: {_APPLE_CLOCK_HZ / GIGA:g} GHz is assumed, that of an M1.",
        )
    return _ASSUMED_CLOCK_HZ, (f"Its clock cannot be read: {_ASSUMED_CLOCK_HZ / GIGA:g} GHz is assumed.",)


def _flops_per_clock(
    reading: CpuReading, model: str, arm: tuple[str, int, int | None] | None
) -> tuple[dict[NumberFormat, int], tuple[str, ...]]:
    """Return FLOP per clock and core by number format, a multiply-add counted as two."""
    flags = reading.flags
    rates: dict[NumberFormat, int]
    if arm:
        rates = {"fp32": arm[1]}
        if arm[2] and "bf16" in flags:
            rates["bf16"] = arm[2]
        return rates, ()
    if reading.vendor_id in ("Apple", "0x61"):
        return {"fp32": 32}, ("Four 128-bit FMA units a core; its matrix coprocessor is left out.",)
    if "asimd" in flags:
        return {"fp32": 16}, ("Two 128-bit FMA units a core are assumed.",)
    rates = {"fp32": _x86_fp32(reading, model)}
    if "amx_bf16" in flags:
        # A TDPBF16PS multiplies a 16x32 by a 32x16 tile in 16 clocks (Intel, Optimization Reference Manual, 2023).
        rates["bf16"] = 1024
    elif "avx512_bf16" in flags:
        # One 512-bit VDPBF16PS a clock (uops.info, Golden Cove and Zen 4); two on Zen 5, whose units are full-width.
        rates["bf16"] = 128 if _is_zen5(reading) else 64
    notes = () if flags else ("Its instruction sets cannot be read: SSE2 is assumed.",)
    return rates, notes


def _x86_fp32(reading: CpuReading, model: str) -> int:
    """Return FP32 FLOP per clock and core (stackoverflow.com/questions/15655835, read in 2026-11)."""
    amd = reading.vendor_id == "AuthenticAMD"
    if "avx512f" in reading.flags:
        # Two full-width units in servers and in Zen 5; Zen 4 and Intel's desktop parts pass 512 bits through 2 x 256.
        return 64 if _is_zen5(reading) or (not amd and "Xeon" in model) else 32
    if {"avx2", "fma"} <= reading.flags:
        halved = amd and reading.family == 23 and (reading.model_number or 0) < 0x30  # Zen 1 has 128-bit units
        return 16 if halved else 32
    return 16 if "avx" in reading.flags else 8


def _is_zen5(reading: CpuReading) -> bool:
    return reading.vendor_id == "AuthenticAMD" and (reading.family or 0) >= 26


def _bandwidth(cores: int, model: str, reading: CpuReading, known: Device | None) -> tuple[float, tuple[str, ...]]:
    """Return memory bandwidth in bytes/s, and by which rule."""
    asked = cores * CORE_BYTES_PER_S
    rule = f"{CORE_BYTES_PER_S / GIGA:g} GB/s for each core"
    if known is not None and known.is_cpu and known.multiprocessors:
        sockets = ceil(cores / known.multiprocessors)
        most = known.memory_bandwidth_bytes_per_s * sockets
        if asked < most:
            return asked, (f"Bandwidth is what a part of its cores can ask for: {rule}.",)
        return most, (f"Bandwidth is that of {sockets} x {known.name}, from its device file.",)
    if known is not None:
        return known.memory_bandwidth_bytes_per_s, (f"Bandwidth is that of the {known.name}, which shares its memory.",)
    if any(word in model for word in _SERVER_WORDS) or "hypervisor" in reading.flags:
        most = SERVER_BYTES_PER_S
        note = f"Bandwidth is assumed: {rule}, at most {most / GIGA:g} GB/s (eight channels of DDR4-3200)."
        return min(asked, most), (note,)
    note = f"Bandwidth is assumed: {DESKTOP_BYTES_PER_S / GIGA:g} GB/s (two channels of DDR4-3200)."
    return DESKTOP_BYTES_PER_S, (note,)


def _shortened(model: str) -> str:
    """Return a model name without trademarks and trailing words: "Intel Xeon E5-2686 v4"."""
    for mark in ("(R)", "(TM)", " CPU", " Processor"):
        model = model.replace(mark, "")
    return model.split(" @ ")[0].strip()

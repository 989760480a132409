"""A device: what a datasheet says of one accelerator or CPU, in SI units. Absent means unknown, never zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Vendor = Literal["NVIDIA", "AMD", "Intel", "Apple", "Google", "AWS", "other"]
Segment = Literal["datacenter", "workstation", "consumer", "laptop", "apple", "cpu"]
NumberFormat = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8"]


@dataclass(frozen=True, slots=True)
class Device:
    """One sold variant; "one device" is what a framework sees as one (of an MI250X: one of its two dies).

    Attributes:
        name: Its full name, unique.
        short_name: What tables print: "RTX 4090".
        vendor: Who designs it; "other" is none of these, or unknown.
        architecture: The vendor's name for it: "Ada".
        segment: Where it is sold.
        year: When it came out.
        aliases: Other exact names people use, compared without case.
        reported_names: What a driver or the operating system prints for it.
        flops_per_s: Dense peak by number format, accumulating in FP32; the matrix units' rate where it has them.
        memory_bytes: Capacity; None for a CPU, whose memory is what the machine has.
        usable_memory_bytes: What the driver reports as total: the capacity less what it and error correction keep.
        memory_bandwidth_bytes_per_s: Peak.
        multiprocessors: SMs, compute units, Xe cores, GPU cores or CPU cores.
        boost_clock_hz: Highest rated clock.
        l2_bytes: Last level of cache shared by all multiprocessors.
        tdp_w: Board or package power limit.
        process_nm: Manufacturing node, for the power model.
        link_bytes_per_s: To its peers (NVLink, Infinity Fabric), per direction.
        pcie_generation: Of the host link.
        pcie_lanes: Of the host link.
        unit: What one device is where that is not the whole board: "one of two dies".
        source: Where the figures come from.
        source_date: When they were taken, ISO.
        notes: Disagreements settled and doubts that remain.
    """

    name: str
    short_name: str
    vendor: Vendor
    architecture: str
    segment: Segment
    flops_per_s: Mapping[NumberFormat, float]
    memory_bandwidth_bytes_per_s: float
    source: str
    source_date: str
    year: int | None = None
    aliases: tuple[str, ...] = ()
    reported_names: tuple[str, ...] = ()
    memory_bytes: float | None = None
    usable_memory_bytes: float | None = None
    multiprocessors: int | None = None
    boost_clock_hz: float | None = None
    l2_bytes: float | None = None
    tdp_w: float | None = None
    process_nm: float | None = None
    compute_capability: str = ""
    link_bytes_per_s: float | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None
    unit: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def is_cpu(self) -> bool:
        """Whether it is a host processor."""
        return self.segment == "cpu"

    def ridge_point(self, number_format: NumberFormat = "fp32") -> float | None:
        """FLOP per byte at which compute and memory bandwidth take equally long; None if the peak is unknown."""
        peak = self.flops_per_s.get(number_format)
        return None if peak is None else peak / self.memory_bandwidth_bytes_per_s

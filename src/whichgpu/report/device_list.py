"""Devices as a table, and one device in full."""

from __future__ import annotations

from collections.abc import Sequence

from whichgpu.devices.device import Device
from whichgpu.offers.offer import Offer
from whichgpu.report.offer_list import price
from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import Line, numbered, ruled_table
from whichgpu.units import GIGA, MEGA, binary_bytes, si

_UNKNOWN = "–"


def render_devices(devices: Sequence[Device], this_machine: Sequence[Device], page: Page) -> str:
    """Return this machine's devices, then all others in groups of one architecture, one line each."""
    groups: dict[str, list[Device]] = {}
    for device in devices:
        groups.setdefault(f"{device.vendor} {device.architecture}", []).append(device)
    lines = [Line(("this machine",), "bold"), *(_line(d) for d in this_machine)]
    for title, group in groups.items():
        lines += [Line((title,), "bold", rule_above=True), *(_line(d) for d in group)]
    headings = (
        ("", "Device"),
        ("", "Year"),
        ("", "Memory"),
        ("Memory", "bandwidth"),
        ("fp32", "FLOP/s"),
        ("fp16", "FLOP/s"),
        ("Power", "limit"),
    )
    below = f"{len(devices)} devices. `whichgpu devices NAME` shows one with its sources. FLOP/s are dense peaks."
    return print_on(
        page, [ruled_table(headings, (False, *(True,) * 6), lines, folding=(0,)), numbered([("•", below)], "dim")]
    )


def _line(device: Device) -> Line:
    return Line(
        (
            device.short_name,
            _UNKNOWN if device.year is None else str(device.year),
            _bytes(device.memory_bytes),
            si(device.memory_bandwidth_bytes_per_s, "B/s"),
            _si(device.flops_per_s.get("fp32"), ""),
            _si(device.flops_per_s.get("fp16"), ""),
            _si(device.tdp_w, "W"),
        )
    )


def render_device(device: Device, offers: Sequence[Offer], page: Page) -> str:
    """Return all that is known of one device, with its sources, its doubts and who rents it out."""
    from rich.text import Text

    facts = [
        ("Short name", device.short_name),
        ("Also called", ", ".join(device.aliases)),
        ("Reported as", ", ".join(device.reported_names)),
        ("One device is", device.unit),
        ("Vendor", f"{device.vendor}, {device.architecture}, {device.segment}"),
        ("Year", "" if device.year is None else str(device.year)),
        *((f"Peak {name}", si(rate, "FLOP/s")) for name, rate in device.flops_per_s.items()),
        ("Memory", "" if device.memory_bytes is None else binary_bytes(device.memory_bytes)),
        ("Memory bandwidth", si(device.memory_bandwidth_bytes_per_s, "B/s")),
        ("Multiprocessors", "" if device.multiprocessors is None else f"{device.multiprocessors:,}"),
        ("Boost clock", "" if device.boost_clock_hz is None else f"{device.boost_clock_hz / MEGA:,.0f} MHz"),
        ("Last-level cache", "" if device.l2_bytes is None else binary_bytes(device.l2_bytes)),
        ("Power limit", "" if device.tdp_w is None else f"{device.tdp_w:,.0f} W"),
        ("Process", "" if device.process_nm is None else f"{device.process_nm:g} nm"),
        ("Compute capability", device.compute_capability),
        ("Link to peers", "" if device.link_bytes_per_s is None else f"{device.link_bytes_per_s / GIGA:,.0f} GB/s"),
        ("PCIe", _pcie(device)),
        ("Source", f"{device.source} ({device.source_date})"),
        *(("Note", note) for note in device.notes),
    ]
    rented = [("•", f"{o.provider} {o.sku}: {price(o)}/h, {_count(o)}, seen {o.observed}") for o in offers]
    rented = rented or [("•", "Nobody in the snapshot of prices rents it out.")]
    return print_on(
        page,
        [
            Text(device.name, "bold"),
            numbered([(label, text) for label, text in facts if text]),
            Text("Rented out by", "bold"),
            numbered(rented),
        ],
    )


def _count(offer: Offer) -> str:
    return "1 device" if offer.device_count == 1 else f"{offer.device_count} devices"


def _pcie(device: Device) -> str:
    if device.pcie_generation is None:
        return ""
    lanes = "" if device.pcie_lanes is None else f" x{device.pcie_lanes}"
    return f"{device.pcie_generation}.0{lanes}"


def _bytes(count: float | None) -> str:
    return _UNKNOWN if count is None else binary_bytes(count)


def _si(value: float | None, unit: str) -> str:
    return _UNKNOWN if value is None else si(value, unit).strip()

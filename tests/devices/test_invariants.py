"""What holds for every shipped device."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields
from datetime import date
from typing import get_args

import pytest

from whichgpu.devices import DEFAULT_DEVICES, devices, find_device
from whichgpu.devices.device import Device, NumberFormat, Segment, Vendor


def each(found: list[Device]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("device", found, ids=lambda d: d.short_name)


NVIDIA = [d for d in devices() if d.vendor == "NVIDIA"]
EVERY = each(list(devices()))
# Their FP32 peak is printed in round numbers, at a clock that is not.
ROUNDED = ("GB200", "B300", "GB300")


def test_there_are_at_least_120_from_the_vendors_people_ask_for() -> None:
    count = Counter(d.vendor for d in devices() if not d.is_cpu)
    assert len(devices()) >= 120
    assert count["NVIDIA"] >= 100
    assert min(count["AMD"], count["Apple"]) >= 10
    assert count["Intel"] >= 3
    assert sum(d.is_cpu for d in devices()) >= 15


def test_they_come_by_vendor_architecture_and_name() -> None:
    keys = [(d.vendor.casefold(), d.architecture.casefold(), d.name.casefold()) for d in devices()]
    assert keys == sorted(keys)


@EVERY
def test_words(device: Device) -> None:
    assert device.vendor in get_args(Vendor)
    assert device.segment in get_args(Segment)
    assert set(device.flops_per_s) <= set(get_args(NumberFormat))
    for text in (device.name, device.short_name, device.architecture, device.source, *device.aliases, *device.notes):
        assert text == text.strip() != ""
        assert "\n" not in text
    assert len(device.short_name) <= 20
    assert date(2026, 1, 1) <= date.fromisoformat(device.source_date) <= date.today()


@EVERY
def test_no_quantity_is_zero_or_negative(device: Device) -> None:
    numbers = [v for f in fields(device) if isinstance(v := getattr(device, f.name), int | float)]
    assert min([*numbers, *device.flops_per_s.values()]) > 0


@EVERY
def test_quantities_are_in_si_and_of_this_century(device: Device) -> None:
    """Bounds wide enough for every real device and too narrow for a slip of a unit."""
    assert 5e10 < device.flops_per_s["fp32"] < 5e14
    assert 1e10 < device.memory_bandwidth_bytes_per_s < 1e13
    assert device.year is not None and 2014 <= device.year <= 2026
    if device.memory_bytes is not None:
        assert 4 * 2**30 <= device.memory_bytes <= 512 * 2**30
    if device.boost_clock_hz is not None:
        assert 0.8e9 < device.boost_clock_hz < 6e9
    if device.l2_bytes is not None:
        assert 2**20 <= device.l2_bytes <= 2**29
    if device.tdp_w is not None:
        assert 50 <= device.tdp_w <= 1400
    if device.process_nm is not None:
        assert 3 <= device.process_nm <= 28
    if device.link_bytes_per_s is not None:
        assert 2e10 <= device.link_bytes_per_s <= 1e12


@EVERY
def test_a_gpu_has_memory_and_a_cpu_has_what_its_machine_has(device: Device) -> None:
    assert (device.memory_bytes is None) == device.is_cpu


@EVERY
def test_a_matrix_unit_is_no_slower_than_the_rest_of_the_device(device: Device) -> None:
    for name in ("tf32", "fp16", "bf16", "fp8"):
        if name in device.flops_per_s:
            assert device.flops_per_s[name] >= 0.99 * device.flops_per_s["fp32"], name


@EVERY
def test_the_ridge_point_is_that_of_a_real_machine(device: Device) -> None:
    """FP32 FLOP per byte: 2 (a server CPU) to 150 (a laptop GPU)."""
    ridge = device.ridge_point()
    assert ridge is not None and 2 < ridge < 150


@each([d for d in NVIDIA if d.boost_clock_hz])
def test_nvidia_fp32_is_two_flop_a_clock_for_each_core(device: Device) -> None:
    """NVIDIA's SMs have 64 FP32 cores (GP100, Volta, Turing, GA100), 128 or, in Kepler, 192."""
    assert device.multiprocessors and device.boost_clock_hz
    cores = device.flops_per_s["fp32"] / (2 * device.boost_clock_hz * device.multiprocessors)
    # Of datacenter boards some FP32 figures are printed at a lower clock than the highest.
    tolerance = 0.1 if device.short_name in ROUNDED else 0.05 if device.segment == "datacenter" else 0.01
    assert any(cores == pytest.approx(n, rel=tolerance) for n in (64, 128, 192)), cores


FORMATS = {
    "3.7": set(),
    "6.0": {"fp16"},
    "6.1": set(),
    "7.0": {"fp16"},
    "8.0": {"tf32", "fp16", "bf16", "int8"},
    "8.6": {"tf32", "fp16", "bf16", "int8"},
    "8.9": {"tf32", "fp16", "bf16", "int8", "fp8"},
    "9.0": {"tf32", "fp16", "bf16", "int8", "fp8"},
    "10.0": {"tf32", "fp16", "bf16", "int8", "fp8"},
    "12.0": {"tf32", "fp16", "bf16", "int8", "fp8"},
    "12.1": {"tf32", "fp16", "bf16", "int8", "fp8"},
}


@each(NVIDIA)
def test_nvidia_formats_are_those_of_the_compute_capability(device: Device) -> None:
    """By the table of tensor core data types in NVIDIA's CUDA C++ Programming Guide."""
    formats = set(device.flops_per_s) - {"fp32"}
    if device.compute_capability == "7.5":
        assert formats == (set() if "GTX" in device.name else {"fp16", "int8"})
    elif device.compute_capability == "10.3":
        assert formats - {"int8"} == {"tf32", "fp16", "bf16", "fp8"}
    else:
        assert formats == FORMATS[device.compute_capability]


# The Server edition's FP16 peak is at a lower clock than its boost.
@each([d for d in NVIDIA if "RTX" in d.name and d.short_name != "RTX PRO 6000 Server"])
def test_geforce_accumulates_in_fp32_at_half_the_rate(device: Device) -> None:
    """256 FMA a clock and SM in FP16, others 512: NVIDIA's Turing, GA102, Ada and RTX Blackwell whitepapers."""
    assert device.multiprocessors and device.boost_clock_hz
    fma = 256 if "GeForce" in device.name else 512
    peak = 2 * fma * device.multiprocessors * device.boost_clock_hz
    assert device.flops_per_s["fp16"] == pytest.approx(peak, rel=0.005)


@EVERY
def test_every_name_finds_it(device: Device) -> None:
    for name in (device.name, device.short_name, *device.aliases, *device.reported_names):
        assert find_device(name) is device
        assert find_device(f"  {name.upper()} ") is device


def test_names_are_unique_over_all_devices() -> None:
    owners: dict[str, set[str]] = {}
    for device in devices():
        for name in (device.name, device.short_name, *device.aliases, *device.reported_names):
            owners.setdefault(name.casefold(), set()).add(device.name)
    assert {name: found for name, found in owners.items() if len(found) > 1} == {}


def test_files_speak_of_no_bare_terabytes() -> None:
    """A device's notes are read by people: units stand after every quantity of watts, bytes or clocks."""
    for device in devices():
        for note in device.notes:
            assert not re.search(r"\d ?(TB|GB|MB|KB) ?s\b", note), (device.name, note)


def test_the_default_comparison() -> None:
    found = [find_device(name) for name in DEFAULT_DEVICES]
    assert [d.is_cpu for d in found] == [True] + [False] * 12
    assert len({d.name for d in found}) == 13
    assert found[0].multiprocessors == 8

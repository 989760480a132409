"""The shipped coefficients: every device has a family, every row a source, no share beyond what can be."""

from dataclasses import replace

import pytest

from tests.cost.examples import DEVICE, KINDS
from whichgpu.cost.family import efficiencies
from whichgpu.cost.group import Group
from whichgpu.cost.rates import Rates
from whichgpu.devices import devices, find_device
from whichgpu.graph import precision

ALL = efficiencies()
FAMILIES = [pytest.param(f, id=f.name) for f in ALL.families]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_within_reason_and_says_where_it_is_from(family):
    assert len(family.source) > 20
    assert {"fp16", "fp32"} <= set(family.matrix)
    # Above 1: chips that run above their rated clock, which no family of measured ones is alone in.
    assert all(0.3 < share < 1.6 for share in family.matrix.values())
    assert (0.2 if family.cpu else 0.4) < family.memory < 1.8
    # Threads of a CPU meet at the end of every kernel; a GPU is handed the next one meanwhile.
    assert 0.5e-6 < family.kernel_start_s < (5e-5 if family.cpu else 2e-5)
    for first, second in (("fp16", "tf32"), ("tf32", "fp32")):  # fewer bits, less energy
        if {first, second} <= set(family.picojoules_per_flop):
            assert family.picojoules_per_flop[first] < family.picojoules_per_flop[second]


def test_every_kind_has_its_figures():
    assert {name.partition(".")[0] for name in ALL.memory.entries} == set(KINDS)
    assert {"convolution", "attention", "rnn"} <= set(ALL.compute.entries)
    assert all(0.1 < share <= 1.2 for name, share in ALL.memory.entries.items() if "." not in name)
    assert {name.partition(".")[0] for name in ALL.reread.entries} == set(KINDS)
    for text in (ALL.model.source, ALL.host.source, *(s.basis for s in ALL.spreads.values())):
        assert len(text) > 20


def test_every_device_has_a_family():
    for device in devices():
        family = ALL.family_of(device)
        assert family.cpu == device.is_cpu
        assert family.vendor in ("", device.vendor)


def test_no_two_families_claim_the_same_devices():
    for pick in (lambda f: f.compute_capabilities, lambda f: [(f.vendor, a) for a in f.architectures]):
        claims = [claim for family in ALL.families for claim in pick(family)]
        assert len(claims) == len(set(claims))


def test_claimed_architectures_exist():
    known = {(d.vendor, d.architecture) for d in devices()}
    capabilities = {d.compute_capability for d in devices()}
    for family in ALL.families:
        assert {(family.vendor, a) for a in family.architectures} <= known, family.name
        assert not family.compute_capabilities or capabilities & set(family.compute_capabilities), family.name


def test_measured_devices_are_devices_of_the_family():
    for family in ALL.families:
        for name in family.measured_devices:
            assert ALL.family_of(find_device(name)) is family


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("NVIDIA A100 SXM4 80GB", "Ampere GA100"),
        ("NVIDIA GeForce RTX 3090", "Ampere GA10x"),
        ("NVIDIA GeForce RTX 5090", "Blackwell GB20x"),
        ("NVIDIA B200 SXM 180GB", "Blackwell GB100"),
        ("AMD Instinct MI300X", "CDNA3"),
    ],
)
def test_families_of_devices_that_share_a_marketing_name(name, family):
    assert ALL.family_of(find_device(name)).name == family


def test_a_device_nobody_has_described_gets_its_vendors_family_or_the_general_one():
    assert ALL.family_of(DEVICE).vendor == "NVIDIA"
    assert ALL.family_of(replace(DEVICE, vendor="Google", architecture="v5e")).vendor == ""


@pytest.mark.parametrize(
    ("name", "number_format", "share", "within"),
    [  # share of the datasheet peak large FP32 products reach, by NeuSight
        ("NVIDIA Tesla V100 PCIe 32GB", "fp32", 0.96, 0.15),
        ("NVIDIA A100 PCIe 80GB", "fp32", 0.90, 0.15),
        ("NVIDIA A100 PCIe 40GB", "fp32", 0.81, 0.15),
        ("NVIDIA Tesla T4", "fp32", 0.48, 0.15),
        ("NVIDIA H100 PCIe 80GB", "fp32", 0.75, 0.15),
        ("NVIDIA L4", "fp32", 0.28, 0.3),
    ],
)
def test_the_power_limit_gives_the_shares_of_the_peak_that_were_measured(name, number_format, share, within):
    device = find_device(name)
    rate = Rates.of(device, replace(precision("fp32"), convolution_tf32=False), ALL).rate(
        Group("matmul", "float32", frozenset())
    )
    reached = rate.flops_per_s * max(rate.tile_shares) / device.flops_per_s[number_format]
    assert reached == pytest.approx(share, rel=within)


def test_every_family_has_a_library_of_tiles_and_relatives_that_exist():
    names = {family.name for family in ALL.families}
    for family in ALL.families:
        assert family.tiles == "" or family.tiles in ALL.tiles
        assert family.like == "" or family.like in names - {family.name}


def test_releases_are_in_order():
    assert [s.until for s in ALL.software] == sorted(s.until for s in ALL.software)

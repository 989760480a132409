"""Names are exact: no parts of names, no other device instead, near names in the message."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgpu.devices import devices, find_device
from whichgpu.errors import UnknownNameError

TYPED = [
    ("4090", "NVIDIA GeForce RTX 4090"),
    ("rtx4090", "NVIDIA GeForce RTX 4090"),
    ("RTX 4090", "NVIDIA GeForce RTX 4090"),
    ("GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
    ("nvidia geforce rtx 4090", "NVIDIA GeForce RTX 4090"),
    ("RTX 4090 Laptop", "NVIDIA GeForce RTX 4090 Laptop"),
    ("2080 ti", "NVIDIA GeForce RTX 2080 Ti"),
    ("rtx-4070-ti-super", "NVIDIA GeForce RTX 4070 Ti SUPER"),
    ("RTX 3060", "NVIDIA GeForce RTX 3060 12GB"),
    ("t4", "NVIDIA Tesla T4"),
    ("h100", "NVIDIA H100 SXM5 80GB"),
    ("h100-sxm", "NVIDIA H100 SXM5 80GB"),
    ("H100 PCIe", "NVIDIA H100 PCIe 80GB"),
    ("H100 NVL", "NVIDIA H100 NVL 94GB"),
    ("a100", "NVIDIA A100 SXM4 80GB"),
    ("a100-80gb", "NVIDIA A100 SXM4 80GB"),
    ("A100 80GB", "NVIDIA A100 SXM4 80GB"),
    ("A100 40GB", "NVIDIA A100 SXM4 40GB"),
    ("A100 40GB PCIe", "NVIDIA A100 PCIe 40GB"),
    ("NVIDIA A100-PCIE-40GB", "NVIDIA A100 PCIe 40GB"),
    ("H200", "NVIDIA H200 SXM 141GB"),
    ("B200", "NVIDIA B200 SXM 180GB"),
    ("mi300x", "AMD Instinct MI300X"),
    ("7900 XTX", "AMD Radeon RX 7900 XTX"),
    ("M2 Max", "Apple M2 Max (38-core GPU)"),
    ("DGX Spark", "NVIDIA GB10 (DGX Spark)"),
    ("A6000", "NVIDIA RTX A6000"),
    ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada"),
    ("8-core desktop CPU", "AMD Ryzen 7 7700X"),
]


@pytest.mark.parametrize(("typed", "name"), TYPED)
def test_what_people_type(typed: str, name: str) -> None:
    assert find_device(typed).name == name


# Driver strings as they stand in public logs of nvidia-smi and torch.cuda.get_device_name.
REPORTED = [
    ("Tesla V100-SXM2-16GB", "V100 SXM2 16GB"),
    ("Tesla T4", "T4"),
    ("Tesla P100-PCIE-16GB", "P100 PCIe"),
    ("NVIDIA A10G", "A10G"),
    ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"),
    ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
    ("NVIDIA H100 80GB HBM3", "H100 SXM"),
    ("NVIDIA H100 PCIe", "H100 PCIe"),
    ("NVIDIA H200", "H200 SXM"),
    ("NVIDIA L40S", "L40S"),
    ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
    ("NVIDIA GeForce RTX 4060 Laptop GPU", "RTX 4060 Laptop"),
    ("AMD EPYC 7R13 Processor", "EPYC 7R13"),
]


@pytest.mark.parametrize(("reported", "short_name"), REPORTED)
def test_what_drivers_report(reported: str, short_name: str) -> None:
    assert find_device(reported).short_name == short_name


def test_forms_that_look_alike_are_different_devices() -> None:
    names = [
        "L4",
        "L40",
        "L40S",
        "A10",
        "A10G",
        "A100",
        "A100 40GB",
        "H100 SXM",
        "H100 PCIe",
        "H100 NVL",
        "RTX 4000 Ada",
    ]
    names += ["RTX A4000", "Quadro RTX 4000", "RTX PRO 4000", "RTX 6000 Ada", "RTX A6000", "Quadro RTX 6000"]
    names += ["RTX 3080 10GB", "RTX 3080 12GB", "RTX 3080 Ti", "RTX 3080 Laptop", "GB10", "MI250", "MI250X"]
    assert len({find_device(name).name for name in names}) == len(names)


# What was typed, a name that must be offered.
NEAR = [
    ("RTX 4091", "RTX 4090"),
    ("RTX 3080", "RTX 3080 10GB"),
    ("4060 Ti", "RTX 4060 Ti 16GB"),
    ("H100SXM", "H100 SXM"),
    ("L40 S", "L40S"),
    ("MI300", "MI300X"),
    ("A100 SXM5", "A100 80GB SXM"),
]


@pytest.mark.parametrize(("typed", "near"), NEAR)
def test_near_names_are_offered(typed: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_device(typed)
    assert near in caught.value.near
    assert f"No device is named {typed!r}" in str(caught.value)
    assert "`whichgpu devices`" in str(caught.value)


@pytest.mark.parametrize(
    "part", ["", " ", "RTX", "NVIDIA", "GeForce", "H10", "L", "Apple", "RTX 4090 24GB", "2x T4", "T4,"]
)
def test_a_part_of_a_name_is_no_name(part: str) -> None:
    with pytest.raises(UnknownNameError):
        find_device(part)


KNOWN = {name.casefold() for d in devices() for name in (d.name, d.short_name, *d.aliases, *d.reported_names)}


@given(st.text(max_size=40) | st.text(string.ascii_letters + string.digits + " -", max_size=12))
def test_no_random_text_is_a_device(text: str) -> None:
    if text.strip().casefold() in KNOWN:
        return
    with pytest.raises(UnknownNameError):
        find_device(text)


@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_a_name_with_a_letter_lost_is_that_name_no_more(name: str, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(name) - 1))
    shorter = name[:lost] + name[lost + 1 :]
    if shorter.strip() in KNOWN:
        return
    with pytest.raises(UnknownNameError):
        find_device(shorter)

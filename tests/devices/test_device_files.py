"""Device files are read strictly, and a complaint names the file, the device and the field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from whichgpu.devices import find_device, load_device_file
from whichgpu.errors import DeviceFileError

GOOD = """\
vendor = "NVIDIA"
architecture = "Ampere"

[shared]
process_nm = 8
pcie_generation = 4
source_date = "2026-01-31"

[[device]]
name = "NVIDIA GeForce RTX 3060 12GB"
short_name = "RTX 3060"
aliases = ["3060"]
reported_names = ["NVIDIA GeForce RTX 3060"]
unit = "one card"
year = 2021
segment = "consumer"
compute_capability = "8.6"
multiprocessors = 28
boost_clock_mhz = 1777
memory_gib = 12
memory_bandwidth_gb_per_s = 360
l2_mib = 3
tdp_w = 170
link_gb_per_s = 56.25
pcie_lanes = 16
tflops = { fp32 = 12.74, bf16 = 25.48 }
source = "a table"
notes = ["a doubt"]

[[device]]
name = "NVIDIA Small"
short_name = "Small"
segment = "laptop"
process_nm = 12
memory_bandwidth_gb_per_s = 100.5
tflops = { fp32 = 1 }
source = "a guess"
source_date = "2026-02-01"
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "ampere.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_field_is_read_in_si(tmp_path: Path) -> None:
    first, second = load_device_file(write(tmp_path, GOOD))
    assert first.name == "NVIDIA GeForce RTX 3060 12GB"
    assert (first.short_name, first.vendor, first.architecture) == ("RTX 3060", "NVIDIA", "Ampere")
    assert (first.segment, first.year, first.unit, first.compute_capability) == ("consumer", 2021, "one card", "8.6")
    assert (first.aliases, first.reported_names) == (("3060",), ("NVIDIA GeForce RTX 3060",))
    assert first.flops_per_s == {"fp32": 12.74e12, "bf16": 25.48e12}
    assert first.memory_bytes == 12_884_901_888
    assert first.memory_bandwidth_bytes_per_s == 360e9
    assert (first.multiprocessors, first.boost_clock_hz, first.l2_bytes) == (28, 1.777e9, 3_145_728)
    assert (first.tdp_w, first.process_nm, first.link_bytes_per_s) == (170, 8, 56.25e9)
    assert (first.pcie_generation, first.pcie_lanes) == (4, 16)
    assert (first.source, first.source_date, first.notes) == ("a table", "2026-01-31", ("a doubt",))
    assert (second.process_nm, second.pcie_generation, second.source_date) == (12, 4, "2026-02-01")


def test_what_is_absent_is_unknown(tmp_path: Path) -> None:
    _, second = load_device_file(write(tmp_path, GOOD))
    unknown = ("year", "memory_bytes", "multiprocessors", "boost_clock_hz", "l2_bytes", "tdp_w", "link_bytes_per_s")
    assert [getattr(second, name) for name in unknown] == [None] * 7
    assert second.pcie_lanes is None
    assert (second.aliases, second.reported_names, second.notes) == ((), (), ())
    assert "bf16" not in second.flops_per_s


FIRST = "ampere.toml, device 'RTX 3060': "
SMALL = "ampere.toml, device 'Small': "
# What stands in the good file, what replaces it, the start of the complaint, and words it must hold.
BROKEN = [
    ("= 360\n", "= -3\n", FIRST + "memory_bandwidth_gb_per_s is -3; expected a number above 0."),
    ("= 360\n", "= 0\n", FIRST + "memory_bandwidth_gb_per_s is 0; expected a number above 0."),
    ("= 360\n", '= "360"\n', FIRST + "memory_bandwidth_gb_per_s is '360'; expected a number above 0."),
    ("= 360\n", "= inf\n", FIRST + "memory_bandwidth_gb_per_s is inf; expected a number above 0."),
    ("= 360\n", "= nan\n", FIRST + "memory_bandwidth_gb_per_s is nan; expected a number above 0."),
    ("= 360\n", "= true\n", FIRST + "memory_bandwidth_gb_per_s is True; expected a number above 0."),
    ("memory_bandwidth_gb_per_s = 360\n", "", FIRST + "memory_bandwidth_gb_per_s is missing"),
    ("memory_gib = 12", "memory_gb = 12", FIRST + "memory_gb is no field; expected one of name, "),
    ("memory_gib = 12", "memory_gib = 0", FIRST + "memory_gib is 0; expected a number above 0."),
    (
        "multiprocessors = 28",
        "multiprocessors = 28.5",
        FIRST + "multiprocessors is 28.5; expected a whole number above 0.",
    ),
    ("multiprocessors = 28", "multiprocessors = 0", FIRST + "multiprocessors is 0; expected a whole number above 0."),
    ("pcie_lanes = 16", "pcie_lanes = true", FIRST + "pcie_lanes is True; expected a whole number above 0."),
    ("fp32 = 12.74,", "fp32 = 0.0,", FIRST + "tflops.fp32 is 0.0; expected a number above 0."),
    (
        "fp32 = 12.74,",
        "",
        FIRST + "tflops is {'bf16': 25.48}; expected a table of peaks by number format, fp32 among them.",
    ),
    (
        "bf16 = 25.48",
        "fp64 = 0.2",
        FIRST + "tflops.fp64 is no field; expected one of fp32, tf32, fp16, bf16, fp8, int8.",
    ),
    ("{ fp32 = 1 }", "1", SMALL + "tflops is 1; expected a table of peaks"),
    ('"consumer"', '"gaming"', FIRST + "segment is 'gaming'; expected one of datacenter, workstation, consumer, "),
    ('segment = "consumer"\n', "", FIRST + "segment is missing"),
    ('["3060"]', '"3060"', FIRST + "aliases is '3060'; expected a list of texts."),
    ('["3060"]', "[3060]", FIRST + "aliases is [3060]; expected a list of texts."),
    ('["a doubt"]', '[" "]', FIRST + "notes is [' ']; expected a list of texts."),
    ('source = "a table"\n', "", FIRST + "source is missing"),
    ('"a table"', '""', FIRST + "source is ''; expected text."),
    ('"2026-01-31"', '"January"', FIRST + "source_date is 'January'; expected a day such as \"2026-01-31\"."),
    ('source_date = "2026-01-31"\n', "", FIRST + "source_date is missing"),
    ('name = "NVIDIA Small"\n', "", SMALL + "name is missing"),
    ('name = "NVIDIA Small"\nshort_name = "Small"\n', "", "ampere.toml, device 2: name is missing"),
    ('short_name = "Small"', "short_name = 7", "ampere.toml, device 7: short_name is 7; expected text."),
    ("process_nm = 8", "process_nm = -8", FIRST + "process_nm is -8; expected a number above 0."),
    ("process_nm = 8", 'aliases = ["x"]', "ampere.toml, [shared]: aliases is no field"),
    ("process_nm = 8", "watts = 8", "ampere.toml, [shared]: watts is no field"),
    ('vendor = "NVIDIA"', 'vendor = "Nvidia"', "ampere.toml: vendor is 'Nvidia'; expected one of NVIDIA, AMD, "),
    ('vendor = "NVIDIA"\n', "", "ampere.toml: vendor is missing"),
    ('architecture = "Ampere"', "", "ampere.toml: architecture is missing"),
    ('architecture = "Ampere"', 'arch = "Ampere"', "ampere.toml: arch is no field"),
    ("[shared]", "[[shared]]", "ampere.toml: shared is ["),
    ('vendor = "NVIDIA"', "vendor = NVIDIA", "ampere.toml: is not TOML: "),
    (GOOD[GOOD.index("[[device]]") :], "", "ampere.toml: device is missing"),
    (
        GOOD[GOOD.index("[shared]") :],
        "device = []",
        "ampere.toml: device is []; expected one [[device]] table or more.",
    ),
]


@pytest.mark.parametrize(("old", "new", "complaint"), BROKEN, ids=lambda text: text[:40])
def test_a_broken_file(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(DeviceFileError) as caught:
        load_device_file(write(tmp_path, GOOD.replace(old, new, 1)))
    assert str(caught.value).startswith(complaint), caught.value


@pytest.mark.parametrize("name", ["NVIDIA Small", "rtx 3060", "3060", "nvidia geforce rtx 3060"])
def test_two_devices_of_one_name(tmp_path: Path, name: str) -> None:
    text = GOOD.replace('short_name = "Small"', f'short_name = "Small"\naliases = ["{name}"]')
    if name == "NVIDIA Small":
        text = text.replace('["3060"]', '["3060", "nvidia small"]')
    with pytest.raises(DeviceFileError) as caught:
        load_device_file(write(tmp_path, text))
    message = str(caught.value)
    assert message.startswith("ampere.toml: ")
    assert "'NVIDIA GeForce RTX 3060 12GB'" in message and "'NVIDIA Small'" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DeviceFileError, match=r"none\.toml: cannot be read: No such file"):
        load_device_file(tmp_path / "none.toml")
    with pytest.raises(DeviceFileError, match="cannot be read"):
        load_device_file(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DeviceFileError, match=r"bytes\.toml: is not TOML"):
        load_device_file(str(tmp_path / "bytes.toml"))


DOCUMENT = Path(__file__).parents[2] / "docs" / "devices.md"


def test_the_example_of_the_documentation_is_a_device_file(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (device,) = load_device_file(write(tmp_path, example))
    shipped = find_device(device.short_name)
    assert (device.name, device.flops_per_s) == (shipped.name, shipped.flops_per_s)
    assert device.memory_bandwidth_bytes_per_s == shipped.memory_bandwidth_bytes_per_s


def test_every_field_is_documented(tmp_path: Path) -> None:
    """The complaint about an unknown field lists them all."""
    with pytest.raises(DeviceFileError) as caught:
        load_device_file(write(tmp_path, GOOD.replace("tdp_w", "watts")))
    fields = str(caught.value).partition("expected one of ")[2].rstrip(".").split(", ")
    table = DOCUMENT.read_text(encoding="utf-8").partition("| field |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == {*fields, "vendor", "architecture"}

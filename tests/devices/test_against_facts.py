"""Every collected device is in the data files with the figures collected, or stands here with the reason why not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from whichgpu.devices import devices, find_device
from whichgpu.devices.device import Device
from whichgpu.errors import UnknownNameError

FACTS = Path(__file__).parents[3] / "shared" / "facts" / "devices.csv"

LEFT_OUT = {
    "Gaudi 2": "no figure but its memory could be sourced",
    "Apple M3 Ultra (80-core GPU)": "nobody states an FP32 rate",
    "Google TPU v2 (chip)": "neither FP32 nor bandwidth is stated",
    "Google TPU v3 (chip)": "neither FP32 nor bandwidth is stated",
    "Google TPU v4 (chip)": "neither FP32 nor bandwidth is stated",
    "Google TPU v5e (chip)": "no FP32 rate is stated",
    "Google TPU v5p (chip)": "no FP32 rate is stated",
    "Google TPU v6e Trillium (chip)": "no FP32 rate is stated",
    "Google TPU v7 Ironwood (chip)": "neither FP32 nor bandwidth is stated",
}
# Sold as a card of two, seen as two devices: one device has half.
HALVES = ("Instinct MI250", "Instinct MI250X", "Data Center GPU Max 1550")
# Device, column: the figure of ours in the column's unit, and why it is another.
CHANGED = {
    ("Tesla K80 (per GPU, card has 2)", "tdp_w"): (150, "the row has the card's"),
    ("A16 (per GPU, card has 4)", "tdp_w"): (62.5, "the row has the card's"),
    ("A10G", "tdp_w"): (300, "the row leaves it out, its note gives the limit nvidia-smi shows"),
    ("Tesla P100 PCIe 16GB", "fp16_tensor_tflops"): (
        19.05,
        "GP100 runs FP16 at twice FP32, though not in matrix units",
    ),
    ("Tesla P100 SXM2 16GB", "fp16_tensor_tflops"): (21.2, "GP100 runs FP16 at twice FP32, though not in matrix units"),
    ("Arc A770 16GB", "memory_bw_gbs"): (560, "512 is the 8 GB board"),
    ("Intel Xeon Platinum 8488C", "bf16_tensor_tflops"): (
        117.96,
        "AMX does 1024 FLOP a clock in BF16, the row has 2048",
    ),
    ("Intel Xeon Platinum 8480+", "bf16_tensor_tflops"): (
        114.69,
        "AMX does 1024 FLOP a clock in BF16, the row has 2048",
    ),
    ("Intel Xeon 2.2 GHz (Colab CPU, 2 vCPU = 1 core)", "memory_bw_gbs"): (12.8, "what one core can ask for"),
    **{
        (f"Instinct {name}", "l2_mb"): (256, "the last level of cache is the Infinity Cache")
        for name in ("MI300A", "MI300X", "MI325X", "MI350X", "MI355X")
    },
    ("Radeon RX 7900 XTX", "l2_mb"): (96, "the last level of cache is the Infinity Cache"),
    ("Radeon RX 7900 XT", "l2_mb"): (80, "the last level of cache is the Infinity Cache"),
    ("Radeon RX 9070 XT", "l2_mb"): (64, "the last level of cache is the Infinity Cache"),
}
OURS_ALONE = {
    "AMD Ryzen 7 7700X": "the eight-core desktop CPU of the default comparison",
    **dict.fromkeys(
        (
            "NVIDIA GeForce RTX 2070 with Max-Q Design",
            "NVIDIA GeForce RTX 2080 with Max-Q Design",
            "NVIDIA GeForce RTX 2080 SUPER with Max-Q Design",
            "NVIDIA Tesla V100 SXM3 32GB",
            "NVIDIA Tesla V100 SXM3 32GB (DGX-2H, 450 W)",
            "Intel Core i9-10940X",
            "Intel Core i7-12700H (6P only)",
        ),
        "there are published timings on it",
    ),
}
PER_CARD = ("sms", "tdp_w", "memory_gb", "memory_bw_gbs", "l2_mb")

pytestmark = pytest.mark.skipif(not FACTS.exists(), reason=f"the collected devices are not at {FACTS}")


def rows() -> list[dict[str, str]]:
    if not FACTS.exists():
        return []
    with FACTS.open(newline="") as lines:
        return list(csv.DictReader(lines))


def ours(device: Device) -> dict[str, float | None]:
    """Return a device's figures under the names and in the units of the collected ones."""
    peaks = {name: None if rate is None else rate / 1e12 for name, rate in _peaks(device).items()}
    return {
        "release_year": device.year,
        "sms": device.multiprocessors,
        "boost_clock_mhz": _per(device.boost_clock_hz, 1e6),
        "fp32_tflops": peaks["fp32"],
        "tf32_tensor_tflops": peaks["tf32"],
        "fp16_tensor_tflops": peaks["fp16"],
        "bf16_tensor_tflops": peaks["bf16"],
        "fp8_tflops": peaks["fp8"],
        "int8_tops": peaks["int8"],
        "memory_gb": _per(device.memory_bytes, 2**30),
        "memory_bw_gbs": device.memory_bandwidth_bytes_per_s / 1e9,
        "l2_mb": _per(device.l2_bytes, 2**20),
        "tdp_w": device.tdp_w,
        "nvlink_gbs": _per(device.link_bytes_per_s, 1e9),
        "pcie_gen": device.pcie_generation,
        "pcie_lanes": device.pcie_lanes,
    }


def _peaks(device: Device) -> dict[str, float | None]:
    return {name: device.flops_per_s.get(name) for name in ("fp32", "tf32", "fp16", "bf16", "fp8", "int8")}  # type: ignore[call-overload]


def _per(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_a_collected_device(row: dict[str, str]) -> None:
    name = row["name"]
    if name in LEFT_OUT:
        with pytest.raises(UnknownNameError):
            find_device(name)
        return
    device = find_device(name)
    assert device.vendor == row["vendor"]
    for column, found in ours(device).items():
        expected = float(row[column]) if row[column] else None
        if (name, column) in CHANGED:
            expected = CHANGED[name, column][0]
        elif name in HALVES and expected is not None and (column in PER_CARD or column.endswith(("flops", "tops"))):
            expected /= 2
        if row["vendor"] == "Apple" and column == "fp16_tensor_tflops":
            expected = float(row["fp32_tflops"])  # the collection's own reading of its sources
        assert found == (None if expected is None else pytest.approx(expected, rel=1e-3)), column


def test_the_lists_of_exceptions_hold_nothing_else() -> None:
    table = {row["name"]: row for row in rows()}
    assert set(LEFT_OUT) | set(HALVES) | {name for name, _ in CHANGED} <= set(table)
    for (name, column), (value, _) in CHANGED.items():
        assert table[name][column] == "" or float(table[name][column]) != value


def test_we_know_no_more_than_was_collected() -> None:
    collected = {find_device(row["name"]).name for row in rows() if row["name"] not in LEFT_OUT}
    assert {d.name for d in devices()} - collected == set(OURS_ALONE)

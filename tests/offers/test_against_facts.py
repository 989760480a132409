"""Every collected price is carried over, or is in a list that says why not."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import pytest

from whichgpu.devices import find_device
from whichgpu.offers import Offer, offers

FACTS = Path(__file__).parents[3] / "shared" / "facts" / "offers.csv"
PROVIDERS = {
    "AWS": "AWS EC2",
    "GCP": "Google Cloud",
    "OCI": "Oracle Cloud",
    "Verda (DataCrunch)": "Verda",
    "DigitalOcean (Paperspace)": "DigitalOcean",
    "Paperspace (via Shadeform)": "Paperspace",
}
# Provider, start of the SKU, device: why no offer carries this row.
LEFT_OUT = {
    ("GCP", "GPU component only", ""): "a part of a machine, not rentable alone",
    ("GCP", "a3-highgpu-1g", ""): "sold as spot or flex-start only, not on demand",
    ("Azure", "NV6ads_A10_v5", ""): "a sixth of an A10, which is no device of ours",
    ("SF Compute", "market", ""): "no on-demand price",
    ("Vast.ai", "median of verified", ""): "tells the spread of the H100 SXM range, whose notes carry it",
    ("Google Colab", "T4 (2024)", ""): "obsolete rate",
    ("Google Colab", "V100 (2024)", ""): "obsolete rate",
    ("Google Colab", "L4 (2024)", ""): "obsolete rate",
    ("Google Colab", "A100 (2024)", ""): "obsolete rate",
    ("Google Colab", "H100", ""): "its source gives the obsolete rates of 2024 for every other GPU",
    ("Nebius", "", "H100 SXM5 80GB"): "rose to $4.50 by 2026-10-24",
    ("Nebius", "", "H200 SXM 141GB"): "rose to $5.40 by 2026-10-24",
    ("Vultr", "vcg-l40s", ""): "rose to $1.671 by 2026-10-04",
}
# Provider, device as collected, its GPU column: the device it is.
CORRECTED = {("Hyperstack", "A100 SXM4 80GB", "A100 NVLink"): "A100 PCIe 80GB"}

pytestmark = pytest.mark.skipif(not FACTS.exists(), reason=f"the collected prices are not at {FACTS}")


def rows() -> list[dict[str, str]]:
    with FACTS.open(newline="") as lines:
        return list(csv.DictReader(lines))


def left_out(row: dict[str, str]) -> bool:
    return any(
        row["provider"] == provider and row["sku"].startswith(sku) and (not device or row["device"] == device)
        for provider, sku, device in LEFT_OUT
    )


def carries(offer: Offer, row: dict[str, str]) -> bool:
    """Whether `offer` says what `row` says; an eight of bare metal is priced there by the GPU."""
    device = CORRECTED.get((row["provider"], row["device"], row["gpu"]), row["device"])
    same_device = offer.device == find_device(device).name if device else offer.device_count == 0
    by_the_device = row["provider"] == "OCI" and offer.device_count > 0
    price = offer.usd_per_h / offer.device_count if by_the_device else offer.usd_per_h
    day = re.fullmatch(r"\d{4}-\d{2}-\d{2}", row["date_observed"])
    return (
        offer.provider == PROVIDERS.get(row["provider"], row["provider"])
        and same_device
        and (by_the_device or offer.device_count == int(row["gpu_count"]))
        and math.isclose(price, float(row["usd_per_hour_on_demand"]), rel_tol=2e-3)
        and (not day or offer.observed.isoformat() == row["date_observed"])
        and (not row["usd_per_hour_spot"] or offer.usd_per_h_spot == float(row["usd_per_hour_spot"]))
        and (not row["vcpus"] or offer.vcpus == int(row["vcpus"]))
        and (not row["ram_gb"] or offer.ram_bytes == float(row["ram_gb"]) * 2**30)
    )


def test_every_collected_price_is_carried_or_left_out_for_a_reason() -> None:
    missing = [r for r in rows() if not left_out(r) and not any(carries(o, r) for o in offers())]
    assert [(r["provider"], r["sku"], r["device"], r["usd_per_hour_on_demand"]) for r in missing] == []


def test_every_reason_is_needed() -> None:
    for provider, sku, device in LEFT_OUT:
        assert [
            r
            for r in rows()
            if r["provider"] == provider and r["sku"].startswith(sku) and (not device or r["device"] == device)
        ], (provider, sku, device)


def test_nothing_was_made_up() -> None:
    """Every offer stands in the collection, but for three newer prices that its notes and README quote."""
    newer = {("Nebius", 4.5), ("Nebius", 5.4), ("Vultr", 1.671)}
    made_up = [o for o in offers() if not any(r["usd_per_hour_on_demand"] and carries(o, r) for r in rows())]
    assert {(o.provider, o.usd_per_h) for o in made_up} == newer

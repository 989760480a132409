"""What must hold of every shipped offer, and figures read off the sources by hand."""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import date

import pytest

from whichgpu.offers import Offer, find_provider, offers, providers

OLDEST = date(2025, 1, 1)  # prices of 2024 and before are obsolete
NEWEST = date(2026, 11, 23)  # the day the figures were collected


@pytest.mark.parametrize("offer", offers(), ids=lambda o: f"{o.provider}, {o.sku}, {o.device}")
def test_every_offer_is_whole(offer: Offer) -> None:
    assert 0 < offer.usd_per_h < 200
    assert OLDEST <= offer.observed <= NEWEST
    assert len(offer.source) > 10
    assert offer.device or offer.device_count == 0
    assert 0 <= offer.device_count <= 8
    if offer.usd_per_h_high is not None:
        assert offer.usd_per_h <= offer.usd_per_h_high < 10 * offer.usd_per_h
    if offer.usd_per_h_spot is not None:
        assert 0 < offer.usd_per_h_spot < offer.usd_per_h
    if offer.ram_bytes is not None:
        assert 2**32 <= offer.ram_bytes <= 2**42
    if offer.vcpus is not None:
        assert 2 <= offer.vcpus <= 256


def test_a_price_by_the_device_is_plausible_for_what_it_is() -> None:
    """No accelerator of the snapshot costs more than a B200 at a hyperscaler: a whole price of 8 stored as 1 would."""
    for offer in offers():
        if offer.device_count:
            assert 0.04 <= offer.usd_per_h / offer.device_count <= 16.2, offer


def test_the_snapshot_covers_what_people_rent() -> None:
    assert len(offers()) >= 150
    assert len(providers()) >= 15
    by_provider = Counter(o.provider for o in offers())
    for name in ("AWS EC2", "Google Cloud", "Azure", "Lambda", "RunPod", "Vast.ai", "Google Colab"):
        assert by_provider[name] >= 4, name
    assert sum(o.device_count == 0 for o in offers()) >= 10


# Read off facts/offers.csv and its README by hand, which quote the providers' price lists.
SPOT_VALUES = [
    ("AWS EC2", "p5.48xlarge", 8, 55.04, "2026-11-09"),
    ("AWS EC2", "p4d.24xlarge", 8, 21.957642, "2026-11-09"),
    ("AWS EC2", "g4dn.xlarge", 1, 0.526, "2026-09-06"),
    ("AWS EC2", "g5.xlarge", 1, 1.006, "2026-09-06"),
    ("AWS EC2", "c7i.2xlarge", 0, 0.357, "2026-09-01"),
    ("Azure", "Standard_NC48ads_A100_v4", 2, 9.554, "2026-11-09"),
    ("Azure", "Standard_NC80adis_H100_v5", 2, 17.64, "2026-11-09"),
    ("Google Cloud", "a2-ultragpu-1g", 1, 5.07, "2026-09-06"),
    ("Lambda", "gpu_8x_h100_sxm5", 8, 31.92, "2026-09-25"),
    ("Oracle Cloud", "BM.GPU.H100.8", 8, 80.0, "2026-06-15"),
    ("CoreWeave", "HGX B200", 8, 68.80, "2026-09-20"),
    ("DigitalOcean", "gpu-mi300x1", 1, 2.59, "2026-10-04"),
    ("Nebius", "1x H100 SXM", 1, 4.50, "2026-10-24"),
    ("Nebius", "1x H200 SXM", 1, 5.40, "2026-10-24"),
    ("Google Colab", "T4", 1, 0.1069, "2026-09-27"),
    ("Google Colab", "G4", 1, 0.8891, "2026-09-27"),
]


@pytest.mark.parametrize(("provider", "sku", "count", "usd_per_h", "day"), SPOT_VALUES)
def test_prices_read_off_the_sources(provider: str, sku: str, count: int, usd_per_h: float, day: str) -> None:
    (offer,) = [o for o in offers() if o.provider == provider and o.sku == sku]
    assert offer.device_count == count
    assert offer.usd_per_h == pytest.approx(usd_per_h, rel=5e-4)
    assert offer.observed.isoformat() == day


# Each of these was true once and is not any more.
OLD_PRICES = {
    "AWS EC2": (98.32, 32.77),
    "Azure": (7.35, 7.346, 14.692, 13.96),
    "Nebius": (2.15, 3.85),
    "Google Colab": (0.1838, 0.4815, 0.4905, 1.1758),
}


@pytest.mark.parametrize(("provider", "price"), [(p, x) for p, prices in OLD_PRICES.items() for x in prices])
def test_superseded_prices_are_gone(provider: str, price: float) -> None:
    assert not [o for o in offers() if o.provider == provider and math.isclose(o.usd_per_h, price, rel_tol=5e-4)]


def test_vast_is_a_range() -> None:
    vast = [o for o in offers() if o.provider == "Vast.ai"]
    assert len(vast) == 22
    for offer in vast:
        assert offer.usd_per_h_high is not None
        assert offer.usd_per_h_high >= 1.5 * offer.usd_per_h
    (h100,) = [o for o in vast if o.device == "NVIDIA H100 SXM5 80GB"]
    assert (h100.usd_per_h, h100.usd_per_h_high) == (2.1356, 6.1489)  # lowest 10-04, median 10-07
    assert "high end" not in h100.notes.replace("High end: median", "")


def test_colab_prices_follow_from_compute_units() -> None:
    """A hundred units cost $9.99; the notes tell the rate, and the price is the product."""
    colab = [o for o in offers() if o.provider == "Google Colab"]
    assert {o.sku for o in colab} == {"CPU runtime", "T4", "L4", "G4", "A100"}
    for offer in colab:
        rate = re.search(r"([\d.]+) units/h at \$0\.0999 each", offer.notes)
        assert rate is not None, offer
        assert offer.usd_per_h == pytest.approx(float(rate[1]) * 9.99 / 100)


def test_uncertain_days_say_so() -> None:
    """The first of a month or year stands for "some day in it" and the notes say that."""
    vague = [o for o in offers() if o.observed.day == 1]
    assert len(vague) >= 15
    for offer in vague:
        assert re.search(r"(first|earliest|first day|day).*given", offer.notes), offer


def test_age() -> None:
    (offer,) = [o for o in offers() if o.sku == "p5.48xlarge"]
    assert offer.age_days(date(2026, 11, 23)) == 14
    assert offer.age_days(date(2027, 11, 9)) == 365


def test_provider_wide_notes_reach_every_offer() -> None:
    assert all("billed on top" in o.notes for o in offers() if o.provider == find_provider("modal").name)

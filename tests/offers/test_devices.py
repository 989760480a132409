"""Offers and devices speak of the same things."""

from __future__ import annotations

import pytest

from whichgpu.devices import DEFAULT_DEVICES, devices, find_device
from whichgpu.offers import cheapest_offer, offers, offers_for


@pytest.mark.parametrize("name", sorted({o.device for o in offers() if o.device}))
def test_every_offered_device_is_known_by_its_full_name(name: str) -> None:
    assert find_device(name).name == name


def test_every_offer_is_found_from_its_device() -> None:
    """But for slices of server CPUs, which are no offer of the whole CPU."""
    found = {id(o) for device in devices() for o in offers_for(device)}
    assert [o for o in offers() if o.device_count and id(o) not in found] == []


def test_what_a_comparison_shows_by_default_can_be_rented_but_for_the_desktop_cpu() -> None:
    without = [name for name in DEFAULT_DEVICES if cheapest_offer(find_device(name)) is None]
    assert [find_device(name).is_cpu for name in without] == [True]


# Device, the cheapest offer by facts/offers.csv, read by hand.
CHEAPEST = [
    ("RTX 3060", "Vast.ai", 0.0609),
    ("RTX 4090", "RunPod", 0.34),
    ("RTX 5090", "Vast.ai", 0.4363),
    ("T4", "Google Colab", 0.1069),
    ("L4", "Google Colab", 0.1698),
    ("A10G", "AWS EC2", 1.006),
    ("L40S", "Vast.ai", 0.4741),
    ("A100 80GB SXM", "RunPod", 1.39),
    ("H100 SXM", "Vast.ai", 2.1356),
    ("H200", "RunPod", 3.59),
    ("B200", "RunPod", 5.98),
    ("MI300X", "RunPod", 2.39),
]


@pytest.mark.parametrize(("name", "provider", "usd_per_h"), CHEAPEST)
def test_the_cheapest_offer(name: str, provider: str, usd_per_h: float) -> None:
    offer = cheapest_offer(find_device(name))
    assert offer is not None
    assert offer.provider == provider
    assert offer.usd_per_h == pytest.approx(usd_per_h, rel=1e-3)

"""Which offers a device has, and which is cheapest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from whichgpu.devices import find_device
from whichgpu.errors import UnknownNameError
from whichgpu.offers import cheapest_offer, find_provider, offers, offers_for, providers

GPU = find_device("H100 SXM")
XEON = find_device("Intel Xeon Platinum 8488C")


def test_offers_come_cheapest_machine_first() -> None:
    found = offers_for(GPU)
    prices = [o.usd_per_h for o in found]
    assert prices == sorted(prices)
    assert len(found) == sum(o.device == GPU.name for o in offers()) >= 12
    assert cheapest_offer(GPU) == found[0]


def test_whole_machines_are_compared_not_shares_of_them() -> None:
    """CoreWeave's eight at $49.24 are $6.16 each, less than the one of Google at $10; but one cannot be had alone."""
    found = offers_for(GPU)
    single = max(i for i, o in enumerate(found) if o.device_count == 1)
    eight = min(i for i, o in enumerate(found) if o.device_count == 8)
    assert single < eight
    by_provider = {o.provider: o for o in found if o.device_count == 8}
    assert by_provider["CoreWeave"].usd_per_h == 49.24


def test_the_three_h100_are_three_devices() -> None:
    forms = ("H100 SXM5 80GB", "H100 PCIe 80GB", "H100 NVL 94GB")
    found = {form: offers_for(find_device(form)) for form in forms}
    for form, having in found.items():
        assert len(having) >= 4
        assert {o.device for o in having} == {find_device(form).name}
    cheapest = {form: having[0] for form, having in found.items()}
    # Read off facts/offers.csv: Vast.ai's lowest, Hyperstack in May, Vast.ai's lowest.
    assert [cheapest[f].usd_per_h for f in forms] == [2.1356, 1.90, 2.3748]


def test_a_device_nobody_rents_has_no_offer() -> None:
    nobody = replace(GPU, name="GeForce GT 710")
    assert offers_for(nobody) == ()
    assert cheapest_offer(nobody) is None


def test_a_slice_of_a_server_cpu_is_not_that_cpu() -> None:
    """A c7i.2xlarge has 4 of the 48 cores; only the 48xlarge (two sockets) has all of one."""
    assert [o.sku for o in offers_for(XEON)] == ["c7i.48xlarge"]
    assert [o.sku for o in offers_for(replace(XEON, multiprocessors=16))] == ["c7i.8xlarge", "c7i.48xlarge"]
    assert offers_for(replace(XEON, multiprocessors=None)) == ()


@pytest.mark.parametrize("name", ["AWS EC2", "aws", " Ec2 ", "AMAZON"])
def test_a_provider_answers_to_its_names(name: str) -> None:
    assert find_provider(name).name == "AWS EC2"


def test_every_provider_answers_to_its_own_name_and_has_offers() -> None:
    for provider in providers():
        assert find_provider(provider.name) is provider
        assert any(o.provider == provider.name for o in offers())


def test_an_unknown_provider_gets_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"No provider is named 'runpood'\. Did you mean 'RunPod'") as caught:
        find_provider("runpood")
    assert "whichgpu offers" in str(caught.value)

import re

import pytest

from whichgpu.devices import devices, find_device
from whichgpu.offers import offers, offers_for
from whichgpu.workloads import workload_names


def test_devices_lists_every_device_and_this_machine(run):
    out = run("devices").out
    assert "this machine" in out
    for device in devices():
        assert device.short_name in out


@pytest.mark.parametrize("name", ["RTX 4090", "rtx 4090", "T4", "H100 SXM"])
def test_one_device_with_its_source_and_its_prices(run, name):
    device = find_device(name)
    out = " ".join(run("devices", name).out.split())
    assert out.startswith(device.name)
    assert device.source_date in out
    for offer in offers_for(device):
        assert f"{offer.provider} {offer.sku}" in out


def days_seen(out):
    return [word for line in out.splitlines() for word in line.split()[-1:] if re.fullmatch(r"\d{4}-\d\d-\d\d", word)]


def test_offers_lists_every_offer(run):
    assert sorted(days_seen(run("offers").out)) == sorted(str(offer.observed) for offer in offers())


def test_offers_of_a_device_come_cheapest_first(run):
    found = offers_for(find_device("T4"))
    out = run("offers", "--gpu", "T4").out
    assert days_seen(out) == [str(offer.observed) for offer in found]
    prices = [float(price) for price in re.findall(r"\$([\d.]+)", out)]
    assert len(found) > 1
    assert prices[0] == pytest.approx(min(offer.usd_per_h for offer in found), abs=0.005)


def test_offers_of_one_provider(run):
    out = run("offers", "--provider", "runpod").out
    assert "RunPod" in out
    assert "Lambda" not in out


def test_jobs_lists_every_job(run):
    out = run("jobs").out
    for name in workload_names():
        assert f"\n{name} " in out

"""Choosing among the shipped offers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from whichgpu.devices.device import Device
from whichgpu.errors import OfferFileError, UnknownNameError
from whichgpu.offers.loader import load_provider_file
from whichgpu.offers.offer import Offer
from whichgpu.offers.provider import Provider

_DATA = Path(__file__).with_name("data")


@cache
def _snapshot() -> dict[Provider, tuple[Offer, ...]]:
    snapshot = dict(load_provider_file(path) for path in sorted(_DATA.glob("*.toml")))
    names: dict[str, str] = {}
    for provider in snapshot:
        for name in {n.casefold() for n in (provider.name, *provider.aliases)}:
            if name in names:
                raise OfferFileError(f"Providers {names[name]!r} and {provider.name!r} both answer to {name!r}.")
            names[name] = provider.name
    return dict(sorted(snapshot.items(), key=lambda item: item[0].name.casefold()))


def providers() -> tuple[Provider, ...]:
    """Return all providers of the shipped snapshot, by name.

    Raises:
        OfferFileError: If a shipped file is broken.
    """
    return tuple(_snapshot())


@cache
def offers() -> tuple[Offer, ...]:
    """Return all offers of the shipped snapshot, by provider, then as in its file.

    Raises:
        OfferFileError: If a shipped file is broken.
    """
    return tuple(offer for of_provider in _snapshot().values() for offer in of_provider)


def find_provider(name: str) -> Provider:
    """Return the provider called `name`, or that has it as an alias, compared without case.

    Raises:
        UnknownNameError: If there is none; it carries near names.
    """
    wanted = name.strip().casefold()
    for provider in providers():
        if wanted in {n.casefold() for n in (provider.name, *provider.aliases)}:
            return provider
    known = {n for provider in providers() for n in (provider.name, *provider.aliases)}
    raise UnknownNameError("provider", name, sorted(known, key=str.casefold), "whichgpu offers")


def offers_for(device: Device) -> tuple[Offer, ...]:
    """Return the offers of machines that have `device`, the cheapest whole machine first.

    The price compared is that of the whole machine (the low end of a range): a job on one device pays for all eight
    of a machine that has eight. A CPU counts as had only by a machine without accelerator whose virtual CPUs (two a
    core) cover all its cores: a slice of a server CPU is another device.
    """
    having = _by_device().get(device.name, ())
    return tuple(offer for offer in having if not device.is_cpu or _has_all_cores(offer, device))


def cheapest_offer(device: Device) -> Offer | None:
    """Return the first of `offers_for(device)`, or None if nobody in the snapshot rents it."""
    return next(iter(offers_for(device)), None)


@cache
def _by_device() -> dict[str, tuple[Offer, ...]]:
    by_device: dict[str, list[Offer]] = {}
    for offer in sorted(offers(), key=lambda o: (o.usd_per_h, o.provider.casefold(), o.sku)):
        by_device.setdefault(offer.device, []).append(offer)
    return {device: tuple(having) for device, having in by_device.items()}


def _has_all_cores(offer: Offer, cpu: Device) -> bool:
    if offer.vcpus is None or cpu.multiprocessors is None:
        return False
    return offer.vcpus >= 2 * cpu.multiprocessors

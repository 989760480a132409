"""A dated snapshot of rental prices, one file a provider in ``data/``; adding a provider adds one file.

Prices move: each offer carries the day it was seen and its source. docs/offers.md describes the files.
"""

from whichgpu.offers.loader import load_provider_file
from whichgpu.offers.offer import Offer
from whichgpu.offers.provider import Provider
from whichgpu.offers.select import cheapest_offer, find_provider, offers, offers_for, providers

__all__ = [
    "Offer",
    "Provider",
    "cheapest_offer",
    "find_provider",
    "load_provider_file",
    "offers",
    "offers_for",
    "providers",
]

"""Rental prices as a table."""

from __future__ import annotations

from collections.abc import Sequence

from whichgpu.offers.offer import Offer
from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import Line, numbered, ruled_table
from whichgpu.units import usd


def render_offers(offers: Sequence[Offer], page: Page) -> str:
    """Return one line an offer: device, provider, price of the whole machine, the day it was seen."""
    if not offers:
        return "No such offer is known: nobody in the snapshot rents this out.\n"
    headings = (("Device",), ("Provider",), ("Machine",), ("USD/h",), ("Seen",))
    below = "Price of the whole machine on demand, without disk, traffic and tax; a range where prices vary."
    return print_on(
        page,
        [
            ruled_table(
                headings, (False, False, False, True, False), [offer_line(o) for o in offers], folding=(0, 1, 2)
            ),
            numbered([("•", below)], "dim"),
        ],
    )


def offer_line(offer: Offer) -> Line:
    """Return an offer's line: device and how many, provider, machine, price, day."""
    count = f"{offer.device_count} x " if offer.device_count > 1 else ""
    return Line((f"{count}{offer.device or 'CPU only'}", offer.provider, offer.sku, price(offer), f"{offer.observed}"))


def price(offer: Offer) -> str:
    """Return an offer's price or its range: '$0.34', '$0.29–0.60'."""
    low = usd(offer.usd_per_h)
    return low if offer.usd_per_h_high is None else f"{low}–{usd(offer.usd_per_h_high).removeprefix('$')}"

"""What training costs at the cheapest offer that has a device."""

from __future__ import annotations

from datetime import date

from whichgpu.comparison.comparison import RowOffer
from whichgpu.devices.device import Device
from whichgpu.units import HOUR_S


def row_offer(device: Device, today: date) -> RowOffer | None:
    """Return the cheapest offer that has `device`, or None if nobody rents it out."""
    # Late, because `import whichgpu` brings this module and should not bring a price list.
    from whichgpu.offers import cheapest_offer

    offer = cheapest_offer(device)
    if offer is None:
        return None
    return RowOffer(
        provider=offer.provider,
        sku=offer.sku,
        device_count=offer.device_count,
        usd_per_h=offer.usd_per_h,
        usd_per_h_high=offer.usd_per_h_high,
        observed=offer.observed.isoformat(),
        age_days=offer.age_days(today),
        source=offer.source,
        notes=offer.notes,
    )


def usd_for(seconds: float | None, offer: RowOffer | None) -> float | None:
    """Return the price of renting the whole machine of `offer` for `seconds`; None if either is unknown."""
    return None if seconds is None or offer is None else offer.usd_per_h * seconds / HOUR_S


def offer_notes(offer: RowOffer | None) -> tuple[str, ...]:
    """Return what to know of the price: that one device of several is used, that it is the low end of a range."""
    if offer is None:
        return ()
    notes = []
    if offer.device_count > 1:
        notes.append(f"Rented {offer.device_count} at a time at the least; all are paid for, one is used.")
    if offer.usd_per_h_high is not None and offer.usd_per_h_high > offer.usd_per_h:
        ratio = offer.usd_per_h_high / offer.usd_per_h
        notes.append(f"The price is the low end of a range, whose high end is {ratio:.1f} times as much.")
    return tuple(notes)

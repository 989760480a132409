"""An offer: what somebody asks for an hour of a machine, seen on a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Offer:
    """One rentable machine at one provider.

    Attributes:
        provider: Who rents it out: "AWS EC2".
        sku: The provider's name for it: "g5.xlarge".
        device: Full name of the device it has; for a machine without accelerator, of its CPU or "".
        device_count: Accelerators in it; 0 for a CPU-only machine.
        usd_per_h: Price of the whole machine on demand, without disk, traffic and tax; the low end of a range.
        usd_per_h_high: High end where prices are a range (marketplaces); else None.
        usd_per_h_spot: Interruptible price, where known.
        vcpus: Virtual CPUs.
        ram_bytes: Memory of the host.
        region: Where.
        observed: Day the price was seen.
        source: Where it was seen.
        notes: What to know before trusting it.
    """

    provider: str
    sku: str
    device: str
    device_count: int
    usd_per_h: float
    observed: date
    source: str
    usd_per_h_high: float | None = None
    usd_per_h_spot: float | None = None
    vcpus: int | None = None
    ram_bytes: float | None = None
    region: str = ""
    notes: str = ""

    def age_days(self, today: date) -> int:
        """Days since the price was seen."""
        return (today - self.observed).days

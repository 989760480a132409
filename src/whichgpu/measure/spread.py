"""The spread of timed steps."""

from __future__ import annotations

from collections.abc import Sequence

_PERCENTILES_FROM = 10


def spread(times: Sequence[float], steps: int) -> tuple[float, float, str]:
    """Return low and high of the times of groups of steps, and what they are."""
    from statistics import quantiles

    counted = f"{steps:,} steps" if steps > 1 else "1 step"
    if len(times) < _PERCENTILES_FROM:
        grouped = "" if len(times) == steps else f" in {len(times)} groups"
        return min(times), max(times), f"fastest and slowest of {counted}{grouped}"
    tenths = quantiles(times, n=10, method="inclusive")
    grouped = "" if len(times) == steps else f" in {len(times):,} groups"
    return tenths[0], tenths[-1], f"10th to 90th percentile of {counted}{grouped}"

"""What a chip holds under its power limit, and what a step draws."""

from __future__ import annotations

from whichgpu.units import TERA

_BISECTIONS = 40
# However small the limit, this much of it is left for arithmetic.
_LEAST_FOR_ARITHMETIC = 0.4


def idle_w(tdp_w: float, bandwidth_bytes_per_s: float, joules_per_byte: float, base_w: float) -> float:
    """Return what the board draws beside its arithmetic while memory is busy: most of it is the memory's."""
    return min((1 - _LEAST_FOR_ARITHMETIC) * tdp_w, base_w + joules_per_byte * bandwidth_bytes_per_s)


def sustained_flops_per_s(
    peak_flops_per_s: float, picojoules_per_flop: float, available_w: float, lowest_voltage: float
) -> float:
    """Return the rate a chip holds with `available_w` for its arithmetic.

    A chip that would draw more at full clock lowers the clock, and with it the voltage, down to a lowest one: at x of
    its clock it draws x (v + (1 - v) x)^2 of the power.

    Args:
        peak_flops_per_s: Its rate at full clock.
        picojoules_per_flop: What a FLOP takes at full clock and voltage.
        available_w: What its arithmetic may draw.
        lowest_voltage: v, of the voltage at full clock.
    """
    power_w = peak_flops_per_s * picojoules_per_flop / TERA
    share = available_w / power_w
    if share >= 1:
        return peak_flops_per_s
    low, high = share, 1.0  # the clock falls less than the power
    for _ in range(_BISECTIONS):
        clock = (low + high) / 2
        if clock * (lowest_voltage + (1 - lowest_voltage) * clock) ** 2 < share:
            low = clock
        else:
            high = clock
    return peak_flops_per_s * (low + high) / 2

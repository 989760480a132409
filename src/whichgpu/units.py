"""Quantities with units: the one file that spells 1e9 or 1024**3, and the one that parses and prints them.

Inside whichgpu every quantity is SI (seconds, bytes, FLOPs, watts, US dollars) and its name ends in its unit.
Prefixes appear only in data files and in reports, and are turned here.
"""

from __future__ import annotations

KILO = 1e3
MEGA = 1e6
GIGA = 1e9
TERA = 1e12
KIB = 1024
MIB = 1024**2
GIB = 1024**3
MILLI = 1e-3
MICRO = 1e-6
MINUTE_S = 60.0
HOUR_S = 3600.0
DAY_S = 86400.0

_SI_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def three_digits(value: float) -> str:
    """Return `value` with three significant digits and no exponent: 1234.5 -> '1,230', 0.01234 -> '0.0123'."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:#.3g}".rstrip(".") if abs(rounded) >= 1e-4 else f"{rounded:.2e}"


def duration(seconds: float) -> str:
    """Return a duration a person reads at once: '1.84 ms', '12.3 s', '4 min 10 s', '3 h 25 min', '12 d 4 h'."""
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 0.9995 * MILLI:
        return f"{three_digits(seconds / MICRO)} us"
    if seconds < 0.9995:
        return f"{three_digits(seconds / MILLI)} ms"
    if seconds < 99.95:
        return f"{three_digits(seconds)} s"
    for big_s, big, small_s, small in (
        (DAY_S, "d", HOUR_S, "h"),
        (HOUR_S, "h", MINUTE_S, "min"),
        (MINUTE_S, "min", 1.0, "s"),
    ):
        count = round(seconds / small_s)
        per_big = round(big_s / small_s)
        if count >= per_big:
            whole, rest = divmod(count, per_big)
            if whole >= 100 or not rest:
                return f"{round(seconds / big_s):,} {big}"
            return f"{whole} {big} {rest} {small}"
    return f"{seconds:.0f} s"


def usd(amount: float) -> str:
    """Return an amount of money: '$0.0042', '$0.43', '$12.30', '$1,240'."""
    if amount == 0:
        return "$0"
    if abs(amount) < MICRO:
        return "<$0.000001"
    if abs(amount) < 0.095:
        return f"${float(f'{amount:.2g}'):.6f}".rstrip("0")
    return f"${amount:,.2f}" if abs(amount) < 999.5 else f"${amount:,.0f}"


def binary_bytes(count: float) -> str:
    """Return a memory size in GiB or MiB: '14.6 GiB', '512 MiB'."""
    if count >= 0.9995 * GIB:
        return f"{three_digits(count / GIB)} GiB"
    if count >= 0.9995 * MIB:
        return f"{three_digits(count / MIB)} MiB"
    return f"{three_digits(count / KIB)} KiB"


def of_binary_bytes(part: float, whole: float) -> str:
    """Return two memory sizes in one unit: '31.2 of 23.6 GiB'."""
    factor, unit = (GIB, "GiB") if whole >= 0.9995 * GIB else (MIB, "MiB")
    return f"{three_digits(part / factor)} of {three_digits(whole / factor)} {unit}"


def si(value: float, unit: str) -> str:
    """Return `value` with an SI prefix: 3.35e12 and 'B/s' give '3.35 TB/s'."""
    for factor, prefix in _SI_STEPS:
        if abs(value) >= 0.9995 * factor:
            return f"{three_digits(value / factor)} {prefix}{unit}"
    return f"{three_digits(value)} {unit}"

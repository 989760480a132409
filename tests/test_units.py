import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichgpu.units import binary_bytes, duration, si, three_digits, usd


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (1.5e-6, "1.50 us"),
        (0.00184, "1.84 ms"),
        (0.9999, "1.00 s"),
        (12.34, "12.3 s"),
        (99.94, "99.9 s"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (3599.9, "1 h"),
        (12300, "3 h 25 min"),
        (86400 * 12 + 3600 * 4, "12 d 4 h"),
        (86400 * 1000, "1,000 d"),
        (-2, "-2.00 s"),
    ],
)
def test_durations_read_at_once(seconds: float, text: str) -> None:
    assert duration(seconds) == text


UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@given(st.floats(1e-9, 1e9))
def test_a_printed_duration_is_within_a_per_cent(seconds: float) -> None:
    parts = duration(seconds).replace(",", "").split()
    total = sum(float(n) * UNIT_S[u] for n, u in zip(parts[::2], parts[1::2], strict=True))
    assert math.isclose(total, seconds, rel_tol=0.011)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0"),
        (4e-7, "<$0.000001"),
        (0.000042, "$0.000042"),
        (0.0042, "$0.0042"),
        (0.43, "$0.43"),
        (12.3, "$12.30"),
        (1240.4, "$1,240"),
    ],
)
def test_money(amount: float, text: str) -> None:
    assert usd(amount) == text


@pytest.mark.parametrize(("count", "text"), [(512, "0.500 KiB"), (512 * 2**20, "512 MiB"), (14.6 * 2**30, "14.6 GiB")])
def test_memory(count: float, text: str) -> None:
    assert binary_bytes(count) == text


@pytest.mark.parametrize(("value", "text"), [(3.35e12, "3.35 TB/s"), (999.9e9, "1.00 TB/s"), (12, "12.0 B/s")])
def test_si(value: float, text: str) -> None:
    assert si(value, "B/s") == text


def test_three_digits() -> None:
    assert [three_digits(v) for v in (0, 0.01234, 1.5, 15, 1234.5)] == ["0", "0.0123", "1.50", "15.0", "1,230"]

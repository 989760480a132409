import pytest

from tests.report.examples import row
from whichgpu.comparison.cells import range_text, rough_duration, step_text, times


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.0471, "0.047x"),
        (0.999, "1.0x"),
        (1.26, "1.3x"),
        (9.94, "9.9x"),
        (9.96, "10x"),
        (38.4, "38x"),
        (1181, "1,180x"),
    ],
)
def test_times(ratio, text):
    assert times(ratio) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0184, "18.4 ms"),
        (59.2, "59.2 s"),
        (100, "1 min 40 s"),
        (568, "9 min 28 s"),
        (572, "10 min"),
        (1006, "17 min"),
        (3599, "1 h"),
        (5220, "1 h 27 min"),
        (9.9 * 3600, "10 h"),
        (6 * 86400 + 20 * 3600, "6 d 20 h"),
        (9.6 * 86400, "10 d"),
    ],
)
def test_rough_duration(seconds, text):
    assert rough_duration(seconds) == text


@pytest.mark.parametrize(
    ("step", "low", "high", "step_says", "range_says"),
    [
        (0.00184, 0.0012, 0.0028, "1.84 ms", "1.2–2.8"),
        (0.00095, 0.00066, 0.00137, "950 us", "660–1,400"),
        (118, 115.2, 121.9, "118 s", "115–122"),
        (1.0, 0.995, 1.004, "1.00 s", "0.995–1.00"),
    ],
)
def test_a_step_and_its_range_share_a_unit(step, low, high, step_says, range_says):
    assert step_text(step) == step_says
    assert range_text(row("d", "d", step, low, high)) == range_says

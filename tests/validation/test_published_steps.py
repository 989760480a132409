"""Predicted against published step times: the bars that hold today; docs/accuracy.md has every row."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.leave_out import Check, check_steps
from benchmarks.step_rows import NEWEST, load_step_rows
from benchmarks.validate import plain_roofline_s

from whichgpu.cost import efficiencies

ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT.parent / "shared" / "measurements"
PAGE = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")

needs_measurements = pytest.mark.skipif(
    not MEASUREMENTS.is_dir(), reason=f"the published measurements are not at {MEASUREMENTS}"
)


@pytest.fixture(scope="module")
def checks() -> Sequence[Check]:
    return check_steps(load_step_rows(MEASUREMENTS), efficiencies())


def mape(checks: Sequence[Check]) -> float:
    return float(np.mean([abs(math.expm1(c.log_error)) for c in checks]))


@needs_measurements
def test_there_is_enough_to_check_by(checks):
    assert len(checks) > 100
    assert len({c.row.device.name for c in checks}) > 15
    assert {c.row.job for c in checks} >= {"resnet50", "bert-large-384"}


@needs_measurements
def test_steps_of_recent_software_are_within_eight_per_cent(checks):
    recent = [c for c in checks if c.row.software == NEWEST and c.row.calibrates]
    assert len(recent) >= 40
    assert mape(recent) < 0.08


@needs_measurements
def test_all_steps_are_within_fifteen_per_cent_and_far_better_than_a_plain_roofline(checks):
    fitted = [c for c in checks if c.row.calibrates]
    roofline = [Check(c.row, plain_roofline_s(c.row)) for c in fitted]
    assert mape(fitted) < 0.15
    assert mape(fitted) < mape(roofline) / 2


@needs_measurements
def test_the_intervals_hold_what_they_promise(checks):
    half_width = 1.2816 * efficiencies().spreads["device"].sigma
    inside = np.mean([abs(c.log_error) <= half_width for c in checks if c.row.calibrates])
    assert 0.75 <= inside <= 0.95


@needs_measurements
def test_the_page_shows_every_step(checks):
    section = re.search(r"<!-- begin steps -->(.*)<!-- end steps -->", PAGE, re.DOTALL)
    assert section
    table = section[1].partition("### Every step")[2]
    # And models of timm's, which the suite does not install.
    assert len(re.findall(r"^\| NVIDIA|^\| AMD", table, re.MULTILINE)) > len(checks) + 100


@pytest.mark.parametrize("section", ["steps", "kernels", "flops", "speed"])
def test_every_section_of_the_page_is_written(section):
    found = re.search(rf"<!-- begin {section} -->(.*)<!-- end {section} -->", PAGE, re.DOTALL)
    assert found
    assert found[1].count("\n|") > 5

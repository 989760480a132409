"""Predicted against published step times: the bars that hold today; docs/accuracy.md has more of them."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.data import load_steps
from benchmarks.leave_out import Check, check

from whichgpu.cost import efficiencies
from whichgpu.validation import Case, Traces, load_rows

ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT.parent / "shared" / "measurements"
PAGE = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
JOBS = ("nv:resnet50_v1.5", "nv:bert_large_squad", "hf:bert_large")

needs_measurements = pytest.mark.skipif(
    not MEASUREMENTS.is_dir(), reason=f"the published measurements are not at {MEASUREMENTS}"
)


def wanted(case: Case) -> bool:
    return case.name in JOBS and case.row.source in ("lambda", "neusight") and not case.compiled


@pytest.fixture(scope="module")
def checks(tmp_path_factory) -> list[Check]:
    traces = Traces(tmp_path_factory.mktemp("traces"))
    files = [MEASUREMENTS / name for name in ("lambda_dedup.csv.gz", "neusight_models.csv.gz")]
    traces.capture_missing([c for c in load_rows(files) if isinstance(c, Case) and wanted(c)], 1)
    return check(list(load_steps(MEASUREMENTS, traces, wanted)), efficiencies(), {})


def mape(checks: list[Check]) -> float:
    return float(np.mean([abs(math.expm1(c.log_error)) for c in checks]))


@needs_measurements
def test_there_is_enough_to_check_by(checks):
    assert len(checks) > 120
    assert len({c.row.device.name for c in checks}) > 20
    assert {c.row.job for c in checks} == set(JOBS)


@needs_measurements
def test_published_steps_are_within_twelve_per_cent(checks):
    assert mape(checks) < 0.12


@needs_measurements
def test_steps_of_recent_software_are_within_nine_per_cent(checks):
    recent = [c for c in checks if c.row.software and tuple(map(int, c.row.software.split("."))) >= (1, 13)]
    assert len(recent) >= 40
    assert mape(recent) < 0.09


@needs_measurements
def test_the_intervals_hold_what_they_promise(checks):
    half_width = 1.2816 * efficiencies().spreads["device"].sigma
    inside = np.mean([abs(c.log_error) <= half_width for c in checks])
    assert 0.6 <= inside <= 0.95


@pytest.mark.parametrize("section", ["steps", "kernels", "flops", "speed"])
def test_every_section_of_the_page_is_written(section):
    found = re.search(rf"<!-- begin {section} -->(.*)<!-- end {section} -->", PAGE, re.DOTALL)
    assert found
    assert found[1].count("\n|") > 5

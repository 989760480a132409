"""What a user measures is kept, told, used in later predictions, and left alone where asked."""

import json
import sys
from dataclasses import replace

import pytest

from whichgpu.devices import this_cpu
from whichgpu.measure import Measurement
from whichgpu.measure.kept import KeptMeasurements

MEASURED = Measurement(
    job="mnist",
    device=this_cpu().name,
    label=this_cpu().short_name,
    precision="fp32",
    batch=64,
    measured_batch=32,
    step_s=0.2,
    step_s_low=0.19,
    step_s_high=0.21,
    spread="fastest and slowest of 9 steps",
    steps=9,
    warmup_steps=3,
    seconds_spent=1.0,
)


@pytest.fixture
def data(monkeypatch, tmp_path):
    """A user's data directory."""
    monkeypatch.delenv("WHICHGPU_NO_OWN_MEASUREMENTS")
    monkeypatch.setenv("WHICHGPU_DATA", str(tmp_path))
    return KeptMeasurements(tmp_path)


@pytest.fixture
def measured(monkeypatch):
    """Let every measurement come out as `MEASURED`, or as the test says."""
    monkeypatch.setattr(sys.modules["whichgpu.measure.torch_devices"], "torch_devices", lambda: ("cpu",))

    def comes_out(found=MEASURED):
        monkeypatch.setattr(sys.modules["whichgpu.measure"], "measure", lambda *a, **k: found)

    comes_out()
    return comes_out


@pytest.fixture(autouse=True)
def loaded():
    import whichgpu.measure.torch_devices  # noqa: F401


def predicted_cpu(run, *options):
    outcome = run("compare", "mnist", "--no-measure", "--device", "T4", "--format", "json", *options)
    return json.loads(outcome.out)["rows"][0]


def test_a_measurement_on_this_cpu_moves_predictions_for_it(run, data, measured):
    before = predicted_cpu(run)
    outcome = run("measure", "mnist")
    assert "Kept in" in outcome.out
    assert str(data.file) in "".join(line.strip() for line in outcome.out.splitlines())
    (kept,) = data.read()
    assert (kept.job, kept.batch, kept.precision, kept.is_cpu) == ("mnist", 32, "fp32", True)
    assert kept.step_s == pytest.approx(0.1)  # of the batch that was really measured
    after = predicted_cpu(run)
    assert any("Adjusted by one of your own measurements on this device" in note for note in after["notes"])
    assert after["step_s_high"] / after["step_s_low"] < before["step_s_high"] / before["step_s_low"]
    assert predicted_cpu(run, "--no-own-measurements")["step_s"] == before["step_s"]


def test_compare_keeps_what_it_measures_unless_told_not_to(run, data, measured):
    measured(replace(MEASURED, measured_batch=64))
    arguments = ("compare", "mnist", "--device", "T4")
    run(*arguments, "--no-own-measurements")
    assert data.read() == ()
    run(*arguments)
    assert [kept.job for kept in data.read()] == ["mnist"]


def test_measure_leaves_nothing_behind_where_asked(run, data, measured):
    outcome = run("measure", "mnist", "--no-save")
    assert "ept" not in outcome.out
    assert data.read() == ()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (replace(MEASURED, crowded=True), "other programs kept the machine busy"),
        (replace(MEASURED, steps=1), "too few steps were timed"),
        (replace(MEASURED, interrupted=True), "too few steps were timed"),
        (replace(MEASURED, device="Some GPU"), "cannot be predicted"),
    ],
)
def test_what_is_not_kept_says_why(run, data, measured, found, why):
    measured(found)
    outcome = run("measure", "mnist")
    assert "Not kept for later predictions" in outcome.out
    assert why in " ".join(outcome.out.split())
    assert data.read() == ()


def test_the_environment_switches_it_off(run, data, measured, monkeypatch):
    monkeypatch.setenv("WHICHGPU_NO_OWN_MEASUREMENTS", "1")
    run("measure", "mnist")
    assert data.read() == ()

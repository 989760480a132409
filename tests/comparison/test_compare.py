import json
from dataclasses import replace
from datetime import date

import pytest

from tests.comparison.conftest import BIG, CPU, FAST, OLD
from whichgpu.comparison import compare
from whichgpu.errors import OptionError, PrecisionError, UnknownNameError
from whichgpu.measure import Measurement

pytestmark = pytest.mark.usefixtures("world")


def measurement(**more):
    fields = {
        "job": "tiny",
        "device": CPU.name,
        "label": CPU.short_name,
        "precision": "fp32",
        "batch": 100,
        "measured_batch": 25,
        "step_s": 8.0,
        "step_s_low": 7.5,
        "step_s_high": 9.0,
        "spread": "fastest and slowest of 4 steps",
        "steps": 4,
        "warmup_steps": 2,
        "seconds_spent": 10.0,
        "notes": ("Measured at batch 25.",),
    }
    return Measurement(**(fields | more))


def rows_of(comparison):
    return {row.label: row for row in comparison.rows}


def test_times_and_money_by_hand(job):
    old = rows_of(compare(job, epochs=90))["Old"]
    # 1,000 samples at 100 a step are 10 steps of 2 s; $0.36 an hour is a hundredth of a cent a second.
    assert (old.step_s, old.step_s_low, old.step_s_high) == (2.0, 1.0, 4.0)
    assert old.samples_per_s == 50
    assert old.epoch_s == pytest.approx(20)
    assert old.job_s == pytest.approx(1800)
    assert old.usd_per_epoch == pytest.approx(0.002)
    assert old.usd_per_job == pytest.approx(0.18)
    assert old.speedup == pytest.approx(5)


def test_the_whole_machine_is_paid_for_and_the_row_says_so(job):
    fast = rows_of(compare(job))["Fast"]
    assert fast.usd_per_epoch == pytest.approx(36.0 / 3600)
    assert fast.offer.device_count == 8
    assert fast.offer.age_days == (date.today() - date(2025, 1, 1)).days
    assert any("8 at a time" in note for note in fast.notes)


def test_a_range_of_prices_counts_at_its_low_end_and_the_row_says_so(job):
    old = rows_of(compare(job))["Old"]
    assert (old.offer.usd_per_h, old.offer.usd_per_h_high) == (0.36, 0.72)
    assert any("2.0 times" in note for note in old.notes)


def test_a_device_nobody_rents_has_no_price(job):
    big = rows_of(compare(job, ["Big"]))["Big"]
    assert (big.offer, big.usd_per_epoch, big.usd_per_job) == (None, None, None)
    assert big.epoch_s is not None


def test_without_a_measurement_the_reference_is_the_predicted_cpu_in_a_row_of_its_own(job):
    comparison = compare(job)
    first = comparison.rows[0]
    assert comparison.reference == first.device == CPU.name
    assert (first.label, first.kind, first.speedup) == ("this CPU", "predicted", 1.0)
    assert [row.label for row in comparison.rows[1:]] == ["Fast", "Old"]


def test_a_measured_cpu_is_the_reference_and_stands_first(job):
    comparison = compare(job, measurements=[measurement()])
    first, *others = comparison.rows
    assert (first.label, first.kind, first.precision, first.bound) == ("this CPU", "measured", "fp32", None)
    assert (first.step_s, first.step_s_low, first.step_s_high) == (8.0, 7.5, 9.0)
    assert first.samples_per_s == 12.5
    assert comparison.reference == CPU.name
    assert [row.kind for row in others] == ["predicted", "predicted"]
    assert others[0].speedup == pytest.approx(80)
    assert "Measured at batch 25." in first.notes


def test_a_measured_row_says_what_would_have_been_predicted(job):
    note = compare(job, measurements=[measurement()]).rows[0].notes[-1]
    assert note == "Predicted 10.0 s a step: 25 % more than measured."


def test_a_measured_gpu_stands_beside_its_prediction(job):
    gpu = measurement(device=OLD.name, label="Old", precision="amp-fp16", step_s=1.6)
    rows = compare(job, measurements=[measurement(), gpu]).rows
    assert [(r.label, r.kind) for r in rows] == [
        ("this CPU", "measured"),
        ("Old", "measured"),
        ("Fast", "predicted"),
        ("Old", "predicted"),
    ]
    assert rows[1].accelerator
    assert rows[1].speedup == pytest.approx(5)
    assert rows[1].usd_per_epoch == pytest.approx(0.0016)


def test_a_measured_gpu_alone_leaves_the_predicted_cpu_as_reference(job):
    gpu = measurement(device="Some unknown GPU", label="Some unknown GPU", step_s=1.0)
    comparison = compare(job, measurements=[gpu])
    assert comparison.reference == CPU.name
    assert comparison.rows[0].speedup == pytest.approx(10)
    assert comparison.rows[1].label == "this CPU"


def test_a_measurement_of_another_batch_is_refused(job):
    with pytest.raises(OptionError, match="steps of 64 samples, those of tiny have 100"):
        compare(job, measurements=[measurement(batch=64)])


def test_a_precision_nobody_asked_for_falls_back_and_the_row_says_so(job):
    comparison = compare(replace(job, precision="amp-bf16"))
    old = rows_of(comparison)["Old"]
    assert old.precision == "fp32"
    assert any("amp-bf16" in note and "fp32" in note for note in old.notes)
    assert rows_of(comparison)["Fast"].precision == "amp-bf16"


@pytest.mark.parametrize("devices", [["Old"], [OLD], ["all", "Old"], ["Fast", "vendor old 8gb"]])
def test_a_named_device_without_the_precision_is_refused(job, devices):
    with pytest.raises(PrecisionError, match="would run fp32"):
        compare(job, devices, precision="amp-bf16")


@pytest.mark.parametrize("devices", [None, ["all"]])
def test_devices_nobody_named_are_left_out_counted_and_named(job, devices):
    comparison = compare(job, devices, precision="amp-bf16")
    assert "Old" not in rows_of(comparison)
    assert any(note.startswith("1 device lacks amp-bf16 and is left out: Old.") for note in comparison.notes)


def test_the_reference_may_run_what_it_can(job):
    first = compare(job, ["Fast"], precision="amp-bf16").rows[0]
    assert (first.label, first.precision) == ("this CPU", "fp32")


def test_allow_fallback_keeps_every_device(job):
    comparison = compare(job, ["all", "Old"], precision="amp-bf16", allow_fallback=True)
    assert [r.label for r in comparison.rows] == ["this CPU", "Fast", "Old", "Big"]
    assert not comparison.notes


def test_a_device_is_compared_once_however_often_it_is_named(job):
    comparison = compare(job, ["Big", "all", BIG, "vendor big", CPU])
    assert [r.label for r in comparison.rows] == ["this CPU", "Big", "Fast", "Old"]


def test_no_devices_leave_the_cpu_alone(job):
    assert [r.label for r in compare(job, []).rows] == ["this CPU"]


def test_whether_the_step_fits(job):
    rows = rows_of(compare(job))
    assert (rows["Old"].fits, rows["Fast"].fits, rows["this CPU"].fits) == (False, True, None)
    assert rows["Old"].memory.margin_bytes == -2 * 2**30
    assert rows["Fast"].memory.margin_bytes == 14 * 2**30


def test_a_step_that_does_not_fit_tells_no_time_unless_memory_is_ignored(job):
    old = next(r for r in compare(job).to_dict()["rows"] if r["label"] == "Old")
    assert (old["step_s"], old["epoch_s"], old["speedup"], old["usd_per_epoch"]) == (None,) * 4
    assert old["memory"]["device_bytes"] == 10 * 2**30
    ignored = compare(job, ignore_memory=True)
    row = next(r for r in ignored.to_dict()["rows"] if r["label"] == "Old")
    assert row["step_s"] == 2.0
    assert row["notes"][0] == "The step does not fit: needs 10.0 of 8.00 GiB."
    assert not any("does not fit" in note for r in ignored.rows if r.label == "Fast" for note in r.notes)


def test_without_an_epoch_length_there_is_no_epoch_and_no_price(job):
    for row in compare(replace(job, samples_per_epoch=None), measurements=[measurement()]).rows:
        assert (row.epoch_s, row.job_s, row.usd_per_epoch, row.usd_per_job) == (None,) * 4


def test_bad_options(job):
    with pytest.raises(OptionError, match="Epochs are 0"):
        compare(job, epochs=0)
    with pytest.raises(UnknownNameError, match="'Fast'"):
        compare(job, ["Fasst"])
    with pytest.raises(UnknownNameError, match="amp-fp16"):
        compare(job, precision="amp-fp61")


def test_the_document_is_plain_json(job):
    comparison = compare(replace(job, options={"sizes": (1, 2), "batch": 100}), measurements=[measurement()])
    assert json.loads(comparison.to_json()) == comparison.to_dict()
    assert comparison.to_dict()["job"]["options"] == {"sizes": [1, 2], "batch": 100}
    assert FAST.name in comparison._repr_html_()

"""What is kept on this machine: written, read back, predicted anew when the cost model has changed."""

import json
import sys

import pytest

from whichgpu.comparison.own_measurements import keep, own_measurements
from whichgpu.devices import this_cpu
from whichgpu.estimate import estimate
from whichgpu.measure.kept import KeptMeasurements, data_directory
from whichgpu.workloads import workload

GPU = "NVIDIA GeForce RTX 4090"


@pytest.fixture
def place(tmp_path):
    return KeptMeasurements(tmp_path / "mine")


def test_a_kept_measurement_comes_back_beside_its_prediction(place):
    job = workload("mnist", batch=64)
    predicted = estimate(job, GPU)
    assert keep(place, job, GPU, "fp32", 2 * predicted.step_s)
    (own,) = own_measurements(place)
    assert (own.device, own.is_cpu) == (GPU, False)
    assert own.log_ratio == pytest.approx(0.6931, abs=1e-4)
    assert own.host_weight == predicted.host_weight
    line = json.loads(place.file.read_text())
    assert (line["schema"], line["job"], line["batch"]) == ("whichgpu.kept/1", "mnist", 64)


def test_this_machines_cpu_is_kept_too(place):
    assert keep(place, workload("mnist"), this_cpu().name, "fp32", 0.1)
    assert own_measurements(place)[0].is_cpu


def test_the_latest_of_the_same_counts(place):
    job = workload("mnist", batch=64)
    for step_s in (1.0, 2.0, 4.0):
        keep(place, job, GPU, "fp32", step_s)
    keep(place, workload("mnist", batch=32), GPU, "fp32", 1.0)
    assert [k.step_s for k in place.read()] == [4.0, 1.0]


def test_another_cost_model_predicts_anew_and_once(place, monkeypatch):
    job = workload("mnist", batch=64)
    keep(place, job, GPU, "fp32", 1.0)
    room = sys.modules["whichgpu.comparison.own_measurements"]
    monkeypatch.setattr(room, "model_name", lambda: "another model")
    calls = []
    monkeypatch.setattr(room, "estimate", lambda *a, **k: calls.append(a) or estimate(*a, **k))
    first = own_measurements(place)
    assert own_measurements(place) == first
    assert len(calls) == 1
    assert place.read()[0].model == "another model"


def test_what_cannot_be_predicted_anew_is_left_out(place, monkeypatch):
    keep(place, workload("mnist"), GPU, "fp32", 1.0)
    for file in (place.folder / "jobs").iterdir():
        file.write_bytes(b"broken")
    monkeypatch.setattr(sys.modules["whichgpu.comparison.own_measurements"], "model_name", lambda: "another model")
    assert own_measurements(place) == ()


@pytest.mark.parametrize(
    "line", ["", "{", "[1]", '{"schema": "whichgpu.kept/2"}', '{"schema": "whichgpu.kept/1"}', "\x00", '"text"']
)
def test_broken_lines_are_passed_over(place, line):
    keep(place, workload("mnist"), GPU, "fp32", 1.0)
    with place.file.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert len(place.read()) == 1


def test_a_device_nobody_knows_is_not_kept(place):
    assert not keep(place, workload("mnist"), "Some GPU", "fp32", 1.0)
    assert own_measurements(place) == ()


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("")
    assert not keep(KeptMeasurements(tmp_path / "file" / "below"), workload("mnist"), GPU, "fp32", 1.0)


def test_where_it_lies_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("WHICHGPU_DATA", str(tmp_path / "there"))
    assert data_directory() == tmp_path / "there"
    monkeypatch.delenv("WHICHGPU_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_directory() == tmp_path / "whichgpu"

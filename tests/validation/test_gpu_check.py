"""The check against a real GPU, as far as none is needed: lists whose differences are known, and a run on the CPU."""

import json
import time

import pytest
from benchmarks import borrowed_gpu, gpu_check, gpu_run, gpu_section
from benchmarks.gpu_cases import (
    CASES,
    ROOT,
    Found,
    JobCase,
    Prediction,
    ScriptCase,
    found_from_form,
    prediction_from_form,
    to_form,
)
from benchmarks.gpu_check import Checked, difference, read_checked, read_predictions, run_cases, save
from benchmarks.gpu_predictions import op_names, predict, write_predictions

from tests.validation.synthetic import FILE, NOTE
from whichgpu.graph import Graph, Job, Op, Tensor
from whichgpu.workloads import definition

MNIST = JobCase("mnist", 64, "fp32", "nchw")
MACHINE = {
    "device": {"name": "NVIDIA L4", "reported_name": "NVIDIA L4", "power_limit_w": 72.0, "driver": "580.1"},
    "cpu": {"name": "Acme CPU, 4 cores"},
    "software": {"python": "3.12.3", "torch": "2.11.0", "cudnn": 91002},
}
PREDICTED = Prediction("mnist", ("a", "b"), 30, 1e-3, 8e-4, 1.2e-3, 2**30, 2**31, 2**32, "torch 2.13.0")
FOUND = Found("mnist", ("a", "c"), {"gemm": (3, 10.0), "add": (1, 2.0)}, 1.1e-3, 9e-4, 40, 2**30, 2**31, 2**32)


def test_equal_lists_do_not_differ():
    names = ["aten.mm.default", "aten.relu.default"] * 3
    assert difference(names, list(names)) == ()


def test_what_is_missing_extra_or_other_is_told_apart():
    lines = difference(["a", "b", "c"], ["a", "x", "c", "d"])
    assert [line for line in lines if not line.startswith("@@")] == ["-b", "+x", "+d"]


def test_a_repeated_op_is_as_many_calls():
    x = Tensor((4,), "float32")
    ops = (Op("aten.relu.default", {"self": x}, (x,), repeat=3), Op("aten.alias.default", {"self": x}, (x,)))
    assert op_names(Job("tiny", Graph(ops), 1)) == ("aten.relu.default",) * 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_one_there_is(case):
    if isinstance(case, JobCase):
        job = definition(case.job)
        job.check_options(case.batch, case.precision, case.layout or job.layout)
    else:
        assert (ROOT / "examples" / case.script).is_file()


def test_predictions_are_written_before_anything_runs(tmp_path):
    pytest.importorskip("torch")
    file = tmp_path / "gpu-predictions.json"
    write_predictions("NVIDIA L4", file, [MNIST])
    document = json.loads(file.read_text())
    assert (document["schema"], document["gpu"]) == ("whichgpu.gpu-predictions/1", "NVIDIA L4")
    (found,) = read_predictions(file).values()
    assert found.error == ""
    assert found.low_s < found.step_s < found.high_s
    assert 0 < found.allocated_bytes <= found.reserved_bytes < found.device_bytes
    assert found.launches >= len(found.ops) / 2
    assert read_predictions(tmp_path / "absent.json") == {}


def test_a_gpu_nobody_knows_has_ops_and_no_time():
    pytest.importorskip("torch")
    found = predict(MNIST, "NVIDIA Imaginary 9000")
    assert found.ops
    assert found.step_s is None
    assert "Imaginary" in found.error


def test_what_cannot_be_captured_takes_the_shipped_graph_and_says_so(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no phantom beside this driver")

    monkeypatch.setattr("whichgpu.workloads.ship.capture_workload", fail)
    found = predict(MNIST, "NVIDIA L4")
    assert found.step_s > 0
    assert "shipped: not captured here (RuntimeError: no phantom beside this driver)" in found.source


def test_rows_come_back_as_they_were():
    assert prediction_from_form(json.loads(json.dumps(to_form(PREDICTED)))) == PREDICTED
    assert found_from_form(json.loads(json.dumps(to_form(FOUND)))) == FOUND
    assert FOUND.launches == 4
    assert Found("x").launches is None


def test_a_file_comes_back_as_it_was_without_the_long_lists(tmp_path):
    checked = [Checked.of(PREDICTED, FOUND), Checked.of(PREDICTED, Found("mnist", error="OutOfMemoryError: no"))]
    machine, again = read_checked(save(MACHINE, checked, tmp_path))
    assert (machine, again) == (MACHINE, checked)
    assert [line for line in again[0].differences if line[0] != "@"] == ["-b", "+c"]
    assert again[1].differences is None
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="expected 'whichgpu"):
        read_checked(tmp_path / "other.json")


def test_the_section_shows_both_sides_and_reasons(tmp_path):
    failed = Found("mnist", error="OutOfMemoryError: no")
    save(MACHINE, [Checked.of(PREDICTED, FOUND), Checked.of(PREDICTED, failed)], tmp_path)
    text = gpu_section.section(tmp_path)
    assert "### NVIDIA L4" in text
    assert "limited to 72 W, driver 580.1, on Acme CPU, 4 cores, torch 2.11.0, cuDNN 91002, Python 3.12.3." in text
    assert "| mnist | 1.00 | 1.10 | -9% | yes | 30 | 4 | 2 | 1.00 | 1.00 | 2.00 | 2.00 |" in text
    assert "| mnist | 1.00 | OutOfMemoryError: no | – | – |" in text


def test_calibrations_stand_in_the_section_too(tmp_path):
    (tmp_path / "calibration.l4.json").write_text(FILE.read_text())
    text = gpu_section.section(tmp_path)
    assert "### Kernels on NVIDIA L4" in text
    assert "| products |" in text


def test_the_page_says_so_where_nothing_was_run(tmp_path):
    assert gpu_section.section(tmp_path) == gpu_section.NOT_RUN


def test_results_hold_no_made_up_data():
    for file in gpu_section.RESULTS.glob("*.json"):
        assert NOTE not in file.read_text(encoding="utf-8"), file


def test_without_a_gpu_it_says_so(capsys, monkeypatch, tmp_path):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    borrowed_gpu.main(["-o", str(tmp_path)])
    assert "Skipped: torch finds no CUDA GPU here" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_cases_run_one_by_one_and_are_written_after_each(tmp_path, monkeypatch):
    """The way through, on the CPU: what a GPU would run, in a process of its own."""
    pytest.importorskip("torch")
    real = gpu_check.run_case
    monkeypatch.setattr(gpu_check, "CASES", (MNIST,))
    monkeypatch.setattr(gpu_check, "run_case", lambda number, *rest: real(CASES.index(MNIST), *rest))
    checked = run_cases(MACHINE, {MNIST.name: PREDICTED}, tmp_path, time.monotonic() + 200, "cpu")
    (found,) = (c.found for c in checked)
    assert found.error == ""
    assert 0 < found.step_s < 10
    assert checked[0].differences
    assert read_checked(tmp_path / "gpu-check.nvidia-l4.json")[1] == checked


def test_a_case_that_hangs_is_ended():
    assert "took longer than 0 s" in gpu_check.run_case(CASES.index(MNIST), MNIST, 0.1, "cpu").error


def test_a_script_is_timed_as_it_is():
    pytest.importorskip("torch")
    number = next(i for i, c in enumerate(CASES) if isinstance(c, ScriptCase) and c.script == "train_mnist.py")
    found = gpu_check.run_case(number, CASES[number], 200.0, "cpu")
    assert found.error == ""
    assert found.steps >= 10
    assert 0 < found.step_s < 10


def test_a_case_that_fails_says_why():
    found = gpu_run.run(JobCase("mnist", 64, "no such precision"), "cpu")
    assert "no such precision" in found.error

"""whichgpu calibrate, really run on this machine's CPU."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import assert_refused
from whichgpu.measure.calibration import SECTIONS, calibration_from_document
from whichgpu.measure.kept import KeptMeasurements

torch = pytest.importorskip("torch")


def test_a_section_on_the_cpu(spawn, tmp_path):
    outcome = spawn("calibrate", "--device", "cpu", "--quick", "--seconds", "30", "--only", "launches", cwd=tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
    (file,) = tmp_path.glob("calibration.*.json")
    assert re.fullmatch(r"calibration\.[a-z0-9-]+\.\d{8}T\d{6}\.json", file.name)
    found = calibration_from_document(json.loads(file.read_text()))
    assert found.finished
    assert [r.section for r in found.records] == ["launches", "launches"]
    assert all(0 < r.seconds / len(r.ops) < 0.1 for r in found.records)
    assert found.device in outcome.out
    assert "additions of one number, eager, each" in outcome.out
    assert f"Saved in {file.name}" in outcome.out


def test_whole_steps_are_predicted_and_kept(spawn, tmp_path, monkeypatch):
    monkeypatch.delenv("WHICHGPU_NO_OWN_MEASUREMENTS")
    monkeypatch.setenv("WHICHGPU_DATA", str(tmp_path / "data"))
    before = (
        "import whichgpu.cli.anchors as anchors, sys, dataclasses\n"
        "inner = anchors.anchor_jobs\n"
        "quiet = lambda r: dataclasses.replace(r, crowded=False, noise=0.0)\n"
        "anchors.anchor_jobs = lambda f: {n: (quiet(r), j) for n, (r, j) in inner(f).items()}"
    )
    arguments = ("--device", "cpu", "--quick", "--only", "anchors", "--seconds", "25", "-o", tmp_path / "mine.json")
    outcome = spawn("calibrate", *arguments, before=before)
    assert outcome.code == 0, outcome.err
    assert "train mnist, batch 64, fp32, nchw" in outcome.out
    assert re.search(r"train mnist, batch 64, fp32, nchw +[\d.]+ m?s +[\d.]+ m?s +[+-]\d+ %", outcome.out)
    kept = KeptMeasurements(tmp_path / "data").read()
    assert {k.job for k in kept} >= {"mnist"}
    assert all(k.is_cpu for k in kept)


def test_without_a_gpu_it_says_so_and_what_to_do(run, tmp_path, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.chdir(tmp_path)
    assert_refused(run("calibrate"), "no device 'cuda:0'", "whichgpu calibrate --device cpu", "docs/calibration.md")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "song"), ("no section 'song'", "products")),
        (("--seconds", "0"), ("--seconds is 0",)),
        (("--device", "tpu"), ("'tpu'", "expected cpu, cuda")),
        (("-o", "/nowhere/at/all.json"), ("no folder",)),
    ],
)
def test_bad_input_is_refused_in_words(run, arguments, words):
    assert_refused(run("calibrate", *arguments), *words)


def test_the_help_names_every_section(run):
    text = " ".join(run("calibrate", "--help").out.split())
    for name in SECTIONS:
        assert name in text


def test_ctrl_c_leaves_a_whole_file(tmp_path):
    file = tmp_path / "mine.json"
    program = "from whichgpu.cli import main\nmain()"
    arguments = ["calibrate", "--device", "cpu", "--quick", "--seconds", "100", "--only", "bandwidth", "-o", str(file)]
    command = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(600):
        if file.exists():
            break
        time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "Traceback" not in err
    found = calibration_from_document(json.loads(file.read_text()))
    assert not found.finished
    assert found.records
    assert "Interrupted before the end." in out

"""whichgpu validate on files of measurements."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.validation.conftest import BMM, COMMON, KERNELS, TIMM

MEASUREMENTS = Path(__file__).parents[3] / "shared" / "measurements"


@pytest.fixture
def kernels(tmp_path):
    """A file of three products, one of them twice as long as measured, and one on a device nobody has."""
    path = tmp_path / "kernels.csv"
    rows = [
        BMM,
        BMM.replace(",8,128,64,256,", ",64,1024,1024,1024,").replace("0.25", "19.0"),
        BMM.replace("P100 PCIe 16GB", "Z9"),
    ]
    path.write_text("\n".join([KERNELS, *rows]) + "\n")
    return path


def test_kernels_are_predicted_without_any_framework(run, kernels):
    done = run("validate", "-m", kernels, "--jobs", "1")
    assert done.code == 0, done.err
    assert "3 rows of kernels.csv: 2 measurements" in done.out
    assert "kernel bmm fp32" in done.out
    assert "no device file has Z9" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_json_holds_every_prediction(run, kernels):
    done = run("validate", "-m", kernels, "--json", "--jobs", "1", "--worst", "1")
    document = json.loads(done.out)
    assert document["schema"] == "whichgpu.validation/1"
    assert (document["rows"], document["measurements"], document["total"]["count"]) == (3, 2, 2)
    assert document["unresolved"] == [{"reason": "no device file has Z9", "rows": 1}]
    assert [p["line"] for p in document["predictions"]] == [2, 3]
    assert len(document["worst"]) == 1
    large = document["predictions"][1]
    # 2 x 64 x 1024^3 FLOP at no more than 9.5 TFLOP/s (P100, datasheet).
    assert large["predicted_s"] > 2 * 64 * 1024**3 / 9.53e12
    assert large["low_s"] < large["predicted_s"] < large["high_s"]


def test_a_sample_is_drawn_the_same_way(run, kernels):
    first, second = (run("validate", "-m", kernels, "--sample", "1", "--seed", "5", "--jobs", "1") for _ in range(2))
    assert first.out == second.out
    assert "2 measurements, 1 of them drawn by seed 5" in first.out


def test_jobs_that_are_not_kept_can_be_left_out(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WHICHGPU_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "timm.csv"
    path.write_text(f"{COMMON}\n{TIMM}\n")
    done = run("validate", "-m", path, "--no-capture", "--jobs", "1")
    assert done.code == 0
    assert "it has not been captured" in done.out


@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_a_job_is_captured_once_and_kept(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WHICHGPU_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "timm.csv"
    path.write_text(f"{COMMON}\n{TIMM}\n")
    first = run("validate", "-m", path, "--jobs", "1")
    assert "train amp-fp16 nchw" in first.out, first.err
    assert len(list((tmp_path / "cache" / "traces").glob("*.json.gz"))) == 1
    assert run("validate", "-m", path, "--jobs", "1", "--no-capture").out == first.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "none.csv"), "none.csv: cannot be read: No such file"),
        ((), "Missing option '--measurements'"),
        (("-m", "x", "--sample", "0"), "Invalid value for '--sample'"),
    ],
)
def test_bad_input_is_answered_in_words(run, arguments, said):
    done = run("validate", *arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_files_of_something_else_are_answered_in_words(run, tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("a,b\n1,2\n")
    done = run("validate", "-m", path)
    assert done.code == 2
    assert "some.csv: its header lacks gpu" in done.err

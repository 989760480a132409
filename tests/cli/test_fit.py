"""`whichgpu fit`: jobs, files and scripts; what is refused, and why."""

import json

import pytest

from tests.cli.conftest import assert_refused
from tests.cli.test_script import SCRIPT
from whichgpu import workload
from whichgpu.graph import job_to_document


@pytest.fixture
def saved(tmp_path):
    """Write a built-in job to a file at a batch."""

    def write(name, batch, bare=False):
        document = job_to_document(workload(name, batch=batch))
        if bare:
            document["storages"] = []
            document["ops"] = [[c, p, m, r, [None] * len(s)] for c, p, m, r, s in document["ops"]]
        path = tmp_path / f"{name}-{batch}.json"
        path.write_text(json.dumps(document))
        return path

    return write


def test_a_built_in_job_on_one_device(run):
    done = run("fit", "resnet50", "--device", "RTX 3060", "--batch", 512, "--no-confirm")
    assert done.code == 0
    assert "Does not fit: needs" in done.out
    assert "Largest batch that fits:" in done.out
    assert "makes it fit" in done.out


def test_without_a_device_the_usual_ones_take_a_line_each(run):
    done = run("fit", "mnist")
    assert done.code == 0
    assert "RTX 4090" in done.out and "desktop" not in done.out


def test_json_and_pictures(run, tmp_path):
    file, picture = tmp_path / "fit.json", tmp_path / "memory.svg"
    done = run("fit", "mnist", "--device", "T4", "--no-confirm", "-o", file, "--picture", picture)
    assert done.code == 0
    assert json.loads(file.read_text())["schema"] == "whichgpu.fit/1"
    assert picture.read_text().startswith("<svg")


def test_one_file_for_two_things_is_refused(run, tmp_path):
    file = tmp_path / "memory.svg"
    done = run("fit", "mnist", "--device", "T4", "-o", file, "--picture", f"{tmp_path}/./memory.svg")
    assert_refused(done, "both name", "Name two files")
    assert not file.exists()
    lost = tmp_path / "none" / "memory.svg"
    assert_refused(run("fit", "mnist", "--device", "T4", "--picture", lost), "no folder")


def test_a_format_it_has_not_is_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("whichgpu.fit.fit", None)
    done = run("fit", "mnist", "--device", "T4", "-o", tmp_path / "fit.csv", "--picture", tmp_path / "fit.svg")
    assert_refused(done, "has no format csv", "table or json")
    assert not list(tmp_path.iterdir())


def test_a_device_named_twice_is_told_once(run):
    done = run("fit", "mnist", "--device", "T4", "--device", "Tesla T4", "--no-confirm")
    assert done.code == 0
    assert "mnist, batch 64, fp32 on T4" in done.out


def test_a_file_at_one_batch_and_at_two(run, saved):
    one, other = saved("gpt2", 8), saved("gpt2", 4)
    alone = run("fit", one, "--device", "T4", "--format", "json")
    assert json.loads(alone.out)["largest_batch"] is None
    assert "--other-batch" in alone.out
    both = json.loads(run("fit", one, "--other-batch", other, "--device", "T4", "--format", "json").out)
    shipped = json.loads(run("fit", "gpt2", "--device", "T4", "--format", "json", "--no-confirm").out)
    assert both["largest_batch"]["samples_per_step"] == shipped["largest_batch"]["samples_per_step"]


def test_a_gpu_of_one_s_own_whose_memory_is_not_known(run, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'vendor = "NVIDIA"\narchitecture = "Ampere"\n[[device]]\nname = "Mine"\nshort_name = "Mine"\n'
        'segment = "consumer"\nmemory_bandwidth_gb_per_s = 900\ntflops = { fp32 = 30, fp16 = 60, tf32 = 30 }\n'
        'reported_names = ["Mine"]\nsource = "by hand"\nsource_date = "2026-11-23"\n'
    )
    done = run("fit", "mnist", "--device-file", file)
    assert done.code == 0, done.err
    assert "what the device has is not known" in " ".join(done.out.split())


def test_expandable_segments_reserve_no_more(run):
    plain, grown = (
        json.loads(run("fit", "gpt2", "--device", "T4", "--no-confirm", "--format", "json", *more).out)["memory"]
        for more in ([], ["--alloc-conf", "expandable_segments:True"])
    )
    assert grown["allocated_bytes"] <= plain["allocated_bytes"]
    assert grown["reserved_bytes"] < plain["reserved_bytes"]


def test_bad_input(run, saved, tmp_path):
    assert_refused(run("fit"), "needs a job or a script", "whichgpu fit resnet50")
    assert_refused(run("fit", "resnet5"), "'resnet50'")
    assert_refused(run("fit", "mnist", "--device", "RTX 409"), "'RTX 4090'")
    assert_refused(run("fit", "mnist", "--device", "8-core desktop CPU"), "host processor")
    assert_refused(run("fit", "mnist", "--device", "T4", "--picture", tmp_path / "a.png"), ".svg or .html")
    assert_refused(run("fit", "mnist", "--picture", tmp_path / "a.svg"), "--picture draws one device")
    assert_refused(run("fit", "mnist", "--device", "T4", "--alloc-conf", "expandable_segments:1"), "True or False")
    assert_refused(run("fit", "mnist", "--other-batch", "x.json"), "known at every batch")
    assert_refused(run("fit", saved("mnist", 8, bare=True), "--device", "T4"), "no lifetimes", "whichgpu capture")
    assert_refused(run("fit", saved("gpt2", 2), "--other-batch", saved("mnist", 8), "--device", "T4"), "captures at 2")
    assert_refused(run("fit", "mnist", "--batch", 0, "--device", "T4"), "Batch is 0")


@pytest.fixture
def train(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("WHICHGPU_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def test_a_script_is_captured_at_two_batches_by_its_own_option(spawn, train):
    done = spawn("fit", "--device", "T4", "--format", "json", train, "--batch", 20)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["samples_per_step"] == 20
    assert document["fits"] is True
    largest = document["largest_batch"]
    # The script has 100 samples: no batch is larger.
    assert (largest["samples_per_step"], largest["ends_data"]) == (100, True)
    assert largest["confirmation"] == "Confirmed by a capture at this batch."


def test_a_script_whose_batch_is_not_among_its_arguments_says_what_to_give(spawn, train):
    done = spawn("fit", "--device", "T4", train)
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    assert "Fits: needs" in words
    assert "was given no option for its batch" in words
    refused = spawn("fit", "--device", "T4", "--batch-option", "--n-images", train)
    assert_refused(refused, "--batch-option --n-images", "after the script's name")

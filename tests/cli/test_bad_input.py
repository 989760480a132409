"""Every kind of bad input: one clear message, exit code 2, no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import assert_refused
from whichgpu.graph import Graph, Job, Op, Tensor, job_to_document

QUICK = ("compare", "mnist", "--no-measure")


@pytest.fixture
def document():
    square = Tensor((4, 4), "float32")
    graph = Graph((Op("aten.mm.default", {"self": square, "mat2": square}, (square,)),))
    return job_to_document(Job("saved", graph, 8, 80))


@pytest.fixture
def saved(tmp_path):
    def write(content):
        file = tmp_path / "job.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


def test_an_unknown_job(run):
    assert_refused(run("compare", "resnet51"), "'resnet51'", "'resnet50'", "whichgpu jobs")
    assert_refused(run("measure", "resnet51"), "'resnet51'", "'resnet50'")


def test_an_unknown_device(run):
    assert_refused(run(*QUICK, "--device", "RTX 4091"), "'RTX 4091'", "RTX 4090", "whichgpu devices")
    assert_refused(run("devices", "RTX 4091"), "'RTX 4091'", "RTX 4090")
    assert_refused(run("offers", "--gpu", "RTX 4091"), "'RTX 4091'", "RTX 4090")


@pytest.mark.parametrize("part", ["RTX", "RTX 40", "H10", "NVIDIA", ""])
def test_a_part_of_a_device_name_is_no_name(run, part):
    assert_refused(run(*QUICK, "--device", part), f"No device is named {part!r}")


def test_an_unknown_provider(run):
    assert_refused(run("offers", "--provider", "Lamda"), "'Lamda'", "Lambda")


def test_an_unknown_precision(run):
    assert_refused(run(*QUICK, "--precision", "fp61"), "'fp61'", "precision", "'fp32'")


def test_a_precision_a_named_device_lacks(run):
    outcome = run("compare", "resnet50", "--no-measure", "--device", "T4", "--precision", "amp-bf16")
    assert_refused(outcome, "T4", "bf16", "amp-fp16", "allow-fallback")
    assert (
        run("compare", "resnet50", "--no-measure", "--device", "T4", "--precision", "amp-bf16", "--allow-fallback").code
        == 0
    )


@pytest.mark.parametrize("batch", ["0", "-4"])
def test_a_batch_that_is_not_positive(run, batch):
    assert_refused(run(*QUICK, "--batch", batch), f"Batch is {batch}", "1 or more")
    assert_refused(run("measure", "mnist", "--batch", batch), f"Batch is {batch}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epochs", "0"), ("Epochs are 0",)),
        (("--layout", "nwhc"), ("'nwhc'", "channels_last")),
        (("--measure-seconds", "0"), ("--measure-seconds",)),
        (("--measure-seconds", "nan"), ("--measure-seconds",)),
        (("--measure-seconds", "inf"), ("--measure-seconds", "an end")),
        (("--batch", "1" + "0" * 400), ("Batch is above 999,999,999,999",)),
        (("--epochs", "1" + "0" * 400), ("Epochs are above",)),
        (("--batch", "many"), ("--batch",)),
        (("--format", "pdf"), ("--format", "json")),
        (("--surprise",), ("--surprise",)),
    ],
)
def test_options_that_make_no_sense(run, options, words):
    assert_refused(run(*QUICK, *options), *words)


def test_a_job_file_that_is_not_there(run, tmp_path):
    assert_refused(run("compare", tmp_path / "no.json"), "There is no file", "no.json")


def test_a_broken_job_file(run, saved, document):
    assert_refused(run("compare", saved("{")), "job.json", "not JSON")
    assert_refused(run("compare", saved("[1]")), "job.json", "whichgpu.job/1")
    del document["tensors"]
    assert_refused(run("compare", saved(document)), "job.json", "tensors")


def test_a_job_file_of_bytes(run, tmp_path):
    file = tmp_path / "job.json"
    file.write_bytes(b"\xff\xfe\x00")
    assert_refused(run("compare", file), "job.json", "not JSON")


def test_a_newer_job_file(run, saved, document):
    document["schema"] = "whichgpu.job/7"
    assert_refused(run("compare", saved(document)), "'whichgpu.job/7'", "newer", "whichgpu.job/1", "Upgrade")


def test_what_a_job_file_cannot_change(run, saved, document):
    assert_refused(run("compare", saved(document), "--batch", "16"), "--batch 16", "8", "Capture it again")
    assert_refused(run("compare", saved(document), "--layout", "nchw"), "--layout nchw")


def test_a_broken_device_file(run, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("x = [")
    assert_refused(run(*QUICK, "--device-file", file), "mine.toml")
    assert_refused(run(*QUICK, "--device-file", tmp_path / "none.toml"), "none.toml")


def test_output_that_cannot_be_written_is_found_before_any_work(run, tmp_path, monkeypatch):
    import whichgpu.workloads.shipped

    def fail(*arguments):
        raise AssertionError("the work began")

    monkeypatch.setattr(whichgpu.workloads.shipped, "load_shipped", fail)
    assert_refused(run(*QUICK, "-o", tmp_path), str(tmp_path), "it is a folder")
    assert_refused(run(*QUICK, "-o", tmp_path / "no" / "r.json"), "there is no folder")
    assert_refused(run(*QUICK, "-o", "/proc/r.json"), "/proc/r.json", "Choose another place")


def test_output_to_a_full_disk(run):
    assert_refused(run(*QUICK, "-o", "/dev/full"), "/dev/full", "No space left")


def test_measuring_epochs_of_a_job_without_data(run):
    assert_refused(run("measure", "gpt2", "--epochs", "1"), "only mnist")


def test_no_torch_where_one_is_needed_names_the_extra(spawn):
    outcome = spawn("measure", "mnist", before="import sys; sys.modules['torch'] = None")
    assert_refused(outcome, "torch", "pip install 'whichgpu[torch]'")


def test_a_measurement_without_an_end_or_of_an_endless_batch(run):
    assert_refused(run("measure", "mnist", "--seconds", "inf"), "inf s", "an end")
    assert_refused(run("measure", "mnist", "--batch", "1" + "0" * 400), "Batch is above")


LONG = "x" * 300


def test_a_name_no_file_can_have(run):
    assert_refused(run("compare", LONG), "No built-in job or job file")
    assert_refused(run("compare", f"{LONG}.json"), "Cannot read", "too long")
    assert_refused(run(*QUICK, "-o", f"{LONG}.json"), "Cannot write", "too long")


def test_lists_in_lists_without_an_end(run, saved, document, tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    assert_refused(run("compare", saved(deep)), "not JSON")
    document["calls"][0][3] = {"x": json.loads("[" * 900 + "]" * 900)}
    assert_refused(run("compare", saved(document)), "Broken whichgpu.job/1 document")
    file = tmp_path / "deep.toml"
    file.write_text(f"x = {deep}")
    assert_refused(run(*QUICK, "--device-file", file), "deep.toml")


def test_what_a_broken_job_lacks_is_told_in_words(run, saved, document):
    broken = {
        "'ops' is missing": {**document, "ops": None},
        "points at nothing": {**document, "ops": [[10**6, *document["ops"][0][1:]]]},
        "is not what stands there": {**document, "tensors": [3]},
    }
    del broken["'ops' is missing"]["ops"]
    for words, form in broken.items():
        done = run("compare", saved(form))
        assert_refused(done, "Broken whichgpu.job/1 document", words, "whichgpu capture")
        assert "Error" not in done.err.partition(":")[2]


@pytest.mark.parametrize("field", ["name", "sample", "notes"])
def test_half_a_character(run, saved, document, field):
    document[field] = ["\ud800"] if field == "notes" else "\ud800"
    assert_refused(run("compare", saved(document)), "Broken whichgpu.job/1 document", "surrogates")


def test_a_number_nothing_can_be_computed_with(run, saved, document, tmp_path):
    document["tensors"][0][1] = [10**30, 4]
    assert_refused(run("compare", saved(document)), "Broken", "64 bits")
    file = tmp_path / "huge.toml"
    row = 'name = "A"\nshort_name = "A"\nsegment = "consumer"\nmemory_bandwidth_gb_per_s = 1\nsource = "s"\n'
    rates = f'source_date = "2026-01-01"\ntflops = {{ fp32 = 1{"0" * 400} }}\n'
    file.write_text(f'vendor = "NVIDIA"\narchitecture = "Ada"\n[[device]]\n{row}{rates}')
    assert_refused(run(*QUICK, "--device-file", file), "huge.toml, device 'A': tflops.fp32 is 1000")


@pytest.mark.parametrize("arguments", [QUICK, ("jobs",), ("devices",), ("--version",)])
def test_a_stdout_that_takes_nothing(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "whichgpu", *arguments], stdout=full, stderr=-1, text=True)
    assert done.returncode == 2, done.stderr
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_stdout():
    done = subprocess.run(
        f"{sys.executable} -m whichgpu devices >&-", shell=True, stderr=-1, text=True, executable="/bin/sh"
    )
    assert done.returncode == 2, done.stderr
    assert "it is closed" in done.stderr

import csv
import io
import json
import os
import pty
import subprocess
import sys

import jsonschema
import pytest

from whichgpu.comparison.document import json_schema

QUICK = ("compare", "mnist", "--no-measure")


def test_the_example_of_the_manual(run, tmp_path):
    file = tmp_path / "r.json"
    outcome = run(
        "compare", "resnet50", "--device", "RTX 4090", "--device", "T4", "--batch", "128", "--precision", "amp-fp16",
        "--epochs", "90", "--format", "json", "-o", file, "--no-measure",
    )  # fmt: skip
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    document = json.loads(file.read_text())
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    assert document["job"]["samples_per_step"] == 128
    assert document["job"]["epochs"] == 90
    assert document["job"]["steps_per_epoch"] == 10_010  # ceil(1,281,167 / 128)
    this_cpu, rtx_4090, t4 = document["rows"]
    assert (this_cpu["label"], rtx_4090["label"], t4["label"]) == ("this CPU", "RTX 4090", "T4")
    # Real GPUs train ResNet-50 at hundreds to thousands of images a second, and a 4090 faster than a T4.
    assert 1000 < rtx_4090["samples_per_s"] < 5000
    assert 100 < t4["samples_per_s"] < 1000
    assert rtx_4090["job_s"] == pytest.approx(90 * rtx_4090["epoch_s"])
    assert list(tmp_path.iterdir()) == [file]


def test_without_devices_the_default_ones_are_compared(run):
    from whichgpu.devices import DEFAULT_DEVICES, find_device

    document = json.loads(run(*QUICK, "--format", "json").out)
    labels = [row["device"] for row in document["rows"]]
    assert set(labels) >= {find_device(name).name for name in DEFAULT_DEVICES}
    assert {row["kind"] for row in document["rows"]} == {"predicted"}


def test_all_devices(run):
    from whichgpu.devices import devices

    document = json.loads(run(*QUICK, "--device", "all", "--format", "json").out)
    assert {row["device"] for row in document["rows"]} >= {d.name for d in devices()}


def test_all_devices_in_a_precision_some_lack(run):
    document = json.loads(
        run("compare", "resnet50", "--no-measure", "--device", "all", "--precision", "amp-bf16", "--format", "json").out
    )
    labels = {row["label"] for row in document["rows"]}
    (note,) = [note for note in document["notes"] if "left out" in note]
    assert "T4" not in labels
    assert "T4" in note
    assert {row["precision"] for row in document["rows"] if row["accelerator"]} == {"amp-bf16"}


def test_no_job_means_three_tables(run):
    out = run("compare", "--no-measure").out
    heads = [out.index(f"{job}, batch") for job in ("mnist", "resnet50", "gpt2")]
    assert heads == sorted(heads)


def test_several_jobs_as_json_are_one_document(run):
    document = json.loads(run("compare", "mnist", "gpt2", "--no-measure", "--format", "json").out)
    assert document["schema"] == "whichgpu.comparisons/1"
    assert [c["job"]["name"] for c in document["comparisons"]] == ["mnist", "gpt2"]


def test_several_jobs_print_the_same_one_by_one_and_into_a_file(run, tmp_path):
    file = tmp_path / "r.txt"
    run("compare", "mnist", "gpt2", "--no-measure", "-o", file)
    printed = run("compare", "mnist", "gpt2", "--no-measure").out
    assert printed == file.read_text()


@pytest.mark.parametrize(("name", "begins"), [("r.json", "{"), ("r.csv", "job,"), ("r.md", "###"), ("r.txt", "mnist,")])
def test_the_name_of_a_file_tells_its_form(run, tmp_path, name, begins):
    assert run(*QUICK, "-o", tmp_path / name).code == 0
    assert (tmp_path / name).read_text().startswith(begins)


def test_a_format_wins_over_a_name(run, tmp_path):
    run(*QUICK, "--format", "csv", "-o", tmp_path / "r.json")
    assert next(iter(csv.DictReader(io.StringIO((tmp_path / "r.json").read_text()))))["job"] == "mnist"


def test_a_saved_job_is_compared_as_the_built_in_one_it_came_from(run, tmp_path):
    from whichgpu.graph import job_to_document
    from whichgpu.workloads import workload

    file = tmp_path / "saved.json"
    file.write_text(json.dumps(job_to_document(workload("mnist"))))
    assert run("compare", file, "--no-measure").out == run(*QUICK).out
    outcome = run("compare", file, "--format", "json")
    assert "comes from a file" in json.loads(outcome.out)["notes"][-1]


def test_a_device_of_ones_own(run, tmp_path):
    from importlib import resources

    import whichgpu.devices.loader  # noqa: F401

    shipped = next((resources.files("whichgpu.devices") / "data" / "nvidia").iterdir())
    mine = tmp_path / "mine.toml"
    mine.write_text(shipped.read_text())
    rows = json.loads(run(*QUICK, "--device-file", mine, "--format", "json").out)["rows"]
    assert len(rows) >= 2
    assert rows[0]["label"] == "this CPU"


def test_without_torch_everything_is_predicted_and_the_way_to_measure_is_named(spawn):
    outcome = spawn("compare", "resnet50", "--format", "json", before="import sys; sys.modules['torch'] = None")
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert {row["kind"] for row in document["rows"]} == {"predicted"}
    assert any("pip install 'whichgpu[torch]'" in note for note in document["notes"])


def test_predicting_imports_no_framework(spawn):
    before = (
        "import atexit, sys\n"
        "found = lambda: {m for m in ('torch', 'jax', 'tensorflow', 'transformers') if m in sys.modules}\n"
        "atexit.register(lambda: sys.stderr.write(f'framework {found()}' if found() else ''))"
    )
    outcome = spawn("compare", "gpt2", "--no-measure", "--device", "all", before=before)
    assert (outcome.code, outcome.err) == (0, "")


def test_nothing_but_the_result_where_no_terminal_is(spawn):
    outcome = spawn(*QUICK)
    assert (outcome.code, outcome.err) == (0, "")
    assert "\x1b" not in outcome.out
    assert outcome.out.startswith("mnist, batch 64")


def test_a_terminal_without_unicode_gets_a_result(spawn):
    outcome = spawn(*QUICK, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (outcome.code, outcome.err) == (0, "")


def test_a_reader_that_stops_reading_is_no_error():
    program = "from whichgpu.cli import main; main()"
    command = subprocess.Popen(
        [sys.executable, "-c", program, *QUICK, "--device", "all", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    command.stdout.close()
    assert b"Traceback" not in command.stderr.read()
    command.stderr.close()
    command.wait(timeout=60)


def in_terminal(*arguments, **environment):
    """Run the command with a terminal of 80 columns for its stdout and stderr; return what it showed."""
    leader, follower = pty.openpty()
    program = "from whichgpu.cli import main; main()"
    env = {**os.environ, "COLUMNS": "80", "TERM": "xterm", **environment}
    env.pop("NO_COLOR", None) if "NO_COLOR" not in environment else None
    command = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=follower, stdout=follower, stderr=follower, env=env
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux says so when the other side has closed
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert command.wait(timeout=60) == 0
    return shown.decode()


def test_a_terminal_gets_color_unless_it_asks_for_none():
    assert "\x1b[1m" in in_terminal(*QUICK)
    assert "\x1b[" not in in_terminal(*QUICK, NO_COLOR="1")

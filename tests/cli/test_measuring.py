import json
import os
import signal
import subprocess
import sys
import time

import pytest

from whichgpu.comparison.document import json_schema

pytest.importorskip("torch")


def test_the_cpu_is_measured_and_is_the_reference(run):
    import jsonschema

    outcome = run("compare", "mnist", "--measure-seconds", "1", "--device", "T4", "--format", "json")
    document = json.loads(outcome.out)
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    first = document["rows"][0]
    assert (first["kind"], first["label"], first["speedup"]) == ("measured", "this CPU", 1.0)
    assert document["reference"] == first["device"]
    assert first["step_s_low"] <= first["step_s"] <= first["step_s_high"]
    (t4,) = [row for row in document["rows"] if row["label"] == "T4"]
    assert t4["speedup"] == pytest.approx(first["step_s"] / t4["step_s"])


def test_a_job_that_cannot_be_measured_is_predicted_and_says_why(run, monkeypatch):
    from whichgpu.errors import MeasureError

    def fail(*arguments, **options):
        raise MeasureError("gpt2 needs more memory than there is.")

    monkeypatch.setattr(sys.modules["whichgpu.measure"], "measure", fail)
    outcome = run("compare", "gpt2", "--device", "T4", "--format", "json")
    document = json.loads(outcome.out)
    assert outcome.code == 0
    assert document["rows"][0]["kind"] == "predicted"
    assert document["notes"][-1] == "Not measured here: gpt2 needs more memory than there is."


def test_measure_prints_what_it_found(run):
    outcome = run("measure", "mnist", "--seconds", "1", "--batch", "8")
    assert (outcome.code, outcome.err) == (0, "")
    assert "mnist, batch 8, fp32: measured here" in outcome.out
    assert "Time a step" in outcome.out


def interrupted(*arguments, after_s):
    """Start the command, press Ctrl-C once it trains, and return its code, its output and how long it took to end."""
    # The command says on stderr when it begins to train; no terminal is needed for that.
    program = (
        "import sys, whichgpu.measure as room\n"
        "inner = sys.modules['whichgpu.measure'].measure\n"
        "def tell(*a, **k):\n"
        "    sys.stderr.write('training\\n'); sys.stderr.flush()\n"
        "    return inner(*a, **k)\n"
        "sys.modules['whichgpu.measure'].measure = tell\n"
        "from whichgpu.cli import main\n"
        "main()"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stderr.readline() == "training\n"
    time.sleep(after_s)
    command.send_signal(signal.SIGINT)
    begin = time.monotonic()
    out, err = command.communicate(timeout=60)
    return command.returncode, out, err, time.monotonic() - begin


def test_ctrl_c_ends_with_what_was_measured():
    code, out, err, seconds = interrupted(
        "compare", "mnist", "gpt2", "--measure-seconds", "60", "--device", "T4", after_s=5
    )
    assert code == 130
    assert "Traceback" not in err
    assert "mnist, batch 64" in out
    assert "measured here" in out
    assert "gpt2" not in out  # its turn had not come
    assert seconds < 10


def test_ctrl_c_does_not_wait_for_a_long_step():
    code, out, err, seconds = interrupted(
        "compare", "resnet50", "--measure-seconds", "600", "--device", "T4", "--format", "json", after_s=5
    )
    assert code == 130
    assert "Traceback" not in err
    assert json.loads(out)["job"]["name"] == "resnet50"
    assert seconds < 10


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
def test_ctrl_c_in_measure():
    code, out, err, seconds = interrupted("measure", "mnist", "--seconds", "60", after_s=15)
    assert code == 130
    assert "Interrupted" in out
    assert "Traceback" not in err
    assert seconds < 10


def test_ctrl_c_before_anything_was_measured():
    code, out, err, seconds = interrupted("measure", "gpt2", "--seconds", "600", after_s=0)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert seconds < 10

"""Training scripts on the command line."""

import json
import time

import pytest

from tests.cli.conftest import assert_refused
from whichgpu.cli.script_argument import split

SCRIPT = """
import argparse, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
parser = argparse.ArgumentParser()
parser.add_argument("--batch", type=int, default=10)
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
parser.add_argument("-o")
args = parser.parse_args()
model = nn.Linear(8, 4).to(args.device)
loader = DataLoader(TensorDataset(torch.randn(100, 8), torch.randint(4, (100,))), batch_size=args.batch)
optimizer = torch.optim.AdamW(model.parameters())
for epoch in range(100):
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(args.device)), y.to(args.device)).backward()
        optimizer.step()
"""

WITH_VALUES = frozenset({"--device", "--epochs", "-o"})


@pytest.mark.parametrize(
    ("arguments", "ours", "script"),
    [
        (["train.py"], [], ("train.py",)),
        (["--epochs", "3", "train.py", "--epochs", "5"], ["--epochs", "3"], ("train.py", "--epochs", "5")),
        (["--epochs=3", "train.py", "-m", "x"], ["--epochs=3"], ("train.py", "-m", "x")),
        (["--device", "x.py", "train.py"], ["--device", "x.py"], ("train.py",)),
        (["-m", "package.train", "a", "-b"], [], ("-m", "package.train", "a", "-b")),
        (["--no-measure", "train.py", "--device", "T4"], ["--no-measure"], ("train.py", "--device", "T4")),
        (["resnet50", "--device", "T4"], ["resnet50", "--device", "T4"], ()),
        (["job.json", "-o", "x.md"], ["job.json", "-o", "x.md"], ()),
        (["torchrun", "--nproc-per-node", "2", "t.py"], [], ("torchrun", "--nproc-per-node", "2", "t.py")),
        ([], [], ()),
    ],
)
def test_what_is_ours_and_what_is_the_scripts(arguments, ours, script):
    assert split(arguments, WITH_VALUES) == (ours, script)


@pytest.fixture
def train(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("WHICHGPU_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    ("arguments", "ours", "script"),
    [
        (["--device", "T4", "python", "train.py", "-x"], ["--device", "T4"], ("train.py", "-x")),
        (["python3.12", "-u", "-W", "ignore", "train.py"], [], ("train.py",)),
        (["/usr/bin/python3", "-m", "package.train", "a"], [], ("-m", "package.train", "a")),
        (["python", "resnet50"], ["python", "resnet50"], ()),
        (["--other", "python", "train.py"], ["--other", "python"], ("train.py",)),
    ],
)
def test_an_interpreter_before_a_script_is_left_out(arguments, ours, script):
    assert split(arguments, WITH_VALUES | {"--other"}) == (ours, script)


def test_comparing_a_script_and_again_from_the_cache(run, train):
    command = ("compare", "--device", "T4", "--measure-seconds", "0.2", "--format", "json", train, "--batch", "20")
    outcome = run(*command)
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert document["job"]["name"] == "train.py"
    assert (document["job"]["samples_per_step"], document["job"]["steps_per_epoch"]) == (20, 5)
    assert [row["kind"] for row in document["rows"]] == ["measured", "predicted"]
    assert any("DataLoader over TensorDataset" in note for note in document["notes"])
    begin = time.perf_counter()
    again = run(*command)
    assert time.perf_counter() - begin < 2
    assert json.loads(again.out)["rows"][0]["step_s"] == document["rows"][0]["step_s"]
    assert "Removed 1" in run("cache", "clear").out
    assert "Removed 0" in run("cache", "clear").out


def test_a_captured_script_is_compared_without_torch(run, spawn, train, tmp_path):
    file = tmp_path / "job.json"
    outcome = run("capture", "--steps-per-epoch", "7", "-o", file, train, "-o", "theirs")
    assert outcome.code == 0, outcome.err
    compared = spawn(
        "compare", file, "--device", "H100", "--format", "json", before="import sys; sys.modules['torch'] = None"
    )
    assert compared.code == 0, compared.err
    assert json.loads(compared.out)["job"]["steps_per_epoch"] == 7


def test_a_failing_script_shows_its_traceback_and_exit_code(run, train):
    train.write_text("raise KeyError('mine')")
    outcome = run("compare", train)
    assert outcome.code == 1
    assert "KeyError: 'mine'" in outcome.err
    assert "whichgpu/" not in outcome.err
    assert "the phantom pass failed" in outcome.err
    train.write_text("import sys; sys.exit(9)")
    assert run("compare", train).code == 9
    train.write_text("while True: pass")
    assert_refused(run("compare", "--timeout", "3", train), "the phantom pass was ended", "still running after 3.00 s")


def test_bad_input(run, train):
    assert_refused(run("compare", "nothing.py"), "no file nothing.py")
    assert_refused(run("compare", "-m"), "needs the name of a module")
    assert_refused(run("compare", "--batch", "3", train), "--batch 3", "a script has its own")
    assert_refused(run("compare", "--timeout", "0", train), "--timeout is 0", "more than 0")
    assert_refused(run("compare", "mnist", train), "mnist", "script", "one")
    assert_refused(run("capture"), "whichgpu capture train.py")
    train.write_text("raise KeyError('mine')")
    assert_refused(run("compare", "--device", "H100 SXN", train), "No device is named 'H100 SXN'", "H100 SXM")
    train.write_text(SCRIPT)
    assert_refused(run("compare", "--no-cache", "--step-marker", "nonsense", train), "--step-marker", "module:function")


def test_an_installed_command_is_a_script(run, tmp_path):
    tool = tmp_path / "train_tool"
    tool.write_text("#!/usr/bin/env python3\n" + SCRIPT)
    outcome = run("capture", "-o", tmp_path / "job.json", tool, "--batch", "20")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "job.json").read_text())["samples_per_step"] == 20
    tool.write_text("some text")
    refused = run("compare", tool)
    assert_refused(refused, "is not JSON", "or a script, such as train.py")
    assert " -o " not in refused.err  # nobody shall write over it


def test_a_folder_that_python_cannot_run(run, tmp_path):
    folder = tmp_path / "train.py"
    folder.mkdir()
    assert_refused(run("compare", str(folder)), "is a folder without a __main__.py")

"""A script that has not changed is not run again; one of which anything has, is."""

from dataclasses import replace
from pathlib import Path

import pytest

from whichgpu.capture.script import ScriptCall, ScriptOptions, ScriptRun, TimedSteps
from whichgpu.capture.script.cache import ScriptCache
from whichgpu.graph import Graph, Job, Op, Tensor

OPTIONS = ScriptOptions(steps_per_epoch=5)


@pytest.fixture
def kept(tmp_path):
    """Return a cache with one script in it, the script's call and run."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("train.py", "helper.py", "config.yaml"):
        (folder / name).write_text(name)
    call = ScriptCall("train.py", ("--config=config.yaml", "--epochs", "3"), folder=str(folder))
    square = Tensor((4, 4), "float32")
    job = Job("train.py", Graph((Op("aten.mm.default", {"self": square, "mat2": square}, (square,)),)), 8, 80)
    timed = TimedSteps((0.1, 0.2), 0.01, "fp32", 2, 3.0, 0.1, ("a note",))
    run = ScriptRun(job, timed, (str(folder / "helper.py"),))
    cache = ScriptCache(tmp_path / "cache")
    cache.keep(call, OPTIONS, run)
    return cache, call, run


def test_what_was_kept_is_found(kept):
    cache, call, run = kept
    found = cache.find(call, OPTIONS)
    assert (found.job, found.timed) == (run.job, run.timed)


@pytest.mark.parametrize("name", ["train.py", "helper.py", "config.yaml"])
def test_a_file_that_changed(kept, name):
    cache, call, _ = kept
    (Path(call.folder) / name).write_text("changed")
    assert cache.find(call, OPTIONS) is None


def test_another_call_or_option(kept):
    cache, call, _ = kept
    assert cache.find(replace(call, arguments=("--epochs", "4")), OPTIONS) is None
    assert cache.find(call, replace(OPTIONS, steps_per_epoch=6)) is None
    assert cache.find(call, replace(OPTIONS, phantom_only=True)) is None
    assert cache.find(call, replace(OPTIONS, timeout_s=5)) is not None


def test_other_packages(kept, tmp_path, monkeypatch):
    cache, call, _ = kept
    (tmp_path / "site-packages" / "torch-9.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    assert cache.find(call, OPTIONS) is None


def test_a_broken_entry_is_none(kept):
    cache, call, _ = kept
    (entry,) = cache.folder.iterdir()
    entry.write_text(entry.read_text()[:-20])
    assert cache.find(call, OPTIONS) is None


def test_clearing(kept):
    cache, call, _ = kept
    assert cache.clear() == 1
    assert cache.find(call, OPTIONS) is None
    assert cache.clear() == 0


def test_a_cache_that_cannot_be_written(kept, tmp_path):
    _, call, run = kept
    (tmp_path / "file").write_text("")
    cache = ScriptCache(tmp_path / "file" / "cache")
    cache.keep(call, OPTIONS, run)
    assert cache.find(call, OPTIONS) is None

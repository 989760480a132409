"""What launchers would start, and what they would tell it."""

import pytest

from whichgpu.capture.script import ScriptCall
from whichgpu.capture.script.launcher import ENVIRONMENT, launch_of
from whichgpu.errors import OptionError


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.mark.parametrize(
    ("target", "arguments", "is_module", "inner", "processes"),
    [
        ("train.py", ("--lr", "1"), False, ("train.py", ("--lr", "1"), False), 1),
        ("torchrun", ("--standalone", "--nproc_per_node=8", "train.py", "x"), False, ("train.py", ("x",), False), 8),
        ("torchrun", ("--nnodes", "1:2", "--nproc-per-node", "4", "-m", "a.b"), False, ("a.b", (), True), 8),
        ("torch.distributed.launch", ("--nproc_per_node", "2", "t.py"), True, ("t.py", (), False), 2),
        ("accelerate", ("launch", "--num_processes", "2", "--multi_gpu", "t.py"), False, ("t.py", (), False), 2),
    ],
)
def test_what_is_launched(target, arguments, is_module, inner, processes):
    found = launch_of(ScriptCall(target, arguments, is_module, "/"))
    assert (found.call.target, found.call.arguments, found.call.is_module) == inner
    assert found.processes == processes
    assert found.variables == (ENVIRONMENT if target != "train.py" else {})


def test_what_accelerate_tells(tmp_path):
    call = ScriptCall("accelerate", ("launch", "--mixed_precision", "bf16", "t.py"), folder=str(tmp_path))
    assert launch_of(call).variables["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_what_stands_in_accelerates_configuration(tmp_path):
    (tmp_path / "run.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\nmixed_precision: 'fp16'\nnum_processes: 4\n"
    )
    call = ScriptCall("accelerate", ("launch", "--config_file", "run.yaml", "t.py"), folder=str(tmp_path))
    found = launch_of(call)
    assert found.variables["ACCELERATE_MIXED_PRECISION"] == "fp16"
    assert found.processes == 4
    (tmp_path / "hf" / "accelerate").mkdir(parents=True)
    (tmp_path / "run.yaml").rename(tmp_path / "hf" / "accelerate" / "default_config.yaml")
    assert launch_of(ScriptCall("accelerate", ("launch", "t.py"), folder=str(tmp_path))).processes == 4


@pytest.mark.parametrize("count", ["0", "x", "-2"])
def test_a_number_of_processes_that_is_none(count):
    with pytest.raises(OptionError, match=rf"--nproc-per-node {count}: expected a number above 0"):
        launch_of(ScriptCall("torchrun", ("--nproc-per-node", count, "train.py")))


def test_as_many_processes_as_there_are_gpus_is_one():
    assert launch_of(ScriptCall("torchrun", ("--nproc-per-node=gpu", "train.py"))).processes == 1

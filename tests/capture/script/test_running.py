"""A script runs as Python would run it, and ends as the limits want it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.capture.script.conftest import LOOP, START, op_names

from whichgpu.capture.script import ScriptCall, ScriptOptions, real_pass, run_script
from whichgpu.capture.script.child_process import run_pass
from whichgpu.capture.script.job_of import NO_LOADER
from whichgpu.capture.script.request import PassRequest
from whichgpu.errors import ScriptError
from whichgpu.other_programs import ProcessorTime

TELL = """
import json, os, sys
told = dict(argv=sys.argv, path=sys.path[0], cwd=os.getcwd(), file=__file__, name=__name__,
            main=sys.modules["__main__"].__dict__ is globals(), package=__package__, spec=__spec__ is None)
print("TOLD", json.dumps(told, sort_keys=True))
"""


def told(output):
    return next(line for line in output.splitlines() if line.startswith("TOLD"))


def test_a_script_sees_what_python_shows_it(script, phantom):
    call = script(TELL, "--epochs", "3", "-m", "x")
    plain = subprocess.run(
        [sys.executable, call.target, *call.arguments], cwd=call.folder, capture_output=True, text=True, check=True
    )
    assert told(phantom(call).output) == told(plain.stdout)


def test_a_module_sees_what_python_shows_it(script, phantom, tmp_path):
    script("", name="helper.py")
    package = tmp_path / "project" / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text("from . import part\nimport helper\n" + TELL)
    (package / "part.py").write_text("")
    call = ScriptCall("package.train", ("a", "b"), is_module=True, folder=str(tmp_path / "project"))
    plain = subprocess.run(
        [sys.executable, "-m", "package.train", "a", "b"], cwd=call.folder, capture_output=True, text=True, check=True
    )
    assert told(phantom(call).output) == told(plain.stdout)


def test_the_real_pass_times_steps_and_is_stopped(script, real):
    outcome = real(script(START + LOOP.replace("range(3)", "range(10**9)")))
    assert outcome.status == "done"
    assert len(outcome.seen.intervals) > 3
    assert all(i.batches == {"0": 1} for i in outcome.seen.intervals[1:])


def test_everything_meant_for_a_gpu_happens_on_the_cpu(script, real):
    text = """
import torch
from torch import nn
assert not torch.cuda.is_available()
torch.cuda.manual_seed_all(1)
device = torch.device("cuda:0")
model = nn.Linear(8, 4, device="cuda").cuda()
model.to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()
start, stream = torch.cuda.Event(enable_timing=True), torch.cuda.Stream()
generator = torch.Generator(device="cuda").manual_seed(1)
for _ in range(200):
    x = torch.randn(16, 8, device=device).cuda(non_blocking=True)
    y = torch.zeros(16, dtype=torch.long).pin_memory().to("cuda")
    assert x.device.type == "cpu" and torch.tensor([1.0], device="cuda").device.type == "cpu"
    with torch.cuda.amp.autocast(dtype=torch.float16), torch.cuda.stream(stream):
        out = model(x)
    assert out.dtype == torch.float32
    scaler.scale(nn.functional.cross_entropy(out, y)).backward()
    scaler.step(optimizer)
    scaler.update()
    torch.cuda.synchronize()
    torch.cuda.memory_allocated(), torch.cuda.get_device_properties(0).total_memory, torch.cuda.current_stream()
"""
    outcome = real(script(text))
    assert outcome.status == "done", outcome.traceback
    with_default = "import torch\ntorch.set_default_device('cuda')\nassert torch.zeros(1).is_cpu\n" + START + LOOP
    assert real(script(with_default)).status == "done"


def test_a_script_that_wants_a_gpu_is_told_there_is_one(script):
    text = "import torch\nif torch.cuda.device_count() < 1:\n    raise SystemExit('needs a GPU')\n" + START
    text += "model = torch.nn.DataParallel(model)\n" + LOOP
    run = run_script(script(text), ScriptOptions(seconds=0.1, timeout_s=120), None)
    assert run.timed is not None
    assert any("does not train without a GPU" in note for note in run.timed.notes)


def test_a_script_that_fails_shows_its_own_traceback(script, phantom):
    call = script("import sys\n\ndef broken():\n    raise ValueError('my mistake')\n\nbroken()\n")
    outcome = phantom(call)
    plain = subprocess.run([sys.executable, call.target], cwd=call.folder, capture_output=True, text=True)
    assert (outcome.status, outcome.exit_code, outcome.error) == ("failed", 1, "ValueError: my mistake")
    assert outcome.traceback.splitlines() == plain.stderr.splitlines()


def test_the_pass_that_failed_is_named_and_the_exit_code_kept(script):
    with pytest.raises(ScriptError, match="the phantom pass failed: it left with exit code 7") as caught:
        run_script(script("import sys\nprint('no such data')\nsys.exit(7)"), ScriptOptions(timeout_s=60), None)
    assert caught.value.exit_code == 7
    assert "no such data" in caught.value.details


def test_what_the_phantom_pass_brought_is_kept_if_the_real_one_fails(script):
    text = START + "import os\nif device == 'cpu' or os.environ.get('NO'): raise OSError('not here')\n" + LOOP
    text = text.replace("if device == 'cpu'", "if next(model.parameters()).is_cpu")
    run = run_script(script(text), ScriptOptions(seconds=0.1, timeout_s=60), None)
    assert run.timed is None
    assert len(run.job.graph.ops) > 10
    assert any("Not measured here: the real pass failed: OSError: not here" in note for note in run.job.notes)


def test_what_the_real_pass_brings_is_told_if_the_phantom_pass_fails(script, forked):
    text = START + "if device == 'cuda': raise OSError('no GPUs, please')\n" + LOOP
    with pytest.raises(
        ScriptError, match="the phantom pass failed: OSError: no GPUs, please; on this CPU the"
    ) as caught:
        run_script(script(text), ScriptOptions(seconds=0.1, timeout_s=60), None)
    assert " a step in fp32, median of " in str(caught.value)
    assert "no GPUs, please" in caught.value.details
    assert caught.value.exit_code == 1


def test_why_it_fails_is_told_of_a_script_that_wants_a_gpu(script, forked):
    text = (
        START
        + "if next(model.parameters()).is_cpu:\n    torch.cuda.get_device_name('GPU').lower().index('xyz')\n"
        + LOOP
    )
    text = "import torch\nif not torch.cuda.is_available():\n    raise OSError('needs a GPU')\n" + text
    run = run_script(script(text), ScriptOptions(seconds=0.1, timeout_s=60), None)
    assert run.timed is None
    (told,) = (note for note in run.job.notes if note.startswith("Not measured here"))
    assert "OSError: needs a GPU; told that this CPU is a GPU: ValueError: substring not found" in told


def test_a_script_that_makes_its_own_batches_is_told_no_loading(script, forked):
    text = (
        START
        + "for _ in range(400):\n    loss_of(model(data[:10][0].to(device)), data[:10][1].to(device)).backward()\n"
    )
    run = run_script(script(text + "    optimizer.step()\n"), ScriptOptions(seconds=0.1, timeout_s=60), None)
    assert NO_LOADER in run.job.notes
    assert not any(note.startswith("Loading data") for note in run.job.notes)


def test_a_script_that_trains_nothing(script):
    with pytest.raises(ScriptError, match=r"no training step was seen.*--step-marker"):
        run_script(script("print('hello')"), ScriptOptions(timeout_s=60), None)


def processes_with(mark):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in path.read_bytes().decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def left_with(mark):
    """Return the processes with `mark` that are still there after a second: one that is killed takes a moment."""
    until = time.perf_counter() + 1
    while processes_with(mark) and time.perf_counter() < until:
        time.sleep(0.02)
    return processes_with(mark)


def test_a_time_limit_ends_all_that_was_started(script):
    mark = f"whichgpu-test-{os.getpid()}"
    call = script(
        "import subprocess, sys, time\n"
        f"wait = [sys.executable, '-c', 'import time; time.sleep(99)', '{mark}']\n"
        "subprocess.Popen(wait); subprocess.Popen(wait, start_new_session=True)\n"
        "while True: time.sleep(1)"
    )
    begin = time.perf_counter()
    outcome = run_pass(PassRequest(call, "real", ""), 6, None)
    assert outcome.status == "timeout"
    assert time.perf_counter() - begin < 12
    assert "still running after 6.00 s" in outcome.error
    assert outcome.exit_code == 0
    assert left_with(mark) == []


def test_what_a_pass_leaves_in_a_session_of_its_own_ends_with_it(script):
    mark = f"whichgpu-test-{os.getpid()}-s"
    text = START + (
        "import subprocess, sys\n"
        f"wait = [sys.executable, '-c', 'import time; time.sleep(99)', '{mark}']\n"
        "subprocess.Popen(wait, start_new_session=True)\n"
    )
    outcome = run_pass(PassRequest(script(text + LOOP), "real", "", seconds=0.1), 60, None)
    assert outcome.status == "done"
    assert left_with(mark) == []


def test_a_process_that_dies_leaves_with_the_code_a_shell_would_tell(script):
    outcome = run_pass(
        PassRequest(script("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), "real", ""), 60, None
    )
    assert (outcome.status, outcome.exit_code) == ("crashed", 128 + signal.SIGSEGV)
    assert "SIGSEGV" in outcome.error


def test_a_memory_limit(script):
    call = script("held = []\nwhile True: held.append(bytearray(50_000_000))")
    outcome = run_pass(PassRequest(call, "real", ""), 60, 1.5e9)
    assert outcome.status == "memory"
    assert "1.40 GiB" in outcome.error


def test_a_script_that_catches_everything_is_ended_all_the_same(script, phantom):
    text = START + LOOP.replace("    for x, y in loader:", "    for x, y in loader:\n     try:").replace(
        "\n        ", "\n      "
    )
    text += "\n     except BaseException as e: import time; time.sleep(60)\n"
    begin = time.perf_counter()
    assert phantom(script(text)).status == "done"
    assert time.perf_counter() - begin < 30


@pytest.mark.parametrize(
    ("numbers", "code"),
    [([signal.SIGINT], 130), ([signal.SIGINT] * 2, 130), ([signal.SIGTERM], 143), ([signal.SIGHUP], 129)],
    ids=["Ctrl-C", "Ctrl-C twice", "SIGTERM", "SIGHUP"],
)
def test_ending_it_leaves_nothing_behind(numbers, code, script, tmp_path):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    mark = f"whichgpu-test-{os.getpid()}-c"
    call = script(
        "import subprocess, sys, time\n"
        f"wait = [sys.executable, '-c', 'import time; time.sleep(99)', '{mark}']\n"
        "subprocess.Popen(wait); subprocess.Popen(wait, start_new_session=True)\n"
        "time.sleep(99)"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", "from whichgpu.cli import main; main()", "compare", "--no-cache", call.target],
        cwd=call.folder, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE,
        # A shell that runs these tests in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.perf_counter() + 30
    while len(processes_with(mark)) < 2 and time.perf_counter() < until:
        time.sleep(0.1)
    for number in numbers:
        command.send_signal(number)
        time.sleep(0.1)
    command.wait(timeout=20)
    command.stderr.close()
    # A second one may come when all is done but the leaving: Python then ends by it, which a shell tells as the same.
    assert command.returncode in (code, -numbers[-1])
    assert left_with(mark) == []
    assert list(scratch.iterdir()) == []


def test_one_process_of_a_launcher(script, job):
    text = (
        """
import os, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data.distributed import DistributedSampler
dist.init_process_group(backend="nccl")
rank = int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(rank)
"""
        + START
        + """
model = DDP(model, device_ids=[rank])
loader = DataLoader(data, batch_size=10, sampler=DistributedSampler(data))
for x, y in loader:
    optimizer.zero_grad()
    loss = loss_of(model(x.cuda(rank)), y.cuda(rank))
    loss.backward()
    optimizer.step()
    dist.all_reduce(loss)
    dist.barrier()
dist.destroy_process_group()
"""
    )
    inner = script(text)
    call = ScriptCall("torchrun", ("--standalone", "--nproc_per_node=4", inner.target, "--x"), folder=inner.folder)
    found = job(call)
    assert found.options["world_size"] == 4
    assert found.options["parallel_wrappers"] == ("DistributedDataParallel",)
    assert not [op.name for op in found.graph.ops if "c10d" in op.name]
    assert any("4 devices" in note for note in found.notes)


def test_fully_sharded_modules(script, phantom):
    text = START.replace(
        "optimizer =",
        "from torch.distributed.fsdp import fully_shard, FullyShardedDataParallel as FSDP\n"
        "import torch.distributed as dist\ndist.init_process_group('nccl')\n"
        "fully_shard(model[0])\nmodel = FSDP(model, device_id=0)\noptimizer =",
    )
    outcome = phantom(script(text + LOOP))
    assert op_names(outcome)["aten.addmm.default"] == 2
    assert outcome.seen.wrappers == ["fully_shard", "FullyShardedDataParallel"]


@pytest.mark.parametrize("run", ["phantom", "real"])
def test_torchscript_runs_as_python(script, request, run):
    text = START.replace("model = nn.Seq", "rectify = torch.jit.script(lambda_)\nmodel = nn.Seq").replace(
        "device =",
        "def lambda_(x: torch.Tensor) -> torch.Tensor:\n    return x.clamp(min=0) + torch.zeros(1, device=x.device)\n"
        "\ndevice =",
    )
    loop = LOOP.replace("model(x.to(device))", "rectify(model(x.to(device)))")
    outcome = request.getfixturevalue(run)(script(text + loop))
    assert outcome.status == "done", outcome.traceback


def test_processes_that_are_not_followed_are_named(script):
    text = "import multiprocessing, subprocess, sys\nif __name__ == '__main__':\n"
    text += "    multiprocessing.Process(target=print, args=('here',)).start()\n"
    text += "    subprocess.run([sys.executable, 'train.py', '--help'])\n"
    with pytest.raises(ScriptError, match=r"processes of its own \(print, \S+ train.py\), which are not followed"):
        run_script(script(text, name="start.py"), ScriptOptions(timeout_s=60), None)


@pytest.mark.parametrize(
    ("devices", "nodes", "count"),
    [(4, 1, 4), ("2", 2, 4), ([0, 1, 2], 1, 3), ("0,1", 1, 2), ("auto", 1, 1), (-1, 1, 1), (1, 2, 2)],
)
def test_devices_asked_of_a_library_are_counted(devices, nodes, count):
    from whichgpu.capture.patches import Patches
    from whichgpu.capture.script.libraries import _with_one_device
    from whichgpu.capture.script.seen import Seen

    class Trainer:
        def __init__(self, *, devices="auto", num_nodes=1, **more):
            self.given = (devices, num_nodes, more)

    seen, patches = Seen(), Patches()
    _with_one_device(patches, Trainer, seen)
    given = Trainer(devices=devices, num_nodes=nodes, precision=16).given
    patches.undo()
    assert seen.world_size == count
    assert given == ((1, 1) if count > 1 else (devices, nodes)) + ({"precision": 16},)


SLOW = """
import time
class Slow(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.weight = nn.Parameter(torch.ones(1))
    def forward(self, x):
        time.sleep(self.seconds)
        return x * self.weight
"""


def test_batches_of_a_long_step_stand_for_the_others(script, real):
    text = (
        START
        + SLOW
        + """
model = nn.Sequential(model, Slow(0.2))
time.sleep(1)
for step in range(3):
    for i in range(20):
        loss_of(model(torch.ones(4, 8)), torch.ones(4, dtype=torch.long)).backward()
    optimizer.step()
"""
    )
    outcome = real(script(text), backward_calls=20)
    assert outcome.status == "done", outcome.traceback
    (interval,) = outcome.seen.intervals
    assert 3 < interval.seconds < 8
    assert any("of its 20 batches" in note for note in outcome.seen.notes)


def test_a_long_first_step_is_enough(script, real):
    text = START + SLOW + "model = nn.Sequential(model, Slow(0.5))\ntime.sleep(1)" + LOOP
    outcome = real(script(text))
    (interval,) = outcome.seen.intervals
    assert 0.4 < interval.seconds < 0.95


def test_slow_evaluation_is_cut_short(script, real):
    text = (
        START
        + SLOW
        + """
slow = Slow(3).eval()
begin = time.perf_counter()
with torch.no_grad():
    for i in range(50):
        slow(torch.ones(4, 8))
assert time.perf_counter() - begin < 30
"""
        + LOOP
    )
    outcome = real(script(text))
    assert outcome.status == "done", outcome.traceback


def test_an_accelerator_where_a_gpu_is_pretended(script, real):
    text = """
import torch
assert torch.accelerator.is_available()
kind = torch.accelerator.current_accelerator()
assert kind.type == "cuda"
torch.accelerator.set_device_index(0)
assert torch.full_like(torch.empty_like(torch.ones(2), device=0), 3, device="cuda").tolist() == [3, 3]
""" + START.replace('"cuda" if torch.cuda.is_available() else "cpu"', "torch.device(f'{kind}:0')")
    outcome = real(script(text + LOOP), pretends_cuda=True)
    assert outcome.status == "done", outcome.traceback


def test_a_machine_that_others_keep_busy_is_told_of(monkeypatch):
    watched = real_pass.RealPass(PassRequest(ScriptCall("train.py"), "real", ""), lambda outcome: None)
    before = ProcessorTime(busy_s=0.0, total_s=0.0, own_s=0.0, processors=2)
    after = ProcessorTime(busy_s=20.0, total_s=20.0, own_s=2.0, processors=2)
    monkeypatch.setattr(ProcessorTime, "now", lambda **how: before)
    watched._begin()
    monkeypatch.setattr(ProcessorTime, "now", lambda **how: after)
    (note,) = watched.outcome().seen.notes
    assert note.startswith("Other programs kept 1.8 of 2 processors busy") and note.endswith(
        "--no-cache measures again."
    )


def test_libraries_that_look_for_cuda_s_functions_find_them_where_a_gpu_is_pretended(script, real):
    text = START + "import torch._C\nassert torch._C._cuda_getCurrentRawStream(0) == 0\n"
    outcome = real(script(text + LOOP), pretends_cuda=True)
    assert outcome.status == "done", outcome.traceback


def test_an_error_s_line_that_only_announces_one_goes_on_with_the_next(script, phantom):
    text = 'raise RuntimeError("Failed to import x because of the following error:\\nno module y\\nand so on")\n'
    outcome = phantom(script(text))
    assert outcome.error == "RuntimeError: Failed to import x because of the following error: no module y"

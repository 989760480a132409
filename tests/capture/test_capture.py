"""What a captured job says of a step: its ops, phases, modules, storages and how long they live."""

import _thread
import json
import queue
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn
from torch.nn import functional

from whichgpu.capture import capture, phantom_gpu, self_test
from whichgpu.capture.torch_versions import refuse_unsupported
from whichgpu.errors import CaptureError, UnsupportedTorchError
from whichgpu.graph import check, job_from_document, job_to_document


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64))
        self.norm = nn.BatchNorm1d(64)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.norm(self.body(x)))


def net_step(device="cuda", optimizer=torch.optim.Adam, batch=16, **options):
    model = Net().to(device)
    made = optimizer(model.parameters(), **options)
    x, y = torch.randn(batch, 32).to(device), torch.zeros(batch, dtype=torch.long).to(device)

    def step():
        made.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        made.step()
        return loss

    step.parts = model, made, x, y
    return step


@pytest.fixture
def job(phantom, record):
    return record(net_step(), precision="fp32", samples_per_epoch=100, sample="row", options={"batch": 16})


def test_what_was_given_is_in_the_job(job):
    assert (job.name, job.samples_per_step, job.samples_per_epoch, job.sample) == ("test", 1, 100, "row")
    assert job.options == {"batch": 16}
    assert job.source == f"torch {torch.__version__}"
    assert job.notes == ()
    assert job.graph.mode == "eager"
    check(job)


def test_the_second_call_is_recorded(phantom, record):
    calls = []

    def step():
        calls.append(len(calls))
        torch.ones(len(calls), device="cuda")

    assert [op.output().shape for op in record(step).graph.ops] == [(2,)]
    assert calls == [0, 1]


def test_phases_come_in_order_and_hold_what_they_should(job):
    phases = [op.phase for op in job.graph.ops]
    assert phases == sorted(phases, key=["forward", "backward", "optimizer"].index)
    by_phase = {p: {op.base_name for op in job.graph.ops if op.phase == p} for p in set(phases)}
    assert {"aten.addmm", "aten.relu", "aten.nll_loss_forward"} <= by_phase["forward"]
    assert {"aten.threshold_backward", "aten.nll_loss_backward", "aten.ones_like"} <= by_phase["backward"]
    assert all(name.startswith("aten._foreach_") for name in by_phase["optimizer"])


def test_phases_of_accumulated_gradients(phantom, record):
    step = net_step(optimizer=torch.optim.SGD)
    model, optimizer, x, y = step.parts

    def accumulating():
        optimizer.zero_grad(set_to_none=False)
        for _ in range(2):
            functional.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    phases = [op.phase for op in record(accumulating).graph.ops]
    changes = [p for i, p in enumerate(phases) if i == 0 or phases[i - 1] != p]
    assert changes == ["optimizer", "forward", "backward", "forward", "backward", "optimizer"]


def test_modules_are_told(job):
    forward = {op.module: op.base_name for op in job.graph.ops if op.base_name in ("aten.addmm", "aten.relu")}
    assert forward == {"body.0": "aten.addmm", "body.1": "aten.relu", "body.2": "aten.addmm", "head": "aten.addmm"}


def test_arguments_have_their_schema_names(phantom, record):
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False).cuda()
    x = torch.randn(2, 3, 9, 9, device="cuda").to(memory_format=torch.channels_last)
    job = record(lambda: conv(x))
    (op,) = job.graph.ops
    assert op.name == "aten.convolution.default"
    assert set(op.inputs) == {"input", "weight"}
    assert op.attributes["stride"] == (2, 2)
    assert op.attributes["groups"] == 1
    assert op.tensor("input").is_channels_last
    assert op.tensor("input").stride == (243, 1, 27, 3)
    assert op.tensor("weight").stride is None
    cast = record(lambda: x.to(torch.float16, memory_format=torch.contiguous_format)).graph.ops[0]
    assert cast.attributes == {"dtype": "float16", "memory_format": "contiguous_format"}
    cat = record(lambda: torch.cat([x, x], 1)).graph.ops[0]
    assert [t.shape for t in cat.tensors("tensors")] == [(2, 3, 9, 9)] * 2
    assert cat.attributes == {"dim": 1}
    low = record(lambda: torch.full((2,), float("-inf"), device="cuda")).graph.ops[0]
    assert low.attributes == {"size": (2,), "fill_value": "-inf"}
    assert low.inputs == {}


def test_defaults_are_left_out(phantom, record):
    x = torch.randn(3, device="cuda")
    assert record(lambda: torch.add(x, x)).graph.ops[0].attributes == {}
    assert record(lambda: torch.add(x, x, alpha=2)).graph.ops[0].attributes == {"alpha": 2}


def test_a_broadcast_tensor_keeps_its_strides(phantom, record):
    x = torch.randn(1, 4, device="cuda")
    ops = record(lambda: x.expand(8, 4) + 1).graph.ops
    assert ops[1].tensor("self").stride == (0, 1)
    assert ops[1].tensor("self").nbytes == 16
    assert ops[0].output().storage == ops[1].tensor("self").storage


def test_copies_between_host_and_device(phantom, record):
    target = torch.zeros(4, device="cuda")

    def step():
        batch = torch.randn(2, 100).to("cuda")
        target.copy_(torch.ones(4))
        return (batch * 2).cpu(), batch.sum().item()

    job = record(step)
    ops = job.graph.ops
    assert [op.name for op in ops] == [
        "memcpy.h2d",
        "memcpy.h2d",
        "aten.mul.Tensor",
        "memcpy.d2h",
        "aten.sum.default",
        "aten._local_scalar_dense.default",
    ]
    assert ops[0].tensor("self").storage is None
    assert ops[0].output().nbytes == 800
    assert job.graph.storages[ops[0].output().storage].kind == "input"
    assert ops[3].output().storage is None
    assert "made up" in job.notes[0]


def test_kinds_of_storages(job):
    parameters = sum(p.numel() for p in Net().parameters())
    total = {}
    for storage in job.graph.storages:
        total[storage.kind] = total.get(storage.kind, 0) + storage.nbytes
    assert total["parameter"] == 4 * parameters
    # Those of the call before, which zero_grad frees, and those this call leaves.
    assert total["gradient"] == 2 * 4 * parameters
    assert total["optimizer_state"] == 8 * parameters  # Adam's counters of steps lie on the CPU
    assert total["buffer"] == 2 * 64 * 4 + 8
    assert total["input"] == 16 * 32 * 4 + 16 * 8


def test_memory_of_an_mlp_counted_by_hand(phantom, record):
    width, batch = 512, 128
    layers = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(3))).cuda()
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.1)
    x = torch.randn(batch, width, device="cuda")

    def step():
        optimizer.zero_grad()
        loss = layers(x).sum()
        loss.backward()
        optimizer.step()

    job = record(step)
    weight, activation = 4 * width * width, 4 * width * batch
    # zero_grad frees the gradients of the first call, so before the first op there are weights, input and gradients.
    assert job.graph.resident_bytes() == 3 * weight + activation + 3 * weight
    live = list(job.graph.live_bytes())
    # Forward holds weights, input and the outputs so far (the last one until its sum is taken).
    forward = [
        n for n, op in zip(live, job.graph.ops, strict=True) if op.phase == "forward" and op.base_name == "aten.mm"
    ]
    assert forward == [3 * weight + (2 + i) * activation for i in range(3)]
    # The last product makes the first weight's gradient: all gradients, both inner outputs still held by the step's
    # graph being released from behind, the gradient of the first output, the loss and its gradient.
    assert max(live) == job.graph.peak_bytes()
    assert job.graph.peak_bytes() == peak_of_linear_chain(weight, activation)
    # At the end the gradients stay.
    kept = sum(s.nbytes for s in job.graph.storages if s.freed_at is None)
    assert kept == 3 * weight + activation + 3 * weight


def peak_of_linear_chain(weight, activation):
    """Walk three linear layers by hand, x -> a -> b -> c -> loss, as autograd frees: saved inputs after their use."""
    scalar = 4
    weights_and_input = 3 * weight + activation
    live = []
    held = weights_and_input + 2 * activation + scalar  # a, b, loss; c is not saved by anything
    held += scalar  # the gradient of the loss, expanded without a copy
    for saved in (2, 1, 0):  # layer 3 saved b, layer 2 saved a, layer 1 saved the input
        held_gradient = activation if saved < 2 else 0  # the gradient coming in: a view of the scalar at first
        incoming = held + held_gradient
        if saved:
            live.append(incoming + weight + activation)  # both products of the layer, its saved input still there
        else:
            live.append(incoming + weight)
        held += weight  # the weight's gradient stays
        held -= activation if saved else 0  # the saved input goes
    return max(live)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.Adadelta])
def test_peak_memory_is_what_torch_tracks_on_the_cpu(phantom, record, optimizer):
    mem_tracker = pytest.importorskip("torch.distributed._tools.mem_tracker")

    def peak_on_cpu():
        step = net_step("cpu", optimizer, batch=256, foreach=True)
        step()
        tracker = mem_tracker.MemTracker()
        tracker.track_external(*step.parts)
        with tracker:
            step()
        return tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]

    job = record(net_step("cuda", optimizer, batch=256))
    counters = 4 * len(list(Net().parameters())) if optimizer is not torch.optim.SGD else 0
    assert job.graph.peak_bytes() == run_outside(peak_on_cpu) - counters


def run_outside(function):
    """Call `function` in a thread the phantom GPU does not know of."""
    results: queue.SimpleQueue[object] = queue.SimpleQueue()
    _thread.start_new_thread(lambda: results.put(function()), ())
    return results.get(timeout=60)


def test_flops_are_those_torch_counts(phantom, record):
    from torch.utils.flop_counter import FlopCounterMode, flop_registry

    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2, stride=2))
            self.head = nn.Linear(8 * 7 * 7, 10)

        def forward(self, x):
            return self.head(self.conv(x).flatten(1))

    def step(device):
        model, x = Conv().to(device), torch.randn(4, 3, 16, 16).to(device)
        return lambda: model(x).square().sum().backward()

    def counted_on_cpu():
        counter = FlopCounterMode(display=False)
        with counter:
            step("cpu")()
        return counter.get_total_flops()

    def flops(op):
        packet = getattr(torch.ops.aten, op.base_name.removeprefix("aten."), None)
        formula = flop_registry.get(packet)
        if formula is None:
            return 0
        names = [a.name for a in packet.default._schema.arguments]
        given = {**op.inputs, **op.attributes}
        args = [
            torch.empty(given[n].shape, device="meta") if n in op.inputs else given.get(n) for n in names if n in given
        ]
        outs = [None if t is None else torch.empty(t.shape, device="meta") for t in op.outputs]
        return formula(*args, out_val=outs[0] if len(outs) == 1 else tuple(outs))

    job = record(step("cuda"))
    expected = run_outside(counted_on_cpu)
    assert expected > 0
    assert sum(flops(op) for op in job.graph.ops) == expected


def test_two_captures_are_equal(phantom, record):
    first, second = record(net_step()), record(net_step())
    kept = [op.signature for op in first.graph.ops]
    assert kept == [op.signature for op in second.graph.ops]
    assert [(s.nbytes, s.allocated_at, s.freed_at) for s in first.graph.storages if s.allocated_at is not None] == [
        (s.nbytes, s.allocated_at, s.freed_at) for s in second.graph.storages if s.allocated_at is not None
    ]


def test_a_job_survives_json(job):
    assert job_from_document(json.loads(json.dumps(job_to_document(job)))) == job


def test_frozen_parameters_are_parameters(phantom, record):
    base, adapter = nn.Linear(64, 64, bias=False).cuda(), nn.Linear(64, 64, bias=False).cuda()
    base.requires_grad_(False)
    optimizer = torch.optim.SGD(adapter.parameters(), lr=0.1)
    x = torch.randn(2, 64, device="cuda")

    def step():
        optimizer.zero_grad()
        (base(x) + adapter(x)).sum().backward()
        optimizer.step()

    kinds = [s.kind for s in record(step).graph.storages if s.nbytes == 64 * 64 * 4 and s.allocated_at is None]
    assert kinds.count("parameter") == 2


def test_what_torch_compile_makes_counts_as_compiled(phantom, record):
    layer = torch.compile(nn.Linear(2, 2).cuda())
    job = record(lambda: layer(torch.ones(1, 2, device="cuda")))
    assert any("torch.compile" in note for note in job.notes)
    assert job.graph.mode == "fused"


def test_outside_of_the_phantom_gpu():
    with pytest.raises(CaptureError, match=r"inside .with whichgpu"):
        capture(lambda: None, name="test", samples_per_step=1)


def test_a_step_that_does_nothing_on_the_device(phantom, record):
    with pytest.raises(CaptureError, match="ran nothing on the phantom GPU"):
        record(lambda: torch.ones(3) + 1)


def test_a_capture_inside_a_step(phantom, record):
    def step():
        record(lambda: torch.ones(1, device="cuda"))

    calls = iter([lambda: None, step])
    with pytest.raises(CaptureError, match="inside of a step"):
        record(lambda: next(calls)())
    assert record(lambda: torch.ones(1, device="cuda")).graph.ops


@pytest.mark.parametrize("version", ["2.10.0", "2.14.0+cu130", "3.0.0", "1.13.1", "nonsense"])
def test_unsupported_versions_are_refused(version, monkeypatch):
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(UnsupportedTorchError, match=r"2\.11 to 2\.13"), phantom_gpu():
        pass


@pytest.mark.parametrize("version", ["2.11.0", "2.12.1+cpu", "2.13.0+cu130", "2.13.0a0+git123"])
def test_supported_versions(version):
    refuse_unsupported(version)


def test_a_failing_self_test_tells_version_and_difference(monkeypatch):
    monkeypatch.setattr(self_test, "EXPECTED", (*self_test.EXPECTED[:5], "aten.other.default"))
    self_test.run_self_test.cache_clear()
    with pytest.raises(
        CaptureError, match=r"Op 5 of its self-test is aten\.addmm\.default; expected aten\.other"
    ) as told:
        phantom_gpu().__enter__()
    assert torch.__version__ in str(told.value)
    assert torch._C._len_torch_dispatch_stack() == 0
    self_test.run_self_test.cache_clear()


def test_without_torch():
    program = """
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "torch":
                    raise ModuleNotFoundError("No module named 'torch'", name="torch")

        sys.meta_path.insert(0, Absent())
        from whichgpu.capture import capture, phantom_gpu
        from whichgpu.errors import MissingExtraError

        for use in (lambda: phantom_gpu().__enter__(), lambda: capture(print, name="x", samples_per_step=1)):
            try:
                use()
            except MissingExtraError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("pip install 'whichgpu[torch]'" in line for line in lines)


def test_importing_the_room_brings_no_torch():
    program = "import sys, whichgpu.capture; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

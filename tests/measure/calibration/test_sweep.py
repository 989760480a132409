"""The sweep against torch itself, with no GPU: meta kernels say whether every call is one torch would take."""

import pytest

from whichgpu.measure.calibration.probe import AnchorProbe, KernelProbe, Scope
from whichgpu.measure.calibration.sweep import SECTIONS, sweep
from whichgpu.units import GIB
from whichgpu.work import count_op
from whichgpu.workloads import definition

H100 = Scope(False, ("bf16", "fp16", "tf32", "fp32", "fp8"), 80 * GIB)
PASCAL = Scope(False, ("fp16", "fp32"), 8 * GIB)
CPU = Scope(True, ("fp32", "bf16"), 16 * GIB)
QUICK = Scope(False, H100.formats, H100.memory_bytes, quick=True)
SCOPES = {"H100": H100, "Pascal": PASCAL, "CPU": CPU, "quick": QUICK}


def kernels(scope, *sections):
    return [
        (section.name, probe)
        for section in sweep(scope)
        for probe in section.probes
        if isinstance(probe, KernelProbe) and section.name in (sections or SECTIONS)
    ]


@pytest.fixture(scope="module")
def operands():
    pytest.importorskip("torch")
    from whichgpu.measure.calibration.calls import Operands

    return Operands


@pytest.mark.parametrize("name", [s for s in SECTIONS if s not in ("host", "anchors", "transfers")])
def test_torch_takes_every_call_and_every_op_has_a_work_rule(operands, name):
    for section, probe in kernels(H100, name):
        called = operands("meta", probe.below).prepare(probe.setup, probe.ops)
        called()
        for op in called.ops():
            work = count_op(op, "refuse")
            assert work.kernels, (section, probe.name, op.name)


@pytest.mark.parametrize("name", ["products", "convolutions"])
def test_flops_of_what_is_called_are_those_torch_counts(operands, name):
    from torch.utils.flop_counter import FlopCounterMode

    for _, probe in kernels(QUICK, name):
        if "groups" in probe.name and "groups 1," not in probe.name and "by weight" in probe.name:
            continue  # torch counts the gradient by a grouped weight as if there were no groups
        called = operands("meta", probe.below).prepare(probe.setup, probe.ops)
        with FlopCounterMode(display=False) as counter:
            called()
        ours = sum(count_op(op).flops for op in called.ops())
        assert ours == pytest.approx(counter.get_total_flops(), rel=0.01), probe.name


def test_calls_are_those_the_phantom_gpu_records(operands):
    """What calibration calls by hand is what a training script would bring a GPU to call."""
    import torch
    from torch.nn import functional

    from whichgpu.capture import capture, phantom_gpu

    with phantom_gpu():
        q, k, v = (torch.randn(8, 1024, 12, 64, device="cuda", dtype=torch.float16).transpose(1, 2) for _ in range(3))
        image = torch.randn(64, 64, 56, 56, device="cuda", dtype=torch.float16)
        image = image.to(memory_format=torch.channels_last).requires_grad_()
        layer = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False).cuda().to(torch.float16)
        layer = layer.to(memory_format=torch.channels_last)
        norm = torch.nn.BatchNorm2d(64).cuda()
        for tensor in (q, k, v):
            tensor.requires_grad_()

        def step():
            total = functional.scaled_dot_product_attention(q, k, v, is_causal=True).float().sum()
            (total + norm(layer(image).contiguous()).float().sum()).backward()

        job = capture(step, name="mine", samples_per_step=1)
    recorded = {op.base_name: op for op in job.graph.ops}
    asked = {
        "aten._scaled_dot_product_flash_attention",
        "aten._scaled_dot_product_flash_attention_backward",
        "aten.convolution",
        "aten.convolution_backward",
        "aten.cudnn_batch_norm",
        "aten.cudnn_batch_norm_backward",
    }
    ours = {}
    for _, probe in kernels(H100, "attention", "convolutions", "normalizations"):
        ours.setdefault(probe.ops[-1].base_name, probe)
    for name in asked:
        theirs = recorded[name]
        called = operands("meta", {}).prepare(ours[name].setup, ours[name].ops)
        called()
        mine = called.ops()[-1]
        assert mine.name == theirs.name
        assert set(mine.inputs) == set(theirs.inputs), name
        assert [t is None for t in mine.outputs] == [t is None for t in theirs.outputs] or "convolution" in name
    flash = ours["aten._scaled_dot_product_flash_attention"].ops[0].tensor("query")
    assert (flash.shape, flash.stride) == ((8, 12, 1024, 64), q.stride())


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_device_is_asked_for_what_it_has_and_for_nothing_twice(scope):
    found = sweep(scope)
    assert [section.name for section in found] == list(SECTIONS)
    names = [(s.name, p.name) for s in found for p in s.probes]
    assert len(names) == len(set(names))
    for section in found:
        for probe in section.probes:
            if isinstance(probe, KernelProbe):
                dtypes = {t.dtype for op in (*probe.setup, *probe.ops) for t in op.input_tensors()}
                assert "fp8" in scope.formats or "float8_e4m3fn" not in dtypes
                assert "bf16" in scope.formats or "bfloat16" not in dtypes
                assert not probe.tf32 or "tf32" in scope.formats
                assert not (scope.is_cpu and probe.way == "graph")


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_every_whole_step_is_one_the_job_has(scope):
    (anchors,) = sweep(scope, "anchors")
    assert anchors.probes
    for probe in anchors.probes:
        assert isinstance(probe, AnchorProbe)
        job = definition(probe.job)
        job.check_options(probe.batch, probe.precision, probe.layout or job.layout)


def test_there_are_some_twenty_whole_steps_of_every_sort():
    (section,) = sweep(H100, "anchors")
    probes = section.probes
    assert 20 <= len(probes) <= 30
    assert {p.task for p in probes} == {"train", "infer"}
    assert any(p.compiled for p in probes)
    assert any(p.batch == 1 for p in probes)
    assert any(p.grow for p in probes)


def test_large_products_of_each_format_come_first_and_are_kept_up():
    (section,) = sweep(H100, "products")
    first = section.probes[: len(H100.formats)]
    assert all(p.sustain_s > 2 for p in first)
    assert [p.name.rpartition(" ")[2] for p in first] == list(H100.formats)


def test_the_shares_of_the_time_add_up():
    assert sum(section.share for section in sweep(H100)) == pytest.approx(1.0)


def test_no_call_needs_more_memory_than_there_is():
    small = Scope(False, ("fp16", "fp32"), 2 * GIB)
    for _, probe in kernels(small, "bandwidth"):
        assert sum(t.nbytes for op in probe.ops for t in op.input_tensors()) <= small.memory_bytes

"""Footprints on devices: the three figures, what lies beside the allocator, and whether it fits."""

from dataclasses import replace

import pytest

from tests.memory.test_replay import op, training_step
from whichgpu import devices, workload
from whichgpu.devices import find_device
from whichgpu.graph import Graph, Op, Storage, Tensor
from whichgpu.memory import GraphMemory, memory_footprint
from whichgpu.memory.capacity import usable_bytes
from whichgpu.memory.context import context_bytes, nccl_bytes
from whichgpu.memory.scratch import Libraries, workspaces

MIB, GIB = 1024**2, 1024**3
T4 = find_device("T4")


def test_the_three_figures_stand_above_each_other():
    found = memory_footprint(training_step(), T4)
    assert found.allocated_bytes <= found.reserved_bytes
    assert found.device_bytes == found.reserved_bytes + found.context_bytes
    assert found.device_bytes_low < found.device_bytes < found.device_bytes_high
    assert found.margin_bytes == found.usable_bytes - found.device_bytes
    assert found.fits and not found.is_close


def test_a_step_larger_than_the_device_does_not_fit_and_says_what_it_needs():
    found = memory_footprint(training_step(activation=15 * GIB), T4)
    assert found.fits is False
    assert found.margin_bytes < 0
    assert found.device_bytes > 15 * GIB


def test_a_step_may_fit_by_giving_back_what_lies_idle():
    # 4 GiB, dropped, then 5 GiB, which do not fit into the segment of the 4: 9 reserved, 5 in use.
    storages = (Storage(4 * GIB, "activation", 0, 1), Storage(5 * GIB, "activation", 1, 2))
    step = Graph((op("forward"), op("backward"), op("optimizer")), storages)
    assert memory_footprint(step, replace(T4, usable_memory_bytes=80 * GIB)).reserved_bytes == 9 * GIB
    tight = memory_footprint(step, replace(T4, usable_memory_bytes=6 * GIB))
    assert tight.fits
    assert tight.reserved_bytes == 5 * GIB


def test_memory_near_the_limit_is_called_close():
    needed = memory_footprint(training_step(), T4).device_bytes
    assert memory_footprint(training_step(), replace(T4, usable_memory_bytes=1.02 * needed)).is_close
    assert not memory_footprint(training_step(), replace(T4, usable_memory_bytes=1.5 * needed)).is_close


def test_unknown_memory_leaves_fits_open():
    unknown = replace(T4, memory_bytes=None, usable_memory_bytes=None)
    found = memory_footprint(training_step(), unknown)
    assert (found.usable_bytes, found.margin_bytes, found.fits, found.is_close) == (None, None, None, False)


def test_several_processes_need_nccl_s_buffers():
    alone = memory_footprint(training_step(), T4)
    together = memory_footprint(training_step(), T4, world_size=4)
    assert together.device_bytes - alone.device_bytes == nccl_bytes(4) == 688 * MIB
    assert nccl_bytes(1) == 0


@pytest.mark.parametrize(
    ("name", "logged_mib"),
    # X - Y - Z of PyTorch's message where memory runs out, public logs, 2026-11.
    [("T4", 125), ("RTX 3090", 317), ("V100 SXM2 16GB", 382), ("A100 80GB SXM", 490), ("H100 SXM", 620), ("B200", 715)],
)
def test_contexts_are_near_those_in_logs(name, logged_mib):
    assert context_bytes(find_device(name)) / MIB == pytest.approx(logged_mib, rel=0.25)


@pytest.mark.parametrize(
    ("name", "reported_gib"),
    # "GPU 0 has a total capacity of ...", boards whose device file does not say: public logs, 2026-11.
    [("RTX 2080", 7.79), ("P40", 22.38), ("P100 PCIe", 15.9), ("RTX 4070 Ti SUPER", 15.7), ("H100 NVL", 93.1)],
)
def test_usable_memory_is_near_what_is_reported(name, reported_gib):
    assert usable_bytes(find_device(name)) / GIB == pytest.approx(reported_gib, rel=0.02)


def test_no_device_can_use_more_than_it_has():
    for device in devices():
        if device.memory_bytes is not None and not device.is_cpu:
            assert 0.6 * device.memory_bytes < usable_bytes(device) <= device.memory_bytes


@pytest.mark.parametrize("name", ["mnist", "resnet50", "gpt2", "lstm"])
def test_of_a_built_in_job_the_holders_make_up_what_is_allocated(name):
    graph = workload(name).graph
    found = GraphMemory(graph).on(T4)
    held = sum(found.holders.values())
    assert held <= found.allocated_bytes
    assert held == pytest.approx(found.allocated_bytes, rel=0.015)
    assert found.allocated_bytes >= graph.peak_bytes()


def test_twice_the_batch_never_needs_less():
    small, large = (GraphMemory(workload("resnet50", batch=b).graph).on(T4) for b in (16, 32))
    assert large.allocated_bytes > small.allocated_bytes
    assert large.holders["parameters"] == small.holders["parameters"]


def test_both_threads_that_multiply_keep_a_workspace():
    graph = workload("gpt2").graph
    kept = workspaces(graph, Libraries(8 * MIB)).kept
    assert [graph.ops[i].phase for i in kept] == ["forward", "backward"]
    assert set(kept.values()) == {8 * MIB}


def test_a_float32_convolution_by_winograd_s_method_wants_its_tiles():
    # 2 images of 64 x 128: 2 x 16 x 32 tiles of 4 x 4, 36 numbers each for all 4096 + 512 channels, beside the weights.
    def convolution(dtype="float32", stride=1, side=3):
        image, weight = Tensor((2, 4096, 64, 128), dtype), Tensor((512, 4096, side, side), dtype)
        out = Tensor((2, 512, 64 // stride, 128 // stride), dtype)
        sizes = {"stride": (stride, stride), "dilation": (1, 1), "groups": 1}
        return Op("aten.convolution.default", {"input": image, "weight": weight}, (out,), sizes, "forward")

    volta, ampere = (Libraries.of(find_device(name)) for name in ("V100 SXM2 32GB", "A100 80GB SXM"))
    assert workspaces(Graph((convolution(),)), volta).wanted == {0: 4 * 36 * (1024 * 4608 + 4096 * 512)}
    for other in (convolution(stride=2), convolution(side=1)):
        assert not workspaces(Graph((other,)), volta).wanted
    assert not workspaces(Graph((convolution(),)), ampere).wanted

"""Estimates: what they say of real devices, and what they say of themselves."""

from dataclasses import replace
from itertools import pairwise

import pytest

from tests.estimate.jobs import Storage, job, mm, mystery, relu
from whichgpu.devices import devices, find_device
from whichgpu.errors import PrecisionError, UnknownNameError, UnknownOpError
from whichgpu.estimate import Estimate, estimate, estimate_all
from whichgpu.workloads import workload

A100 = find_device("NVIDIA A100 SXM4 80GB")
T4 = find_device("NVIDIA Tesla T4")
L4 = find_device("NVIDIA L4")
RTX_4090 = find_device("NVIDIA GeForce RTX 4090")
CPU = next(d for d in devices() if d.is_cpu)


def test_a_large_product_is_bound_by_arithmetic():
    found = estimate(job(mm(8192, 8192, 8192)), A100)
    assert found.bound == "compute"
    # 1.1 TFLOP at 312 TFLOP/s take 3.52 ms; cuBLAS reaches 70 to 95 % of that on an A100.
    assert 3.52e-3 / 0.95 < found.step_s < 3.52e-3 / 0.7
    assert found.flops == 2 * 8192**3
    assert found.shares[0].label == "matmul"
    assert found.shares[0].bound == "compute"


def test_a_large_activation_is_bound_by_memory():
    found = estimate(job(relu(8192, 8192, 16)), A100)
    assert found.bound == "memory bandwidth"
    # 2.15 GB read and as much written at 2,039 GB/s take 2.11 ms; such kernels reach 75 to 95 % of that.
    assert 2.11e-3 / 0.95 < found.step_s < 2.11e-3 / 0.75


def test_many_small_ops_are_bound_by_the_host():
    found = estimate(job(relu(64, 64, repeat=1000)), A100)
    assert found.bound == "host launch"
    assert 5e-3 < found.step_s < 25e-3  # 5 to 25 us an op, as people find in eager PyTorch


def test_a_tiny_net_trains_as_fast_on_an_l4_as_on_an_rtx_4090():
    small, large = (estimate(workload("mnist", batch=8), device) for device in (L4, RTX_4090))
    assert large.bound == "host launch"
    assert large.step_s == pytest.approx(small.step_s, rel=0.15)


def test_a_large_net_does_not():
    slow, fast = (estimate(workload("resnet50"), device) for device in (T4, RTX_4090))
    assert slow.step_s / fast.step_s > 3


def test_throughput_and_epoch_follow_from_the_step():
    found = estimate(job(mm(1024, 1024, 1024)), A100)
    assert found.samples_per_s == pytest.approx(32 / found.step_s)
    assert found.epoch_s == pytest.approx(100 * found.step_s)


def test_the_parts_make_up_the_device_time():
    found = estimate(workload("gpt2"), A100)
    assert found.compute_s + found.memory_s + found.launch_s == pytest.approx(found.device_s)
    assert sum(s.seconds for s in found.shares) == pytest.approx(found.device_s)
    assert sum(s.fraction for s in found.shares) == pytest.approx(1)
    assert [s.seconds for s in found.shares] == sorted((s.seconds for s in found.shares), reverse=True)
    assert found.step_s >= max(found.device_s, found.host_s)


def test_all_devices_get_what_each_gets_alone():
    several = [A100, "Tesla T4", RTX_4090, CPU]
    work = workload("mnist")
    together = estimate_all(work, several)
    assert [e.device for e in together] == [A100.name, T4.name, RTX_4090.name, CPU.name]
    assert together == tuple(estimate(work, device) for device in several)


@pytest.mark.parametrize("name", ["resnet50", "lstm", "llama3-8b-lora", "unet-sd15"])
def test_every_device_can_be_estimated(name):
    for found in estimate_all(workload(name), devices(), allow_fallback=True):
        assert isinstance(found, Estimate)
        assert 0 < found.interval.low < found.step_s < found.interval.high < 1e6, found.device


def test_a_name_nobody_knows():
    with pytest.raises(UnknownNameError, match="RTX 4090"):
        estimate(job(mm(8, 8, 8)), "RTX 4091")
    with pytest.raises(UnknownNameError, match="amp-fp16"):
        estimate(job(mm(8, 8, 8)), A100, precision="amp-fp61")


def test_an_op_nobody_has_described_is_named_with_its_share():
    # Of 4 equal streams of bytes three are unknown: three quarters of the device's time.
    found = estimate(job(relu(4096, 4096, 8), mystery(4096, 4096, 8, repeat=3)), A100)
    note = next(n for n in found.notes if "never_heard_of" in n)
    assert note.startswith("aten.never_heard_of (3 calls): no work rule, at least 7")
    assert note.endswith("% of the step.")
    share = next(s for s in found.shares if s.label == "aten.never_heard_of")
    assert share.fraction == pytest.approx(0.75, abs=0.02)
    known = estimate(job(relu(4096, 4096, 8, repeat=4)), A100)
    assert found.step_s == pytest.approx(known.step_s, rel=0.02)
    assert found.interval.high / found.step_s > known.interval.high / known.step_s


def test_or_is_refused():
    with pytest.raises(UnknownOpError, match="never_heard_of"):
        estimate(job(mystery(8, 8)), A100, on_unknown="refuse")


@pytest.mark.parametrize(
    ("precision", "device", "words"),
    [
        ("amp-bf16", T4, "NVIDIA Tesla T4 has no bf16 matrix units; it would run amp-fp16."),
        ("tf32", T4, "NVIDIA Tesla T4 has no tf32 matrix units; it would run fp32."),
        ("amp-fp16", find_device("NVIDIA Tesla P4"), "NVIDIA Tesla P4 has no fp16 matrix units; it would run fp32."),
        ("amp-fp16", CPU, f"{CPU.name} has no fp16 matrix units; it would run fp32."),
    ],
)
def test_a_precision_the_device_lacks_is_refused_and_says_what_would_run(precision, device, words):
    work = workload("resnet50", precision=precision)
    with pytest.raises(PrecisionError) as error:
        estimate(work, device)
    assert str(error.value).startswith(words)
    assert "--allow-fallback" in str(error.value)
    runs = words.rpartition(" run ")[2].rstrip(".")
    found = estimate(work, device, allow_fallback=True)
    assert found.precision == runs
    assert any(f"runs {runs} instead of {precision}" in note for note in found.notes)


def test_one_device_without_the_precision_refuses_all():
    with pytest.raises(PrecisionError, match="Tesla T4"):
        estimate_all(workload("gpt2", precision="bf16"), [A100, T4])


def test_a_job_too_large_for_the_device_is_priced_and_says_so():
    storages = [Storage(20 * 2**30, "activation", 0, None)]
    work = job(mm(64, 64, 64), storages=storages)
    found = estimate(work, T4)
    assert found.peak_bytes == 20 * 2**30
    assert found.step_s > 0
    assert (found.memory.fits, estimate(work, A100).memory.fits) == (False, True)


def test_a_job_that_nearly_fills_the_device_says_that_it_may_not_fit():
    storages = [Storage(14 * 2**30, "activation", 0, None)]
    found = estimate(job(mm(64, 64, 64), storages=storages), T4)
    assert found.memory.fits
    assert found.notes == ("Memory is close: about 14.2 of 14.6 GiB; it may not fit.",)


def test_where_the_memory_of_a_device_is_unknown_it_says_so():
    storages = [Storage(2**30, "activation", 0, None)]
    found = estimate(job(mm(64, 64, 64), storages=storages), replace(T4, memory_bytes=None, usable_memory_bytes=None))
    assert found.memory.fits is None
    assert found.memory.margin_bytes is None
    assert found.notes == ("How much memory the device has is not known, nor whether the step fits.",)


def test_a_job_without_lifetimes_says_so_and_how_to_capture_it_again():
    found = estimate(job(mm(64, 64, 64)), T4)
    assert found.peak_bytes is None
    assert found.memory is None
    assert "carries no lifetimes" in found.notes[0]
    assert "whichgpu capture SCRIPT.py" in found.notes[0]


def test_a_figure_the_device_file_lacks_is_assumed_aloud_and_widens_the_interval():
    known = estimate(job(mm(8192, 8192, 8192)), T4)
    unknown = estimate(job(mm(8192, 8192, 8192)), replace(T4, tdp_w=None))
    assert unknown.notes[-1] == "Assumed: its power limit is unknown: priced at full clock, which it may not hold."
    assert unknown.interval.high / unknown.step_s > known.interval.high / known.step_s
    assert "widened" in unknown.interval.basis


def test_a_compiled_step_is_faster_and_says_what_became_of_it():
    eager = workload("gpt2")
    compiled = replace(eager, graph=replace(eager.graph, mode="fused"))
    slow, fast = estimate(eager, A100), estimate(compiled, A100)
    assert 0.4 * slow.step_s < fast.step_s < 0.95 * slow.step_s
    assert fast.host_s < 0.5 * slow.host_s
    assert any(note.startswith("Compiled, as torch.compile's default mode would: 6") for note in fast.notes)


def test_the_interval_says_what_it_rests_on():
    work = workload("resnet50")
    measured = estimate(work, A100).interval
    family = estimate(work, "RTX 4070").interval
    vendor = estimate(work, "RTX 5090").interval
    other = estimate(work, "MI300X").interval
    cpu = estimate(work, CPU, allow_fallback=True).interval
    assert "this device is among them" in measured.basis
    assert "of this device none, of Ada 1" in family.basis
    assert "leave-one-family-out" in vendor.basis
    assert vendor.basis.endswith("; none of Blackwell")
    assert "nothing measured" in other.basis
    assert "CPU" in cpu.basis
    for found in (measured, family, vendor, other, cpu):
        assert found.level == 0.8
        assert found.basis.startswith("80 % interval: ")
    widths = [f.high / f.low for f in (measured, family, vendor, other)]
    for surer, less_sure in pairwise(widths):  # the same where a family is as well known
        assert surer <= less_sure * (1 + 1e-6)


def test_an_interval_of_a_host_bound_step_rests_on_the_host():
    found = estimate(workload("mnist"), RTX_4090).interval
    assert "bound by the host" in found.basis

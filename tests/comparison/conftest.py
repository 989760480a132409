"""A world of round numbers around `compare`: three devices, their prices and their seconds, all written by hand."""

import sys
from datetime import date

import pytest

from whichgpu.devices.device import Device
from whichgpu.errors import PrecisionError, UnknownNameError
from whichgpu.estimate.estimate import Estimate, Interval
from whichgpu.graph import PRECISIONS, Graph, Job, Op, Tensor
from whichgpu.memory import Footprint
from whichgpu.offers.offer import Offer

GIB = 2**30


def device(name, short_name, segment="datacenter", formats=("fp32", "fp16", "bf16"), memory_gib=24):
    return Device(
        name,
        short_name,
        "NVIDIA",
        "Test",
        segment,
        dict.fromkeys(formats, 1e12),
        1e11,
        "nowhere",
        "2025-01-01",
        memory_bytes=memory_gib * GIB if memory_gib else None,
    )


CPU = device("Here CPU 9000", "CPU 9000", "cpu", ("fp32",), None)
FAST = device("Vendor Fast 80GB", "Fast")
OLD = device("Vendor Old 8GB", "Old", formats=("fp32", "fp16"), memory_gib=8)
BIG = device("Vendor Big", "Big")
DEVICES = (FAST, OLD, BIG)

STEP_S = {CPU.name: 10.0, FAST.name: 0.1, OLD.name: 2.0, BIG.name: 0.5}
OFFERS = {
    FAST.name: Offer("Cloud", "fast.8x", FAST.name, 8, 36.0, date(2025, 1, 1), "https://example.org"),
    OLD.name: Offer("Market", "old", OLD.name, 1, 0.36, date(2025, 1, 11), "https://example.org", usd_per_h_high=0.72),
}


def find(name):
    for known in (*DEVICES, CPU):
        if name.casefold() in (known.name.casefold(), known.short_name.casefold()):
            return known
    raise UnknownNameError("device", name, [d.short_name for d in DEVICES], "whichgpu devices")


def runnable(device, precision):
    return precision if precision.matrix_format in device.flops_per_s else PRECISIONS["fp32"]


def memory(device):
    if device.memory_bytes is None:
        return None
    return Footprint(
        allocated_bytes=8 * GIB,
        reserved_bytes=9 * GIB,
        device_bytes=10 * GIB,
        device_bytes_low=9 * GIB,
        device_bytes_high=11 * GIB,
        context_bytes=GIB,
        collective_bytes=0,
        usable_bytes=device.memory_bytes,
        fits=device.memory_bytes >= 10 * GIB,
        peak_phase="backward",
        peak_op="aten.mm.default",
        peak_module="",
        holders={"parameters": GIB},
    )


class CountedJob:
    """Stand-in that counts nothing."""

    def __init__(self, job, *, both_ways=False):
        self.job, self.both_ways = job, both_ways


def estimate_all(job, devices, *, precision=None, allow_fallback=False, on_unknown="bound", own=()):
    both_ways = isinstance(job, CountedJob) and job.both_ways
    job = getattr(job, "job", job)
    wanted = PRECISIONS[precision or job.precision]
    found = []
    for d in devices:
        runs = runnable(d, wanted)
        if runs != wanted and not allow_fallback:
            raise PrecisionError(f"{d.name} has no {wanted.name}; it would run {runs.name}.")
        seconds = STEP_S[d.name]
        interval = Interval(seconds / 2, seconds * 2, 0.8, "round numbers")
        found.append(
            Estimate(
                job=job.name,
                device=d.name,
                precision=runs.name,
                step_s=seconds,
                interval=interval,
                samples_per_step=job.samples_per_step,
                samples_per_epoch=job.samples_per_epoch,
                device_s=seconds,
                host_s=0.0,
                compute_s=seconds,
                memory_s=0.0,
                launch_s=0.0,
                bound="compute",
                shares=(),
                flops=2e12,
                bytes_moved=1e9,
                peak_bytes=8 * GIB,
                memory=memory(d),
                # Compiling takes 16 s (12.8 to 19.99) and saves a fifth of an eager step.
                eager_step_s=seconds if both_ways else None,
                compiled_step_s=0.8 * seconds if both_ways else None,
                compile_time=Interval(12.8, 19.99, 0.8, "round numbers") if both_ways else None,
                notes=() if runs == wanted else (f"Has no {wanted.name}: runs {runs.name} instead.",),
            )
        )
    return tuple(found)


@pytest.fixture
def world(monkeypatch):
    """Make `compare` see only this file's devices, prices and seconds."""
    import whichgpu.comparison  # noqa: F401

    room = sys.modules["whichgpu.comparison.compare"]
    monkeypatch.setattr(room, "DEFAULT_DEVICES", ("Fast", "Old"))
    monkeypatch.setattr(room, "find_device", find)
    monkeypatch.setattr(room, "shipped_devices", lambda: DEVICES)
    monkeypatch.setattr(room, "this_cpu", lambda: CPU)
    monkeypatch.setattr(room, "runnable_precision", runnable)
    monkeypatch.setattr(room, "CountedJob", CountedJob)
    monkeypatch.setattr(room, "estimate_all", estimate_all)
    monkeypatch.setattr(room, "estimate", lambda job, device, **how: estimate_all(job, (device,), **how)[0])
    monkeypatch.setattr(sys.modules["whichgpu.comparison.measured"], "find_device", find)
    monkeypatch.setattr("whichgpu.offers.cheapest_offer", lambda device: OFFERS.get(device.name))


@pytest.fixture
def job():
    """A job of 100 samples a step, 1,000 an epoch."""
    square = Tensor((4, 4), "float32")
    graph = Graph((Op("aten.mm.default", {"self": square, "mat2": square}, (square,)),))
    return Job("tiny", graph, 100, 1000, precision="amp-fp16", sample="picture")

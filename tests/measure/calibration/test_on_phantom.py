"""The way through on a GPU, on the phantom one: every call of torch.cuda is made, though no time means anything."""

import sys

import pytest

from whichgpu.measure.calibration.probe import AnchorProbe, HostProbe, KernelProbe
from whichgpu.measure.calibration.record import AnchorRecord, HostRecord, KernelRecord, TransferRecord
from whichgpu.measure.calibration.sweep import HOST_CALLS, sweep

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def bench():
    from whichgpu.capture import phantom_gpu
    from whichgpu.measure.calibration.worker import _Bench

    with phantom_gpu():
        yield _Bench.of("cuda:0", True)


def probes(bench, section):
    (found,) = sweep(bench.ready.scope, section)
    return found.probes


def test_the_machine_is_described(bench):
    device = bench.ready.machine["device"]
    assert (device["compute_capability"], device["multiprocessors"]) == ("8.0", 108)
    assert device["power_limit_w"] is None  # nothing tells it
    assert "Power and clocks could not be read" in bench.ready.notes[-1]
    assert bench.ready.scope.formats == ("bf16", "fp16", "tf32", "fp32")
    assert type(bench.ready.machine["software"]["torch"]) is str


@pytest.mark.parametrize(
    "section", ["products", "bandwidth", "convolutions", "attention", "normalizations", "other", "launches"]
)
def test_kernels_are_timed_by_events_and_graphs(bench, section):
    some = [p for p in probes(bench, section) if isinstance(p, KernelProbe)][:12]
    for probe in some:
        (record,) = bench.records(section, probe)
        assert isinstance(record, KernelRecord)
        assert record.timed in (("eager",) if probe.way == "eager" or probe.sustain_s else ("eager", "graph"))
        # What changes lists of tensors in place returns nothing.
        assert all(op.outputs or op.base_name.endswith("_") for op in record.ops)
        assert bench.is_healthy()


def test_copies_the_host_and_whole_steps_are_timed(bench):
    for probe in probes(bench, "transfers")[:4]:
        (record,) = bench.records("transfers", probe)
        assert isinstance(record, TransferRecord)
    for name in HOST_CALLS:
        (record,) = bench.records("host", HostProbe(name))
        assert isinstance(record, HostRecord)
    (record,) = bench.records("anchors", AnchorProbe("mnist", 64, "fp32", "nchw"))
    assert isinstance(record, AnchorRecord)
    assert 0 < record.allocated_bytes <= record.reserved_bytes
    assert record.host_s > 0


def test_batches_grow_until_a_step_takes_long(bench, monkeypatch):
    monkeypatch.setattr(sys.modules["whichgpu.measure.calibration.anchor_timing"], "_LONGEST_GROWN_S", 0.0)
    growing = AnchorProbe("mnist", 64, "fp32", "nchw", grow=True)
    (record,) = bench.records("anchors", growing)
    assert record.anchor == AnchorProbe("mnist", 64, "fp32", "nchw")


def test_the_largest_batch_ends_with_what_did_not_fit(bench, monkeypatch):
    timer = sys.modules["whichgpu.measure.calibration.anchor_timing"].AnchorTimer
    inner = timer._timed

    def refuses_above(self, section, anchor):
        if anchor.batch > 128:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return inner(self, section, anchor)

    monkeypatch.setattr(timer, "_timed", refuses_above)
    records = list(bench.records("anchors", AnchorProbe("mnist", 64, "fp32", "nchw", grow=True)))
    assert [(r.anchor.batch, r.step_s is None) for r in records] == [(64, False), (128, False), (256, True)]
    with pytest.raises(RuntimeError, match="out of memory"):
        list(bench.records("anchors", AnchorProbe("mnist", 256, "fp32", "nchw")))


def test_a_graph_that_cannot_be_made_is_timed_as_issued(bench, monkeypatch):
    from whichgpu.measure.calibration.timing import Clock

    def fail(*arguments):
        raise RuntimeError("operation not permitted when stream is capturing")

    probe = next(p for p in probes(bench, "normalizations") if isinstance(p, KernelProbe))
    monkeypatch.setattr(Clock, "graph", fail)
    monkeypatch.setattr(sys.modules["whichgpu.measure.calibration.kernel_timing"], "GRAPH_BELOW_S", 10.0)
    (record,) = bench.records("normalizations", probe)
    assert record.timed == "eager"
    assert not bench.is_healthy()  # no graph can be made any more: the process would be replaced
    monkeypatch.undo()
    assert bench.is_healthy()

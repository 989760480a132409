"""The order and the time of a calibration, with a process that only pretends to measure; and one that really does."""

import os
import pickle
import signal
import sys
import threading
import time

import pytest

from whichgpu.errors import MeasureError, MissingExtraError, OptionError
from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration import SECTIONS, calibrate
from whichgpu.measure.calibration.measuring_process import MeasuringProcess
from whichgpu.measure.calibration.probe import HostProbe, KernelProbe, Scope, Section
from whichgpu.measure.calibration.record import FailedRecord, HostRecord, KernelRecord
from whichgpu.measure.calibration.worker import Ready


class Pretending:
    """Measures every probe in `takes_s` seconds of a clock of its own."""

    takes_s = 1.0

    def __init__(self, device, quick):
        self.asked = []
        Pretending.last = self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def ready(self):
        return Ready({"device": {"name": "Acme"}}, Scope(False, ("fp32",), 1e9), ("noted",))

    def run(self, section, probe, longest_s):
        self.asked.append(probe.name)
        Pretending.now += self.takes_s
        if probe.name == "bad":
            yield FailedRecord(section, probe.name, "RuntimeError: no")
        elif probe.name == "ctrl-c":
            raise KeyboardInterrupt
        elif probe.name == "gone":
            yield FailedRecord(section, probe.name, "its process died")
            raise MeasureError("4 measuring processes in a row died.")
        else:
            yield HostRecord(section, probe.name, 1.0, 0.0)


@pytest.fixture
def pretend(monkeypatch):
    """Run sections of made-up probes; returns the calibration and the names of what was measured, in order."""
    room = sys.modules["whichgpu.measure.calibration.run"]
    Pretending.now = 1000.0
    monkeypatch.setattr(room, "MeasuringProcess", Pretending)
    monkeypatch.setattr(room.time, "monotonic", lambda: Pretending.now)

    def call(*sections, seconds=10.0, **more):
        made = tuple(Section(n, share, tuple(HostProbe(p) for p in probes)) for n, share, probes in sections)
        monkeypatch.setattr(room, "sweep", lambda scope, only: made)
        found = calibrate(seconds=seconds, **more)
        return found, Pretending.last.asked

    return call


def test_sections_share_the_time_and_what_is_left_goes_to_what_was_not_reached(pretend):
    found, asked = pretend(("host", 0.5, [f"h{n}" for n in range(9)]), ("products", 0.5, ["p0", "p1"]))
    assert asked == ["h0", "h1", "h2", "h3", "h4", "p0", "p1", "h5", "h6", "h7"]
    assert found.finished
    assert found.sections["host"].unreached == 1
    assert found.sections["host"].seconds == 8.0
    assert found.notes == ("noted",)


def test_what_fails_is_told_and_the_rest_goes_on(pretend):
    found, asked = pretend(("host", 1.0, ["a", "bad", "b"]))
    assert asked == ["a", "bad", "b"]
    assert found.sections["host"].failed == 1
    assert [type(r) for r in found.records] == [HostRecord, FailedRecord, HostRecord]


def test_it_is_saved_on_the_way_and_at_the_end(pretend):
    saved = []
    pretend(("host", 1.0, list("abcdef")), save=lambda c: saved.append((len(c.records), c.finished)))
    assert saved[-1] == (6, True)
    assert [finished for _, finished in saved[:-1]] == [False] * (len(saved) - 1)
    assert len(saved) == 3  # every four seconds


@pytest.mark.parametrize(("probe", "note"), [("ctrl-c", "Interrupted before the end."), ("gone", "4 measuring")])
def test_what_was_measured_before_it_ended_is_kept(pretend, probe, note):
    found, _ = pretend(("host", 1.0, ["a", probe, "b"]))
    assert not found.finished
    assert found.records[0].name == "a"
    assert found.notes[-1].startswith(note)
    assert found.sections["host"].unreached == 1


def test_progress_is_told(pretend):
    told = []
    pretend(("host", 1.0, ["a", "b"]), on_progress=told.append)
    assert [(p.done, p.total, p.message) for p in told] == [(0.0, 10.0, "host: a"), (1.0, 10.0, "host: b")]


def test_a_section_nobody_has_is_refused():
    with pytest.raises(OptionError, match="expected one of host, products"):
        calibrate(only="hots")
    assert "products" in SECTIONS


# From here on a real process measures, on this machine's CPU.

X = Tensor((64, 64), "float32")
FINE = KernelProbe("mm", (Op("aten.mm.default", {"self": X, "mat2": X}, ()),))


@pytest.fixture(scope="module")
def process():
    pytest.importorskip("torch")
    with MeasuringProcess("cpu", True) as process:
        process.ready()
        yield process


def measured(process, probe, longest_s=60.0):
    return list(process.run("products", probe, longest_s))


def test_a_real_process_says_what_the_machine_is_and_measures(process):
    ready = process.ready()
    assert ready.scope.is_cpu
    assert ready.machine["software"]["torch"]
    (record,) = measured(process, FINE)
    assert isinstance(record, KernelRecord)
    assert record.ops[0].output() == X
    assert 1e-6 < record.seconds < 1.0


def test_a_kernel_that_fails_leaves_the_next_alone(process):
    wrong = KernelProbe("wrong", (Op("aten.mm.default", {"self": X, "mat2": Tensor((3, 3), "float32")}, ()),))
    absent = KernelProbe("absent", (Op("aten.no_such_thing.default", {"self": X}, ()),))
    gpu_only = KernelProbe("GPU", (Op("aten.cudnn_batch_norm.default", {"input": X}, ()),))
    for probe in (wrong, absent, gpu_only):
        (record,) = measured(process, probe)
        assert isinstance(record, FailedRecord)
        assert "Error" in record.error
    assert isinstance(measured(process, FINE)[0], KernelRecord)


def test_a_process_that_hangs_is_ended_and_another_takes_its_place(process):
    pid = process._process.pid
    big = Tensor((3000, 3000), "float32")
    slow = KernelProbe("slow", (Op("aten.mm.default", {"self": big, "mat2": big}, ()),) * 100)
    (record,) = measured(process, slow, longest_s=0.2)
    assert record.error == "took longer than 0 s and was ended"
    assert isinstance(measured(process, FINE)[0], KernelRecord)
    assert process._process.pid != pid


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
def test_a_process_that_dies_is_replaced(process):
    measured(process, FINE)
    pid = process._process.pid
    big = Tensor((3000, 3000), "float32")
    slow = KernelProbe("slow", (Op("aten.mm.default", {"self": big, "mat2": big}, ()),) * 100)
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    (record,) = measured(process, slow)
    assert record.error.startswith("its process died")
    assert isinstance(measured(process, FINE)[0], KernelRecord)


def test_processes_that_die_one_after_the_other_end_it(monkeypatch):
    pytest.importorskip("torch")
    with MeasuringProcess("cpu", True) as process:
        process.ready()
        monkeypatch.setattr(sys.modules["whichgpu.measure.calibration.measuring_process"], "_MOST_DEATHS", 1)
        process._process.kill()
        time.sleep(0.2)
        with pytest.raises(MeasureError, match="What was measured before is kept"):
            measured(process, FINE)


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("cuda:0", MeasureError, "can use no device 'cuda:0'"),
        ("tpu", OptionError, "expected cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_words(device, error, message):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available() and error is MeasureError:
        pytest.skip("this machine has a GPU")
    with MeasuringProcess(device, False) as process, pytest.raises(error, match=message):
        process.ready()


def test_missing_torch_is_an_error_that_crosses_processes():
    error = MissingExtraError("torch", "torch", "measure")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.extra) == (MissingExtraError, str(error), "torch")


def test_a_whole_quick_section_runs_for_real():
    pytest.importorskip("torch")
    found = calibrate("cpu", seconds=30.0, quick=True, only="host")
    assert found.finished
    assert found.sections["host"].failed == 0
    times = {r.name: r.seconds for r in found.records}
    assert 0 < times["view"] < times["linear layer"] < times["AdamW step of 100"] < 1.0

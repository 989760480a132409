"""Measuring: medians against known sleeps, batches against known limits, interruption by a real signal."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from tests.measure.conftest import SleepingJob
from whichgpu.errors import MeasureError, OptionError, UnknownNameError
from whichgpu.measure import Progress, measure

torch = pytest.importorskip("torch")
module: Any = importlib.import_module("whichgpu.measure.measure")  # the package's attribute is the function

pytestmark = pytest.mark.usefixtures("this_is_acme")
by_virtual_time = pytest.mark.usefixtures("virtual_time")


class Memory:
    """A device with `free` bytes, on which a step takes `per_sample` bytes a sample."""

    def __init__(self, free: float, per_sample: float) -> None:
        self.free, self.per_sample = free, per_sample

    def install(self, monkeypatch: pytest.MonkeyPatch, job: SleepingJob) -> None:
        memory = self

        class Peak:
            def __init__(self, device: str) -> None:
                pass

            def taken_bytes(self) -> float:
                return memory.per_sample * job.asked[-1][0]

        monkeypatch.setattr(module, "PeakMemory", Peak)
        monkeypatch.setattr(module, "available_bytes", lambda device: self.free)


@by_virtual_time
def test_a_known_step_is_measured() -> None:
    job = SleepingJob(per_sample_s=0.001, batch=32)
    result = measure(job, seconds=1.5)
    assert (result.job, result.device, result.label, result.precision) == (
        "sleeper",
        "Acme CPU 1000",
        "Acme 1000",
        "fp32",
    )
    assert (result.batch, result.measured_batch, result.scale) == (32, 32, 1.0)
    assert result.step_s == pytest.approx(0.032)
    assert result.step_s_low == pytest.approx(result.step_s) == pytest.approx(result.step_s_high)
    # Two steps at each of batch 1, 4, 16 and 32 take 106 ms, a third at 32 another 32 ms; 1.362 s are left.
    assert (result.warmup_steps, result.steps) == (3, 42)
    assert result.samples_per_s == pytest.approx(1000)
    assert result.seconds_spent == pytest.approx(0.138 + 42 * 0.032)
    assert not result.interrupted
    assert not [n for n in result.notes if "multiplied" in n]


@by_virtual_time
def test_short_steps_are_timed_in_groups() -> None:
    job = SleepingJob(per_sample_s=0.0005, batch=4)
    result = measure(job, seconds=0.8)
    assert result.step_s == pytest.approx(0.002)
    assert result.steps % 10 == 0  # a group fills 20 ms
    assert result.steps >= 300
    assert result.spread.startswith("10th to 90th percentile of")


@by_virtual_time
def test_a_slow_job_is_measured_at_a_smaller_batch_and_scaled() -> None:
    """10 ms a sample: 256 would take 2.56 s, and a step may take a sixth of a second."""
    job = SleepingJob(per_sample_s=0.01, batch=256)
    result = measure(job, seconds=1.0)
    assert 4 <= result.measured_batch <= 16
    assert result.step_s == pytest.approx(2.56, rel=0.3)
    assert result.step_s >= 2.56
    (note,) = [n for n in result.notes if "multiplied" in n]
    assert f"Measured at batch {result.measured_batch} " in note
    assert "for batch 256: more does not fit 1.00 s" in note


@by_virtual_time
def test_fixed_costs_are_scaled_too_as_the_note_says() -> None:
    job = SleepingJob(fixed_s=0.1, per_sample_s=0.05, batch=8)
    result = measure(job, seconds=0.7)
    assert result.measured_batch == 1
    assert result.step_s == pytest.approx(8 * 0.15, rel=0.3)


@by_virtual_time
def test_at_least_one_step_is_timed_however_slow() -> None:
    job = SleepingJob(per_sample_s=0.3, batch=2)
    result = measure(job, seconds=0.4)
    assert (result.steps, result.warmup_steps, result.measured_batch) == (1, 1, 1)
    assert "1 step" in result.spread
    assert any("Only one step was timed" in n for n in result.notes)
    assert result.step_s == pytest.approx(0.6, rel=0.3)


@by_virtual_time
def test_a_first_step_that_takes_all_the_time_is_the_one_timed() -> None:
    job = SleepingJob(per_sample_s=0.3, batch=2)
    result = measure(job, seconds=0.1)
    assert job.steps == 1
    assert (result.steps, result.warmup_steps, result.interrupted) == (1, 0, False)
    assert any(n.startswith("The first step alone took longer") for n in result.notes)


@by_virtual_time
def test_memory_limits_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 MB a sample and 1,000 MB: eight samples are the usable 80 %, and the batch grows 1, 4, 8."""
    job = SleepingJob(per_sample_s=0.0001, batch=64)
    Memory(free=1000e6, per_sample=100e6).install(monkeypatch, job)
    result = measure(job, seconds=0.5)
    assert [asked[0] for asked in job.asked] == [1, 4, 8]
    assert result.measured_batch == 8
    (note,) = [n for n in result.notes if "multiplied" in n]
    assert "by 8 for batch 64: more does not fit the free memory" in note


def test_the_job_s_graph_is_believed_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_graph_bytes", lambda definition, batch, precision: 40 * 2**30)
    monkeypatch.setattr(module, "available_bytes", lambda device: 16 * 2.0**30)
    job = SleepingJob()
    with pytest.raises(MeasureError, match=r"sleeper needs about 40\.0 GiB .* Acme 1000 has 16\.0 GiB free"):
        measure(job, seconds=0.5)
    assert job.asked == []


@by_virtual_time
def test_running_out_of_memory_goes_back_to_the_batch_that_fitted() -> None:
    job = SleepingJob(per_sample_s=0.0001, batch=64, refuses_above=5)
    result = measure(job, seconds=0.5)
    assert result.measured_batch == 4
    assert any("more does not fit the free memory" in n for n in result.notes)


def test_not_even_one_sample_fits() -> None:
    with pytest.raises(MeasureError, match="does not fit the memory of Acme 1000 even with one sample"):
        measure(SleepingJob(refuses_above=0), seconds=0.5)


def test_other_failures_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    job = SleepingJob()

    def broken(*options: object) -> object:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(job, "training_step", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        measure(job, seconds=0.5)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to oneself on Windows")
def test_ctrl_c_is_heard_at_once_while_a_long_step_runs() -> None:
    """The step sleeps three seconds on; measuring ends when the signal comes."""
    job = SleepingJob(per_sample_s=3.0, batch=1)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    begin = time.perf_counter()
    with pytest.raises(MeasureError, match="nothing measured yet"):
        measure(job, seconds=1.0)
    assert time.perf_counter() - begin < 1.5


def test_ctrl_c_in_a_finalizer_is_not_lost() -> None:
    """Python drops whatever is raised there, KeyboardInterrupt too."""

    class Interrupting:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def tell(progress: Progress) -> None:
        if progress.phase == "measure":
            Interrupting()

    before = signal.getsignal(signal.SIGINT)
    assert measure(SleepingJob(per_sample_s=0.001, batch=32), seconds=20.0, on_progress=tell).interrupted
    assert signal.getsignal(signal.SIGINT) is before


def interrupt_when(phase: str, count: int = 1) -> Any:
    seen = []

    def tell(progress: Progress) -> None:
        if progress.phase == phase:
            seen.append(progress)
            if len(seen) == count:
                raise KeyboardInterrupt

    return tell


@by_virtual_time
def test_ctrl_c_keeps_the_steps_timed_so_far() -> None:
    job = SleepingJob(per_sample_s=0.001, batch=32)
    result = measure(job, seconds=20.0, on_progress=interrupt_when("measure", 6))
    assert result.interrupted
    assert result.steps == 5
    assert result.spread == "fastest and slowest of 5 steps"
    assert result.seconds_spent < 5
    assert any(n.startswith("Interrupted with 1") and n.endswith("of 20.0 s left.") for n in result.notes)


@by_virtual_time
def test_ctrl_c_during_warm_up_leaves_the_last_step_and_says_so() -> None:
    job = SleepingJob(per_sample_s=0.001, batch=64)
    result = measure(job, seconds=20.0, on_progress=interrupt_when("probe", 3))
    assert result.interrupted
    assert (result.measured_batch, result.steps) == (4, 1)
    assert result.step_s == pytest.approx(0.064, rel=0.5)
    assert any("before warm-up had ended" in n for n in result.notes)
    assert any("it was interrupted on the way" in n for n in result.notes)


@by_virtual_time
def test_progress_is_told_in_order() -> None:
    told: list[Progress] = []
    measure(SleepingJob(per_sample_s=0.0005, batch=8), seconds=0.5, on_progress=told.append)
    phases = [p.phase for p in told]
    assert phases[:2] == ["prepare", "probe"]
    assert phases[-1] == "measure"
    assert told[-1].done == told[-1].total
    done = [p.done for p in told if p.phase == "measure"]
    assert done == sorted(done)


@by_virtual_time
def test_a_cpu_trains_in_fp32_and_says_so() -> None:
    job = SleepingJob(precision="amp-fp16", per_sample_s=0.0001, batch=2)
    result = measure(job, seconds=0.2)
    assert result.precision == "fp32"
    assert job.asked[0] == (1, "cpu", "fp32", "")
    assert any("amp-fp16, the job's own on a GPU, is not what a CPU runs" in n for n in result.notes)


@pytest.mark.parametrize(("wanted", "used"), [("amp-fp16", "amp-fp16"), ("amp-bf16", "amp-bf16"), ("tf32", "fp32")])
def test_a_precision_asked_for_is_used(wanted: str, used: str) -> None:
    job = SleepingJob(precision="amp-fp16", per_sample_s=0.0001, batch=2)
    assert measure(job, seconds=0.2, precision=wanted).precision == used
    assert job.asked[0][2] == used


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch": 0}, OptionError, "Batch is 0"),
        ({"seconds": 0}, OptionError, "Time to measure is 0 s"),
        ({"seconds": float("nan")}, OptionError, "Time to measure is nan s"),
        ({"device": "tpu"}, OptionError, "expected cpu, cuda, cuda:1 or mps"),
        ({"device": "cpu:1"}, OptionError, "'cpu:1'"),
        ({"device": "cuda:99"}, MeasureError, "can use no device 'cuda:99' on this machine"),
        ({"precision": "fp17"}, UnknownNameError, "No precision is named 'fp17'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        measure(SleepingJob(), **options)


def test_a_real_model_is_really_trained() -> None:
    """A linear model on a fixed batch: the loss falls, as it would not if steps were only forward passes."""
    losses: list[float] = []

    class Linear(SleepingJob):
        def training_step(self, batch: int, device: str, precision: str, layout: str) -> Any:
            torch.manual_seed(0)
            model = torch.nn.Linear(64, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            x, y = torch.randn(batch, 64), torch.randn(batch, 1)

            def step() -> float:
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                return losses[-1]

            return step

    result = measure(Linear(batch=16), seconds=0.5)
    assert result.measured_batch == 16
    assert result.step_s < 0.05
    assert losses[-1] < 0.5 * losses[-result.steps]

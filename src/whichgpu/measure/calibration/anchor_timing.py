"""Running whole steps of a built-in job: their time, the host's part of it, their memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from whichgpu.graph import precision as precision_named
from whichgpu.measure.calibration.power import PowerMeter
from whichgpu.measure.calibration.probe import AnchorProbe
from whichgpu.measure.calibration.record import AnchorRecord
from whichgpu.measure.calibration.timing import Clock, Timing
from whichgpu.measure.out_of_memory import is_out_of_memory
from whichgpu.measure.target import Target
from whichgpu.other_programs import ProcessorTime, crowding_note

if TYPE_CHECKING:
    from whichgpu.workloads.workload import Workload

_WARMUP_STEPS = 3
_SPEND_S = 2.0
_BLOCKS = 8
# A step this long is not doubled any more.
_LONGEST_GROWN_S = 1.5


@dataclass(slots=True)
class AnchorTimer:
    """Times steps of built-in jobs on one device.

    Attributes:
        target: The device.
        clock: Its clock.
        meter: Reads its power.
    """

    target: Target
    clock: Clock
    meter: PowerMeter

    def run(self, section: str, probe: AnchorProbe) -> Iterator[AnchorRecord]:
        """Yield the record of a probe; of one that grows, one for each batch, the last of what did not fit."""
        anchor = replace(probe, grow=False)
        while True:
            record = self._run(section, anchor, may_not_fit=probe.grow)
            yield record
            if not probe.grow or record.step_s is None or record.step_s > _LONGEST_GROWN_S:
                return
            anchor = replace(anchor, batch=2 * anchor.batch)

    def _run(self, section: str, anchor: AnchorProbe, *, may_not_fit: bool) -> AnchorRecord:
        self._clean()
        try:
            with self.target.math_modes(precision_named(anchor.precision)):
                return self._timed(section, anchor)
        except (MemoryError, RuntimeError) as error:
            if not (may_not_fit and is_out_of_memory(error)):
                raise
            # The tensors live on in the frames of the traceback until it is dropped.
            error.__traceback__ = None
            return AnchorRecord(section, anchor, None, None, 0, None, None, None, None)
        finally:
            self._clean()

    def _timed(self, section: str, anchor: AnchorProbe) -> AnchorRecord:
        step = self._step(anchor)
        begin = time.perf_counter()
        step()
        self.clock.synchronize()
        first_s = time.perf_counter() - begin
        for _ in range(_WARMUP_STEPS - 1):
            warm_s = self._wall_s(step, 1)
        allocated, reserved = self._peak_bytes(step)
        host_s = self._host_s(step)
        steps = max(1, round(_SPEND_S / _BLOCKS / warm_s))
        before = ProcessorTime.now()
        with self.meter.reading() as reading:
            times: list[float] = []
            deadline = time.perf_counter() + _SPEND_S
            while len(times) < 3 or (time.perf_counter() < deadline and len(times) < 2 * _BLOCKS):
                times.append(self._wall_s(step, steps))
                if warm_s > _SPEND_S and len(times) >= 2:
                    break
        timing = Timing.of(times, steps)
        return AnchorRecord(
            section,
            anchor,
            timing.seconds,
            timing.noise,
            len(times) * steps,
            host_s,
            first_s,
            allocated,
            reserved,
            reading.power,
            bool(crowding_note(before, ProcessorTime.now(), self.target.threads)),
        )

    def _step(self, anchor: AnchorProbe) -> Callable[[], Any]:
        from whichgpu.workloads import definition

        job: Workload = definition(anchor.job)
        make = job.training_step if anchor.task == "train" else job.inference_step
        layout = anchor.layout if anchor.layout in job.layouts else job.layout
        return make(anchor.batch, self.target.device, anchor.precision, layout, compiled=anchor.compiled)

    def _wall_s(self, step: Callable[[], Any], steps: int) -> float:
        """Return the seconds of one of `steps` steps, the host free to run ahead of the device."""
        self.clock.synchronize()
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        self.clock.synchronize()
        return (time.perf_counter() - begin) / steps

    def _host_s(self, step: Callable[[], Any]) -> float | None:
        """Return the least time the host took to issue a step; waiting for the device inside of it counts."""
        if not self.clock.is_cuda:
            return None
        return min(self.clock.issue(step, 1) for _ in range(_WARMUP_STEPS))

    def _peak_bytes(self, step: Callable[[], Any]) -> tuple[int | None, int | None]:
        """Return the peaks of memory allocated and reserved over a step, what stays from step to step included."""
        if not self.clock.is_cuda:
            step()
            return None, None
        import torch

        device = torch.device(self.clock.device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        self.clock.synchronize()
        return int(torch.cuda.max_memory_allocated(device)), int(torch.cuda.max_memory_reserved(device))

    def _clean(self) -> None:
        gc.collect()
        self.target.empty_cache()

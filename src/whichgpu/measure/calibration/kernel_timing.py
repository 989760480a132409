"""Running a probe of kernels: operands, the calls really made, their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from whichgpu.measure.calibration.calls import Called, Operands
from whichgpu.measure.calibration.power import PowerMeter
from whichgpu.measure.calibration.probe import KernelProbe
from whichgpu.measure.calibration.record import KernelRecord, Power
from whichgpu.measure.calibration.timing import GRAPH_BELOW_S, Clock, Timing
from whichgpu.units import MIB

SPEND_S = 0.08
# Sets of operands take turns until they together are this many times the cache.
_CACHES = 4
_LEAST_COLD_BYTES = 64 * MIB
_MOST_SETS = 512


@dataclass(slots=True)
class KernelTimer:
    """Times probes of kernels on one device.

    Attributes:
        clock: Of the device.
        meter: Reads its power.
        cache_bytes: Its last level of cache.
        graph_failed: Whether a CUDA graph could not be made since this was last set to False.
    """

    clock: Clock
    meter: PowerMeter
    cache_bytes: float
    graph_failed: bool = False

    def run(self, section: str, probe: KernelProbe) -> KernelRecord:
        """Return the record of a probe."""
        import torch

        with torch.no_grad(), _tf32(self.clock.is_cuda, probe.tf32):
            first = Operands(self.clock.device, probe.below).prepare(probe.setup, probe.ops)
            first()
            self.clock.synchronize()
            ops = first.ops()
            first.results.clear()
            sets = self._sets(probe, first)
            call = _in_turns(sets)
            record = KernelRecord(section, probe.name, ops, probe.tf32, probe.cold, "", 0.0, 0.0, 0, 0)
            if probe.sustain_s:
                return self._sustained(record, call, probe.sustain_s)
            timing, timed = self._time(probe, call, len(sets))
            return _filled(record, timing, timed)

    def _time(self, probe: KernelProbe, call: Callable[[], Any], sets: int) -> tuple[Timing, str]:
        if not self.clock.is_cuda:
            return self.clock.time(call, SPEND_S), "clock"
        self.clock.block(call, 1)
        estimate_s = self.clock.block(call, 3)
        if probe.way == "eager" or (probe.way == "auto" and estimate_s > GRAPH_BELOW_S):
            return self.clock.time(call, SPEND_S), "eager"
        try:
            replay, calls = self.clock.graph(call, estimate_s, sets)
        except RuntimeError:
            self.graph_failed = True
            if probe.way == "graph":
                raise
            # It waits for the device or allocates in its own way: no graph can hold it.
            return self.clock.time(call, SPEND_S), "eager"
        whole = self.clock.time(replay, SPEND_S)
        each = replace(whole, seconds=whole.seconds / calls, calls=whole.calls * calls)
        return each, "graph"

    def _sustained(self, record: KernelRecord, call: Callable[[], Any], seconds: float) -> KernelRecord:
        with self.meter.reading() as reading:
            timing, burst_s = self.clock.sustain(call, seconds)
        timed = "eager" if self.clock.is_cuda else "clock"
        power: Power | None = reading.power
        return replace(_filled(record, timing, timed), burst_s=burst_s, power=power)

    def _sets(self, probe: KernelProbe, first: Called) -> list[Called]:
        """Return as many sets of operands as it takes to find none of them in the cache."""
        if not probe.cold or not first.nbytes:
            return [first]
        wanted = max(_LEAST_COLD_BYTES, _CACHES * self.cache_bytes)
        count = min(_MOST_SETS, int(wanted // first.nbytes) + 1)
        operands = (Operands(self.clock.device, probe.below) for _ in range(count - 1))
        return [first, *(o.prepare(probe.setup, probe.ops) for o in operands)]


def _filled(record: KernelRecord, timing: Timing, timed: str) -> KernelRecord:
    return replace(
        record,
        timed=timed,
        seconds=timing.seconds,
        noise=timing.noise,
        blocks=timing.blocks,
        calls=timing.calls,
    )


def _in_turns(sets: list[Called]) -> Callable[[], Any]:
    if len(sets) == 1:
        return sets[0].run_fast()
    turns = cycle([s.run_fast() for s in sets])
    return lambda: next(turns)()


@contextmanager
def _tf32(is_cuda: bool, allowed: bool) -> Iterator[None]:
    if not is_cuda:
        yield
        return
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before

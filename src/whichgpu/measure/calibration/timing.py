"""Timing calls on a device: warm-up, blocks of calls, the median over blocks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from whichgpu.units import MICRO, MILLI

# A block is long enough that reading its two time stamps does not matter.
BLOCK_S = 4 * MILLI
MOST_CALLS = 1000
LEAST_BLOCKS, MOST_BLOCKS = 5, 30
# Calls the host issues before waiting: fewer than the driver's queue holds, so that it is never the queue it waits for.
ISSUED_CALLS = 200
# Below this a call may be shorter than Python takes to issue it.
GRAPH_BELOW_S = 300 * MICRO
_GRAPH_S = 2 * MILLI
_LEAST_IN_GRAPH = 10

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one call.

    Attributes:
        seconds: Median over blocks.
        noise: Half the distance from the 10th to the 90th percentile, as a part of the median.
        blocks: How many there were.
        calls: Calls in each.
    """

    seconds: float
    noise: float
    blocks: int
    calls: int

    @classmethod
    def of(cls, times: Sequence[float], calls: int) -> Timing:
        """Return the timing of blocks, each the seconds of one call."""
        middle = median(times)
        if len(times) < 2:
            return cls(middle, 0.0, len(times), calls)
        tenths = quantiles(times, n=10, method="inclusive")
        return cls(middle, (tenths[-1] - tenths[0]) / 2 / middle if middle else 0.0, len(times), calls)


class Clock:
    """The time of calls on one device: its own events on a GPU, the host's clock on a CPU.

    Args:
        device: What torch calls it.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.is_cuda = device.startswith("cuda")

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""
        if self.is_cuda:
            import torch

            torch.cuda.synchronize(torch.device(self.device))

    def block(self, call: Call, calls: int) -> float:
        """Return the seconds of one call of a block of them."""
        if not self.is_cuda:
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - begin) / calls
        import torch

        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * MILLI / calls

    def issue(self, call: Call, calls: int = ISSUED_CALLS) -> float:
        """Return the seconds the host takes to issue one call, the device idle at first."""
        self.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        seconds = (time.perf_counter() - begin) / calls
        self.synchronize()
        return seconds

    def time(self, call: Call, spend_s: float) -> Timing:
        """Return the time of `call`, from blocks over about `spend_s` seconds; one warm-up call has been made."""
        self.block(call, 1)
        calls = _calls(self.block(call, 2), BLOCK_S)
        deadline = time.perf_counter() + spend_s
        times: list[float] = []
        while len(times) < LEAST_BLOCKS or (len(times) < MOST_BLOCKS and time.perf_counter() < deadline):
            times.append(self.block(call, calls))
            if len(times) > 1 and time.perf_counter() > deadline + spend_s:
                break  # a call of a second or more
        return Timing.of(times, calls)

    def sustain(self, call: Call, seconds: float) -> tuple[Timing, float]:
        """Keep the device at `call`; return its time in the second half, and in the first moments."""
        calls = _calls(self.block(call, 1), 5 * BLOCK_S)
        burst_s = self.block(call, calls)
        begin = time.perf_counter()
        times: list[float] = []
        stamps: list[float] = []
        while not times or time.perf_counter() - begin < seconds:
            times.append(self.block(call, calls))
            stamps.append(time.perf_counter() - begin)
        settled = [t for t, stamp in zip(times, stamps, strict=True) if stamp >= stamps[-1] / 2]
        return Timing.of(settled, calls), burst_s

    def graph(self, call: Call, estimate_s: float, multiple_of: int = 1) -> tuple[Call, int]:
        """Return what replays many calls as one CUDA graph, and how many.

        Args:
            call: Called once before, so that nothing is left to be chosen.
            estimate_s: About what it takes.
            multiple_of: The number of calls is a multiple of this.
        """
        import torch

        calls = multiple_of * math.ceil(_calls(estimate_s, _GRAPH_S, _LEAST_IN_GRAPH) / multiple_of)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(calls):
                call()
        return graph.replay, calls


def _calls(call_s: float, block_s: float, least: int = 1) -> int:
    return min(MOST_CALLS, max(least, math.ceil(block_s / call_s))) if call_s > 0 else MOST_CALLS

"""Steps of a training script timed on the device they run on, the script left as it is.

A step ends where an optimizer's does: with several optimizers, where that of the first one seen does. On a GPU the time
between two ends is taken by its own events, so that the script is never made to wait.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from whichgpu.units import MILLI

WARMUP_STEPS, MOST_STEPS = 5, 40


class EnoughSteps(BaseException):
    """Ends a script; no `except Exception` of its own catches it."""


class StepTimes:
    """The ends of a script's steps.

    Args:
        device: "cuda" or "cpu".
    """

    def __init__(self, device: str) -> None:
        self._is_cuda = device.startswith("cuda")
        self._ends: list[Any] = []
        self._first: Any = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the end of every step in the block, which ends when there are enough of them."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        handle = register_optimizer_step_post_hook(self._stepped)
        try:
            yield
        finally:
            handle.remove()

    def _stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._first is None:
            self._first = optimizer
        if optimizer is not self._first:
            return
        self._ends.append(self._now())
        if len(self._ends) > WARMUP_STEPS + MOST_STEPS:
            raise EnoughSteps

    def _now(self) -> Any:
        if not self._is_cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @property
    def timed(self) -> int:
        """How many steps were timed."""
        return max(0, len(self._ends) - 1 - WARMUP_STEPS)

    def median_s(self) -> float | None:
        """Return the median time of a step after the first few; None if there were too few."""
        if self.timed < 1:
            return None
        ends = self._ends[WARMUP_STEPS:]
        if self._is_cuda:
            ends[-1].synchronize()
        return statistics.median(self._between(first, second) for first, second in pairwise(ends))

    def _between(self, first: Any, second: Any) -> float:
        return float(first.elapsed_time(second) * MILLI if self._is_cuda else second - first)

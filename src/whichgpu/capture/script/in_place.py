"""Timing the steps of the program that runs, which goes on as if nobody looked."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import loaders, options_seen
from whichgpu.capture.script.outcome import PassOutcome
from whichgpu.capture.script.seen import Interval
from whichgpu.capture.script.steps import StepEnds
from whichgpu.capture.script.watch import ScriptWatch

ON_ACCELERATOR = "its steps run on a GPU of this machine, and CPU times are what is measured."


class InPlace:
    """Times steps until there are enough, then takes all its hooks away.

    Args:
        seconds: How long steps are timed, the first one left out.
        on_done: Called once, with what was timed, in the place the program is at.
    """

    def __init__(self, seconds: float, on_done: Callable[[PassOutcome], None]) -> None:
        self._seconds = seconds
        self._on_done = on_done
        self._first_ended: float | None = None
        self._is_done = False
        self.watch = ScriptWatch(self._after_step)
        self.watch.evaluation.is_cut_short = False
        self._patches = Patches()
        self._ends = StepEnds(self.watch)
        self.watch.install(self._patches)
        self._ends.install(self._patches)
        loaders.install(self._patches, self.watch, in_process=False)
        options_seen.install(self._patches, self.watch.seen)

    def _after_step(self, interval: Interval) -> None:
        now = time.perf_counter()
        if self._first_ended is None:
            self._first_ended = now
        elif now - self._first_ended >= self._seconds:
            self.finish()

    def finish(self) -> None:
        """End the timing and hand on what there is, unless that was done before."""
        if self._is_done or not self.watch.is_here:
            return
        self.stop()
        seen = self.watch.seen
        outcome = PassOutcome("done" if seen.intervals else "ended", seen, threads=torch.get_num_threads())
        outcome.seconds = sum(i.seconds for i in seen.intervals)
        if _on_accelerator():
            outcome.error = ON_ACCELERATOR
        self._on_done(outcome)

    def stop(self) -> None:
        """Take all hooks away; what was timed is handed on to nobody."""
        if not self._is_done:
            self._is_done = True
            self._ends.remove()
            self._patches.undo()


def _on_accelerator() -> bool:
    """Return whether this process computes on a real GPU."""
    on_mps = torch.backends.mps.is_available() and torch.mps.current_allocated_memory() > 0
    return bool(torch.cuda.is_initialized() or on_mps)

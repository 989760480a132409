"""The real pass: the script on this machine's CPU, until some steps of it have been timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import distributed, libraries, loaders, options_seen, processes, redirect, trackers
from whichgpu.capture.script.outcome import PassOutcome, Status
from whichgpu.capture.script.request import PassRequest
from whichgpu.capture.script.seen import Interval
from whichgpu.capture.script.steps import StepEnds
from whichgpu.capture.script.stopped import Stopped
from whichgpu.capture.script.watch import ScriptWatch
from whichgpu.other_programs import ProcessorTime, crowding_note

# The first step makes optimizer state and chooses kernels.
_WARMUP_STEPS = 1
_MOST_STEPS = 300
# A step of so many times the time asked for is not waited for, where its parts are alike.
_PATIENCE = 3

PARTLY = "A step takes long here: {} of its {} batches were timed, and the others taken to be like them."
MEASURE_AGAIN = "--no-cache measures again."


class RealPass:
    """Times steps for as long as asked, one after the first at the least.

    Args:
        request: What was asked for.
        on_done: Called with the outcome before the script is stopped.
    """

    def __init__(self, request: PassRequest, on_done: Callable[[PassOutcome], None]) -> None:
        self._request = request
        self._on_done = on_done
        self._processors: ProcessorTime | None = None
        self._first_ended: float | None = None
        self._ends: StepEnds | None = None
        self.watch = ScriptWatch(self._after_step)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch the script that runs meanwhile, with all it does on a GPU done on the CPU."""
        patches = Patches()
        self._ends = ends = StepEnds(self.watch, self._request.step_marker, self._request.optimizers)
        try:
            redirect.install(
                patches, pretends_cuda=self._request.pretends_cuda, with_autocast=self._request.with_autocast
            )
            self.watch.install(patches)
            ends.install(patches)
            loaders.install(patches, self.watch, in_process=False)
            options_seen.install(patches, self.watch.seen)
            self.watch.compiled.install(patches)
            distributed.install(patches, self.watch.seen, backend="gloo")
            processes.install(patches, self.watch.seen)
            self.watch.on_training_call = self._begin
            self._watch_backward()
            libraries.install(patches, self.watch.seen, on_phantom=False)
            trackers.install(patches)
            yield
        finally:
            ends.remove()
            patches.undo()

    def _begin(self) -> None:
        self._processors = ProcessorTime.now(with_session=True)
        self.watch.on_training_call = None

    def _watch_backward(self) -> None:
        plain = self.watch.on_backward

        def on_backward() -> None:
            plain()
            calls, wanted = self.watch.interval.backward_calls, self._request.backward_calls
            if self.watch.seen.intervals or not 0 < calls < wanted:
                return
            if self.watch.in_step_s > _PATIENCE * self._request.seconds:
                self.watch.seen.tell(PARTLY.format(calls, wanted))
                self.watch.close_part(wanted / calls)
                self._on_done(self.outcome())
                raise Stopped

        self.watch.on_backward = on_backward  # type: ignore[method-assign]

    def _after_step(self, interval: Interval) -> None:
        now = time.perf_counter()
        steps = len(self.watch.seen.intervals)
        if steps <= _WARMUP_STEPS + 1 and self._ends is not None:
            # Where the phantom pass is satisfied, too: later phases may train something else.
            self.watch.seen.weights = self._ends.weights
        if steps <= _WARMUP_STEPS or self._first_ended is None:
            self._first_ended = now
            # Where no model was called, all that came before the first step is in its time.
            if not interval.training_calls or interval.seconds < self._request.seconds:
                return
        if now - self._first_ended + interval.seconds > self._request.seconds or steps >= _MOST_STEPS:
            self._on_done(self.outcome())
            raise Stopped

    def outcome(self) -> PassOutcome:
        """Return what was timed."""
        seen, threads = self.watch.seen, torch.get_num_threads()
        seen.weight_format = self.watch.weight_format
        crowding = crowding_note(self._processors, ProcessorTime.now(with_session=True), threads)
        for note in crowding:
            seen.tell(f"{note} {MEASURE_AGAIN}")
        status: Status = "done" if seen.intervals else "ended"
        return PassOutcome(status, seen, threads=threads, crowded=bool(crowding))

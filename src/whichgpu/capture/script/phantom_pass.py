"""The phantom pass: the script on a GPU that is not there, until one steady step of it has been recorded."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from whichgpu.capture import following
from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom import Phantom, switched_on
from whichgpu.capture.script import distributed, libraries, loaders, options_seen, processes, trackers
from whichgpu.capture.script.compiled import PARTLY
from whichgpu.capture.script.graph_since import graph_since
from whichgpu.capture.script.outcome import PassOutcome
from whichgpu.capture.script.precision_seen import matrix_ops
from whichgpu.capture.script.put_under_autocast import put_under_autocast
from whichgpu.capture.script.request import PassRequest
from whichgpu.capture.script.seen import Interval
from whichgpu.capture.script.steps import StepEnds
from whichgpu.capture.script.stopped import Stopped
from whichgpu.capture.script.watch import ScriptWatch
from whichgpu.capture.self_test import run_self_test
from whichgpu.capture.step_recording import PLACEHOLDERS, StepRecording, uses_device
from whichgpu.capture.step_watch import StepWatch
from whichgpu.graph import Graph, Job, job_to_document
from whichgpu.other_programs import ProcessorTime, crowding_note

# Steps recorded at most to find one with nothing beside it.
_MOST_RECORDED = 4
# What comes after the first step's end, such as a moving average that begins, falls into the second: where a step takes
# no longer than this, a third one is seen.
_QUICK_S = 1.0
# Another step with so many times the ops of the one recorded is told of.
_SOME_MORE = 1.1
# More matrix products than these in the first step are no accident of its being the first.
_MUCH_MORE = 1.2
# How long an optimizer is waited for that nobody has made yet, and that something called could be trained by.
_MOST_EXPECTING, _MOST_EXPECTING_S = 16, 10.0

# Trainers that make a step of the batches left over at the end of an epoch.
_STEP_ON_REMAINDERS = (
    *("transformers.trainer", "accelerate.accelerator"),
    *("lightning.pytorch.trainer.trainer", "pytorch_lightning.trainer.trainer"),
)

MORE_IN_ANOTHER = (
    "Another step has {:.1f} times as many ops as the one recorded: what may be done in every so many steps is in no "
    "time told."
)
ONLY_FIRST = "Only one step was seen: the first, which lacks what comes before the model is called."
MORE_AT_FIRST = (
    "The first step multiplies {:.1f} times as many matrices as the one recorded: what may be done in every so many "
    "steps is in no time told."
)
NOTHING_ON_DEVICE = (
    "The script trains on the CPU even where there is a GPU: nothing of its step ran on one. "
    'Give it its own option for a GPU (such as --device cuda), or move model and batches to "cuda".'
)

PUT_THERE = (
    "The script trains on the CPU even where there is a GPU: GPUs are predicted as if it put what it trains, and the "
    "batches, on one."
)


@dataclass(slots=True)
class _Recorded:
    """A step that was recorded."""

    graph: Graph
    interval: Interval
    index: int
    read_placeholders: bool


class PhantomPass:
    """Records steps until one is like the one before it.

    Args:
        request: What was asked for.
        on_done: Called with the outcome before the script is stopped.
    """

    def __init__(self, request: PassRequest, on_done: Callable[[PassOutcome], None]) -> None:
        self._request = request
        self._on_done = on_done
        self._recorded: list[_Recorded] = []
        self._recording: StepRecording | None = None
        self._evaluated_until = self._begins_at = 0
        self._phantom: Phantom | None = None
        self.watch = ScriptWatch(self._after_step)
        self.watch.on_evaluated, self.watch.on_apart = self._after_evaluation, self._leave_apart
        self.watch.seen.world_size = request.world_size
        self._ends = StepEnds(self.watch, request.step_marker)
        self._first_expected: float | None = None
        self._processors: ProcessorTime | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Give torch the phantom GPU and watch the script that runs meanwhile."""
        patches = Patches()
        ends = self._ends
        with switched_on() as phantom:
            run_self_test()
            self._phantom = phantom
            self.watch.torch_s = lambda: phantom.functions.seconds
            with StepWatch(phantom.device.storages) as self._step_watch:
                try:
                    if self._request.on_gpu:
                        following.install(patches, phantom.functions)
                        self.watch.seen.tell(PUT_THERE)
                    self.watch.install(patches)
                    # After the hooks of the step's parts, so that these have ended when the step does.
                    ends.install(patches)
                    loaders.install(patches, self.watch, in_process=True)
                    options_seen.install(patches, self.watch.seen)
                    self.watch.compiled.install(patches)
                    distributed.install(patches, self.watch.seen, backend="fake")
                    processes.install(patches, self.watch.seen)
                    libraries.install(patches, self.watch.seen, on_phantom=True)
                    trackers.install(patches)
                    self.watch.on_training_call = self._record_first
                    with put_under_autocast(self._request.autocast, self._step_watch.is_in_module):
                        yield
                finally:
                    ends.remove()
                    patches.undo()

    def _record_first(self) -> None:
        """Begin to record the very first step, in case there is no other."""
        self.watch.on_training_call = None
        self._processors = ProcessorTime.now(with_session=True)
        self._start()

    def _start(self) -> None:
        assert self._phantom is not None
        self._recording = StepRecording(self._phantom, self._step_watch)
        self._evaluated_until = self._begins_at = 0

    def _after_evaluation(self) -> None:
        if self._recording is not None:
            self._evaluated_until = self._recording.length

    def _leave_apart(self) -> None:
        # Evaluation or a rollout has ended: the step begins after it.
        self._begins_at = self._evaluated_until

    def _after_step(self, interval: Interval) -> None:
        self.watch.on_training_call = None
        self._take(interval)
        if self._is_enough():
            self._on_done(self.outcome())
            raise Stopped
        self._start()

    def _take(self, interval: Interval) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        graph = graph_since(recording.graph(), self._begins_at)
        index = len(self.watch.seen.intervals) - 1
        # Where the steps began anew, those before were none.
        self._recorded = [r for r in self._recorded if r.index < index]
        self._recorded.append(_Recorded(graph, interval, index, recording.read_placeholders))

    def _is_enough(self) -> bool:
        intervals = self.watch.seen.intervals
        if len(intervals) == 1:
            # Its optimizer state was made in it, and what led up to it may be anything.
            return False
        if self._ends.expects_another() and self._has_patience(len(intervals)):
            return False
        last, others = intervals[-1], intervals[:-1]
        is_of_one_batch = max(last.batches.values(), default=0) <= 1 and last.backward_calls <= 1
        if len(intervals) == 2 and last.seconds < _QUICK_S and is_of_one_batch:
            return False
        # Some look at a batch of another loader now and then, and forget to say that it is not for training. The last
        # step of an epoch may have fewer batches, and steps may be of several kinds.
        is_whole = last.backward_calls >= max(i.backward_calls for i in others)
        is_alike = not last.batches or not others[-1].batches or last.batches.keys() == others[-1].batches.keys()
        if last.beside == (0, 1) and is_whole and is_alike:
            return True
        if len(intervals) > 2 and intervals[-1].shape == intervals[-2].shape:
            return True
        return len(intervals) > _MOST_RECORDED

    def _has_patience(self, steps: int) -> bool:
        now = time.perf_counter()
        self._first_expected = self._first_expected or now
        return steps < _MOST_EXPECTING and now - self._first_expected < _MOST_EXPECTING_S

    def _compare_with_first(self, chosen: _Recorded) -> None:
        """Tell of work that is done in every so many steps, and so in the first one."""
        first = self._recorded[0]
        if first is chosen or first.index or first.interval.evaluation_calls != chosen.interval.evaluation_calls:
            return
        if first.interval.backward_calls > chosen.interval.backward_calls:
            return
        # A model may be called without training anything before the first step, to learn its shapes, and the first step
        # of a phase may go further back: more both ways it has what is done in every so many steps.
        pairs = zip(matrix_ops(first.graph), matrix_ops(chosen.graph), strict=True)
        more = min(of_first / max(of_chosen, 1) for of_first, of_chosen in pairs)
        if more > _MUCH_MORE:
            self.watch.seen.tell(MORE_AT_FIRST.format(more))

    def _compare_with_others(self, chosen: _Recorded) -> None:
        """Tell of work that another step like it has, and it has not."""
        alike = [r for r in self._recorded if 0 < r.index < chosen.index and r.interval.shape == chosen.interval.shape]
        most = max((len(r.graph.ops) for r in alike), default=0) / max(len(chosen.graph.ops), 1)
        if most > _SOME_MORE:
            self.watch.seen.tell(MORE_IN_ANOTHER.format(most))

    def outcome(self) -> PassOutcome:
        """Return the best step recorded, as a job."""
        seen = self.watch.seen
        if self._recording is not None:
            self._recording.stop()
        options_seen.note_tf32(seen)
        seen.weights = self._ends.weights
        seen.steps_on_remainders = not sys.modules.keys().isdisjoint(_STEP_ON_REMAINDERS)
        seen.compile_requested = self.watch.compiled.covers(self._ends.trained(), list(self.watch.called))
        if self.watch.compiled.is_partial(seen.compile_requested):
            seen.tell(PARTLY)
        assert self._phantom is not None
        for note in self._phantom.notes:
            seen.tell(note)
        threads = torch.get_num_threads()
        crowding = crowding_note(self._processors, ProcessorTime.now(with_session=True), threads)
        outcome = PassOutcome("ended", seen, threads=threads, crowded=bool(crowding))
        # A script starts again in its second phase: what was recorded before is of the first.
        later = [r for r in self._recorded if r.index > 0] or self._recorded
        if not later:
            return outcome
        chosen = min(later, key=lambda r: (r.interval.beside, -r.interval.backward_calls, -r.index))
        if not uses_device(chosen.graph):
            outcome.status, outcome.error = "host", NOTHING_ON_DEVICE
            return outcome
        if chosen.index == 0:
            seen.tell(ONLY_FIRST)
        if chosen.read_placeholders:
            seen.tell(PLACEHOLDERS)
        self._compare_with_first(chosen)
        self._compare_with_others(chosen)
        seen.recorded = chosen.index
        outcome.status = "done"
        outcome.job = job_to_document(
            Job(self._request.call.name, chosen.graph, 1, source=f"torch {torch.__version__}")
        )
        return outcome

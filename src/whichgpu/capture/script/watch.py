"""What happens in a script between the ends of its steps: batches, models called, backward passes, and their time."""

from __future__ import annotations

import os
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.script.compiled import Compiled
from whichgpu.capture.script.evaluation import Evaluation
from whichgpu.capture.script.seen import Interval, Seen
from whichgpu.capture.script.stopped import Stopped
from whichgpu.capture.script.training_calls import TrainingCall, first_reached, given_to, main_tensor, rows_given


class ScriptWatch:
    """Counts what happens in a step and hands it on when the step ends.

    Everything is of the process it was made in: workers of a DataLoader inherit the patches and report nothing.

    Attributes:
        seen: What was seen so far.
        interval: What happened since the last step ended.
        in_backward: Whether a backward pass runs.
        in_optimizer: Whether an optimizer's step runs.
        evaluation: What answers calls of models without gradients.
        compiled: What torch.compile is asked for, and what of it is called.
        called: Models called in training mode, with gradients or without.
        is_armed: Whether steps count; where they do not, the first one ends what runs.
        on_training_call: Called before a model is called with gradients.
        on_evaluated: Called after a model was called without.
        on_apart: Called when training goes on after calls without gradients that are no part of a step.
        torch_s: Returns the seconds spent in torch's functions so far.
        torch_loading_s: Those of them that went into loading.

    Args:
        on_step: Called when a step has ended, with its interval, in the place the script is at.
    """

    def __init__(self, on_step: Callable[[Interval], None]) -> None:
        self.seen = Seen()
        self.interval = Interval()
        self.in_backward = False
        self.in_optimizer = False
        self.called: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
        self._asked: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
        self.is_armed = True
        self.on_training_call: Callable[[], None] | None = None
        self.on_evaluated: Callable[[], None] | None = None
        self.on_apart: Callable[[], None] | None = None
        self.torch_s: Callable[[], float] = lambda: 0.0
        self.torch_loading_s = self._torch_since_s = 0.0
        self._on_step = on_step
        self._process = os.getpid()
        self._since = time.perf_counter()
        self.evaluation = Evaluation(self.seen)
        self.compiled = Compiled()
        self._is_in_model = False
        # First tensors given to models in training since the last step ended, and those a backward pass has come to.
        self._inputs: list[torch.Tensor] = []
        self._learned_from: list[torch.Tensor] = []
        # Until the first backward pass of a step.
        self._calls: list[TrainingCall] = []
        # Calls in training of the step by its last backward pass.
        self._calls_before = 0

    @property
    def is_here(self) -> bool:
        """Whether this is the process that is watched."""
        return os.getpid() == self._process

    def install(self, patches: Patches) -> None:
        """Hook into calls of models and into backward passes."""
        patches.set(torch.nn.Module, "__call__", self._module_call(torch.nn.Module.__call__))
        patches.set(torch.autograd, "backward", self._backward(torch.autograd.backward, fills_gradients=True))
        patches.set(torch.autograd, "grad", self._backward(torch.autograd.grad, fills_gradients=False))

    def end_step(self) -> None:
        """Close the interval and hand it on."""
        if not self.is_armed:
            raise Stopped
        now = time.perf_counter()
        self.interval.seconds = now - self._since
        self.interval.torch_s = self.torch_s() - self.torch_loading_s - self._torch_since_s
        ended, self.interval = self.interval, Interval()
        self._forget_calls()
        self.seen.intervals.append(ended)
        self.evaluation.trained(self.interval)
        self._on_step(ended)
        # What was done about the step is none of the next one's time.
        self._since = time.perf_counter()
        self._torch_since_s = self.torch_s() - self.torch_loading_s

    def arm(self) -> None:
        """Begin to count steps."""
        self.is_armed = True
        self.restart(in_a_step=False)
        self.interval = Interval()
        self._forget_calls()
        self._since = time.perf_counter()
        self.evaluation.trained(self.interval)

    def _forget_calls(self) -> None:
        self._inputs.clear()
        self._learned_from.clear()
        self._calls.clear()

    @property
    def weight_format(self) -> str:
        """The dtype of most weights of the models called, frozen ones included; "" if none was."""
        counts: Counter[str] = Counter()
        for module in list(self._asked):
            for weight in module.parameters():
                counts[str(weight.dtype).removeprefix("torch.")] += weight.numel()
        return max(counts, key=lambda dtype: counts[dtype], default="")

    @property
    def in_step_s(self) -> float:
        """Seconds since the step that goes on now began."""
        return time.perf_counter() - self._since

    def close_part(self, times: float) -> None:
        """Close an interval of which a part has happened, as if that had happened `times` times."""
        part = self.interval
        part.seconds = (time.perf_counter() - self._since - part.apart_s) * times + part.apart_s
        part.loading_s *= times
        self.seen.intervals.append(part)

    def restart(self, *, in_a_step: bool) -> None:
        """Forget the steps so far: what had been taken for the end of a step was none.

        Args:
            in_a_step: Whether it was within the step that goes on now.
        """
        if in_a_step and self.seen.intervals:
            begun = self.seen.intervals[-1]
            self.interval.continue_from(begun)
            self._since -= begun.seconds
        self.seen.intervals.clear()
        self.seen.recorded = None

    def _module_call(self, plain: Any) -> Any:
        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_in_model or self.in_backward or not self.is_here:
                return plain(module, *args, **kwargs)
            self._is_in_model = True
            try:
                if not torch.is_grad_enabled():
                    return self._evaluate(plain, module, args, kwargs)
                noted = self._note_training(module, args, kwargs)
                result = plain(module, *args, **kwargs)
                if noted is not None:
                    noted.watch(result)
                return result
            finally:
                self._is_in_model = False

        return call

    def _note_training(self, module: Any, args: Any, kwargs: Any) -> TrainingCall | None:
        """Note a call of a model; return it where a backward pass of the step is still to come."""
        interval = self.interval
        # A loss is a module too; what has no weights is no model.
        if next(module.parameters(), None) is None:
            return None
        interval.training_calls += 1
        self._note_called(module)
        if self.compiled.depth:
            self.compiled.reach(module)
        self._note_trained()
        if interval.training_calls == 1 and not self.seen.intervals:
            # What came before is no part of a step, but for its first batch.
            self._since = time.perf_counter() - interval.loading_s
            interval.apart_s = 0.0
        given = given_to(args, kwargs)
        rows = rows_given(args, kwargs)
        interval.input_rows = interval.input_rows or rows
        if given is not None:
            interval.input_again += any(given is earlier for earlier in self._learned_from)
            self._inputs.append(given)
        if self.on_training_call is not None and self.is_armed:
            self.on_training_call()
        if interval.backward_calls:
            return None
        self._calls.append(TrainingCall(rows, time.perf_counter(), interval.loading_s))
        return self._calls[-1]

    def _note_learned(self) -> None:
        """Hear that the first backward pass of a step has ended: the step is what it came to."""
        first, interval = first_reached(self._calls), self.interval
        if first is None:
            return
        interval.input_rows = first.rows or interval.input_rows
        if not self.seen.intervals and first is not self._calls[0]:
            self._since = first.began_s - first.loading_s
            interval.apart_s = 0.0

    def _evaluate(self, plain: Any, module: Any, args: Any, kwargs: Any) -> Any:
        if next(module.parameters(), None) is None:
            return plain(module, *args, **kwargs)
        self._note_called(module)
        try:
            return self.evaluation.answer(plain, module, args, kwargs)
        finally:
            self.interval.evaluation_calls += 1
            self.evaluation.evaluated(self.interval)
            if self.on_evaluated is not None:
                self.on_evaluated()

    def _note_called(self, module: Any) -> None:
        self._asked.add(module)
        if module.training:
            self.called.add(module)

    def _note_trained(self) -> None:
        if self.evaluation.is_apart and self.on_apart is not None:
            self.on_apart()
        self.evaluation.trained(self.interval)

    def _backward(self, plain: Any, *, fills_gradients: bool) -> Any:
        def backward(*args: Any, **kwargs: Any) -> Any:
            was_in, self.in_backward = self.in_backward, True
            try:
                return plain(*args, **kwargs)
            finally:
                self.in_backward = was_in
                if not was_in and self.is_here:
                    self._note_trained()
                    if fills_gradients and not self.in_optimizer:
                        self.interval.backward_calls += 1
                        if self.interval.backward_calls == 1:
                            self._note_learned()
                        elif self.interval.training_calls and self.interval.training_calls == self._calls_before:
                            # The same forward pass once more, by another loss.
                            self.interval.input_again += 1
                        self._calls_before = self.interval.training_calls
                        self._learned_from += self._inputs
                        self._inputs.clear()
                        self.interval.backward_between += self.interval.optimizer_steps > 0
                    self.on_backward()

        return backward

    def on_backward(self) -> None:
        """Hear that a backward pass has ended."""


def first_rows(value: Any) -> int | None:
    """Return how many samples a batch has, by the first dimension of a tensor in it; None if there is none."""
    found = main_tensor(value)
    return None if found is None else int(found.shape[0])

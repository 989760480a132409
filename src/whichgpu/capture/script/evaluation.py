"""Models that are called without gradients: as part of a step (a frozen encoder, a teacher), or apart from it.

A validation loop of thousands of batches, or a rollout through an environment, says nothing of a training step. Many
calls of one model in a row, with no training in between, are apart from the step: their time and their ops are none of
its. Of one model, for who calls ``model.forward`` calls each layer from outside.
Those in evaluation mode may take hours on a CPU, so only the first are made; others get the answer to inputs of their
shape once more.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

from whichgpu.capture.script.seen import Interval, Seen

# Calls of a model in a row that may be part of a step: more than any step makes of a frozen model.
_MOST_IN_A_STEP = 7
# Seconds after which nobody waits for all of them.
_PATIENCE_S = 5.0
NOTE = "Evaluation was cut short: of many calls of a model without gradients only the first ones were made."


class Evaluation:
    """Answers calls of models without gradients, and knows which of them are apart from a step.

    Args:
        seen: Takes the note that some were not really made.

    Attributes:
        is_cut_short: Whether of many calls only the first ones are made.
    """

    def __init__(self, seen: Seen) -> None:
        self.is_cut_short = True
        self._seen = seen
        # Calls in a row, by the module's identity.
        self._in_a_row: Counter[int] = Counter()
        self._row_began_at = self._spent_s = 0.0
        self._answers: dict[Any, Any] = {}
        self._trained_at = time.perf_counter()
        self._loaded_s = self._loaded_apart_s = 0.0

    @property
    def is_apart(self) -> bool:
        """Whether there were so many calls of one model in a row by now that they are no part of a step."""
        return max(self._in_a_row.values(), default=0) > _MOST_IN_A_STEP

    def trained(self, interval: Interval) -> None:
        """Begin anew, for something is trained; tell `interval` what time since it last was went on something apart."""
        now = time.perf_counter()
        if self.is_apart:
            # What was loaded after the last call is the step's first batch.
            interval.apart_s += now - self._trained_at - (interval.loading_s - self._loaded_apart_s)
            interval.loading_s -= self._loaded_apart_s - self._loaded_s
            if not self._seen.intervals:
                self._seen.before_first_s = now - self._row_began_at
        if self._in_a_row:
            self._in_a_row.clear()
            self._spent_s = 0.0
            self._answers.clear()
        self._trained_at, self._loaded_s = now, interval.loading_s

    def evaluated(self, interval: Interval) -> None:
        """Note that a call has ended."""
        self._loaded_apart_s = interval.loading_s

    def answer(self, plain: Callable[..., Any], module: Any, args: Any, kwargs: Any) -> Any:
        """Return what `module` gives for its arguments, or gave for others of their shapes in evaluation mode."""
        if not self._in_a_row:
            self._row_began_at = time.perf_counter()
        self._in_a_row[id(module)] += 1
        key = None
        if self.is_cut_short and not module.training and (self.is_apart or self._spent_s > _PATIENCE_S):
            key = _shapes(module, args, kwargs)
            if key in self._answers:
                self._seen.tell(NOTE)
                return tree_map(_copy, self._answers[key])
        begin = time.perf_counter()
        answer = plain(module, *args, **kwargs)
        self._spent_s += time.perf_counter() - begin
        if key is not None:
            self._answers[key] = answer
        return answer


def _shapes(module: Any, args: Any, kwargs: Any) -> Any:
    leaves, spec = tree_flatten((args, kwargs))
    return id(module), str(spec), tuple(_shape(leaf) for leaf in leaves)


def _shape(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.shape, leaf.dtype, leaf.device
    return leaf if isinstance(leaf, (bool, int, float, str, type(None))) else id(leaf)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value

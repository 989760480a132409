"""Calls of models with gradients on, and which of them a backward pass comes to.

Much is called with gradients on that no backward pass ever reaches: a policy asked for an action, an untrained model
looked at once. How many samples a step has, and when the first step began, is told by the first call that one reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_DEEPEST = 3


@dataclass(slots=True)
class TrainingCall:
    """One call.

    Attributes:
        rows: First dimension of the first tensor given to the model; None if there was none.
        began_s: When it began, on the clock of the watch.
        loading_s: What had been spent by then on loading since the last step ended.
        is_reached: Whether a backward pass came to what it returned.
    """

    rows: int | None
    began_s: float
    loading_s: float
    is_reached: bool = False

    def watch(self, result: Any) -> None:
        """Find out whether a backward pass comes to `result`, a tensor or tensors in containers."""
        for tensor in tensors_in(result):
            if tensor.requires_grad:
                try:
                    tensor.register_hook(self._reach)
                except RuntimeError:
                    # Tensors of torch.func's transforms take none.
                    return

    def _reach(self, gradient: torch.Tensor) -> None:
        self.is_reached = True


def first_reached(calls: list[TrainingCall]) -> TrainingCall | None:
    """Return the first call that a backward pass came to, if it came to any."""
    return next((call for call in calls if call.is_reached), None)


def given_to(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """Return the tensor whose rows are a call's samples: the first that has any, of a batch by names the largest."""
    return main_tensor(args[0]) if args and isinstance(args[0], Mapping) else main_tensor((args, kwargs))


def rows_given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    """Return how many samples a call is given: rows of its tensor, or of an array the model makes one of itself."""
    tensor = given_to(args, kwargs)
    if tensor is not None:
        return int(tensor.shape[0])
    arrays = (value for value in (*args, *kwargs.values()) if isinstance(value, np.ndarray) and value.ndim)
    return next((len(array) for array in arrays), None)


def main_tensor(value: Any) -> torch.Tensor | None:
    """Return the first tensor in `value` that has rows; of a mapping the largest, for its order says nothing."""
    found = [tensor for tensor in tensors_in(value) if tensor.dim()]
    if isinstance(value, Mapping):
        return max(found, key=torch.Tensor.numel, default=None)
    return found[0] if found else None


def tensors_in(value: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Yield the tensors in `value`, a few containers deep, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth <= _DEEPEST:
        inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
        for part in inside:
            yield from tensors_in(part, depth + 1)

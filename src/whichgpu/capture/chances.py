"""Random masks: how much a mask lets through on average, where the numbers it was made of were drawn by the step.

Dropout of edges, of graphs and of tokens is written as a comparison of random numbers, or as their whole part:
`rand(n) >= p`, `(rand(n) + p).floor().bool()`, `bernoulli(p)`. A tensor keeps of it how its numbers are drawn, for as
long as these stay simple.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from whichgpu.capture.phantom_tensor import PhantomTensor

aten = torch.ops.aten
# Of the CPU's tensors, which a program may save with all their attributes.
_on_host: Any = WeakTensorKeyDictionary()


@dataclass(frozen=True, slots=True)
class Drawn:
    """How numbers are drawn.

    Attributes:
        low: The smallest of numbers drawn evenly.
        high: Above their largest.
        kept: How much of them is not zero, where that is all that is known.
    """

    low: float = 0.0
    high: float = 1.0
    kept: float | None = None

    def between(self, low: float, high: float) -> float:
        """Return the part of the numbers that lies between two bounds."""
        inside = min(high, self.high) - max(low, self.low)
        return max(inside, 0.0) / (self.high - self.low)


def note(func: Any, args: tuple[Any, ...], out: Any) -> None:
    """Note with the result of an operator how it is drawn, if it is; what is written to loses what was noted."""
    rule = _RULES.get(func)
    if rule is not None and isinstance(out, torch.Tensor):
        _keep(out, rule(out, *args))
    elif rule is None and args and out is args[0] and of(out) is not None:
        _keep(out, None)


def of(value: Any) -> Drawn | None:
    """Return how the numbers of a tensor are drawn, or None."""
    if isinstance(value, PhantomTensor):
        return value.drawn
    found: Drawn | None = _on_host.get(value) if _on_host and isinstance(value, torch.Tensor) else None
    return found


def _keep(tensor: torch.Tensor, drawn: Drawn | None) -> None:
    if isinstance(tensor, PhantomTensor):
        tensor.drawn = drawn
    elif drawn is not None:
        _on_host[tensor] = drawn
    elif _on_host:
        _on_host.pop(tensor, None)


def mask_by_chance(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return a mask that lets as many elements through, evenly spread, as `tensor` does on average; None if unknown."""
    drawn = of(tensor)
    if drawn is None:
        return None
    kept = 1.0 if drawn.kept is None else drawn.kept
    passed = (torch.arange(tensor.numel() + 1, dtype=torch.float64) * kept).round()
    return (passed.diff() > 0).view(tensor.shape)


def _evenly(out: Any, *args: Any) -> Drawn:
    return Drawn()


def _uniform(out: Any, tensor: Any, low: float = 0.0, high: float = 1.0, *rest: Any) -> Drawn | None:
    return Drawn(float(low), float(high)) if low < high else None


def _bernoulli(out: Any, tensor: Any, p: float = 0.5, *rest: Any) -> Drawn:
    return Drawn(kept=float(p))


def _moved(change: Callable[[float, float], float]) -> Any:
    """Return the rule of an operator that does to each number what `change` does."""

    def moved(out: Any, first: Any, second: Any, *alpha: Any) -> Drawn | None:
        drawn = of(first)
        if drawn is None or drawn.kept is not None or alpha or not isinstance(second, (int, float)):
            return None
        low, high = sorted((change(drawn.low, second), change(drawn.high, second)))
        return Drawn(low, high) if low < high else None

    return moved


def _copied(out: Any, tensor: Any, *rest: Any) -> Drawn | None:
    drawn = of(tensor)
    if drawn is None or drawn.kept is not None or out.is_floating_point() or out.dtype == torch.bool:
        return drawn
    return replace(drawn, kept=1 - drawn.between(-1.0, 1.0))


def _floored(out: Any, tensor: Any) -> Drawn | None:
    drawn = of(tensor)
    return drawn if drawn is None or drawn.kept is not None else replace(drawn, kept=1 - drawn.between(0.0, 1.0))


def _compared(is_smaller: bool) -> Any:
    def compared(out: Any, tensor: Any, bound: Any) -> Drawn | None:
        drawn = of(tensor)
        if drawn is None or drawn.kept is not None:
            return None
        return Drawn(kept=drawn.between(-math.inf, bound) if is_smaller else drawn.between(bound, math.inf))

    return compared


def _inverted(out: Any, tensor: Any) -> Drawn | None:
    drawn = of(tensor)
    return None if drawn is None or drawn.kept is None else Drawn(kept=1 - drawn.kept)


# Operator -> how its result is drawn, from the result and the arguments.
_RULES: dict[Any, Callable[..., Drawn | None]] = {
    **dict.fromkeys((aten.rand.default, aten.rand.generator, aten.rand_like.default), _evenly),
    **dict.fromkeys((aten.uniform_.default, aten.uniform.default), _uniform),
    **dict.fromkeys((aten.bernoulli_.float, aten.bernoulli.p), _bernoulli),
    **dict.fromkeys((aten.detach.default, aten.clone.default, aten.view.default, aten._to_copy.default), _copied),
    **dict.fromkeys((aten.unsqueeze.default, aten.squeeze.default, aten.squeeze.dim), _copied),
    **dict.fromkeys((aten.add.Tensor, aten.add_.Tensor), _moved(lambda x, y: x + y)),
    **dict.fromkeys((aten.sub.Tensor, aten.sub_.Tensor), _moved(lambda x, y: x - y)),
    **dict.fromkeys((aten.mul.Tensor, aten.mul_.Tensor), _moved(lambda x, y: x * y)),
    **dict.fromkeys((aten.div.Tensor, aten.div_.Tensor), _moved(lambda x, y: x / y if y else 0.0)),
    aten.rsub.Scalar: _moved(lambda x, y: y - x),
    **dict.fromkeys((aten.floor.default, aten.floor_.default), _floored),
    **dict.fromkeys((aten.lt.Scalar, aten.le.Scalar), _compared(True)),
    **dict.fromkeys((aten.gt.Scalar, aten.ge.Scalar), _compared(False)),
    **dict.fromkeys((aten.logical_not.default, aten.bitwise_not.default), _inverted),
}

"""Values assumed where a step asks for some that the phantom GPU does not have.

A step that only computes never asks. One that checks (`isfinite(loss)`), routes (`topk` of a router) or selects
(`loss[loss > threshold]`) does, and what it then does depends on the answer. So answers are assumed that a step in good
order would see, and that spread evenly:

- numbers are finite, checks over all elements hold, and none over any does;
- places of largest elements, draws and permutations are spread evenly over what they point into;
- a comparison of single numbers, read back, is that of the numbers that would be read back;
- a mask nobody knows lets every second element through, one of random numbers as many as it does on average, and the
  reader of the result is told.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy
import torch

from whichgpu.capture.chances import mask_by_chance
from whichgpu.capture.phantom_tensor import PhantomTensor
from whichgpu.capture.placeholders import placeholder_of
from whichgpu.capture.shadow import give_shadow, is_assumed, largest_elements, note_assumed, value_of

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

aten = torch.ops.aten

HALF = (
    "Some shapes depend on values that the phantom GPU does not have: of elements chosen by such a mask it takes every "
    "second one."
)
EVENLY = (
    "Some shapes depend on what the step's own layers choose, such as a router its experts: the phantom GPU spreads "
    "such choices evenly."
)
BY_CHANCE = (
    "Some shapes depend on random masks: of what these choose from the phantom GPU takes the part they do on average."
)
# (result, arguments) -> what to assume of the result
Assumption = Callable[[PhantomTensor, tuple[Any, ...]], torch.Tensor | None]


def _evenly(result: PhantomTensor, size: int, low: int = 0) -> torch.Tensor | None:
    """Return whole numbers from `low` on, below `low + size`, each as often as the next."""
    if not size:
        return None
    return (torch.arange(result.numel()) % size + low).view(result.shape).to(result.dtype)


def _size_along(args: tuple[Any, ...], dim: Any) -> int:
    shape: tuple[int, ...] = args[0].shape
    return shape[dim] if shape and isinstance(dim, int) else math.prod(shape)


def _argument(args: tuple[Any, ...], index: int, default: Any) -> Any:
    return args[index] if len(args) > index else default


def _places(dim_index: int, default: Any) -> Assumption:
    def assume(result: PhantomTensor, args: tuple[Any, ...]) -> torch.Tensor | None:
        return _evenly(result, _size_along(args, _argument(args, dim_index, default)))

    return assume


def _order(dim_index: int) -> Assumption:
    def assume(result: PhantomTensor, args: tuple[Any, ...]) -> torch.Tensor | None:
        dim = _argument(args, dim_index, -1)
        if not result.dim():
            return torch.zeros((), dtype=result.dtype)
        shape = [1] * result.dim()
        shape[dim] = -1
        return torch.arange(result.shape[dim]).view(shape).expand(result.shape).to(result.dtype).contiguous()

    return assume


def _between(low_index: int | None, high_index: int) -> Assumption:
    def assume(result: PhantomTensor, args: tuple[Any, ...]) -> torch.Tensor | None:
        low = 0 if low_index is None else args[low_index]
        return _evenly(result, args[high_index] - low, low)

    return assume


def _permutation(result: PhantomTensor, args: tuple[Any, ...]) -> torch.Tensor | None:
    return _evenly(result, result.numel())


def _constant(value: int) -> Assumption:
    return lambda result, args: torch.full(result.shape, value, dtype=result.dtype)


def _against_infinity(holds: Callable[[float], bool | None]) -> Assumption:
    """Return the answer to a comparison of finite numbers with an infinity or NaN; of others nothing is assumed."""

    def assume(result: PhantomTensor, args: tuple[Any, ...]) -> torch.Tensor | None:
        other = args[1]
        if isinstance(other, torch.Tensor) or not isinstance(other, float) or math.isfinite(other):
            return None
        answer = holds(other)
        return None if answer is None else torch.full(result.shape, answer)

    return assume


def _with_itself(answer: bool) -> Assumption:
    def assume(result: PhantomTensor, args: tuple[Any, ...]) -> torch.Tensor | None:
        return torch.full(result.shape, answer) if args[0] is args[1] else None

    return assume


# Operator -> for each of its results what is assumed of it.
ASSUMPTIONS: dict[Any, tuple[Assumption | None, ...]] = {
    aten.eq.Tensor: (_with_itself(True),),
    aten.ne.Tensor: (_with_itself(False),),
    aten.eq.Scalar: (_against_infinity(lambda other: False),),
    aten.ne.Scalar: (_against_infinity(lambda other: True),),
    aten.lt.Scalar: (_against_infinity(lambda other: other > 0),),
    aten.le.Scalar: (_against_infinity(lambda other: other > 0),),
    aten.gt.Scalar: (_against_infinity(lambda other: other < 0),),
    aten.ge.Scalar: (_against_infinity(lambda other: other < 0),),
    **dict.fromkeys((aten.isnan.default, aten.isinf.default), (_constant(False),)),
    **dict.fromkeys((aten.isposinf.default, aten.isneginf.default), (_constant(False),)),
    **dict.fromkeys((aten.all.default, aten.all.dim, aten.all.dims, aten._is_all_true.default), (_constant(True),)),
    **dict.fromkeys((aten.any.default, aten.any.dim, aten.any.dims, aten._is_any_true.default), (_constant(False),)),
    # Their values do not depend on those of the tensor they are made like.
    **dict.fromkeys((aten.new_ones.default, aten.ones_like.default), (_constant(1),)),
    **dict.fromkeys((aten.new_zeros.default, aten.zeros_like.default), (_constant(0),)),
    aten.new_full.default: (lambda result, args: torch.full(result.shape, args[2], dtype=result.dtype),),
    aten.full_like.default: (lambda result, args: torch.full(result.shape, args[1], dtype=result.dtype),),
    aten.topk.default: (None, _places(2, -1)),
    **dict.fromkeys((aten.max.dim, aten.min.dim, aten.median.dim, aten.mode.default), (None, _places(1, -1))),
    aten.kthvalue.default: (None, _places(2, -1)),
    **dict.fromkeys((aten.argmax.default, aten.argmin.default), (_places(1, None),)),
    aten.sort.default: (None, _order(1)),
    aten.sort.stable: (None, _order(1)),
    aten.argsort.default: (_order(1),),
    aten.multinomial.default: (lambda result, args: _evenly(result, args[0].shape[-1]),),
    aten.randint.default: (_between(None, 0),),
    aten.randint.generator: (_between(None, 0),),
    aten.randint.low: (_between(0, 1),),
    aten.randint.low_generator: (_between(0, 1),),
    aten.randint_like.default: (_between(None, 1),),
    aten.randint_like.low_dtype: (_between(1, 2),),
    aten.randperm.default: (_permutation,),
    aten.randperm.generator: (_permutation,),
}


# Of these the places that a layer chooses: drawn numbers are spread evenly on a GPU, too.
_CHOICES = frozenset(
    {aten.topk.default, aten.max.dim, aten.min.dim, aten.median.dim, aten.kthvalue.default}
    | {aten.argmax.default, aten.argmin.default, aten.sort.default, aten.sort.stable, aten.argsort.default}
)


def assume(func: Any, args: tuple[Any, ...], out: Any) -> None:
    """Give results of `func` values to go on with, where theirs are not known and may be asked for."""
    assumptions = ASSUMPTIONS.get(func)
    if assumptions is None:
        return
    results = out if isinstance(out, (tuple, list)) else (out,)
    for assumption, result in zip(assumptions, results, strict=False):
        if assumption is None or not isinstance(result, PhantomTensor) or value_of(result) is not None:
            continue
        if result.numel() <= largest_elements(result.dtype) and not result.is_floating_point():
            value = assumption(result, args)
            if value is not None:
                give_shadow(result, value)
                if func in _CHOICES:
                    note_assumed(result)


# What a comparison of single numbers gives, where it is read back and nothing else is assumed of it.
_ON_NUMBERS: dict[Any, Callable[..., Any]] = {
    **{
        getattr(getattr(aten, name), overload): getattr(operator, name)
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
        for overload in ("Scalar", "Tensor")
    },
    **dict.fromkeys((aten.bitwise_and.Tensor, aten.logical_and.default), operator.and_),
    **dict.fromkeys((aten.bitwise_or.Tensor, aten.logical_or.default), operator.or_),
    **dict.fromkeys((aten.bitwise_not.default, aten.logical_not.default), operator.invert),
}


def guess(func: Any, args: tuple[Any, ...], out: Any) -> None:
    """Note with the result of a comparison of single numbers how it comes out for what would be read back of them."""
    found = _ON_NUMBERS.get(func)
    if found is not None and isinstance(out, PhantomTensor) and out.numel() == 1:
        out.guess = bool(found(*map(_number, args[:2])))


def _number(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return float(value)
    known = value_of(value)
    if value.dtype == torch.bool:
        # So that they may be inverted: of Python's own, ~True is -2.
        guessed = getattr(value, "guess", None) or False
        return numpy.bool_(guessed if known is None or known.numel() != 1 else known.item())
    return placeholder_of(value.dtype) if known is None or known.numel() != 1 else float(known.real)


def mask_of(device: FakeDevice, tensor: torch.Tensor) -> torch.Tensor:
    """Return which elements of `tensor` count as true: those that are, or as many as may be where nobody knows."""
    value = None if device.made_up.holds(tensor) else value_of(tensor)
    if value is not None:
        if is_assumed(tensor):
            device.tell(EVENLY)
        return value != 0
    mask = mask_by_chance(tensor)
    device.tell(HALF if mask is None else BY_CHANCE)
    if mask is None:
        mask = (torch.arange(tensor.numel()) % 2 == 0).view(tensor.shape)
    if isinstance(tensor, PhantomTensor) and tensor.dtype == torch.bool:
        # So that what else is chosen by this mask has as many elements.
        give_shadow(tensor, mask)
    return mask

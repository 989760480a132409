"""Real values of small tensors on the phantom GPU.

Masks, lengths and token ids decide which way a step goes (`mask.all()`, `nonzero()`), so integer and boolean tensors
keep a real copy on the CPU for as long as their values are known; so do a few floats, such as the scale of a gradient
scaler, and floats that are whole numbers, as masks and labels often are. Every operator on shadowed tensors runs on
their copies too; on floats only plain arithmetic does, since no step branches on what its layers compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from whichgpu.capture.op_traits import OpTraits
from whichgpu.capture.phantom_tensor import PhantomTensor

# Above these a copy would cost time and memory, and no step is known to branch on so many values.
LARGEST_INTEGER_ELEMENTS = 4_000_000
# A mask over all classes of all boxes has no more bytes than as many integers.
LARGEST_MASK_ELEMENTS = 8 * LARGEST_INTEGER_ELEMENTS
LARGEST_FLOAT_ELEMENTS = 64
LARGEST_WHOLE_ELEMENTS = 1_000_000
# Formats of floats that torch can round on a CPU.
_ROUNDED = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

_FACTORIES = frozenset(
    {"zeros", "ones", "full", "arange", "eye", "tril_indices", "triu_indices", "scalar_tensor", "linspace"}
)


@dataclass(slots=True)
class _Memory:
    """What all views of one value share: whether it is still known, and whether it comes of something assumed."""

    known: bool = True
    assumed: bool = False


@dataclass(slots=True)
class Shadow:
    """The value of a phantom tensor; views of one storage share their memory."""

    value: torch.Tensor
    memory: _Memory = field(default_factory=_Memory)


def value_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the real value of a tensor, or None if it is not known."""
    if not isinstance(tensor, PhantomTensor):
        return None if tensor.is_meta else tensor
    shadow = tensor.shadow
    return shadow.value if shadow is not None and shadow.memory.known else None


def is_small(value: torch.Tensor) -> bool:
    """Return whether a value is worth remembering."""
    count: int = value.numel()
    if value.is_complex():
        return count <= LARGEST_FLOAT_ELEMENTS
    if value.is_floating_point():
        return count <= LARGEST_FLOAT_ELEMENTS or (count <= LARGEST_WHOLE_ELEMENTS and _is_whole(value))
    return count <= largest_elements(value.dtype)


def largest_elements(dtype: torch.dtype) -> int:
    """Return how many whole numbers or truth values are worth remembering."""
    return LARGEST_MASK_ELEMENTS if dtype == torch.bool else LARGEST_INTEGER_ELEMENTS


def _is_whole(value: torch.Tensor) -> bool:
    """Return whether a tensor of floats holds whole numbers alone."""
    if value.dtype not in _ROUNDED:
        return False
    # Of images and activations the first few tell.
    some = value[(0,) * (value.dim() - 1)][:LARGEST_FLOAT_ELEMENTS]
    return bool((some == some.round()).all()) and bool((value == value.round()).all())


def give_shadow(tensor: PhantomTensor, value: torch.Tensor, source: Shadow | None = None) -> None:
    """Remember the value of `tensor`, unless it is large; `source` is the shadow whose storage it shares."""
    if is_small(value):
        tensor.shadow = Shadow(value, source.memory if source is not None else _Memory())


def forget(tensor: torch.Tensor) -> None:
    """Note that the values of `tensor`, and of all that shares its storage, are no longer known."""
    if isinstance(tensor, PhantomTensor) and tensor.shadow is not None:
        tensor.shadow.memory.known = False


def is_assumed(tensor: torch.Tensor) -> bool:
    """Return whether the value of `tensor` comes of one that a step in good order might have, and nobody knows."""
    return isinstance(tensor, PhantomTensor) and tensor.shadow is not None and tensor.shadow.memory.assumed


def note_assumed(tensor: torch.Tensor) -> None:
    """Note that the value of `tensor`, if there is one, comes of something assumed."""
    if isinstance(tensor, PhantomTensor) and tensor.shadow is not None:
        tensor.shadow.memory.assumed = True


def real_result(func: Any, traits: OpTraits, args: Sequence[Any], kwargs: dict[str, Any], has_phantoms: bool) -> Any:
    """Return what `func` gives on the real values of its arguments, or None if one of them is not known.

    Writing to an argument writes to its shadow, or forgets it.
    """
    if not has_phantoms and func._schema.name.removeprefix("aten::") not in _FACTORIES:
        return None
    known = not traits.is_random and (has_phantoms or _is_small_factory(func, args, kwargs))
    if known:
        try:
            real_args = [_real(a, traits.is_arithmetic) for a in args]
            real_kwargs = {k: _real(v, traits.is_arithmetic) for k, v in kwargs.items()}
        except _UnknownError:
            known = False
    if not known:
        if traits.written:
            for name, value in (*zip(traits.arguments, args, strict=False), *kwargs.items()):
                if name in traits.written:
                    for tensor in value if isinstance(value, (list, tuple)) else (value,):
                        forget(tensor)
        return None
    if "device" in real_kwargs:
        real_kwargs["device"] = torch.device("cpu")
    try:
        return func(*real_args, **real_kwargs)
    except NotImplementedError:  # an operator only CUDA has
        return None


class _UnknownError(Exception):
    """A value is not known."""


def _real(value: Any, takes_floats: bool) -> Any:
    if isinstance(value, torch.Tensor):
        found = value_of(value)
        if found is None or (found.is_floating_point() and not takes_floats):
            raise _UnknownError
        return found
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, float)):
        return [_real(v, takes_floats) for v in value]
    return value


def _is_small_factory(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    numbers = args[0] if args and isinstance(args[0], (list, tuple)) else args
    dtype = kwargs.get("dtype")
    if dtype is None:
        whole = func._schema.name == "aten::arange" and all(isinstance(n, int) for n in numbers)
        dtype = torch.int64 if whole else torch.get_default_dtype()
    count = 1
    for number in numbers:
        if isinstance(number, (int, float)) and number > 0:
            count *= int(number) or 1
    return count <= (LARGEST_WHOLE_ELEMENTS if dtype.is_floating_point else LARGEST_INTEGER_ELEMENTS)

"""Large weights that a program makes on the CPU before it moves them to the phantom GPU: left as the memory is.

Whoever builds a model in the usual way fills its weights with random numbers first. Those of a model larger than this
machine would not fit; memory that nobody writes to takes no place, and no op of a step asks a weight for its value.
"""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten

# From here on, so that what small models compute on the CPU is what it was.
LARGE_ELEMENTS = 1_000_000

# What initialisers in torch.nn.init and those of libraries are made of.
_FILLS = frozenset(
    {
        *(aten.normal_.default, aten.uniform_.default, aten.fill_.Scalar, aten.zero_.default, aten.erfinv_.default),
        *(aten.mul_.Tensor, aten.add_.Tensor, aten.clamp_.default, aten.div_.Tensor, aten.sub_.Tensor),
    }
)


def left_alone(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    """Return the result of an operator that only gives a large weight on the CPU other values; None of any other.

    Args:
        func: The operator.
        args: Its arguments.
        kwargs: Likewise, by name.
    """
    if func not in _FILLS and func is not aten._to_copy.default:
        return None
    target = args[0]
    if not isinstance(target, torch.nn.Parameter) or target.numel() < LARGE_ELEMENTS or not target.is_cpu:
        return None
    if func in _FILLS:
        return target
    device = kwargs.get("device")
    if device is not None and device.type != "cpu":
        return None
    return torch.empty_strided(target.size(), target.stride(), dtype=kwargs.get("dtype") or target.dtype)

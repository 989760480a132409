"""What a program reads back of values the phantom GPU does not have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
import torch

from whichgpu.units import MIB

_LARGEST_ZEROED_BYTES = MIB


def placeholder_of(dtype: torch.dtype) -> float:
    """Return what is read back of a single number: one, for scripts divide by their loss and take its logarithm."""
    return 1.0 if dtype.is_floating_point else 0


def placeholder(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return what is read back of a tensor whose values are not known: a one alone, zeros in numbers."""
    if math.prod(shape) == 1 and dtype.is_floating_point:
        return torch.full(tuple(shape), placeholder_of(dtype), dtype=dtype)
    if math.prod(shape) * dtype.itemsize < _LARGEST_ZEROED_BYTES:
        return torch.zeros(shape, dtype=dtype)
    # Memory NumPy has not written to takes no place: a whole model may be copied to the host.
    raw = torch.from_numpy(numpy.zeros(math.prod(shape) * dtype.itemsize, dtype=numpy.uint8))
    return raw.view(dtype).view(shape)

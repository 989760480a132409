"""Tensors of the IR: shape, dtype, strides and the storage they live in; no values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from whichgpu.errors import GraphError

# Bytes of one element. The names are those PyTorch, JAX and NumPy share.
DTYPE_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "complex64": 8,
    "complex128": 16,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "bool": 1,
}


def dtype_bytes(dtype: str) -> int:
    """Return the bytes of one element of `dtype`.

    Raises:
        GraphError: If the dtype is not one of `DTYPE_BYTES`.
    """
    try:
        return DTYPE_BYTES[dtype]
    except KeyError:
        raise GraphError(f"Unknown dtype {dtype!r}; expected one of {', '.join(DTYPE_BYTES)}.") from None


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the row-major strides of `shape`, in elements."""
    stride: list[int] = []
    step = 1
    for size in reversed(shape):
        stride.append(step)
        step *= max(size, 1)
    return tuple(reversed(stride))


@dataclass(frozen=True, slots=True)
class Tensor:
    """A dense tensor without values.

    Attributes:
        shape: Sizes, outermost first.
        dtype: A key of `DTYPE_BYTES`.
        stride: Strides in elements, or None for row-major.
        storage: Index into `Graph.storages`, or None if unknown. Left out of equality, so that two calls on
            tensors of one kind compare equal.
    """

    shape: tuple[int, ...]
    dtype: str
    stride: tuple[int, ...] | None = None
    storage: int | None = field(default=None, compare=False)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return dtype_bytes(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of the distinct elements a kernel touches: a broadcast dimension (stride 0) counts once."""
        if self.stride is None:
            return self.numel * self.itemsize
        if not self.numel:
            return 0
        return self.itemsize * math.prod(n for n, s in zip(self.shape, self.stride, strict=True) if s)

    @property
    def is_floating_point(self) -> bool:
        """Whether the elements are real floating-point numbers."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie row-major without gaps; dimensions of size 1 do not count."""
        if self.stride is None:
            return True
        expected = contiguous_stride(self.shape)
        return all(n == 1 or s == e for n, s, e in zip(self.shape, self.stride, expected, strict=True))

    @property
    def is_channels_last(self) -> bool:
        """Whether a 4-D (n, c, h, w) or 5-D tensor lies with its channels innermost."""
        if self.stride is None or len(self.shape) not in (4, 5):
            return False
        order = (0, *range(2, len(self.shape)), 1)
        expected = dict(zip(order, contiguous_stride(tuple(self.shape[d] for d in order)), strict=True))
        return all(n == 1 or self.stride[d] == expected[d] for d, n in enumerate(self.shape))

"""Reading and writing memory: by size, by access pattern, from the cache and past it."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration.ops import channels_last, clone, transposed, unary
from whichgpu.measure.calibration.probe import KernelProbe, Scope
from whichgpu.units import GIB, KIB, MIB, binary_bytes

SIZES_BYTES = (256 * MIB, GIB, 64 * KIB, MIB, 16 * MIB, 4 * MIB, 64 * MIB, 256 * KIB, 2 * GIB)
_QUICK = 4
_SUSTAIN_S = 2.2
_SUSTAINED_BYTES = GIB
# Part of the memory the operands of one call may take.
_PART = 0.5
# Sets of operands that take turns make a call of a large tensor no colder.
_COLD_UP_TO_BYTES = 128 * MIB


def probes(scope: Scope) -> Iterator[KernelProbe]:
    """Yield copies and additions of each size first, then the other patterns of some sizes."""
    most = scope.memory_bytes * _PART
    if scope.is_cpu:
        most = min(most, GIB)
    if not (scope.is_cpu or scope.quick) and most >= 2 * _SUSTAINED_BYTES:
        op = _copy(_tensor(_SUSTAINED_BYTES, "float32"))
        yield KernelProbe("copy of 1 GiB, sustained", (op,), sustain_s=_SUSTAIN_S)
    sizes = SIZES_BYTES[:_QUICK] if scope.quick else SIZES_BYTES
    for nbytes in sizes:
        for what, op, tensors in _patterns(nbytes, "float32"):
            if tensors * nbytes <= most:
                yield from _both(f"{what}, {binary_bytes(nbytes)}", op, nbytes)
    for nbytes in (256 * MIB, 16 * MIB)[: 1 if scope.quick else None]:
        for half in scope.halves[:1]:
            for what, op, tensors in (*_patterns(nbytes, half), *_reordering(nbytes, half)):
                if tensors * nbytes <= most:
                    yield from _both(f"{what}, {binary_bytes(nbytes)}, {half}", op, nbytes)
        for what, op, tensors in _reordering(nbytes, "float32"):
            if tensors * nbytes <= most:
                yield from _both(f"{what}, {binary_bytes(nbytes)}", op, nbytes)


def _both(name: str, op: Op, nbytes: int) -> Iterator[KernelProbe]:
    yield KernelProbe(name, (op,))
    if nbytes <= _COLD_UP_TO_BYTES:
        yield KernelProbe(f"{name}, cold", (op,), cold=True)


def _patterns(nbytes: int, dtype: str) -> Iterator[tuple[str, Op, int]]:
    """Yield what walks through memory in order: its name, its op, and how many tensors of that size it needs."""
    dtype = _DTYPES.get(dtype, dtype)
    x = _tensor(nbytes, dtype)
    yield "copy", _copy(x), 2
    yield "add", Op("aten.add.Tensor", {"self": x, "other": x}, ()), 3
    yield "permuting copy", clone(transposed(_square(nbytes, dtype), dtype), "contiguous_format"), 2


def _reordering(nbytes: int, dtype: str) -> Iterator[tuple[str, Op, int]]:
    """Yield the rest: images turned over, formats converted, activations, sums."""
    dtype = _DTYPES.get(dtype, dtype)
    x = _tensor(nbytes, dtype)
    image = _image(nbytes, dtype)
    yield "to channels last", clone(Tensor(image, dtype), "channels_last"), 2
    yield "from channels last", clone(channels_last(image, dtype), "contiguous_format"), 2
    yield "cast", unary("aten._to_copy.default", x, dtype="float32" if dtype != "float32" else "float16"), 3
    yield "fill", unary("aten.fill_.Scalar", x, value=1.0), 1
    yield "add in place", Op("aten.add_.Tensor", {"self": x, "other": x}, ()), 2
    yield "gelu", unary("aten.gelu.default", x), 2
    yield "relu", unary("aten.relu.default", x), 2
    yield "sum of rows", unary("aten.sum.dim_IntList", Tensor(_square(nbytes, dtype), dtype), dim=(-1,)), 1
    yield "sum of columns", unary("aten.sum.dim_IntList", Tensor(_square(nbytes, dtype), dtype), dim=(0,)), 1


_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


def _copy(x: Tensor) -> Op:
    return Op("aten.copy_.default", {"self": x, "src": Tensor(x.shape, x.dtype)}, ())


def _tensor(nbytes: int, dtype: str) -> Tensor:
    return Tensor((nbytes // Tensor((), dtype).itemsize,), dtype)


def _square(nbytes: int, dtype: str) -> tuple[int, ...]:
    """Return a matrix of the size, as near to a square as powers of two allow."""
    count = nbytes // Tensor((), dtype).itemsize
    rows = 2 ** ((count.bit_length() - 1) // 2)
    return rows, count // rows


def _image(nbytes: int, dtype: str) -> tuple[int, int, int, int]:
    """Return images of 64 channels and 32 x 32 pixels of the size."""
    return nbytes // Tensor((), dtype).itemsize // (64 * 32 * 32), 64, 32, 32

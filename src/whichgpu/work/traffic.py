"""Kernels made of the tensors they read and write: what the rules of memory-bound ops share."""

from __future__ import annotations

from collections.abc import Iterable

from whichgpu.graph import Op, Tensor
from whichgpu.graph.tensor import contiguous_stride
from whichgpu.work.kernel import Kernel, KernelKind

# What a special function (exp, log, sine, square root, division) counts. Source: CUDA C++ Programming Guide 12, table
# "Throughput of Native Arithmetic Instructions": 16 special functions against 128 additions a clock and multiprocessor
# at compute capability 8.6 to 9.0.
SPECIAL = 8
# What a random number counts: Philox4x32-10 takes 10 rounds of 4 multiplications, 4 exclusive ors and 2 additions for
# 4 numbers. Source: Salmon et al., SC 2011.
RANDOM = 25


def bytes_of(tensors: Iterable[Tensor | None]) -> int:
    """Return the bytes of the distinct elements of `tensors`, one after the other."""
    return sum(t.nbytes for t in tensors if t is not None)


def read_tensors(op: Op, *unread: str) -> tuple[Tensor, ...]:
    """Return the input tensors of `op` without `out` and the arguments named `unread`, lists flattened."""
    return tuple(t for name in op.inputs if name != "out" and name not in unread for t in op.tensors(name))


def written_tensors(op: Op) -> tuple[Tensor, ...]:
    """Return what `op` writes: its results, or the argument it changes if it returns nothing."""
    return tuple(op.output_tensors()) or op.tensors("self")


def dtype_of(op: Op) -> str:
    """Return the number format of what `op` works on: of its first result, or of its first input."""
    return next((t.dtype for t in (*op.output_tensors(), *op.input_tensors())), "float32")


def over(
    op: Op,
    kind: KernelKind,
    flops: float,
    *,
    read: Iterable[Tensor | None] | None = None,
    written: Iterable[Tensor | None] | None = None,
    launches: int = 1,
) -> Kernel:
    """Return a kernel of `op` that reads and writes tensors once each.

    Args:
        op: The call.
        kind: Class of the kernel.
        flops: FLOPs of the kernel.
        read: What it reads; all inputs by default.
        written: What it writes; all results by default.
        launches: Launches it stands for.
    """
    inputs = tuple(read_tensors(op) if read is None else read)
    return Kernel(
        kind,
        dtype_of(op),
        flops=float(flops),
        bytes_read=float(bytes_of(inputs)),
        bytes_written=float(bytes_of(written_tensors(op) if written is None else written)),
        channels_last=any(t is not None and is_channels_last(t) for t in inputs),
        launches=launches,
    )


def fill(tensor: Tensor) -> Kernel:
    """Return the kernel that writes one value to all of `tensor`."""
    return Kernel("elementwise", tensor.dtype, flops=0.0, bytes_read=0.0, bytes_written=float(tensor.nbytes))


def copy(source: Tensor, target: Tensor) -> Kernel:
    """Return the kernel that copies `source` to `target`, broadcast and converted as needed.

    It is of kind "elementwise" where both lie in the same order, and "copy" where dimensions change places.
    """
    return Kernel(
        "elementwise" if lies_like(source, target) else "copy",
        target.dtype,
        flops=0.0,
        bytes_read=float(source.nbytes),
        bytes_written=float(target.nbytes),
    )


def is_channels_last(tensor: Tensor) -> bool:
    """Return whether `tensor` is an image whose channels lie innermost and nowhere else."""
    return tensor.stride is not None and tensor.is_channels_last and not tensor.is_contiguous


def is_dense(tensor: Tensor) -> bool:
    """Return whether the elements of `tensor` fill a piece of memory without gaps or overlaps, in any order."""
    if tensor.stride is None:
        return True
    expected = 1
    for stride, size in sorted((s, n) for s, n in zip(tensor.stride, tensor.shape, strict=True) if n != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def lies_like(first: Tensor, second: Tensor) -> bool:
    """Return whether a walk through the memory of `second` passes the elements of `first` in order, too.

    `first` may be broadcast to `second`. Dimensions along which its address does not change do not count. A matrix and
    its transpose do not lie alike.
    """
    if first.stride is None and second.stride is None:
        return True
    ours, theirs = _strides_from_last(first), _strides_from_last(second)
    dims = [d for d, stride in ours.items() if stride and d in theirs]
    return sorted(dims, key=lambda d: (ours[d], d)) == sorted(dims, key=lambda d: (theirs[d], d))


def _strides_from_last(tensor: Tensor) -> dict[int, int]:
    """Return the stride of each dimension of more than one element, counted from the last dimension."""
    strides = contiguous_stride(tensor.shape) if tensor.stride is None else tensor.stride
    pairs = zip(reversed(tensor.shape), reversed(strides), strict=True)
    return {dim: stride for dim, (size, stride) in enumerate(pairs) if size > 1}

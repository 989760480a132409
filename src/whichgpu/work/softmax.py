"""Softmax and log-softmax over rows, forward and backward."""

from __future__ import annotations

import math

from whichgpu.graph import Op, Tensor
from whichgpu.units import KIB
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, dtype_of, over

# Rows up to this size are read from memory once: 1,024 elements stay in registers, and longer rows are found in the
# first cache when they are read again (NeuSight's times of P4, V100 and A100; a P100 does not cache so). Still longer
# ones stay in shared memory if they fit and are a multiple of the 16 bytes of a vector load.
# Source: ATen/native/cuda/SoftMax.cu; CUDA C++ Programming Guide (shared memory without opting in).
_CACHED_BYTES = 16 * KIB
_SHARED_BYTES = 48 * KIB
_VECTOR_BYTES = 16


@counts("aten._softmax", "aten._log_softmax", "aten._masked_softmax")
def softmax(op: Op) -> Work:
    """(..., n, ...) -> the same shape, along `dim`.

    Counts: largest, difference, exponential, sum and quotient, 4 + 8 FLOPs an element. The input is read once where a
        row stays on the chip, and three times otherwise (largest, sum, result).
    Leaves out: that parts of a longer row may still lie in a cache when they are read again.
    Source: ATen/native/cuda/SoftMax.cu (host_softmax).
    """
    source = op.tensor("self")
    passes = 1 if _stays_on_chip(op, source) else 3
    mask = op.tensors("mask")
    return Work((_rows(op, (4 + SPECIAL) * source.numel, (source,) * passes + mask),))


@counts("aten._safe_softmax")
def safe_softmax(op: Op) -> Work:
    """(..., n, ...) -> the same shape: softmax, with rows that are masked wholly set to zero.

    Counts: `softmax`, then which elements are -inf, whether a whole row is, and the choice: four kernels.
    Source: ATen/native/transformers/attention.cpp, _safe_softmax.
    """
    out = op.output()
    is_masked = Tensor(out.shape, "bool")
    rows = Tensor((out.numel // max(out.shape[_dim(op, out)], 1) if out.shape else 1,), "bool")
    return Work(
        (
            *softmax(op).kernels,
            over(op, "elementwise", out.numel, written=(is_masked,)),
            over(op, "reduction", out.numel, read=(is_masked,), written=(rows,)),
            over(op, "elementwise", 0, read=(out, rows), written=(out,)),
        )
    )


@counts("aten._softmax_backward_data")
def softmax_backward(op: Op) -> Work:
    """Gradient of `softmax` from that of its result (..., n, ...) and the result itself.

    Counts: a kernel that multiplies both, then 4 FLOPs an element: sum, product, difference; the product and the
        result are read once where a row stays cached, the product twice otherwise.
    Source: ATen/native/cuda/SoftMax.cu (softmax_backward_cuda_out, host_softmax_backward).
    """
    grad, result = op.tensor("grad_output"), op.tensor("output")
    again = () if _stays_cached(op, grad) else (grad,)
    return Work(
        (
            over(op, "elementwise", grad.numel, written=(grad,)),
            _rows(op, 3 * grad.numel, (grad, result, *again)),
        )
    )


@counts("aten._log_softmax_backward_data")
def log_softmax_backward(op: Op) -> Work:
    """Gradient of log-softmax from that of its result (..., n, ...) and the result itself.

    Counts: sum, exponential, product and difference, 3 + 8 FLOPs an element; the gradient is read twice where a row
        does not stay cached.
    Source: ATen/native/cuda/SoftMax.cu (host_softmax_backward).
    """
    grad, result = op.tensor("grad_output"), op.tensor("output")
    again = () if _stays_cached(op, grad) else (grad,)
    return Work((_rows(op, (3 + SPECIAL) * grad.numel, (grad, result, *again)),))


@counts("aten._masked_softmax_backward")
def masked_softmax_backward(op: Op) -> Work:
    """Gradient of a masked softmax, from that of its result, the result and the mask.

    Counts: 4 FLOPs an element, everything once.
    Source: ATen/native/cuda/SoftMax.cu (masked_softmax_backward_cuda).
    """
    return Work((over(op, "softmax", 4 * op.output().numel),))


def _rows(op: Op, flops: float, read: tuple[Tensor, ...]) -> Kernel:
    return Kernel(
        "softmax",
        dtype_of(op),
        flops=float(flops),
        bytes_read=float(sum(t.nbytes for t in read)),
        bytes_written=float(op.output().nbytes),
    )


def _dim(op: Op, tensor: Tensor) -> int:
    dim = op.attributes.get("dim")
    return dim % len(tensor.shape) if isinstance(dim, int) else len(tensor.shape) - 1


def _stays_cached(op: Op, tensor: Tensor) -> bool:
    return not tensor.shape or (_is_innermost(op, tensor) and _row_bytes(op, tensor) <= _CACHED_BYTES)


def _stays_on_chip(op: Op, tensor: Tensor) -> bool:
    if _stays_cached(op, tensor):
        return True
    row_bytes = _row_bytes(op, tensor)
    return _is_innermost(op, tensor) and row_bytes < _SHARED_BYTES and row_bytes % _VECTOR_BYTES == 0


def _is_innermost(op: Op, tensor: Tensor) -> bool:
    return math.prod(tensor.shape[_dim(op, tensor) + 1 :]) == 1


def _row_bytes(op: Op, tensor: Tensor) -> int:
    return tensor.shape[_dim(op, tensor)] * tensor.itemsize

"""Pooling and resampling: windows over images."""

from __future__ import annotations

import math

from whichgpu.graph import Op
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_written, streaming


def _window(op: Op) -> int:
    size = op.attributes.get("kernel_size", 1)
    if isinstance(size, tuple):
        return math.prod(n for n in size if isinstance(n, int))
    return size if isinstance(size, int) else 1


@counts("aten.max_pool2d_with_indices", "aten.max_pool3d_with_indices", "aten.avg_pool2d", "aten.avg_pool3d",
        "aten.avg_pool1d", "aten.max_pool1d", "aten.max_pool2d")  # fmt: skip
def pool(op: Op) -> Work:
    """(n, c, *size) -> (n, c, *positions), and the indices of maxima.

    Counts: one FLOP a window element; the input read once (windows that overlap hit caches), results written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/DilatedMaxPool2d.cu, AveragePool2d.cu.
    """
    return streaming(op, "pooling", float(op.output().numel * _window(op)))


@counts("aten.max_pool2d_with_indices_backward", "aten.max_pool3d_with_indices_backward")
def max_pool_backward(op: Op) -> Work:
    """Gradient of the input (n, c, *size) from that of the maxima (n, c, *positions).

    Counts: one FLOP a position; gradient and indices read, the whole input gradient written once.
    Leaves out: nothing of note (the input is an argument and is not read).
    Source: ATen/native/cuda/DilatedMaxPool2d.cu (max_pool_backward_nchw).
    """
    grad, indices = op.tensor("grad_output"), op.tensor("indices")
    return streaming(op, "pooling", float(grad.numel), read=grad.nbytes + indices.nbytes)


@counts("aten.avg_pool2d_backward", "aten.avg_pool3d_backward", "aten._adaptive_avg_pool2d_backward",
        "aten._adaptive_avg_pool3d_backward", "aten.adaptive_max_pool2d_backward")  # fmt: skip
def average_pool_backward(op: Op) -> Work:
    """Gradient of the input (n, c, *size) from that of the means (n, c, *positions).

    Counts: one FLOP a window element; the gradient read, the input gradient written once.
    Leaves out: nothing of note (the input is an argument and is not read).
    Source: ATen/native/cuda/AveragePool2d.cu (avg_pool2d_backward_out_cuda_frame).
    """
    grad = op.tensor("grad_output")
    return streaming(op, "pooling", float(grad.numel * _window(op)), read=float(grad.nbytes))


@counts("aten._adaptive_avg_pool2d", "aten._adaptive_avg_pool3d", "aten.adaptive_max_pool2d")
def adaptive_pool(op: Op) -> Work:
    """(n, c, *size) -> (n, c, *positions), windows chosen to cover the input.

    Counts: one FLOP an input element; read and written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/AdaptiveAveragePooling.cu.
    """
    return streaming(op, "pooling", float(op.tensor("self").numel))


_TAPS = {"nearest": 1, "linear": 2, "bilinear": 4, "trilinear": 8, "bicubic": 16}
_RESAMPLING = {
    f"aten.{prefix}upsample_{mode}{dimensions}d{suffix}": _TAPS[mode]
    for mode, sizes in (
        ("nearest", (1, 2, 3)),
        ("linear", (1,)),
        ("bilinear", (2,)),
        ("trilinear", (3,)),
        ("bicubic", (2,)),
    )
    for dimensions in sizes
    for prefix in ("", "_" if mode in ("bilinear", "bicubic") else "")
    for suffix in ("", "_backward", *(("_aa", "_aa_backward") if prefix else ()))
}


@counts(*(n for n in _RESAMPLING if not n.startswith("aten._upsample") or "_aa" in n))
def resample(op: Op) -> Work:
    """(n, c, *size) -> (n, c, *other size), or its gradient.

    Counts: two FLOPs for each of the 1, 2, 4, 8 or 16 neighbours of an element of the larger image; read and written once.
    Leaves out: atomic additions of the interpolating gradients.
    Source: ATen/native/cuda/UpSample*.cu.
    """
    grown = max(op.output().numel, next(iter(op.input_tensors())).numel)
    return streaming(op, "pooling", 2.0 * _RESAMPLING[op.base_name] * grown, written=bytes_written(op))

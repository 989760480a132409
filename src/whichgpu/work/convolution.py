"""Convolutions of any rank, forward and backward: dense, grouped, depthwise, transposed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.graph.tensor import contiguous_stride
from whichgpu.work.kernel import WIDE_LOAD_BYTES, Direction, Gemm, Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_of, copy, is_channels_last, is_dense, lies_like, over


@counts("aten.convolution", "aten._convolution")
def convolution(op: Op) -> Work:
    """(n, c, *in) * (f, c/g, *window) -> (n, f, *out); transposed: (n, c, *in) * (c, f/g, *window) -> (n, f, *out).

    Counts: 2 n |out| f (c/g) |window| FLOPs (transposed: 2 n |in| c (f/g) |window|), padding counted like pixels;
        input, weight and output once. A bias is added by a kernel of its own. An operand that lies in another memory
        format than the convolution runs in is copied first.
    Leaves out: what Winograd or FFT save; the reordering cuDNN does for tensor cores where channels lie outermost,
        which depends on the device.
    Source: ATen/native/Convolution.cpp and cudnn/ConvShared.cpp.
    """
    data, weight, out = op.tensor("input"), op.tensor("weight"), op.output()
    last = _runs_channels_last(data, weight)
    kernels = [*_reordered(last, data, weight), _kernel(op, "forward", out, last, (data, weight), out)]
    if "bias" in op.inputs:
        kernels.append(over(op, "elementwise", out.numel, read=(out, op.tensor("bias")), written=(out,)))
    return Work(tuple(kernels))


@counts("aten.convolution_backward")
def convolution_backward(op: Op) -> Work:
    """Gradients of a convolution by its input, weight and bias: those that `output_mask` asks for.

    Counts: the FLOPs of `convolution` for the input's gradient (dgrad) and again for the weight's (wgrad), each a
        kernel that reads the output's gradient and the other operand; one addition an element for the bias.
    Leaves out: as `convolution`.
    Source: ATen/native/Convolution.cpp, cudnn/ConvShared.cpp.
    """
    grad, data, weight = op.tensor("grad_output"), op.tensor("input"), op.tensor("weight")
    by_data, by_weight, by_bias = cast("tuple[bool, bool, bool]", op.attributes["output_mask"])
    last = _runs_channels_last(data, weight)
    kernels = [*_reordered(last, grad)]
    if by_data:
        kernels += _reordered(last, weight)
        kernels.append(_kernel(op, "dgrad", grad, last, (grad, weight), op.output(0)))
    if by_weight:
        kernels += _reordered(last, data)
        kernels.append(_kernel(op, "wgrad", grad, last, (grad, data), op.output(1)))
    if by_bias:
        kernels.append(over(op, "reduction", grad.numel, read=(grad,), written=(op.output(2),)))
    return Work(tuple(kernels))


def _kernel(op: Op, direction: Direction, out: Tensor, last: bool, read: tuple[Tensor, ...], result: Tensor) -> Kernel:
    """Return the kernel of one direction.

    As a product, with the transposed convolution being the dgrad of a plain one: outputs x filters x depth forward,
    outputs x channels x depth for dgrad (of stride s: s^d interleaved products that together are as deep), and
    filters x depth x outputs for wgrad.
    """
    data, weight = op.tensor("input"), op.tensor("weight")
    groups = cast("int", op.attributes.get("groups", 1))
    transposed = bool(op.attributes.get("transposed", False))
    window = math.prod(weight.shape[2:])
    # Seen from the plain convolution: its filters and, in each group, its channels; its output's pixels.
    filters, channels = weight.shape[0] // groups, weight.shape[1]
    pixels = out.shape[0] * math.prod((data if transposed else out).shape[2:])
    if direction == "wgrad":
        gemm = Gemm(groups, filters, channels * window, pixels)
    elif (direction == "dgrad") == transposed:
        gemm = Gemm(groups, pixels, filters, channels * window)
    else:
        gemm = Gemm(groups, pixels, channels, filters * window)
    is_depthwise = groups > 1 and channels == 1
    return Kernel(
        "depthwise_convolution" if is_depthwise else "convolution",
        weight.dtype,
        flops=2.0 * gemm.batch * gemm.m * gemm.n * gemm.k,
        bytes_read=float(bytes_of(read)),
        bytes_written=float(result.nbytes),
        gemm=None if is_depthwise else gemm,
        direction=direction,
        variant="planar" if groups == 1 and not last and _is_planar(op, data, out) else "",
        channels_last=last,
        window=window,
    )


def _is_planar(op: Op, data: Tensor, out: Tensor) -> bool:
    """Return whether a convolution is a product of its weight and the planes of its channels as they lie.

    A window of one takes a pixel to a pixel. Matrix units want planes that begin at multiples of 16 bytes; then an H200
    takes a third of what it takes where operands are reordered (benchmarks/results/).
    """
    taps = math.prod(op.tensor("weight").shape[2:])
    plane = math.prod(data.shape[2:]) * data.itemsize
    return taps == 1 and math.prod(data.shape[2:]) == math.prod(out.shape[2:]) and not plane % WIDE_LOAD_BYTES


def _runs_channels_last(*operands: Tensor) -> bool:
    """Return whether cuDNN runs channels-last: one operand lying so is enough (cudnn_conv_suggest_memory_format)."""
    return any(is_channels_last(t) for t in operands)


def _reordered(last: bool, *operands: Tensor) -> Iterator[Kernel]:
    """Yield the copies of those operands that do not lie as the convolution runs."""
    for operand in operands:
        packed = Tensor(operand.shape, operand.dtype, _channels_last_stride(operand.shape) if last else None)
        if not (lies_like(operand, packed) and is_dense(operand)):
            yield copy(operand, packed)


def _channels_last_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of (n, c, *sizes) lying as (n, *sizes, c)."""
    outer, *sizes, inner = contiguous_stride((shape[0], *shape[2:], shape[1]))
    return (outer, inner, *sizes)

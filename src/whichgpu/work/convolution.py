"""Convolutions: forward, and backward as its two products."""

from __future__ import annotations

import math
from typing import Literal

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Gemm, Kernel, Work
from whichgpu.work.registry import counts

Direction = Literal["forward", "dgrad", "wgrad"]

# With fewer input channels a group than this, the inner product is too short for tensor cores.
_DEPTHWISE_CHANNELS = 4


def _transposed(op: Op) -> bool:
    return bool(op.attributes.get("transposed", False))


def _groups(op: Op) -> int:
    groups = op.attributes.get("groups", 1)
    assert isinstance(groups, int)
    return groups


def _kernel(
    op: Op, direction: Direction, small: Tensor, big: Tensor, weight: Tensor, moved: tuple[float, float]
) -> Kernel:
    """Return one product of a convolution.

    `small` has the positions a plain convolution writes, `big` those it reads; a transposed one swaps them. The weight
    is (channels of small, channels of big / groups, *window) for both.
    """
    groups = _groups(op)
    positions = small.shape[0] * math.prod(small.shape[2:])
    channels = small.shape[1] // groups
    window = math.prod(weight.shape[2:])
    inner = weight.shape[1] * window
    if direction == "forward":
        gemm = Gemm(groups, positions, channels, inner)
    elif direction == "dgrad":
        reached = big.shape[0] * math.prod(big.shape[2:])
        gemm = Gemm(groups, reached, weight.shape[1], max(1, positions * channels * window // max(reached, 1)))
    else:
        gemm = Gemm(groups, channels, inner, positions)
    depthwise = groups > 1 and min(channels, weight.shape[1]) <= _DEPTHWISE_CHANNELS
    return Kernel(
        "depthwise_convolution" if depthwise else "convolution",
        weight.dtype,
        2.0 * groups * positions * channels * inner,
        moved[0],
        moved[1],
        gemm,
        direction,
        small.is_channels_last or big.is_channels_last,
    )


@counts("aten.convolution", "aten.cudnn_convolution", "aten._convolution")
def convolution(op: Op) -> Work:
    """(n, c, *size) * (o, c/groups, *window) -> (n, o, *positions).

    Counts: 2 * n * positions * o * c/groups * window FLOPs, as implicit GEMM of (n * positions, c/groups * window) @
    (c/groups * window, o/groups) a group; input and weight read and the output written once; a bias is a second
    kernel that runs over the output.
    Leaves out: products with padding, which are counted as work; reordering layouts (cost knows the layouts).
    Source: torch.utils.flop_counter, conv_flop.
    """
    image, weight, out = op.tensor("input"), op.tensor("weight"), op.output()
    moved = (float(image.nbytes + weight.nbytes), float(out.nbytes))
    if _transposed(op):
        product = _kernel(op, "dgrad", image, out, weight, moved)
    else:
        product = _kernel(op, "forward", out, image, weight, moved)
    if "bias" not in op.inputs:
        return Work((product,))
    bias = op.tensor("bias")
    added = Kernel("elementwise", out.dtype, float(out.numel), float(out.nbytes + bias.nbytes), float(out.nbytes))
    return Work((product, added))


@counts("aten.convolution_backward")
def convolution_backward(op: Op) -> Work:
    """Gradients of the input (n, c, *size), the weight (o, c/groups, *window) and the bias (o,).

    Counts: for each of input and weight that is asked for, as many FLOPs as forward; both operands read and the
    gradient written once; the bias gradient as a reduction over the output's gradient.
    Leaves out: reordering layouts; the workspace of split reductions.
    Source: torch.utils.flop_counter, conv_backward_flop.
    """
    grad, image, weight = op.tensor("grad_output"), op.tensor("input"), op.tensor("weight")
    small, big = (image, grad) if _transposed(op) else (grad, image)
    kernels = []
    grad_input, grad_weight, grad_bias = (*op.outputs, None, None, None)[:3]
    if grad_input is not None:
        moved = (float(grad.nbytes + weight.nbytes), float(grad_input.nbytes))
        kernels.append(_kernel(op, "forward" if _transposed(op) else "dgrad", small, big, weight, moved))
    if grad_weight is not None:
        moved = (float(grad.nbytes + image.nbytes), float(grad_weight.nbytes))
        kernels.append(_kernel(op, "wgrad", small, big, weight, moved))
    if grad_bias is not None:
        kernels.append(Kernel("reduction", grad.dtype, float(grad.numel), float(grad.nbytes), float(grad_bias.nbytes)))
    return Work(tuple(kernels))

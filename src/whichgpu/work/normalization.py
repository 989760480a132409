"""Normalization over a batch, rows, groups or by their root mean square, forward and backward.

Bytes are those of all passes a kernel or a chain of kernels makes over the data: statistics first, then the result.
Rows of layer and RMS norm stay in a cache between their two passes, channels of a batch do not.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, bytes_of, is_channels_last, over

# FLOPs an element: mean and variance in one pass (Welford: 2 differences, product and 2 sums); difference, scale,
# weight and bias; for gradients two sums of products, and two products and differences for the result.
_STATISTICS = 5
_APPLY = 4
_SUMS = 4
_GRADIENT = 6
# What beginning and ending a row takes, in elements. Source: layer norms of 384 to 4,096 columns on an H200
# (benchmarks/results/): as long for 65,536 rows of 384 as for 16,384 of 4,096 that bandwidth does not bound.
_ROW = 512


# Those of torch's own kernels.
_BATCH_NORMS = (
    "aten.native_batch_norm",
    "aten._native_batch_norm_legit",
    "aten._batch_norm_with_update",
    "aten._native_batch_norm_legit_no_training",
    "aten._batch_norm_no_update",
    "aten.native_batch_norm_backward",
    "aten.batch_norm_backward",
)


@counts("aten.native_batch_norm", "aten._native_batch_norm_legit", "aten._batch_norm_with_update")
def native_batch_norm(op: Op) -> Work:
    """(n, c, *) -> (n, c, *) by torch's own kernels, with means and deviations (c,).

    Counts: in training statistics (one pass), a kernel over channels that updates the running ones, the result (another
        pass): reads twice, writes once, 9 FLOPs an element. In evaluation one pass.
    Source: ATen/native/cuda/Normalization.cu.
    """
    data, out = op.tensor("input"), op.output()
    per_channel = _per_channel(op)
    if not op.attributes.get("training", op.base_name == "aten._batch_norm_with_update"):
        return Work((_small(per_channel), _pass(op, _APPLY, (data, *per_channel), (out,))))
    return Work(
        (
            _pass(op, _STATISTICS, (data,), per_channel[:2], by_channel=True),
            _small(per_channel),
            _pass(op, _APPLY, (data, *per_channel), (out,)),
        )
    )


@counts("aten._native_batch_norm_legit_no_training", "aten._batch_norm_no_update")
def native_batch_norm_evaluation(op: Op) -> Work:
    """(n, c, *) -> (n, c, *) with running statistics: one pass, 4 FLOPs an element.

    Source: ATen/native/cuda/Normalization.cu.
    """
    per_channel = _per_channel(op)
    return Work((_small(per_channel), _pass(op, _APPLY, (op.tensor("input"), *per_channel), (op.output(),))))


@counts("aten.cudnn_batch_norm")
def cudnn_batch_norm(op: Op) -> Work:
    """(n, c, *) -> (n, c, *) by one kernel of cuDNN.

    Counts: two reads and one write in training, 9 FLOPs an element; one read in evaluation. Where channels lie
        outermost, one is the work of one multiprocessor.
    Leaves out: that cuDNN keeps a channel on the chip between its passes where it fits.
    Source: cuDNN developer guide, cudnnBatchNormalizationForwardTraining; ATen/native/cudnn/BatchNorm.cpp.
    """
    data, per_channel = op.tensor("input"), _per_channel(op)
    if not op.attributes.get("training", False):
        return Work((replace(_pass(op, _APPLY, (data, *per_channel), (op.output(),)), variant="evaluation"),))
    written = (op.output(), *per_channel)
    return Work((_pass(op, _STATISTICS + _APPLY, (data, data, *per_channel), written, by_channel=True),))


@counts("aten.native_batch_norm_backward", "aten.cudnn_batch_norm_backward", "aten.batch_norm_backward")
def batch_norm_backward(op: Op) -> Work:
    """Gradients of (n, c, *) -> (n, c, *) by input, weight and bias.

    Counts: in training two passes over data and gradient, sums first, then the input's gradient, 10 FLOPs an element:
        reads four times, writes once. One kernel where channels lie outermost and in cuDNN, two where innermost.
    Leaves out: as `cudnn_batch_norm`.
    Source: ATen/native/cuda/Normalization.cu, Normalization.cuh; cuDNN as in `cudnn_batch_norm`.
    """
    data, grad = op.tensor("input"), op.tensor("grad_output" if "grad_output" in op.inputs else "grad_out")
    per_channel = _per_channel(op)
    result = tuple(op.output_tensors())
    if not op.attributes.get("train", op.attributes.get("update", True)):
        return Work((_pass(op, _SUMS + _APPLY, (data, grad, *per_channel), result),))
    both = (data, grad)
    if op.base_name == "aten.cudnn_batch_norm_backward" or not is_channels_last(data):
        return Work((_pass(op, _SUMS + _GRADIENT, (*both, *both, *per_channel), result, by_channel=True),))
    return Work(
        (
            _pass(op, _SUMS, (*both, *per_channel), result[1:]),
            _pass(op, _GRADIENT, (*both, *per_channel), result[:1]),
        )
    )


@counts("aten.native_layer_norm", "aten._fused_rms_norm")
def layer_norm(op: Op) -> Work:
    """(m, n) -> (m, n) with a mean and deviation a row, or a root mean square.

    Counts: one kernel, 9 FLOPs an element; reads and writes once: a row stays in a cache. Rows are begun one by one.
    Source: ATen/native/cuda/layer_norm_kernel.cu (vectorized_layer_norm_kernel).
    """
    data = op.tensor("input")
    whole = _pass(op, _STATISTICS + _APPLY, (data, *_parameters(op)), tuple(op.output_tensors()))
    return Work((_by_rows(op, whole),))


@counts("aten.native_layer_norm_backward", "aten._fused_rms_norm_backward")
def layer_norm_backward(op: Op) -> Work:
    """Gradients of (m, n) -> (m, n) by input, weight and bias: those that `output_mask` asks for.

    Counts: a kernel for the input, 10 FLOPs an element, and another for weight and bias together, 4 an element; each
        reads data and gradient once.
    Leaves out: the small sums that follow where rows are many and short.
    Source: ATen/native/cuda/layer_norm_kernel.cu (LayerNormBackwardKernelImplInternal).
    """
    data, grad = op.tensor("input"), op.tensor("grad_out")
    rows = (*op.tensors("mean"), *op.tensors("rstd"))
    kernels = []
    if op.outputs[0] is not None:
        read = (data, grad, *rows, *op.tensors("weight"))
        kernels.append(_by_rows(op, _pass(op, _SUMS + _GRADIENT, read, (op.output(),))))
    parameters = tuple(t for t in op.outputs[1:] if t is not None)
    if parameters:
        kernels.append(_pass(op, _SUMS, (data, grad, *rows), parameters))
    return Work(tuple(kernels))


@counts("aten.native_group_norm")
def group_norm(op: Op) -> Work:
    """(n, c, *) -> (n, c, *) with a mean and deviation for each of g groups of channels.

    Counts: statistics (one pass), a small kernel that merges them with weight and bias into (n, c) factors and terms,
        and the result (another pass), 5 + 2 FLOPs an element.
    Source: ATen/native/cuda/group_norm_kernel.cu.
    """
    data, out = op.tensor("input"), op.output()
    statistics = tuple(t for t in op.outputs[1:] if t is not None)
    merged = _merged(op)
    small = over(op, "elementwise", 4 * merged.numel, read=(*statistics, *_parameters(op)), written=(merged, merged))
    return Work(
        (
            _pass(op, _STATISTICS, (data,), statistics),
            small,
            _pass(op, 2, (data, merged, merged), (out,)),
        )
    )


@counts("aten.native_group_norm_backward")
def group_norm_backward(op: Op) -> Work:
    """Gradients of (n, c, *) -> (n, c, *) by input, weight and bias: those that `output_mask` asks for.

    Counts: sums over every channel (one pass over data and gradient), two small kernels that merge them, the input's
        gradient (another pass), and a small one for weight and bias; 4 + 4 FLOPs an element.
    Source: ATen/native/cuda/group_norm_kernel.cu.
    """
    data, grad = op.tensor("input"), op.tensor("grad_out")
    merged = _merged(op)
    kernels = [_pass(op, _SUMS, (data, grad), (merged, merged))]
    if op.outputs[0] is not None:
        small = over(op, "elementwise", 4 * merged.numel, read=(merged, merged), written=(merged,))
        kernels += [small, small, _pass(op, _APPLY, (data, grad, merged, merged, merged), (op.output(),))]
    parameters = tuple(t for t in op.outputs[1:] if t is not None)
    if parameters:
        kernels.append(over(op, "reduction", 4 * merged.numel, read=(merged, merged), written=parameters))
    return Work(tuple(kernels))


def _pass(
    op: Op, flops: int, read: tuple[Tensor, ...], written: tuple[Tensor, ...], by_channel: bool = False
) -> Kernel:
    """Return a pass over the data; `flops` are by element.

    Args:
        op: The call.
        flops: FLOPs an element.
        read: What it reads.
        written: What it writes.
        by_channel: Whether a channel is the work of one multiprocessor, where channels lie outermost.
    """
    data = op.tensor("input")
    last = is_channels_last(data)
    return Kernel(
        "normalization",
        data.dtype,
        flops=float(flops * data.numel),
        bytes_read=float(bytes_of(read)),
        bytes_written=float(bytes_of(written)),
        channels_last=last,
        variant="native" if op.base_name in _BATCH_NORMS else "",
        blocks=data.shape[1] if by_channel and not last and len(data.shape) > 2 else None,
    )


def _by_rows(op: Op, kernel: Kernel) -> Kernel:
    """Return a kernel that begins and ends each row anew, which takes as long as some hundred elements."""
    width = math.prod(cast("tuple[int, ...]", op.attributes["normalized_shape"]))
    return replace(kernel, items=kernel.elements * (1 + _ROW / max(1, width)))


def _small(per_channel: tuple[Tensor, ...]) -> Kernel:
    """Return the kernel that updates running statistics or inverts deviations."""
    nbytes = float(bytes_of(per_channel))
    channels = per_channel[0].numel if per_channel else 0
    dtype = per_channel[0].dtype if per_channel else "float32"
    return Kernel("elementwise", dtype, float((5 + SPECIAL) * channels), nbytes, nbytes)


def _parameters(op: Op) -> tuple[Tensor, ...]:
    return (*op.tensors("weight"), *op.tensors("bias"))


def _per_channel(op: Op) -> tuple[Tensor, ...]:
    """Return all inputs of one element a channel."""
    data = op.tensor("input")
    channels = (data.shape[1],) if len(data.shape) > 1 else data.shape
    return tuple(t for t in op.input_tensors() if t.shape == channels and t is not data)


def _merged(op: Op) -> Tensor:
    """Return what is kept for each sample and channel of a group norm, (n, c)."""
    n, channels = cast("int", op.attributes["N"]), cast("int", op.attributes["C"])
    return Tensor((n, channels), "float32")

"""Batch, layer, group and RMS norm, with the number of times their kernels run through the data."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_read, bytes_written, streaming

# Forward: mean, variance, centre, scale, shift. Backward: two sums and the combination.
_FORWARD_FLOPS = 8.0
_BACKWARD_FLOPS = 12.0


def _is_training(op: Op) -> bool:
    return bool(op.attributes.get("training", op.attributes.get("train", True)))


@counts("aten.cudnn_batch_norm", "aten.native_batch_norm", "aten._native_batch_norm_legit", "aten.miopen_batch_norm")
def batch_norm(op: Op) -> Work:
    """(n, c, *size) -> (n, c, *size), statistics over all but c.

    Counts: about 8 FLOPs an element; in training the input is read twice (statistics, then scaling) and written once, in
    two launches.
    Leaves out: the few kernels over c numbers.
    Source: ATen/native/cuda/Normalization.cuh (batch_norm_stats, batch_norm_elemt).
    """
    image = op.tensor("input")
    passes = 2 if _is_training(op) else 1
    read = bytes_read(op) + (passes - 1) * image.nbytes
    return streaming(op, "normalization", _FORWARD_FLOPS * image.numel, read=read, launches=passes)


@counts("aten.cudnn_batch_norm_backward", "aten.native_batch_norm_backward", "aten.miopen_batch_norm_backward")
def batch_norm_backward(op: Op) -> Work:
    """Gradients of the input (n, c, *size), scale and shift (c,).

    Counts: about 12 FLOPs an element; input and output gradient read twice (sums, then the gradient), the gradient
    written once; two launches.
    Leaves out: the few kernels over c numbers.
    Source: ATen/native/cuda/Normalization.cuh (batch_norm_backward_reduce, batch_norm_backward_elemt).
    """
    image = op.tensor("input")
    grad = op.tensor("grad_output" if "grad_output" in op.inputs else "grad_out")
    read = bytes_read(op) + image.nbytes + grad.nbytes
    return streaming(op, "normalization", _BACKWARD_FLOPS * image.numel, read=read, launches=2)


@counts("aten.native_layer_norm", "aten._fused_rms_norm")
def layer_norm(op: Op) -> Work:
    """(*rows, d) -> (*rows, d), statistics over d.

    Counts: about 8 FLOPs an element; each row read once and kept, written once; one launch.
    Leaves out: a second reading of rows too long for registers.
    Source: ATen/native/cuda/layer_norm_kernel.cu (vectorized_layer_norm_kernel).
    """
    return streaming(op, "normalization", _FORWARD_FLOPS * op.tensor("input").numel)


@counts("aten.native_layer_norm_backward", "aten._fused_rms_norm_backward")
def layer_norm_backward(op: Op) -> Work:
    """Gradients of the input (*rows, d), scale and shift (d,).

    Counts: about 12 FLOPs an element; input and output gradient read twice (once by rows, once by columns for scale and
    shift), the gradient written once; two launches.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/layer_norm_kernel.cu (layer_norm_grad_input_kernel, GammaBetaBackwardCUDAKernel).
    """
    image, grad = op.tensor("input"), op.tensor("grad_out")
    by_columns = any(t is not None for t in op.outputs[1:])
    read = bytes_read(op) + (image.nbytes + grad.nbytes if by_columns else 0)
    return streaming(op, "normalization", _BACKWARD_FLOPS * image.numel, read=read, launches=2 if by_columns else 1)


@counts("aten.native_group_norm")
def group_norm(op: Op) -> Work:
    """(n, c, *size) -> (n, c, *size), statistics over each group of channels.

    Counts: about 8 FLOPs an element; the input read twice (moments, then scaling), written once; three launches.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/group_norm_kernel.cu (RowwiseMomentsCUDAKernel, ComputeFusedParams, elementwise).
    """
    image = op.tensor("input")
    read = bytes_read(op) + image.nbytes
    return streaming(op, "normalization", _FORWARD_FLOPS * image.numel, read=read, launches=3)


@counts("aten.native_group_norm_backward")
def group_norm_backward(op: Op) -> Work:
    """Gradients of the input (n, c, *size), scale and shift (c,).

    Counts: about 12 FLOPs an element; input and output gradient read twice, the gradient written once; five launches.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/group_norm_kernel.cu (ComputeInternalGradients and those after it).
    """
    image, grad = op.tensor("input"), op.tensor("grad_out")
    read = bytes_read(op) + image.nbytes + grad.nbytes
    return streaming(
        op, "normalization", _BACKWARD_FLOPS * image.numel, read=read, written=bytes_written(op), launches=5
    )

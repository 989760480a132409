"""Softmax, log-softmax and the losses that follow them."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.units import KIB
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import streaming

# Rows that fit into shared memory are read once; longer ones once for the maximum, once for the sum, once to write.
_ROW_KEPT_BYTES = 48 * KIB
_FLOPS = 5.0


def _row_bytes(op: Op, name: str) -> int:
    tensor = op.tensor(name)
    dim = op.attributes.get("dim", -1)
    assert isinstance(dim, int)
    return tensor.shape[dim] * tensor.itemsize if tensor.shape else tensor.itemsize


@counts("aten._softmax", "aten._log_softmax", "aten._safe_softmax")
def softmax(op: Op) -> Work:
    """(*rows, d) -> (*rows, d).

    Counts: 5 FLOPs an element (maximum, difference, exponential, sum, quotient); rows of up to 48 KiB read once, longer
    ones three times; written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/SoftMax.cu (host_softmax).
    """
    rows = op.tensor("self")
    passes = 1 if _row_bytes(op, "self") <= _ROW_KEPT_BYTES else 3
    return streaming(op, "softmax", _FLOPS * rows.numel, read=passes * rows.nbytes)


@counts("aten._softmax_backward_data", "aten._log_softmax_backward_data")
def softmax_backward(op: Op) -> Work:
    """Gradient of the input, (*rows, d) from (*rows, d) twice.

    Counts: 5 FLOPs an element; gradient and result read once where rows fit into shared memory, else twice; written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/SoftMax.cu (host_softmax_backward).
    """
    grad, result = op.tensor("grad_output"), op.tensor("output")
    passes = 1 if _row_bytes(op, "grad_output") <= _ROW_KEPT_BYTES else 2
    return streaming(op, "softmax", _FLOPS * grad.numel, read=passes * (grad.nbytes + result.nbytes))


@counts("aten.nll_loss_forward", "aten.nll_loss2d_forward")
def nll_loss(op: Op) -> Work:
    """(n, c) log-probabilities, (n,) targets -> ().

    Counts: one number picked a row and the targets read; one launch.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Loss.cu (nll_loss_forward_reduce_cuda_kernel_2d).
    """
    target = op.tensor("target")
    picked = target.numel * op.tensor("self").itemsize
    return streaming(op, "reduction", 2.0 * target.numel, read=target.nbytes + picked)


@counts("aten.nll_loss_backward", "aten.nll_loss2d_backward")
def nll_loss_backward(op: Op) -> Work:
    """Gradient of the log-probabilities, (n, c) with one number a row.

    Counts: the whole gradient filled with zeros, then one number a row written; two launches.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Loss.cu (nll_loss_backward_out_cuda_template).
    """
    grad, target = op.output(), op.tensor("target")
    fill = Kernel("elementwise", grad.dtype, 0.0, 0.0, float(grad.nbytes))
    written = float(target.numel * grad.itemsize)
    return Work((fill, Kernel("gather", grad.dtype, float(target.numel), float(target.nbytes), written)))

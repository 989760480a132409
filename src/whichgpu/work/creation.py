"""New tensors, and tensors filled with one value or a sequence."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import fill, over, written_tensors

_FILLED = (
    *("zeros", "zeros_like", "new_zeros", "zero_", "zero", "ones", "ones_like", "new_ones", "full", "full_like"),
    *("new_full", "fill", "fill_", "scalar_tensor"),
)
# FLOPs an element.
_SEQUENCES = {
    **dict.fromkeys(("arange", "range", "linspace"), 2),
    **dict.fromkeys(("logspace",), 18),
    **dict.fromkeys(("tril_indices", "triu_indices"), 10),
    **dict.fromkeys(("hann_window", "hamming_window", "bartlett_window", "blackman_window"), 12),
}


@counts(*(f"aten.{name}" for name in _FILLED))
def filled(op: Op) -> Work:
    """() -> (...) all of one value, new or in place: written once, nothing read.

    Source: ATen/native/cuda/FillKernel.cu.
    """
    return Work(tuple(fill(t) for t in written_tensors(op)))


@counts(*(f"aten.{name}" for name in _SEQUENCES))
def sequence(op: Op) -> Work:
    """() -> (n,) numbers made from their place: written once.

    Source: ATen/native/cuda/RangeFactories.cu, TensorFactories.cu.
    """
    out = op.output()
    return Work((over(op, "elementwise", _SEQUENCES[op.base_name.removeprefix("aten.")] * out.numel, read=()),))


@counts("aten.eye")
def eye(op: Op) -> Work:
    """() -> (n, m): zeros, then ones on the diagonal.

    Source: ATen/native/cuda/TensorFactories.cu (eye_out_cuda).
    """
    out = op.output()
    diagonal = min(out.shape) * out.itemsize
    return Work((fill(out), fill(type(out)((diagonal // out.itemsize,), out.dtype))))

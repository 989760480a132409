"""Ops that only say where existing elements lie: no kernel runs, the host does a little."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts


@counts(
    "aten.view", "aten._unsafe_view", "aten.reshape", "aten._reshape_alias", "aten.t", "aten.transpose", "aten.permute",
    "aten.expand", "aten.expand_as", "aten.squeeze", "aten.unsqueeze", "aten.select", "aten.slice", "aten.split",
    "aten.split_with_sizes", "aten.chunk", "aten.unbind", "aten.narrow", "aten.as_strided", "aten.as_strided_",
    "aten.alias", "aten.detach", "aten.detach_", "aten.diagonal", "aten.unfold", "aten.movedim", "aten.flatten",
    "aten.view_as", "aten.view_as_real", "aten.view_as_complex", "aten.real", "aten.imag", "aten.swapaxes", "aten.unflatten",
    "aten.numpy_T", "aten.lift", "aten.lift_fresh", "aten.set_", "aten.resize_", "aten.t_", "aten.transpose_",
    "aten.squeeze_", "aten.unsqueeze_", "aten.record_stream", "aten.is_pinned", "aten.sym_size", "aten.requires_grad_",
    "aten._conj", "aten.ravel",
)  # fmt: skip
def view(op: Op) -> Work:
    """The same storage under another shape.

    Counts: no kernel; the call's host time is counted with all others.
    Leaves out: nothing.
    Source: ATen/native/TensorShape.cpp.
    """
    return Work()


@counts("aten.empty", "aten.empty_like", "aten.empty_strided", "aten.new_empty", "aten.new_empty_strided",
        "aten.empty_permuted")  # fmt: skip
def empty(op: Op) -> Work:
    """() -> (*shape), not written.

    Counts: no kernel.
    Leaves out: the allocator, whose blocks are there from earlier steps.
    Source: ATen/native/cuda/TensorFactories.cu.
    """
    return Work()

"""Operators that start no kernel: views, bookkeeping, memory that nothing is written to. Each still costs the host."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.graph.op import GRAPH_LAUNCH
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts

_VIEWS = (
    *("alias", "as_strided", "as_strided_", "detach", "detach_", "diagonal", "expand", "lift", "lift_fresh", "permute"),
    *("select", "slice", "split", "split_with_sizes", "squeeze", "squeeze_", "t", "t_", "transpose", "transpose_"),
    *("unbind", "unfold", "unsqueeze", "unsqueeze_", "unsafe_split", "unsafe_split_with_sizes", "view"),
    *("view_as_complex", "view_as_real", "_conj", "_neg_view", "_reshape_alias", "_unsafe_view", "slice_inverse"),
)
# What changes or reads no elements at all.
_BOOKKEEPING = (
    *(
        "_efficientzerotensor",
        "set_",
        "resize_",
        "resize_as_",
        "record_stream",
        "is_pinned",
        "is_same_size",
        "is_set_to",
    ),
    *("_has_same_storage_numel", "_assert_tensor_metadata", "_assert_scalar", "_use_cudnn_ctc_loss", "sym_size"),
)
_UNWRITTEN = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")


@counts(*(f"aten.{name}" for name in (*_VIEWS, *_BOOKKEEPING, *_UNWRITTEN)), GRAPH_LAUNCH)
def no_kernel(op: Op) -> Work:
    """(...) -> the same elements under another shape, or memory nobody has written to.

    Counts: nothing but the call.
    Source: ATen/native/TensorShape.cpp, TensorFactories.cpp.
    """
    return Work()

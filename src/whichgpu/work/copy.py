"""Copies: in order or with dimensions changing places, casts, joining, padding, and what lays elements out anew."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import copy, fill, over

# Tensors that one launch joins. Source: ATen/native/cuda/Shape.cu, CAT_ARRAY_BATCH_SIZE.
_JOINED_BY_ONE_LAUNCH = 128
# Views of which there are operators that copy what is seen.
_WHOLE_VIEWS = (
    *("view", "expand", "alias", "detach", "permute", "transpose", "t", "squeeze", "unsqueeze", "as_strided"),
    *("view_as_real", "view_as_complex"),
)
_VIEWS_OF_PARTS = ("diagonal", "narrow", "select", "slice", "unfold")


@counts(
    *("aten.clone", "aten._to_copy", "aten.lift_fresh_copy", "aten._conj_copy"),
    *(f"aten.{view}_copy" for view in _WHOLE_VIEWS),
)
def clone(op: Op) -> Work:
    """(...) -> (...) in new memory, in another number format or order where asked for.

    Counts: read and written once; of kind "copy" where dimensions change places in memory. No FLOPs.
    Source: ATen/native/cuda/Copy.cu.
    """
    return Work((copy(op.tensor("self"), op.output()),))


@counts(*(f"aten.{view}_copy" for view in _VIEWS_OF_PARTS))
def copy_of_part(op: Op) -> Work:
    """A part of a tensor -> new memory.

    Counts: what is in the part, read and written once.
    Source: ATen/native/TensorShape.cpp; ATen/native/cuda/Copy.cu.
    """
    return Work((over(op, "copy", 0, read=op.output_tensors()),))


@counts("aten.copy_", "aten.copy")
def copy_into(op: Op) -> Work:
    """(...) <- (...), broadcast and converted.

    Counts: the source read and the target written once.
    Source: ATen/native/cuda/Copy.cu.
    """
    return Work((copy(op.tensor("src"), op.tensor("self")),))


@counts("aten.cat", "aten.stack", "aten._chunk_cat", "aten.block_diag")
def cat(op: Op) -> Work:
    """(..., n1, ...), (..., n2, ...) -> (..., n1 + n2, ...).

    Counts: everything read and written once, 128 tensors a launch; of kind "elementwise", as pieces stay in order.
    Source: ATen/native/cuda/Shape.cu (cat_out_cuda, parallel_cat).
    """
    parts = sum(1 for t in op.tensors("tensors") if t.numel)
    return Work((over(op, "elementwise", 0, launches=max(1, -(-parts // _JOINED_BY_ONE_LAUNCH))),))


@counts("aten.constant_pad_nd")
def constant_pad(op: Op) -> Work:
    """(...) -> (..., n + before + after, ...): the value everywhere, then the tensor to its place.

    Source: ATen/native/PadNd.cpp.
    """
    source, out = op.tensor("self"), op.output()
    return Work((fill(out), _placed(source, out)))


@counts("aten.slice_backward", "aten.select_backward", "aten.diagonal_backward", "aten.unfold_backward")
def view_backward(op: Op) -> Work:
    """Gradient of a tensor from that of a part of it: zeros, then the part to its place.

    Source: ATen/native/TensorShape.cpp; ATen/native/cuda/UnfoldBackwardKernel.cu.
    """
    grad, out = op.tensor("grad_output" if "grad_output" in op.inputs else "grad_in"), op.output()
    return Work((fill(out), _placed(grad, out)))


@counts("aten.slice_scatter", "aten.select_scatter", "aten.diagonal_scatter", "aten.as_strided_scatter")
def scatter_into_view(op: Op) -> Work:
    """A copy of a tensor (...) with a part of it replaced.

    Source: ATen/native/TensorShape.cpp.
    """
    source, out = op.tensor("self"), op.output()
    return Work((copy(source, out), _placed(op.tensor("src"), out)))


@counts("aten.diag_embed")
def diag_embed(op: Op) -> Work:
    """(..., n) -> (..., n, n): zeros, then the diagonal.

    Source: ATen/native/TensorShape.cpp.
    """
    return Work((fill(op.output()), _placed(op.tensor("self"), op.output())))


@counts("aten.flip", "aten.roll", "aten.rot90", "aten.repeat", "aten.repeat_interleave")
def rearranged(op: Op) -> Work:
    """(...) -> (...) with elements in other places, or several times.

    Counts: the source read and the result written once; `roll` makes a kernel a dimension.
    Leaves out: of `repeat_interleave` with counts in a tensor their running total, a small kernel.
    Source: ATen/native/cuda/TensorTransformations.cu, Repeat.cu; ATen/native/TensorShape.cpp.
    """
    dims = op.attributes.get("dims", ())
    passes = len(dims) if op.base_name == "aten.roll" and isinstance(dims, tuple) and dims else 1
    waits = op.base_name == "aten.repeat_interleave" and "output_size" not in op.attributes and "repeats" in op.inputs
    return Work((over(op, "copy", 0),) * passes, synchronizes=waits)


@counts("aten.pixel_shuffle", "aten.pixel_unshuffle", "aten.channel_shuffle")
def shuffled(op: Op) -> Work:
    """(n, c r r, h, w) <-> (n, c, h r, w r), or channels shuffled: one permuting copy.

    Source: ATen/native/PixelShuffle.cpp, ChanelShuffle.cpp.
    """
    return Work((over(op, "copy", 0),))


@counts(*(f"aten.{way}_pad{dims}d" for way in ("reflection", "replication") for dims in (1, 2, 3)))
def border_pad(op: Op) -> Work:
    """(n, c, *in) -> (n, c, *out) with a border taken from the inside: one kernel.

    Source: ATen/native/cuda/ReflectionPad.cu, ReplicationPadding.cu.
    """
    return Work((over(op, "copy", 0),))


@counts(*(f"aten.{way}_pad{dims}d_backward" for way in ("reflection", "replication") for dims in (1, 2, 3)))
def border_pad_backward(op: Op) -> Work:
    """Gradient (n, c, *in) of a border pad: zeros, then every element added to its place.

    Source: ATen/native/cuda/ReflectionPad.cu, ReplicationPadding.cu.
    """
    grad, out = op.tensor("grad_output"), op.output()
    return Work((fill(out), over(op, "copy", grad.numel, read=(grad, out), written=(out,))))


@counts("aten._pack_padded_sequence")
def pack_padded_sequence(op: Op) -> Work:
    """Sequences (t, b, *) padded to one length -> all steps end to end (sum, *): a copy for each run of equal lengths.

    Counts: the packed elements read and written once, joined by one launch.
    Leaves out: the host's work on the lengths, which lie on the host.
    Source: ATen/native/PackedSequence.cpp.
    """
    packed = op.output(0)
    return Work((over(op, "copy", 0, read=(packed,), written=(packed,)),))


def _placed(source: Tensor, target: Tensor) -> Kernel:
    """Return the kernel that copies `source` into a part of `target`, which is written nowhere else."""
    return copy(source, Tensor(source.shape, target.dtype))

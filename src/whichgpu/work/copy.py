"""Copies that put elements elsewhere without changing them."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, KernelKind, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_written, streaming


def _kind(source: Tensor, result: Tensor) -> KernelKind:
    """Return "elementwise" for a copy in order, "copy" for one that reorders."""
    in_order = source.stride == result.stride or (source.is_contiguous and result.is_contiguous)
    return "elementwise" if in_order else "copy"


@counts("aten.clone", "aten.contiguous", "aten._reshape_copy", "aten.lift_fresh_copy", "aten.detach_copy")
def clone(op: Op) -> Work:
    """(*shape) -> (*shape) in storage of its own.

    Counts: read and written once; a reordering copy where strides differ.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Copy.cu.
    """
    return streaming(op, _kind(op.tensor("self"), op.output()))


@counts("aten.copy", "aten.copy_")
def copy(op: Op) -> Work:
    """(*shape) <- (*shape), cast where dtypes differ.

    Counts: the source read, the target written once.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Copy.cu.
    """
    target, source = op.tensor("self"), op.tensor("src")
    return streaming(op, _kind(source, target), read=source.nbytes, written=target.nbytes)


@counts("aten.cat", "aten.stack")
def cat(op: Op) -> Work:
    """(..., a, ...), (..., b, ...) -> (..., a + b, ...).

    Counts: every input read, the result written once; one launch for up to 128 inputs.
    Leaves out: nothing of note.
    Source: ATen/native/cuda/Shape.cu (CAT_ARRAY_BATCH_SIZE).
    """
    return streaming(op, "copy", launches=-(-max(len(op.tensors("tensors")), 1) // 128))


@counts("aten.constant_pad_nd", "aten.slice_backward", "aten.select_backward", "aten.diagonal_backward",
        "aten.slice_scatter", "aten.select_scatter")  # fmt: skip
def padded(op: Op) -> Work:
    """A tensor laid into a larger one that is filled first.

    Counts: the larger one written whole, then the smaller one read and written; two launches.
    Leaves out: nothing of note.
    Source: ATen/native/PadNd.cpp; slice_backward in ATen/native/TensorShape.cpp (zeros, then copy_).
    """
    result = op.output()
    inner = op.tensors("src") or tuple(op.input_tensors())[:1]
    placed = float(sum(t.nbytes for t in inner))
    fill = Kernel("elementwise", result.dtype, 0.0, 0.0, float(result.nbytes))
    return Work((fill, Kernel("copy", result.dtype, 0.0, placed, placed)))


@counts("aten.repeat", "aten.tile", "aten.repeat_interleave", "aten.roll", "aten.flip", "aten.rot90", "aten.tril",
        "aten.triu", "aten.tril_", "aten.triu_", "aten.im2col", "aten.col2im", "aten.unfold_backward",
        "aten.reflection_pad1d", "aten.reflection_pad2d", "aten.replication_pad1d", "aten.replication_pad2d",
        "aten.reflection_pad1d_backward", "aten.reflection_pad2d_backward", "aten.replication_pad2d_backward",
        "aten.pixel_shuffle", "aten.pixel_unshuffle", "aten.channel_shuffle", "aten.split_with_sizes_copy",
        "aten._chunk_cat", "aten.as_strided_copy")  # fmt: skip
def rearrange(op: Op) -> Work:
    """Elements copied to other places, some more than once.

    Counts: as many bytes read as written, or the inputs where they are more.
    Leaves out: elements read again from caches.
    Source: ATen/native/cuda/Repeat.cu, TensorTransformations.cu, ReflectionPad.cu and alike.
    """
    written = bytes_written(op)
    return streaming(op, "copy", read=max(written, float(sum(t.nbytes for t in op.input_tensors()))))

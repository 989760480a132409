"""Copies, joins, padding, creation and random numbers: most become part of what reads them."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.count import count_op
from whichgpu.work.creation import _FILLED, _SEQUENCES
from whichgpu.work.elementwise import _DRAW_FLOPS
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import Expression, Read, merged
from whichgpu.work.fusion.rules import compute, constant, is_pointwise, lowers, pointwise, walk_of

# Tensors a join takes in at most as part of a loop. Source: torch/_inductor/config.py, max_pointwise_cat_inputs.
_MOST_JOINED = 8

lowers(*(f"aten.{name}" for name in (*_FILLED, *_SEQUENCES)))(constant)
lowers("aten.clone", "aten._to_copy", "aten.lift_fresh_copy", "aten.view_copy", "aten.expand_copy")(pointwise)
lowers("aten.flip", "aten.roll", "aten.repeat", "aten.pixel_shuffle", "aten.pixel_unshuffle", "aten.channel_shuffle")(
    pointwise
)


@lowers("aten.copy_", "aten.copy")
def copy_into(build: Lowering, op: Op) -> None:
    """(...) <- (...), broadcast and converted."""
    compute(build, op, [op.tensor("src")], tuple(op.output_tensors()) or op.tensors("self"))


@lowers(*(f"aten.{name}" for name in _DRAW_FLOPS), "aten.bernoulli")
def draw(build: Lowering, op: Op) -> None:
    """Return (...) random numbers, made from a seed and their place."""
    flops = count_op(op, "bound").flops
    for out in tuple(op.output_tensors()) or op.tensors("self"):
        build.bind(out, Expression(out.numel, out.dtype, flops=flops, length=4, is_random=True))


@lowers("aten.native_dropout")
def dropout(build: Lowering, op: Op) -> None:
    """(...) -> (...) and a mask of a byte an element, which backward finds in memory."""
    out, mask = op.outputs[0], op.outputs[1]
    source = op.tensor("input")
    flops = count_op(op).flops
    drawn = Expression(source.numel, "bool", flops=flops, length=4, is_random=True)
    if mask is not None:
        build.bind(mask, drawn)
        drawn = build.expression(mask)
    if out is not None:
        build.layout.follow(source, out)
        build.bind(out, merged((build.expression(source), drawn), out.numel, out.dtype, length=2))


@lowers("aten.constant_pad_nd", "aten.slice_backward", "aten.select_backward", "aten.diagonal_backward")
def padded(build: Lowering, op: Op) -> None:
    """A part -> the whole, with a value around: read where there is something to read."""
    compute(build, op, list(op.input_tensors()), (op.output(),), "pooling")


@lowers("aten.cat", "aten.stack")
def cat(build: Lowering, op: Op) -> None:
    """(..., n1, ...), (..., n2, ...) -> (..., n1 + n2, ...).

    Part of what reads it where all readers are loops and something need not be written for it; else every part is
    written to its place by what computes it, or copied there.
    Source: torch/_inductor/lowering.py (cat).
    """
    out = op.output()
    joined = [t for t in op.tensors("tensors") if t.numel]
    for source in joined:
        build.layout.follow(source, out)
    must_copy = [not build.is_movable(t) for t in joined]
    is_shared = any(_is_shared(build, t, op) for t in joined)
    if len(joined) <= _MOST_JOINED and not is_shared:
        readers = build.readers(out)
        if all(must_copy) or (any(must_copy) and readers is not None and all(map(_takes_joins, readers))):
            parts = [build.expression(t, "pooling" if t.numel < out.numel else "") for t in joined]
            build.bind(out, merged(parts, out.numel, out.dtype))
            return
    reads = []
    for tensor, copied in zip(joined, must_copy, strict=True):
        if copied and build.is_in_memory(tensor):
            value = build.expression(tensor, walk_of(build, tensor, out))
            reads.append(Read(build.write(value, tensor.nbytes), 0.0, True))
        else:
            reads.append(build.memory(tensor)._replace(nbytes=0.0))
    build.library((), reads, (out,))


def _is_shared(build: Lowering, tensor: Tensor, join: Op) -> bool:
    """Return whether computing `tensor` as part of `join` would compute it twice; of a part nobody can tell."""
    if build.is_part(tensor):
        return False
    others = [op for op in build.readers_so_far(tensor) if op.name != join.name]
    if not build.is_in_memory(tensor):
        return bool(others)
    return any(is_pointwise(op) for op in others)


def _takes_joins(op: Op) -> bool:
    return is_pointwise(op) or op.base_name in ("aten.cat", "aten.constant_pad_nd")

"""Reductions, softmax and losses: reductions with loops before and after them that a compiler merges with them."""

from __future__ import annotations

import math

from whichgpu.graph import Op, Tensor
from whichgpu.work.count import count_op
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import Expression, Node, merged, picked
from whichgpu.work.fusion.reductions import reduce
from whichgpu.work.fusion.rules import lowers, pointwise
from whichgpu.work.loss import _PAIRWISE_FLOPS
from whichgpu.work.reduction import _FLOPS, _SCAN_FLOPS
from whichgpu.work.traffic import SPECIAL

_INDEX_BYTES = 8
_FP32_BYTES = 4


@lowers(*(f"aten.{name}" for name in _FLOPS))
def reduction(build: Lowering, op: Op) -> None:
    """(..., n, ...) -> (..., ...) along some dimensions, or all."""
    source = next(op.input_tensors())
    if len(list(op.input_tensors())) > 1:  # the largest of two tensors
        pointwise(build, op)
        return
    dims = _dims(op, source)
    outer, inner = split_domain(source, dims)
    is_welford = op.base_name in ("aten.var", "aten.std", "aten.var_mean", "aten.std_mean")
    for out in op.output_tensors():
        value = reduce(
            build,
            build.expression(source),
            outer,
            inner,
            nbytes=out.nbytes,
            flops=count_op(op).flops / len(op.outputs),
            is_contiguous=is_along_memory(build, source, dims),
            is_welford=is_welford,
        )
        if outer > 1 and len(out.shape) == len(source.shape):
            build.layout.follow(source, out)
        build.bind(out, value)


@lowers(*(f"aten.{name}" for name in _SCAN_FLOPS))
def scan(build: Lowering, op: Op) -> None:
    """(..., n, ...) -> the same shape, running totals along one dimension: a kernel with what comes before it."""
    source = op.tensor("self")
    outer, inner = split_domain(source, _dims(op, source))
    value = build.expression(source)
    outs = tuple(op.output_tensors()) or (source,)
    buffers = tuple(build.program.new_buffer(t.numel, t.nbytes) for t in outs)
    flops = value.flops + count_op(op).flops
    build.program.add(
        Node("reduction", outer, inner, value.reads, buffers, flops, source.dtype, op, is_contiguous=True)
    )
    for tensor, buffer in zip(outs, buffers, strict=True):
        build.bind(tensor, buffer)


@lowers("aten._softmax", "aten._log_softmax", "aten._safe_softmax")
def softmax(build: Lowering, op: Op) -> None:
    """(..., n, ...) -> the same shape along `dim`: largest, sum of exponentials, quotient."""
    source, out = op.tensor("self"), op.output()
    dims = _dims(op, source)
    build.layout.follow(source, out)
    data = build.shared(source)
    largest = _along(build, source, dims, data, source.numel)
    exponentials = merged((data, largest), source.numel, "float32", SPECIAL * source.numel, 3)
    total = _along(build, source, dims, exponentials, source.numel)
    if op.base_name == "aten._log_softmax":
        build.bind(out, merged((data, largest, total), out.numel, out.dtype, 2 * out.numel, 3))
    else:
        build.bind(out, merged((exponentials, total), out.numel, out.dtype, out.numel, 2))


@lowers("aten._softmax_backward_data", "aten._log_softmax_backward_data")
def softmax_backward(build: Lowering, op: Op) -> None:
    """Gradient of a softmax: a sum of products along `dim`, then a loop."""
    grad, result, out = op.tensor("grad_output"), op.tensor("output"), op.output()
    dims = _dims(op, grad)
    build.layout.follow(grad, out)
    both = (build.shared(grad), build.shared(result))
    is_log = op.base_name == "aten._log_softmax_backward_data"
    summed = both[0] if is_log else merged(both, grad.numel, grad.dtype, grad.numel)
    total = _along(build, grad, dims, summed, grad.numel)
    flops = (2 + SPECIAL if is_log else 2) * out.numel
    build.bind(out, merged((*both, total), out.numel, out.dtype, flops, 3))


@lowers("aten.logsumexp")
def logsumexp(build: Lowering, op: Op) -> None:
    """(..., n, ...) -> (..., ...): the largest, then the sum of exponentials relative to it."""
    source, out = op.tensor("self"), op.output()
    dims = _dims(op, source)
    data = build.shared(source)
    largest = _along(build, source, dims, data, source.numel)
    exponentials = merged((data, largest), source.numel, "float32", SPECIAL * source.numel, 3)
    total = _along(build, source, dims, exponentials, source.numel)
    build.bind(out, merged((largest, total), out.numel, out.dtype, (1 + SPECIAL) * out.numel, 2))


@lowers(*_PAIRWISE_FLOPS, "aten.binary_cross_entropy_with_logits")
def pairwise_loss(build: Lowering, op: Op) -> None:
    """Prediction and target (...) -> a scalar: a loop taken in by a sum."""
    source, out = op.tensor("self"), op.output()
    flops = float(_PAIRWISE_FLOPS.get(op.base_name, (3 + 2 * SPECIAL,))[0] * source.numel)
    each = merged([build.expression(t) for t in op.input_tensors()], source.numel, source.dtype, flops, 4)
    if not op.attributes.get("reduction", 1):
        build.bind(out, each)
        return
    build.bind(out, _along(build, source, tuple(range(len(source.shape))), each, source.numel, out))


@lowers("aten.nll_loss_forward", "aten.nll_loss2d_forward")
def nll_loss(build: Lowering, op: Op) -> None:
    """Log-probabilities (n, c, ...), targets (n, ...) -> a scalar and the total weight: one of each row, summed up."""
    target = op.tensor("target")
    scores = build.expression(op.tensor("self"))
    one = picked(scores, target.numel, 0, "gather")
    rest = [build.expression(t) for t in (target, *op.tensors("weight"))]
    each = merged((one, *rest), target.numel, scores.dtype, 2.0 * target.numel, 2)
    for out in op.output_tensors():
        terms = each if out is op.outputs[0] else rest[0]
        if op.attributes.get("reduction", 1):
            terms = _along(build, target, tuple(range(len(target.shape))), terms, target.numel, out)
        build.bind(out, terms)


@lowers("aten.nll_loss_backward", "aten.nll_loss2d_backward")
def nll_loss_backward(build: Lowering, op: Op) -> None:
    """Gradient (n, c, ...): a number where the target points, zero elsewhere, made by whoever reads it."""
    out = op.output()
    parts = [
        build.expression(t) for name in ("grad_output", "target", "weight", "total_weight") for t in op.tensors(name)
    ]
    build.bind(out, merged(parts, out.numel, out.dtype, out.numel, 3))


def split_domain(source: Tensor, dims: tuple[int, ...]) -> tuple[int, int]:
    """Return how many results a reduction of `source` along `dims` has, and how many terms each."""
    inner = math.prod(source.shape[d] for d in dims)
    return source.numel // max(inner, 1), inner


def is_along_memory(build: Lowering, source: Tensor, dims: tuple[int, ...]) -> bool:
    """Return whether the terms of a result lie next to each other."""
    strides = build.layout.strides(source)
    return any(strides[d] == 1 and source.shape[d] > 1 for d in dims)


def _dims(op: Op, source: Tensor) -> tuple[int, ...]:
    dims = op.attributes.get("dim")
    rank = max(len(source.shape), 1)
    if isinstance(dims, int) and not isinstance(dims, bool):
        dims = (dims,)
    if not isinstance(dims, tuple) or not dims:
        return tuple(range(len(source.shape)))
    return tuple(d % rank for d in dims if isinstance(d, int)) if source.shape else ()


def _along(
    build: Lowering, source: Tensor, dims: tuple[int, ...], terms: Expression, flops: float, out: Tensor | None = None
) -> Expression:
    outer, inner = split_domain(source, dims)
    nbytes = outer * _FP32_BYTES if out is None else out.nbytes
    is_contiguous = is_along_memory(build, source, dims)
    return reduce(build, terms, outer, inner, nbytes=nbytes, flops=flops, is_contiguous=is_contiguous)

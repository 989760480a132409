"""Norms, taken apart into statistics, which are reductions, and loops that use them.

Source: torch 2.13, torch/_decomp/decompositions.py (native_layer_norm, native_group_norm, native_batch_norm and their
gradients).
"""

from __future__ import annotations

from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import Expression, merged
from whichgpu.work.fusion.reductions import reduce
from whichgpu.work.fusion.rules import lowers
from whichgpu.work.fusion.rules_reduction import is_along_memory

_FP32_BYTES = 4
# FLOPs an element, as in work/normalization.py, and the length of the code that applies a norm.
_STATISTICS = 5
_APPLY = 4
_SUMS = 2
_GRADIENT = 6
_LENGTH = 6


@lowers("aten.native_layer_norm", "aten._fused_rms_norm")
def layer_norm(build: Lowering, op: Op) -> None:
    """(m, n) -> (m, n) with statistics of every row."""
    source, out = op.tensor("input"), op.output()
    rows = _rows(op, source)
    data = build.shared(source)
    found = _statistics(build, data, rows, source.numel // rows, is_contiguous=_is_last_inner(build, source))
    statistic = op.outputs[-1]
    if source.storage in build.saving.normalized_only and not build.is_in_memory(source) and statistic is not None:
        normed = merged((data, found), source.numel, "float32", 2.0 * source.numel, 2)
        buffer = build.write(normed, source.numel * _FP32_BYTES)
        build.saving.normalized[statistic.storage or 0] = buffer
        build.saving.keep(buffer)
    build.bind(out, merged((data, found, *_parameters(build, op)), out.numel, out.dtype, _APPLY * out.numel, _LENGTH))
    for statistic in op.outputs[1:]:
        build.bind(statistic, found)


@lowers("aten.native_layer_norm_backward", "aten._fused_rms_norm_backward")
def layer_norm_backward(build: Lowering, op: Op) -> None:
    """Gradients of a layer norm: sums along rows and a loop for the input, sums along columns for the parameters."""
    grad, source = op.tensor("grad_out"), op.tensor("input")
    rows = _rows(op, source)
    columns = source.numel // rows
    statistics = [build.expression(t) for name in ("mean", "rstd") for t in op.tensors(name)]
    by, weight = build.shared(grad), [build.expression(t) for t in op.tensors("weight")]
    kept = build.saving.normalized.get(op.tensor("rstd").storage or -1)
    if kept is not None:
        normed = build.program.found(kept)
    else:
        normed = merged((build.shared(source), *statistics), source.numel, source.dtype, 2.0 * source.numel, 2)
    weighted = merged((by, *weight), source.numel, grad.dtype, float(source.numel))
    inner = _is_last_inner(build, source)
    if op.outputs[0] is not None:
        first = _sum(build, weighted, rows, columns, is_contiguous=inner)
        second = _sum(build, merged((weighted, normed), source.numel, grad.dtype), rows, columns, is_contiguous=inner)
        result = merged((weighted, normed, first, second), source.numel, op.output().dtype, _GRADIENT * source.numel, 4)
        build.bind(op.outputs[0], result)
    products = merged((by, normed), source.numel, grad.dtype, float(source.numel))
    for tensor, terms in zip(op.outputs[1:], (products, by), strict=False):
        if tensor is not None:
            build.bind(tensor, _sum(build, terms, columns, rows, is_contiguous=not inner, out=tensor))


@lowers(
    "aten.cudnn_batch_norm",
    "aten.native_batch_norm",
    "aten._native_batch_norm_legit",
    "aten._batch_norm_with_update",
    "aten._native_batch_norm_legit_no_training",
    "aten._batch_norm_no_update",
)
def batch_norm(build: Lowering, op: Op) -> None:
    """(n, c, *) -> (n, c, *): in training statistics of every channel and a loop, in evaluation a loop alone."""
    source, out = op.tensor("input"), op.output()
    build.layout.follow(source, out)
    data, parameters = build.expression(source), _parameters(build, op)
    is_training = bool(op.attributes.get("training", op.base_name == "aten._batch_norm_with_update"))
    if not is_training:
        running = [build.expression(t) for name in ("running_mean", "running_var") for t in op.tensors(name)]
        build.bind(out, merged((data, *running, *parameters), out.numel, out.dtype, _APPLY * out.numel, _LENGTH))
        return
    data = build.shared(source)
    channels = source.shape[1]
    inner = is_along_memory(build, source, _but_channels(source))
    found = _statistics(build, data, channels, source.numel // channels, is_contiguous=inner)
    for name in ("running_mean", "running_var"):
        for tensor in op.tensors(name):
            value = merged((found, build.expression(tensor)), channels, tensor.dtype, 4.0 * channels, 3)
            build.bind(tensor, value)
    for statistic in op.outputs[1:3]:
        build.bind(statistic, found)
    build.bind(out, merged((data, found, *parameters), out.numel, out.dtype, _APPLY * out.numel, _LENGTH))


@lowers("aten.cudnn_batch_norm_backward", "aten.native_batch_norm_backward", "aten.batch_norm_backward")
def batch_norm_backward(build: Lowering, op: Op) -> None:
    """Gradients of (n, c, *) -> (n, c, *): two sums over every channel, then a loop."""
    source = op.tensor("input")
    grad = op.tensor("grad_output" if "grad_output" in op.inputs else "grad_out")
    channels = source.shape[1]
    is_training = bool(op.attributes.get("train", op.attributes.get("update", True)))
    names = ("save_mean", "save_var", "save_invstd") if is_training else ("running_mean", "running_var")
    statistics = [build.expression(t) for name in names for t in op.tensors(name)]
    by, data = build.shared(grad), build.shared(source)
    weight = [build.expression(t) for t in op.tensors("weight")]
    inner = is_along_memory(build, source, _but_channels(source))
    terms = source.numel // channels
    first = _sum(build, by, channels, terms, is_contiguous=inner)
    products = merged((by, data, *statistics), source.numel, grad.dtype, 2.0 * source.numel, 2)
    second = _sum(build, products, channels, terms, is_contiguous=inner)
    if op.outputs[0] is not None:
        build.layout.follow(source, op.output())
        used = (by, data, *statistics, *weight, first, second) if is_training else (by, *statistics, *weight)
        build.bind(op.outputs[0], merged(used, source.numel, op.output().dtype, _GRADIENT * source.numel, _LENGTH))
    for tensor, parts in zip(op.outputs[1:], ((second, *statistics[-1:]), (first,)), strict=False):
        if tensor is not None:
            build.bind(tensor, merged(parts, channels, tensor.dtype, float(channels)))


@lowers("aten.native_group_norm")
def group_norm(build: Lowering, op: Op) -> None:
    """(n, c, *) -> (n, c, *) with statistics of every sample and group."""
    source, out = op.tensor("input"), op.output()
    build.layout.follow(source, out)
    groups = source.shape[0] * cast("int", op.attributes["group"])
    data = build.shared(source)
    is_turned = build.layout.is_image(source)
    found = _statistics(build, data, groups, source.numel // groups, is_contiguous=True, is_scattered=is_turned)
    build.bind(out, merged((data, found, *_parameters(build, op)), out.numel, out.dtype, _APPLY * out.numel, _LENGTH))
    for statistic in op.outputs[1:]:
        build.bind(statistic, found)


@lowers("aten.native_group_norm_backward")
def group_norm_backward(build: Lowering, op: Op) -> None:
    """Gradients of a group norm: two sums for every sample and channel, small loops over these, one for the input."""
    grad, source = op.tensor("grad_out"), op.tensor("input")
    planes = source.shape[0] * source.shape[1]
    pixels = source.numel // planes
    statistics = [build.expression(t) for name in ("mean", "rstd") for t in op.tensors(name)]
    by, data = build.shared(grad), build.shared(source)
    inner = is_along_memory(build, source, tuple(range(2, len(source.shape))))
    first = _sum(build, by, planes, pixels, is_contiguous=inner)
    products = merged((by, data), source.numel, grad.dtype, float(source.numel))
    second = _sum(build, products, planes, pixels, is_contiguous=inner)
    weight = [build.expression(t) for t in op.tensors("weight")]
    groups = source.shape[0] * cast("int", op.attributes["group"])
    if op.outputs[0] is not None:
        build.layout.follow(source, op.output())
        each = merged((first, second, *weight), planes, "float32", 2.0 * planes)
        sums = reduce(
            build,
            each,
            groups,
            planes // groups,
            nbytes=2 * groups * _FP32_BYTES,
            flops=2.0 * planes,
            is_contiguous=True,
        )
        parts = (by, data, *statistics, *weight, sums)
        build.bind(op.outputs[0], merged(parts, source.numel, op.output().dtype, _GRADIENT * source.numel, _LENGTH))
    for tensor in op.outputs[1:]:
        if tensor is not None:
            terms = merged((first, second, *statistics), planes, "float32", 2.0 * planes, 3)
            build.bind(tensor, _sum(build, terms, source.shape[1], source.shape[0], is_contiguous=False, out=tensor))


def _statistics(
    build: Lowering, data: Expression, outer: int, inner: int, *, is_contiguous: bool, is_scattered: bool = False
) -> Expression:
    """Return mean and deviation of `inner` elements each."""
    return reduce(
        build,
        data,
        outer,
        inner,
        nbytes=2 * outer * _FP32_BYTES,
        flops=float(_STATISTICS * outer * inner),
        is_contiguous=is_contiguous,
        is_welford=True,
        results=2,
        is_scattered=is_scattered,
    )


def _sum(
    build: Lowering, terms: Expression, outer: int, inner: int, *, is_contiguous: bool, out: Tensor | None = None
) -> Expression:
    nbytes = outer * _FP32_BYTES if out is None else out.nbytes
    flops = float(_SUMS * outer * inner)
    return reduce(build, terms, outer, inner, nbytes=nbytes, flops=flops, is_contiguous=is_contiguous)


def _parameters(build: Lowering, op: Op) -> list[Expression]:
    return [build.expression(t) for name in ("weight", "bias") for t in op.tensors(name)]


def _rows(op: Op, source: Tensor) -> int:
    shape = cast("tuple[int, ...]", op.attributes.get("normalized_shape", source.shape[-1:]))
    columns = 1
    for size in shape:
        columns *= size
    return max(source.numel // max(columns, 1), 1)


def _is_last_inner(build: Lowering, source: Tensor) -> bool:
    return is_along_memory(build, source, (len(source.shape) - 1,))


def _but_channels(source: Tensor) -> tuple[int, ...]:
    return tuple(d for d in range(len(source.shape)) if d != 1)

"""Windows and resampling: loops that read several neighbours, as long as these are few."""

from __future__ import annotations

import math
from typing import cast

from whichgpu.graph import Op
from whichgpu.work.count import count_op
from whichgpu.work.fusion.lowering import Lowering
from whichgpu.work.fusion.program import merged
from whichgpu.work.fusion.rules import compute, library, lowers
from whichgpu.work.fusion.rules_gather import scattered

# Larger windows are left to eager PyTorch's kernels. Source: torch/_inductor/lowering.py (max_pool2d_with_indices).
_LARGEST_WINDOW = 25
_SMALL_WINDOW = 8


@lowers("aten.max_pool2d_with_indices", "aten.avg_pool2d", "aten.max_pool3d_with_indices", "aten.avg_pool3d")
def pool(build: Lowering, op: Op) -> None:
    """(n, c, *in) -> (n, c, *out), of the maximum kind with the place in the window, a byte."""
    source, out = op.tensor("self"), op.output()
    window = _window(op)
    build.layout.follow(source, out)
    if window > _LARGEST_WINDOW:
        library(build, op)
        return
    if len(build.expression(source).reads) > 1:
        build.memory(source)
    value = merged((build.expression(source, "pooling"),), out.numel, out.dtype, count_op(op).flops, 2 * window)
    for index, tensor in enumerate(op.outputs):
        if tensor is None:
            continue
        build.layout.follow(source, tensor)
        if index and not build.readers(tensor) and build.readers(tensor) is not None:
            continue
        if window > _SMALL_WINDOW or index:
            itemsize = 1 if index else out.itemsize
            build.bind(tensor, build.write(value, out.numel * itemsize))
        else:
            build.bind(tensor, value)


@lowers("aten.avg_pool2d_backward")
def average_pool_backward(build: Lowering, op: Op) -> None:
    """Gradient (n, c, *in) from that of the result: every pixel asks the windows it lies in."""
    grad, out = op.tensor("grad_output"), op.output()
    build.layout.follow(grad, out)
    if _window(op) > _LARGEST_WINDOW:
        library(build, op)
        return
    if len(build.expression(grad).reads) > 1:
        build.memory(grad)
    compute(build, op, [grad], (out,), "pooling")


@lowers("aten.max_pool2d_with_indices_backward")
def largest_pool_backward(build: Lowering, op: Op) -> None:
    """Gradient (n, c, *in) from that of the result: zeros, then every one added to its place, in float32.

    Source: torch/_inductor/decomposition.py and torch/_decomp (max_pool2d_with_indices_backward, a scatter_add).
    """
    grad, out = op.tensor("grad_output"), op.output()
    build.layout.follow(grad, out)
    added = scattered(build, grad, op.tensors("indices"), out.numel)
    build.bind(out, build.program.found(added))


@lowers("aten._adaptive_avg_pool2d")
def adaptive_pool(build: Lowering, op: Op) -> None:
    """(n, c, *in) -> (n, c, *out): windows of the same size, if these are few."""
    source, out = op.tensor("self"), op.output()
    build.layout.follow(source, out)
    window = math.prod(-(-i // o) for i, o in zip(source.shape[2:], out.shape[2:], strict=True))
    if window > _LARGEST_WINDOW:
        library(build, op)
        return
    compute(build, op, [source], (out,), "pooling")


@lowers(
    "aten.upsample_nearest1d",
    "aten.upsample_nearest2d",
    "aten.upsample_nearest3d",
    "aten._upsample_nearest_exact2d",
    "aten.upsample_bilinear2d",
    "aten.upsample_bicubic2d",
    "aten.grid_sampler_2d",
    "aten.reflection_pad1d",
    "aten.reflection_pad2d",
    "aten.replication_pad2d",
    "aten.upsample_nearest2d_backward",
    "aten.reflection_pad2d_backward",
    "aten.im2col",
)
def resample(build: Lowering, op: Op) -> None:
    """(n, c, *in) -> (n, c, *out) by neighbours, looked up by whoever reads it."""
    compute(build, op, list(op.input_tensors()), (op.output(),), "pooling")


def _window(op: Op) -> int:
    size = cast("tuple[int, ...]", op.attributes.get("kernel_size", (1,)))
    dims = 3 if "pool3d" in op.name else 2
    return math.prod(size if len(size) > 1 else size * dims)

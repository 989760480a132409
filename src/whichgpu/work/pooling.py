"""Windows and resampling over images: pooling, interpolation, grid sampling, unfolding."""

from __future__ import annotations

import math
from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import fill, over

# Pixels of the source that one pixel of the result is made of, by way of interpolation.
_NEIGHBOURS = {"nearest": 1, "nearest_exact": 1, "linear": 2, "bilinear": 4, "bicubic": 16, "trilinear": 8}
_UPSAMPLING = {
    f"aten.{prefix}upsample_{way}{dims}d{tail}": _NEIGHBOURS[way]
    for prefix, way, sizes, tail in (
        ("", "nearest", (1, 2, 3), ""),
        ("_", "nearest_exact", (1, 2, 3), ""),
        ("", "linear", (1,), ""),
        ("", "bilinear", (2,), ""),
        ("", "bicubic", (2,), ""),
        ("", "trilinear", (3,), ""),
        ("_", "bilinear", (2,), "_aa"),
        ("_", "bicubic", (2,), "_aa"),
    )
    for dims in sizes
}


@counts("aten.max_pool2d_with_indices", "aten.max_pool3d_with_indices", "aten.avg_pool2d", "aten.avg_pool3d")
def pool(op: Op) -> Work:
    """(n, c, *in) -> (n, c, *out), of the maximum kind with indices.

    Counts: a FLOP for every element of every window; the input read once, what windows share coming from a cache.
    Source: ATen/native/cuda/DilatedMaxPool2d.cu, AveragePool2d.cu.
    """
    return Work((over(op, "pooling", op.output().numel * _window(op)),))


@counts(
    "aten.max_pool2d_with_indices_backward",
    "aten.max_pool3d_with_indices_backward",
    "aten.adaptive_max_pool2d_backward",
    "aten.adaptive_max_pool3d_backward",
    "aten.fractional_max_pool2d_backward",
    "aten.fractional_max_pool3d_backward",
)
def max_pool_backward(op: Op) -> Work:
    """Gradient (n, c, *in) from that of the result (n, c, *out) and the indices.

    Counts: zeros, then a kernel that reads gradient and indices once and adds each to one place.
    Source: ATen/native/cuda/DilatedMaxPool2d.cu, DilatedMaxPool3d.cu, AdaptiveMaxPooling2d.cu.
    """
    grad, indices, out = op.tensor("grad_output"), op.tensor("indices"), op.output()
    return Work((fill(out), over(op, "pooling", grad.numel * _window(op), read=(grad, indices), written=(out,))))


@counts("aten.avg_pool2d_backward", "aten.avg_pool3d_backward")
def avg_pool_backward(op: Op) -> Work:
    """Gradient (n, c, *in) from that of the result (n, c, *out).

    Counts: a FLOP for every element of every window; gradients read and written once.
    Source: ATen/native/cuda/AveragePool2d.cu.
    """
    grad = op.tensor("grad_output")
    return Work((over(op, "pooling", grad.numel * _window(op), read=(grad,)),))


@counts(
    "aten._adaptive_avg_pool2d",
    "aten._adaptive_avg_pool3d",
    "aten.adaptive_max_pool2d",
    "aten.adaptive_max_pool3d",
    "aten._adaptive_avg_pool2d_backward",
    "aten._adaptive_avg_pool3d_backward",
    "aten.fractional_max_pool2d",
    "aten.fractional_max_pool3d",
)
def adaptive_pool(op: Op) -> Work:
    """(n, c, *in) -> (n, c, *out), or its gradient: windows that share the image among the results.

    Counts: a FLOP for every element of the larger of both; each read or written once.
    Source: ATen/native/cuda/AdaptiveAveragePooling.cu, AdaptiveMaxPooling2d.cu.
    """
    numel = max(t.numel for t in (*op.input_tensors(), *op.output_tensors()))
    return Work((over(op, "pooling", numel),))


@counts("aten.max_unpool2d", "aten.max_unpool3d")
def max_unpool(op: Op) -> Work:
    """(n, c, *in) and indices -> (n, c, *out): zeros, and every element to its place.

    Source: ATen/native/cuda/MaxUnpooling.cu.
    """
    out, data = op.output(), op.tensor("self")
    return Work((fill(out), over(op, "gather", 0, written=(data,))))


@counts(*_UPSAMPLING)
def upsample(op: Op) -> Work:
    """(n, c, *in) -> (n, c, *out) by interpolation.

    Counts: for each neighbour a pixel is made of (2 linear, 4 bilinear, 8 trilinear, 16 bicubic) 2 FLOPs, none for
        nearest; the input read once.
    Leaves out: more neighbours where an antialiased image shrinks.
    Source: ATen/native/cuda/UpSample*.cu.
    """
    neighbours = _UPSAMPLING[op.base_name]
    flops = 2 * neighbours * op.output().numel if neighbours > 1 else 0
    return Work((over(op, "pooling", flops),))


@counts(*(f"{name}_backward" for name in _UPSAMPLING))
def upsample_backward(op: Op) -> Work:
    """Gradient (n, c, *in) from that of the result (n, c, *out).

    Counts: 2 FLOPs for each neighbour of each pixel of the result; nearest gathers, the others fill with zeros and add
        to the gradient where they find it.
    Source: ATen/native/cuda/UpSample*.cu.
    """
    neighbours = _UPSAMPLING[op.base_name.removesuffix("_backward")]
    grad, out = op.tensor("grad_output"), op.output()
    if neighbours == 1:
        return Work((over(op, "pooling", grad.numel),))
    return Work((fill(out), over(op, "pooling", 2 * neighbours * grad.numel, read=(grad, out), written=(out,))))


@counts("aten.grid_sampler_2d", "aten.grid_sampler_3d")
def grid_sampler(op: Op) -> Work:
    """Images (n, c, *in) and positions (n, *out, d) -> (n, c, *out).

    Counts: 2 FLOPs for each of 2^d neighbours; image and grid read once, as if positions next to each other were so in
        the image.
    Leaves out: weights of the neighbours, once for all channels.
    Source: ATen/native/cuda/GridSampler.cu.
    """
    dims = op.tensor("grid").shape[-1]
    return Work((over(op, "gather", 2 * 2**dims * op.output().numel),))


@counts("aten.grid_sampler_2d_backward", "aten.grid_sampler_3d_backward")
def grid_sampler_backward(op: Op) -> Work:
    """Gradients of images and positions of a grid sampler.

    Counts: zeros for the image, then 6 FLOPs for each of 2^d neighbours: one product to the image, two to the grid.
    Source: ATen/native/cuda/GridSampler.cu.
    """
    grad, dims = op.tensor("grad_output"), op.tensor("grid").shape[-1]
    zeros = (fill(op.outputs[0]),) if op.outputs[0] is not None else ()
    return Work((*zeros, over(op, "gather", 6 * 2**dims * grad.numel)))


@counts("aten.affine_grid_generator")
def affine_grid(op: Op) -> Work:
    """Matrices (n, d, d + 1) -> positions (n, *out, d): a base grid, and its product with each matrix.

    Counts: 2 d (d + 1) FLOPs a position; the base grid is written and read.
    Source: ATen/native/AffineGridGenerator.cpp.
    """
    grid = op.output()
    dims = grid.shape[-1]
    base = Tensor((*grid.shape[:-1], dims + 1), grid.dtype)
    return Work(
        (
            over(op, "elementwise", 0, read=(), written=(base,)),
            over(op, "matmul", 2 * (dims + 1) * grid.numel, read=(base, op.tensor("theta"))),
        )
    )


@counts("aten.im2col", "aten.col2im")
def unfold_image(op: Op) -> Work:
    """(n, c, *in) <-> (n, c |window|, positions): windows laid out as columns, or added back.

    Counts: an addition an element of the columns on the way back; each side once.
    Source: ATen/native/cuda/Im2Col.cu, Col2Im.cu; one launch a sample.
    """
    columns = max(op.output().numel, op.tensor("self").numel)
    batch = op.output().shape[0] if len(op.output().shape) > 2 else 1
    flops = columns if op.base_name == "aten.col2im" else 0
    return Work((over(op, "copy", flops, launches=max(batch, 1)),))


def _window(op: Op) -> int:
    """Return how many elements a window has."""
    size = cast("tuple[int, ...]", op.attributes.get("kernel_size", (1,)))
    dims = 3 if "pool3d" in op.name else 2
    return math.prod(size if len(size) > 1 else size * dims)

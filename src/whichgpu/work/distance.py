"""Distances between all pairs of points."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Gemm, Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, over

# Above so many points squared distances come from a matrix product. Source: ATen/native/Distance.cpp.
_FEW_POINTS = 25
# A difference, its absolute value or power, and the sum; for gradients three more.
_FORWARD, _BACKWARD = 3, 6


@counts("aten._cdist_forward")
def cdist(op: Op) -> Work:
    """Points (b, p, d) and (b, r, d) -> distances (b, p, r).

    Counts: 3 b p r d FLOPs by one block a pair, which reads both points, mostly from a cache: both tensors once. With
        the Euclidean norm of many points: as `euclidean`.
    Source: ATen/native/cuda/DistanceKernel.cu; ATen/native/Distance.cpp (cdist_impl).
    """
    first, second = op.tensor("x1"), op.tensor("x2")
    many = max(first.shape[-2], second.shape[-2]) > _FEW_POINTS
    mode = op.attributes.get("compute_mode") or 0
    if op.attributes.get("p") == 2 and (mode == 1 or (mode == 0 and many)):
        return euclidean(op)
    return Work((over(op, "reduction", _FORWARD * op.output().numel * first.shape[-1]),))


@counts("aten._euclidean_dist")
def euclidean(op: Op) -> Work:
    """Points (b, p, d) and (b, r, d) -> distances (b, p, r), as |x|^2 - 2 x y + |y|^2.

    Counts: squared norms of both (a square and a sum each), both with two columns more (a copy), their product of
        2 b p r (d + 2) FLOPs, then a bound and a root in place.
    Source: ATen/native/Distance.cpp (_euclidean_dist).
    """
    first, second, out = op.tensor("x1"), op.tensor("x2"), op.output()
    wide = [Tensor((*t.shape[:-1], t.shape[-1] + 2), t.dtype) for t in (first, second)]
    kernels = [
        kernel
        for points, wider in zip((first, second), wide, strict=True)
        for kernel in (
            over(op, "elementwise", points.numel, read=(points,), written=(points,)),
            over(op, "reduction", points.numel, read=(points,), written=(Tensor(points.shape[:-1], points.dtype),)),
            over(op, "copy", 0, read=(points,), written=(wider,)),
        )
    ]
    gemm = Gemm(out.numel // max(out.shape[-1] * out.shape[-2], 1), out.shape[-2], out.shape[-1], wide[0].shape[-1])
    kernels.append(
        Kernel(
            "matmul",
            out.dtype,
            flops=2.0 * out.numel * gemm.k,
            bytes_read=float(sum(t.nbytes for t in wide)),
            bytes_written=float(out.nbytes),
            gemm=gemm,
        )
    )
    kernels.append(over(op, "elementwise", out.numel, read=(out,), written=(out,)))
    kernels.append(over(op, "elementwise", SPECIAL * out.numel, read=(out,), written=(out,)))
    return Work(tuple(kernels))


@counts("aten._cdist_backward")
def cdist_backward(op: Op) -> Work:
    """Gradient (b, p, d) of the first points of `cdist`, from that of the distances.

    Counts: 6 b p r d FLOPs; a kernel that writes a part for each pair, and one that adds them up over r.
    Source: ATen/native/cuda/DistanceKernel.cu (cdist_backward_kernel_impl).
    """
    grad, first = op.tensor("grad"), op.tensor("x1")
    parts = Tensor((*grad.shape, first.shape[-1]), grad.dtype)
    return Work(
        (
            over(op, "reduction", (_BACKWARD - 1) * parts.numel, written=(parts,)),
            over(op, "reduction", parts.numel, read=(parts,), written=(op.output(),)),
        )
    )


@counts("aten._pdist_forward")
def pdist(op: Op) -> Work:
    """Points (n, d) -> distances of all pairs (n (n - 1) / 2,).

    Counts: 3 d FLOPs a pair; points read once.
    Source: ATen/native/cuda/DistanceKernel.cu.
    """
    return Work((over(op, "reduction", _FORWARD * op.output().numel * op.tensor("self").shape[-1]),))


@counts("aten._pdist_backward")
def pdist_backward(op: Op) -> Work:
    """Gradient (n, d) of `pdist`.

    Counts: 6 d FLOPs a pair; a kernel that writes (n, n, d) parts, and one that adds them up.
    Source: ATen/native/cuda/DistanceKernel.cu (pdist_backward_kernel_impl).
    """
    points, pairs = op.tensor("self"), op.tensor("pdist").numel
    parts = Tensor((points.shape[0], *points.shape), points.dtype)
    return Work(
        (
            over(op, "reduction", _BACKWARD * pairs * points.shape[-1], written=(parts,)),
            over(op, "reduction", parts.numel, read=(parts,), written=(op.output(),)),
        )
    )

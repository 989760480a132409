"""Reductions and scans: sums, means, extremes, norms, moments, running totals."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, over

# FLOPs for each element read. A square root or quotient of the result is not worth counting.
_FLOPS: dict[str, int] = {
    **dict.fromkeys(("sum", "mean", "prod", "amax", "amin", "max", "min", "any", "all", "argmax", "argmin"), 1),
    **dict.fromkeys(("nansum", "count_nonzero", "aminmax", "_is_all_true", "_is_any_true", "hash_tensor"), 2),
    **dict.fromkeys(("linalg_vector_norm", "norm", "native_norm"), 2),
    **dict.fromkeys(("trace", "equal"), 1),
    # Welford: two differences, a product and two sums
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), 5),
}
_SCAN_FLOPS: dict[str, int] = {
    **dict.fromkeys(("cumsum", "cumsum_", "cumprod", "cumprod_", "_cummax_helper", "_cummin_helper"), 1),
    **dict.fromkeys(("cummax", "cummin"), 1),
    "logcumsumexp": 3 + 2 * SPECIAL,
    "_logcumsumexp": 3 + 2 * SPECIAL,
}
# Two whole tensors compared: the host waits for the answer.
_WAITING = frozenset({"aten.equal"})


@counts(*(f"aten.{name}" for name in _FLOPS))
def reduction(op: Op) -> Work:
    """(..., n, ...) -> (..., ...) along some dimensions, or all.

    Counts: FLOPs by the table above for every element read; input read and result written once. `max` and `min` of two
        tensors are elementwise, and count the same.
    Leaves out: the second step of a reduction to few elements, which happens in the same launch.
    Source: ATen/native/cuda/Reduce.cuh.
    """
    flops = _FLOPS[op.base_name.removeprefix("aten.")] * next(op.input_tensors()).numel
    return Work((over(op, "reduction", flops),), synchronizes=op.base_name in _WAITING)


@counts("aten.logsumexp")
def logsumexp(op: Op) -> Work:
    """(..., n, ...) -> (..., ...): log of the sum of exponentials, relative to the largest.

    Counts: the largest (a read), differences (a read and a write), exponentials in place, their sum (a read): four
        kernels over the data, 3 + 8 FLOPs an element.
    Leaves out: four kernels on the small result.
    Source: ATen/native/ReduceOps.cpp (logsumexp_out_impl).
    """
    data, out = op.tensor("self"), op.output()
    return Work(
        (
            over(op, "reduction", data.numel, read=(data,), written=(out,)),
            over(op, "elementwise", data.numel, read=(data, out), written=(data,)),
            over(op, "elementwise", SPECIAL * data.numel, read=(data,), written=(data,)),
            over(op, "reduction", data.numel, read=(data,), written=(out,)),
        )
    )


@counts(*(f"aten.{name}" for name in _SCAN_FLOPS))
def scan(op: Op) -> Work:
    """(..., n, ...) -> the same shape, running totals along one dimension.

    Counts: FLOPs by the table above; a vector is read and written by one kernel that looks back, after a small one that
        sets up its state; rows by one.
    Source: ATen/native/cuda/ScanKernels.cu, ScanUtils.cuh.
    """
    data = op.tensor("self")
    is_vector = sum(1 for n in data.shape if n > 1) <= 1
    flops = _SCAN_FLOPS[op.base_name.removeprefix("aten.")] * data.numel
    return Work((over(op, "reduction", flops, launches=2 if is_vector else 1),))


@counts("aten.allclose")
def allclose(op: Op) -> Work:
    """(...), (...) -> a truth value for Python: the host waits.

    Counts: equality, a difference, its bound and comparisons, kernel by kernel, then whether all hold: seven passes.
    Source: ATen/native/TensorCompare.cpp (isclose, allclose).
    """
    data = op.tensor("self")
    one = over(op, "elementwise", data.numel, written=(data,))
    return Work((*(one,) * 6, over(op, "reduction", data.numel, read=(data,), written=())), synchronizes=True)


@counts("aten.renorm", "aten.renorm_")
def renorm(op: Op) -> Work:
    """(..., n, ...) -> the same shape, slices along `dim` whose norm is too large scaled down.

    Counts: norms of all slices, then a product an element.
    Leaves out: the factors, one a slice.
    Source: ATen/native/Normalization.cpp (renorm_out).
    """
    data = op.tensor("self")
    return Work(
        (
            over(op, "reduction", 2 * data.numel, read=(data,), written=()),
            over(op, "elementwise", data.numel, read=(data,)),
        )
    )


@counts("aten._fused_moving_avg_obs_fq_helper")
def observe_and_fake_quantize(op: Op) -> Work:
    """(...) -> (...) rounded to a grid that follows the smallest and largest values seen, and a mask.

    Counts: smallest and largest, a kernel of one block for the running ones and the grid, then 6 FLOPs an element.
    Source: ATen/native/quantized/cuda/FusedObsFakeQuant.cu.
    """
    data = op.tensor("self")
    small = over(op, "elementwise", 16, read=(), written=())
    return Work(
        (
            over(op, "reduction", 2 * data.numel, read=(data,), written=()),
            small,
            over(op, "elementwise", 6 * data.numel, read=(data,)),
        )
    )


@counts("aten.dist")
def dist(op: Op) -> Work:
    """(...), (...) -> scalar: the norm of a difference.

    Counts: a difference that is written, then its norm; 3 FLOPs an element.
    Source: ATen/native/LinearAlgebra.cpp (dist).
    """
    data: Tensor = op.tensor("self")
    return Work(
        (
            over(op, "elementwise", data.numel, written=(data,)),
            over(op, "reduction", 2 * data.numel, read=(data,)),
        )
    )

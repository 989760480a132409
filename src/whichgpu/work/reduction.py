"""Sums and other ops that make few elements of many."""

from __future__ import annotations

from whichgpu.graph import Op
from whichgpu.work.kernel import Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import largest, streaming


@counts(
    "aten.sum", "aten.mean", "aten.prod", "aten.amax", "aten.amin", "aten.aminmax", "aten.max", "aten.min", "aten.any",
    "aten.all", "aten.argmax", "aten.argmin", "aten.linalg_vector_norm", "aten.norm", "aten.nansum", "aten.count_nonzero",
    "aten.std", "aten.var", "aten.var_mean", "aten.std_mean", "aten.logsumexp", "aten.median", "aten.nanmedian",
    "aten.mode", "aten.hash_tensor",
)  # fmt: skip
def reduction(op: Op) -> Work:
    """(*shape) -> fewer elements.

    Counts: one FLOP an element read (two for norms and variances would not change what decides); the input read once.
    Leaves out: the second stage of reductions to few elements.
    Source: ATen/native/cuda/Reduce.cuh (one launch).
    """
    return streaming(op, "reduction", float(largest(op).numel))


@counts("aten.cumsum", "aten.cumsum_", "aten.cumprod", "aten.cummax", "aten.cummin", "aten.logcumsumexp")
def scan(op: Op) -> Work:
    """(*shape) -> (*shape), running totals along one dimension.

    Counts: one FLOP an element; read and written once.
    Leaves out: the second pass of a scan over one long row.
    Source: ATen/native/cuda/ScanKernels.cpp.
    """
    return streaming(op, "reduction", float(largest(op).numel))

"""Matrix products."""

from __future__ import annotations

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Gemm, Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_read, bytes_written


def _product(op: Op, left: Tensor, gemm: Gemm) -> Work:
    flops = 2.0 * gemm.batch * gemm.m * gemm.n * gemm.k
    return Work((Kernel("matmul", left.dtype, flops, bytes_read(op), bytes_written(op), gemm),))


@counts("aten.mm")
def mm(op: Op) -> Work:
    """(m, k) @ (k, n) -> (m, n).

    Counts: 2mnk FLOPs; both operands read and the result written once.
    Leaves out: reading operands again where they do not fit the caches (cost knows the caches).
    Source: torch.utils.flop_counter, mm_flop.
    """
    left, right = op.tensor("self"), op.tensor("mat2")
    return _product(op, left, Gemm(1, left.shape[0], right.shape[1], left.shape[1]))


@counts("aten.addmm")
def addmm(op: Op) -> Work:
    """(n,) or (m, n) + (m, k) @ (k, n) -> (m, n).

    Counts: 2mnk FLOPs; operands and bias read and the result written once.
    Leaves out: the addition, which the kernel's epilogue does (1/2k of the product).
    Source: torch.utils.flop_counter, addmm_flop.
    """
    left, right = op.tensor("mat1"), op.tensor("mat2")
    return _product(op, left, Gemm(1, left.shape[0], right.shape[1], left.shape[1]))


@counts("aten._addmm_activation")
def addmm_activation(op: Op) -> Work:
    """(n,) + (m, k) @ (k, n) -> (m, n), then ReLU or GELU in the epilogue.

    Counts: as addmm.
    Leaves out: the activation's FLOPs.
    Source: ATen/native/cuda/Blas.cpp.
    """
    return addmm(op)


@counts("aten.bmm")
def bmm(op: Op) -> Work:
    """(b, m, k) @ (b, k, n) -> (b, m, n).

    Counts: 2bmnk FLOPs; operands read and the result written once.
    Leaves out: as mm.
    Source: torch.utils.flop_counter, bmm_flop.
    """
    left, right = op.tensor("self"), op.tensor("mat2")
    return _product(op, left, Gemm(left.shape[0], left.shape[1], right.shape[2], left.shape[2]))


@counts("aten.baddbmm", "aten.baddbmm_")
def baddbmm(op: Op) -> Work:
    """(b, m, n) + (b, m, k) @ (b, k, n) -> (b, m, n).

    Counts: 2bmnk FLOPs; operands and addend read, the result written once.
    Leaves out: the addition.
    Source: torch.utils.flop_counter, baddbmm_flop.
    """
    left, right = op.tensor("batch1"), op.tensor("batch2")
    return _product(op, left, Gemm(left.shape[0], left.shape[1], right.shape[2], left.shape[2]))


@counts("aten.mv", "aten.addmv")
def mv(op: Op) -> Work:
    """(m, k) @ (k,) -> (m,).

    Counts: 2mk FLOPs; the matrix read once.
    Leaves out: nothing of note.
    Source: its definition.
    """
    matrix = op.tensor("mat" if "mat" in op.inputs else "self")
    return _product(op, matrix, Gemm(1, matrix.shape[0], 1, matrix.shape[1]))


@counts("aten.dot", "aten.vdot")
def dot(op: Op) -> Work:
    """(k,) . (k,) -> ().

    Counts: 2k FLOPs; both read once.
    Leaves out: the second kernel that adds partial sums of long vectors.
    Source: its definition.
    """
    left = op.tensor("self")
    return _product(op, left, Gemm(1, 1, 1, left.shape[0]))

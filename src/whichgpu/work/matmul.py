"""Matrix products: (m, k) @ (k, n), batched, with vectors, with something added."""

from __future__ import annotations

import math
from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.graph.tensor import contiguous_stride
from whichgpu.work.kernel import DEEP_ROW_BYTES, WIDE_LOAD_BYTES, Gemm, Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_of, copy, over, read_tensors


@counts("aten.mm", "aten.bmm", "aten._int_mm", "aten._scaled_mm")
def mm(op: Op) -> Work:
    """(m, k) @ (k, n) -> (m, n), or a batch of them: (b, m, k) @ (b, k, n) -> (b, m, n).

    Counts: 2 b m n k FLOPs; both factors (with scales and a bias, where there are any) read and the product written
        once. A factor whose rows and columns both have gaps is copied first.
    Leaves out: what a kernel reads again because a tile is needed by several multiprocessors.
    Source: ATen/native/cuda/Blas.cpp.
    """
    left, right = op.tensor("self"), op.tensor("mat2")
    return Work((*_packed(left, right), product(left, right, read_tensors(op), op.output())))


@counts("aten.addmm", "aten.addmm_", "aten._addmm_activation", "aten.baddbmm", "aten.baddbmm_")
def addmm(op: Op) -> Work:
    """Return beta (m, n) + alpha (m, k) @ (k, n) -> (m, n), or a batch of them; often a linear layer with its bias.

    Counts: 2 b m n k FLOPs. A bias (n,) is added by the kernel of the product itself. Anything else is first copied to
        where the result will lie, and read from there.
    Leaves out: the addition, 1/(2k) of the FLOPs.
    Source: ATen/native/cuda/Blas.cpp (addmm_out_cuda_impl takes cuBLASLt with a bias epilogue for a vector).
    """
    batched = op.base_name.startswith("aten.baddbmm")
    left, right = op.tensor("batch1" if batched else "mat1"), op.tensor("batch2" if batched else "mat2")
    added, result = op.tensor("self"), op.output()
    packed = _packed(left, right)
    if not op.attributes.get("beta", 1):
        return Work((*packed, product(left, right, (left, right), result)))
    is_bias = not batched and added.shape == right.shape[-1:] and left.shape[0] > 1
    if is_bias or op.base_name.endswith("_"):
        return Work((*packed, product(left, right, (left, right, added), result)))
    return Work((*packed, copy(added, result), product(left, right, (left, right, result), result)))


@counts("aten.addbmm", "aten.addbmm_")
def addbmm(op: Op) -> Work:
    """Return beta (m, n) + alpha sum over b of (b, m, k) @ (b, k, n) -> (m, n): one product after the other.

    Counts: 2 b m n k FLOPs in b launches, each of which reads and writes the sum.
    Source: ATen/native/LinearAlgebra.cpp, addbmm_impl_.
    """
    total = op.output()
    left, right = (Tensor(op.tensor(n).shape[1:], op.tensor(n).dtype) for n in ("batch1", "batch2"))
    each = product(left, right, (left, right, total), total)
    begin = () if op.base_name.endswith("_") else (copy(op.tensor("self"), total),)
    return Work((*begin, *(each,) * op.tensor("batch1").shape[0]))


@counts("aten.mv", "aten.addmv", "aten.addmv_")
def mv(op: Op) -> Work:
    """(m, k) @ (k,) -> (m,), with a vector added if there is one.

    Counts: 2 m k FLOPs; the matrix and the vectors once.
    Source: ATen/native/Blas.cpp (gemv).
    """
    matrix = op.tensor("self" if op.base_name == "aten.mv" else "mat")
    return Work((over(op, "matmul", 2 * matrix.numel),))


@counts("aten.dot", "aten.vdot")
def dot(op: Op) -> Work:
    """(n,) . (n,) -> scalar.

    Counts: 2 n FLOPs; both vectors once.
    Source: ATen/native/cuda/Blas.cpp.
    """
    return Work((over(op, "reduction", 2 * op.tensor("self").numel),))


@counts("aten.addr", "aten.addr_")
def addr(op: Op) -> Work:
    """Return beta (m, n) + alpha (m,) x (n,) -> (m, n), the outer product of two vectors, elementwise.

    Counts: 3 m n FLOPs.
    Source: ATen/native/cuda/LinearAlgebra.cu (addr_kernel_cuda).
    """
    return Work((over(op, "elementwise", 3 * op.output().numel),))


@counts("aten._trilinear")
def trilinear(op: Op) -> Work:
    """Sum over shared dimensions of a product of three tensors; (n, i), (o, i, j), (n, j) -> (n, o) in nn.Bilinear.

    Counts: two of them multiplied and summed, for each place along the unrolled dimension: 2 FLOPs for each element of
        the product of all three, broadcast.
    Leaves out: the product with the third, a sum over one dimension less.
    Source: ATen/native/Linear.cpp (_trilinear).
    """
    shapes = [
        _unsqueezed(op.tensor(f"i{index}").shape, cast("tuple[int, ...]", op.attributes.get(f"expand{index}", ())))
        for index in (1, 2, 3)
    ]
    places = math.prod(max(sizes) for sizes in zip(*shapes, strict=True))
    return Work((over(op, "matmul", 2 * places),))


def _unsqueezed(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    sizes = list(shape)
    for dim in sorted(dims):
        sizes.insert(dim, 1)
    return tuple(sizes)


@counts("aten._grouped_mm", "aten._scaled_grouped_mm")
def grouped_mm(op: Op) -> Work:
    """Rows (t, k) in e groups @ (e, k, n) -> (t, n): the experts of a mixture, or its gradients.

    Counts: 2 FLOPs a multiply-add: 2 m k n with the grouped dimension taken whole, for its groups share it out;
        2 e m n k if both are batches.
    Leaves out: that groups differ in size: the product is described as e equal ones.
    Source: ATen/native/cuda/GroupMM.cu.
    """
    left, right = op.tensor("self"), op.tensor("mat2")
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    if len(left.shape) == len(right.shape) == 3:
        return Work((product(left, right, read_tensors(op), op.output()),))
    groups = op.tensor("offs").numel
    if len(left.shape) == len(right.shape) == 2:
        gemm = Gemm(groups, m, n, -(-k // groups))
    elif len(left.shape) == 2:
        gemm = Gemm(groups, -(-m // groups), n, k)
    else:
        gemm = Gemm(groups, m, -(-n // groups), k)
    read, written = float(bytes_of(read_tensors(op))), float(op.output().nbytes)
    return Work((Kernel("matmul", left.dtype, 2.0 * m * n * k, read, written, gemm),))


def product(left: Tensor, right: Tensor, read: tuple[Tensor, ...], result: Tensor) -> Kernel:
    """Return the kernel of (b, m, k) @ (b, k, n) that reads what `read` has and writes `result`."""
    *batch, m, k = left.shape
    gemm = Gemm(batch[0] if batch else 1, m, right.shape[-1], k)
    return Kernel(
        "matmul",
        left.dtype,
        flops=2.0 * gemm.batch * gemm.m * gemm.n * gemm.k,
        bytes_read=float(bytes_of(read)),
        bytes_written=float(result.nbytes),
        gemm=gemm,
        aligned=all(_is_aligned(t) for t in (left, right, result)),
        deep=k * left.itemsize > DEEP_ROW_BYTES and _stride(left)[-1] == 1 and _stride(right)[-2] == 1,
    )


def _is_aligned(matrix: Tensor) -> bool:
    """Return whether all rows, or columns, that lie in one piece begin at multiples of 16 bytes, as wide loads need."""
    sizes_and_steps = zip(matrix.shape, _stride(matrix), strict=True)
    return all(n == 1 or step in (0, 1) or not step * matrix.itemsize % WIDE_LOAD_BYTES for n, step in sizes_and_steps)


def _stride(matrix: Tensor) -> tuple[int, ...]:
    return contiguous_stride(matrix.shape) if matrix.stride is None else matrix.stride


def _packed(*factors: Tensor) -> tuple[Kernel, ...]:
    """Return the copies of those factors that cuBLAS cannot take: it wants rows or columns without gaps."""
    return tuple(copy(t, Tensor(t.shape, t.dtype)) for t in factors if not _is_taken(t))


def _is_taken(factor: Tensor) -> bool:
    if factor.stride is None:
        return True
    (rows, columns), (down, across) = factor.shape[-2:], factor.stride[-2:]
    by_rows = (across == 1 or columns == 1) and (down >= columns or rows == 1)
    by_columns = (down == 1 or rows == 1) and (across >= rows or columns == 1)
    return by_rows or by_columns

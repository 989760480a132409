"""Factorizations and solvers of dense matrices, by cuSOLVER, cuBLAS and MAGMA.

FLOPs are those of the textbook algorithms; their columns depend on each other, so they run on vector units in chains
of small kernels, here a few for each panel of columns.
"""

from __future__ import annotations

import math

from whichgpu.graph import Op, Tensor
from whichgpu.work.kernel import Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import bytes_of, over, read_tensors, written_tensors

# Columns a blocked factorization takes at once, and kernels for each: the panel, a triangular solve, the update.
# Source: LAPACK Users' Guide, block sizes by ILAENV; cuSOLVER takes 32 to 128.
_PANEL = 64
_KERNELS_OF_PANEL = 3
# Products a matrix exponential takes: a polynomial of degree 18 by 5, and one squaring on average.
# Source: Bader, Blanes, Casas, "Computing the Matrix Exponential with an Optimized Taylor Polynomial", 2019.
_EXPONENTIAL_PRODUCTS = 6


@counts("aten.linalg_cholesky_ex", "aten.cholesky")
def cholesky(op: Op) -> Work:
    """(b, n, n) -> (b, n, n), a triangle.

    Counts: n^3 / 3 FLOPs.
    Source: Golub and Van Loan, Matrix Computations, 4.2; ATen/native/cuda/linalg/BatchLinearAlgebra.cpp.
    """
    batch, _, n = _matrix(op, "self")
    return _factorized(op, batch * n**3 / 3, n)


@counts("aten.linalg_lu_factor_ex", "aten.linalg_lu", "aten._linalg_det", "aten._linalg_slogdet")
def lu(op: Op) -> Work:
    """(b, m, n) -> its LU factors, or the determinants (b,) they give.

    Counts: 2 n^3 / 3 FLOPs for a square matrix, m n^2 - n^3 / 3 in general.
    Source: Golub and Van Loan, 3.2; ATen/native/cuda/linalg/BatchLinearAlgebra.cpp.
    """
    batch, m, n = _matrix(op, "A" if "A" in op.inputs else "self")
    m, n = max(m, n), min(m, n)
    return _factorized(op, batch * (m * n**2 - n**3 / 3), n)


@counts("aten.linalg_inv_ex")
def inverse(op: Op) -> Work:
    """(b, n, n) -> (b, n, n).

    Counts: LU and n solutions, 2 n^3 FLOPs.
    Source: Golub and Van Loan, 3.4.
    """
    batch, _, n = _matrix(op, "A")
    return _factorized(op, 2.0 * batch * n**3, n)


@counts("aten._linalg_solve_ex")
def solve(op: Op) -> Work:
    """(b, n, n) and right sides (b, n, k) -> (b, n, k): LU, then two triangular solutions.

    Counts: 2 n^3 / 3 + 2 n^2 k FLOPs.
    Source: Golub and Van Loan, 3.2.
    """
    batch, _, n = _matrix(op, "A")
    return _factorized(op, batch * 2 * n**3 / 3 + _right_sides(op, "B", n, 2), n)


@counts("aten.linalg_lu_solve", "aten.cholesky_solve", "aten._cholesky_solve_helper")
def solve_factorized(op: Op) -> Work:
    """Factors (b, n, n) and right sides (b, n, k) -> (b, n, k): two triangular solutions.

    Counts: 2 n^2 k FLOPs.
    Source: Golub and Van Loan, 3.1.
    """
    by_lu = "LU" in op.inputs
    n = op.tensor("LU" if by_lu else "A" if "A" in op.inputs else "input2").shape[-1]
    return _factorized(op, _right_sides(op, "B" if by_lu else "self", n, 2), n)


@counts("aten.linalg_solve_triangular", "aten.triangular_solve")
def solve_triangular(op: Op) -> Work:
    """Triangles (b, n, n) and right sides (b, n, k) -> (b, n, k).

    Counts: n^2 k FLOPs.
    Source: Golub and Van Loan, 3.1.
    """
    triangles, sides = ("self", "B") if "B" in op.inputs else ("A", "self")
    n = op.tensor(triangles).shape[-1]
    return _factorized(op, _right_sides(op, sides, n, 1), n)


@counts("aten.cholesky_inverse")
def cholesky_inverse(op: Op) -> Work:
    """A Cholesky factor (b, n, n) -> the inverse (b, n, n).

    Counts: 2 n^3 / 3 FLOPs.
    Source: LAPACK Working Note 41 (potri).
    """
    batch, _, n = _matrix(op, "self")
    return _factorized(op, batch * 2 * n**3 / 3, n)


@counts("aten.linalg_qr", "aten.geqrf", "aten.linalg_householder_product", "aten.ormqr")
def qr(op: Op) -> Work:
    """(b, m, n) -> Q (b, m, n) and R (b, n, n).

    Counts: 2 m n^2 - 2 n^3 / 3 FLOPs for the reflections, and as many to multiply them out, where both are wanted.
    Source: Golub and Van Loan, 5.2.
    """
    batch, m, n = _matrix(op, "A" if "A" in op.inputs else "self" if "self" in op.inputs else "input")
    m, n = max(m, n), min(m, n)
    times = 2 if op.base_name == "aten.linalg_qr" and op.attributes.get("mode", "reduced") != "r" else 1
    return _factorized(op, times * batch * (2 * m * n**2 - 2 * n**3 / 3), n * times)


@counts("aten._linalg_eigh")
def eigh(op: Op) -> Work:
    """Symmetric (b, n, n) -> eigenvalues (b, n) and vectors (b, n, n).

    Counts: 9 n^3 FLOPs with vectors, 4 n^3 / 3 without.
    Source: Golub and Van Loan, 8.3.
    """
    batch, _, n = _matrix(op, "A")
    return _factorized(op, batch * n**3 * (9 if op.attributes.get("compute_v", True) else 4 / 3), 2 * n)


@counts("aten.linalg_eig", "aten._linalg_eigvals", "aten.linalg_eigvals")
def eig(op: Op) -> Work:
    """(b, n, n) -> complex eigenvalues (b, n) and vectors (b, n, n); torch sends it to the CPU and back.

    Counts: 25 n^3 FLOPs with vectors, 10 n^3 without; the host waits.
    Source: Golub and Van Loan, 7.5; ATen/native/cuda/linalg/BatchLinearAlgebra.cpp (linalg_eig_kernel).
    """
    batch, _, n = _matrix(op, "self")
    work = _factorized(op, batch * n**3 * (25 if op.base_name == "aten.linalg_eig" else 10), 2 * n)
    return Work(work.kernels, synchronizes=True)


@counts("aten._linalg_svd", "aten.linalg_pinv")
def svd(op: Op) -> Work:
    """(b, m, n) -> U (b, m, n), values (b, n), V (b, n, n), or the pseudoinverse made of them.

    Counts: 6 m n^2 + 20 n^3 FLOPs with vectors, 2 m n^2 + 2 n^3 without; a pseudoinverse 2 m n^2 more.
    Source: Golub and Van Loan, 8.6 (R-SVD).
    """
    batch, m, n = _matrix(op, "A" if "A" in op.inputs else "self")
    m, n = max(m, n), min(m, n)
    is_inverse = op.base_name == "aten.linalg_pinv"
    if is_inverse or op.attributes.get("compute_uv", True):
        flops = 6 * m * n**2 + 20 * n**3 + (2 * m * n**2 if is_inverse else 0)
    else:
        flops = 2 * m * n**2 + 2 * n**3
    return _factorized(op, float(batch * flops), 2 * n)


@counts("aten.linalg_matrix_exp")
def matrix_exp(op: Op) -> Work:
    """(b, n, n) -> (b, n, n), by products; the host waits for norms that choose how many.

    Counts: six products, 12 n^3 FLOPs.
    Leaves out: that matrices of small norm take fewer, large ones a squaring more for each doubling.
    Source: Bader, Blanes, Casas 2019; ATen/native/LinearAlgebra.cpp (mexp).
    """
    data = op.tensor("self")
    flops = 2.0 * data.numel * data.shape[-1]
    product = over(op, "matmul", flops, read=(data, data))
    return Work((product,) * _EXPONENTIAL_PRODUCTS, synchronizes=True)


@counts("aten.linalg_cross")
def cross(op: Op) -> Work:
    """(..., 3), (..., 3) -> (..., 3).

    Counts: two products and a difference an element.
    Source: ATen/native/cuda/CrossKernel.cu.
    """
    return Work((over(op, "elementwise", 3 * op.output().numel),))


@counts("aten._linalg_check_errors")
def check_errors(op: Op) -> Work:
    """Codes of errors (b,) -> nothing: whether any is set, for which the host waits.

    Source: ATen/native/BatchLinearAlgebra.cpp.
    """
    codes = op.tensor("info")
    return Work((Kernel("reduction", codes.dtype, float(codes.numel), float(codes.nbytes), 1.0),), synchronizes=True)


def _matrix(op: Op, name: str) -> tuple[int, int, int]:
    """Return how many matrices the argument `name` has, their rows and their columns."""
    *batch, m, n = op.tensor(name).shape
    return math.prod(batch), m, n


def _right_sides(op: Op, name: str, n: int, times: int) -> float:
    """Return the FLOPs of `times` triangular solutions of n equations for all columns of the argument `name`."""
    sides: Tensor = op.tensor(name)
    return float(times * n * sides.numel)


def _factorized(op: Op, flops: float, columns: int) -> Work:
    launches = max(1, _KERNELS_OF_PANEL * -(-columns // _PANEL))
    dtype = next((t.dtype for t in op.input_tensors() if t.is_floating_point), "float32")
    read, written = float(bytes_of(read_tensors(op))), float(bytes_of(written_tensors(op)))
    return Work((Kernel("reduction", dtype, float(flops), read, written, launches=launches),))

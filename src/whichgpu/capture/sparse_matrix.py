"""Sparse matrices of the phantom GPU in parts: dense tensors of places and values, and the kernels CUDA runs on them.

Every kernel is recorded on these parts, so that graphs know dense tensors alone. What autograd does with a sparse
matrix on CUDA is done here with the values: gradients flow through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.op_traits import traits_of
from whichgpu.capture.phantom_tensor import META, PhantomTensor
from whichgpu.capture.shadow import give_shadow, value_of

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

aten = torch.ops.aten

DISTINCT = (
    "Of sparse matrices whose places are not known, no two elements are taken to share one: where they are coalesced, "
    "as many are left."
)
# Which parts hold the places of a layout's elements.
PLACES = {
    torch.sparse_coo: ("indices",),
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
}
_FLIPPED = {torch.sparse_csr: torch.sparse_csc, torch.sparse_csc: torch.sparse_csr}


@dataclass(frozen=True)
class Matrix:
    """A sparse matrix (m, k), or a tensor of other rank, of n elements.

    Attributes:
        device: The phantom GPU it lies on.
        layout: torch.sparse_coo, sparse_csr or sparse_csc.
        size: Its shape.
        places: Where its elements are: indices (2, n); or (m + 1,) and (n,) of a compressed layout.
        values: Its elements (n,), with their history in autograd.
        is_coalesced: Whether the elements of COO lie in order, each in a place of its own.
        distinct: In how many places elements are, where that is known.
    """

    device: FakeDevice
    layout: torch.layout
    size: tuple[int, ...]
    places: tuple[PhantomTensor, ...]
    values: Any
    is_coalesced: bool = False
    distinct: int | None = None

    @property
    def nnz(self) -> int:
        """Number of elements it holds."""
        return int(self.values.shape[0])

    @property
    def parts(self) -> dict[str, Any]:
        """All its tensors, by name."""
        return {**dict(zip(PLACES[self.layout], self.places, strict=True)), "values": self.values}

    def like(self, values: Any) -> Matrix:
        """Return a matrix with elements in the same places."""
        return replace(self, values=values)


def coalesced(matrix: Matrix, keeps_places: bool = False) -> Matrix:
    """Return a matrix with its elements in order and those of one place added up.

    Args:
        matrix: It.
        keeps_places: Whether somebody may look at the places, so that they are worth sorting where they are known.
    """
    if matrix.is_coalesced or matrix.layout != torch.sparse_coo:
        return matrix
    known = value_of(matrix.places[0])
    distinct = matrix.distinct
    ordered = None
    if known is not None and (keeps_places or distinct is None):
        ones = torch.ones(known.shape[1], device="cpu")
        ordered = torch.sparse_coo_tensor(known, ones, matrix.size, check_invariants=False).coalesce().indices()
        distinct = ordered.shape[1]
    if distinct is None:
        matrix.device.tell(DISTINCT)
        distinct = matrix.nnz
    indices, values = _Coalesce.apply(matrix, matrix.values, distinct)
    if ordered is not None:
        give_shadow(indices, ordered)
    return replace(matrix, places=(indices,), values=values, is_coalesced=True, distinct=distinct)


def transposed(matrix: Matrix, first: int = 0, second: int = 1) -> Matrix:
    """Return (k, m) for (m, k): COO is copied and its rows of indices change places, compressed layouts flip.

    Source: ATen/native/TensorShape.cpp (transpose, sparse_transpose_).
    """
    size = list(matrix.size)
    size[first], size[second] = size[second], size[first]
    if matrix.layout != torch.sparse_coo:
        return replace(matrix, layout=_FLIPPED[matrix.layout], size=tuple(size))
    indices, values = matrix.places[0].clone(), matrix.values.clone()
    row, other = indices.select(0, first), indices.select(0, second)
    kept = torch.empty_like(row)
    kept.copy_(row)
    row.copy_(other)
    other.copy_(kept)
    return replace(matrix, size=tuple(size), places=(indices,), values=values, is_coalesced=False)


def as_csr(matrix: Matrix) -> Matrix:
    """Return a matrix in rows: COO is coalesced and its rows counted, CSC is sorted by rows.

    Source: ATen/native/TensorConversions.cpp (sparse_coo_to_sparse_csr, sparse_compressed_to_flipped).
    """
    if matrix.layout == torch.sparse_csr:
        return matrix
    if matrix.layout == torch.sparse_coo:
        matrix = coalesced(matrix)
        rows, columns = matrix.places[0].select(0, 0), matrix.places[0].select(0, 1)
        places = torch._convert_indices_from_coo_to_csr(rows, matrix.size[0]), columns
        return replace(matrix, layout=torch.sparse_csr, places=places, is_coalesced=False)
    compressed, plain = matrix.places
    indices = torch._convert_indices_from_csr_to_coo(compressed, plain, out_int32=compressed.dtype == torch.int32)
    ordered, order = torch.sort(plain, stable=True)
    rows = torch._convert_indices_from_coo_to_csr(ordered, matrix.size[0], out_int32=compressed.dtype == torch.int32)
    places = rows, indices.select(0, 0).index_select(0, order)
    return replace(matrix, layout=torch.sparse_csr, places=places, values=matrix.values.index_select(0, order))


def product(matrix: Matrix, dense: Any, added: Any = None, beta: float = 0, alpha: float = 1) -> Any:
    """Return beta (m, c) + alpha (m, k) @ (k, c) -> (m, c), dense."""
    if added is None:
        added = matrix.device.answer(
            aten.zeros.default,
            ([matrix.size[0], dense.shape[1]],),
            {"dtype": dense.dtype, "device": META},
        )
    return _Product.apply(matrix, matrix.values, dense, added, beta, alpha)


def softmax(matrix: Matrix, dim: int, is_log: bool = False) -> Matrix:
    """Return a matrix whose elements along `dim`, those it has, add up to one; or the logarithms of these."""
    matrix = coalesced(matrix)
    return matrix.like(_Softmax.apply(matrix, matrix.values, dim, is_log))


def masked(matrix: Matrix, dense: Any) -> Any:
    """Return the elements (n,) of a dense (m, k) in the places of a matrix."""
    out = matrix.device.new((matrix.nnz,), dense.dtype)
    return record(matrix, aten.sparse_mask.default, out, {"self": dense}, without=("values",))


def record(
    matrix: Matrix,
    func: Any,
    out: Any,
    given: dict[str, Any] | None = None,
    without: Sequence[str] = (),
) -> Any:
    """Record a call of `func` on the parts of a matrix, with what else is given to it, and return its result."""
    parts = {k: v for k, v in matrix.parts.items() if k not in without}
    return matrix.device.recorded(traits_of(func), (), {**(given or {}), **parts}, out)


def _saved(ctx: Any, matrix: Matrix, *others: Any) -> None:
    """Save a matrix, and other tensors, until the backward pass; what is no tensor stays with `ctx`."""
    ctx.form = replace(matrix, places=(), values=None)
    ctx.save_for_backward(*matrix.places, matrix.values, *others)


def _restored(ctx: Any) -> tuple[Matrix, tuple[Any, ...]]:
    count = len(PLACES[ctx.form.layout])
    saved = ctx.saved_tensors
    return replace(ctx.form, places=saved[:count], values=saved[count]), saved[count + 1 :]


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """A product with a dense matrix; as on CUDA, COO is coalesced and CSC sorted for every one of them.

    The gradient of its values is that of a dense (m, k), all but its places dropped. What then brings these to the
    order of a matrix that was not coalesced is left out.

    Source: ATen/native/sparse/cuda/SparseCUDATensorMath.cu (s_addmm_out_sparse_dense_cuda); SparseBlasImpl.cpp;
    FunctionsManual.cpp (mm_mat1_backward, mm_mat2_backward).
    """

    adds_no_gradients = True

    @staticmethod
    def forward(ctx: Any, matrix: Matrix, values: Any, dense: Any, added: Any, beta: float, alpha: float) -> Any:
        """Record the product."""
        _, needs_values, needs_dense, *_ = ctx.needs_input_grad
        if needs_values or needs_dense:
            _saved(ctx, matrix, dense if needs_values else None)
        ctx.beta, ctx.alpha = beta, alpha
        ready = coalesced(matrix) if matrix.layout == torch.sparse_coo else as_csr(matrix)
        out = matrix.device.new((matrix.size[0], dense.shape[1]), dense.dtype)
        return record(ready, aten._sparse_addmm.default, out, {"self": added, "mat2": _in_order(dense), "beta": beta})

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Multiply with the transpose."""
        _, needs_values, needs_dense, needs_added, *_ = ctx.needs_input_grad
        of_values = of_dense = None
        if needs_values or needs_dense:
            matrix, (dense,) = _restored(ctx)
            if needs_values:
                of_values = masked(matrix, _times(grad.mm(dense.t()), ctx.alpha))
            if needs_dense:
                of_dense = _times(product(transposed(matrix), grad), ctx.alpha)
        return None, of_values, of_dense, _times(grad, ctx.beta) if needs_added else None, None, None


class _Coalesce(torch.autograd.Function):  # type: ignore[misc]
    """Elements put in order and added up where they share a place; gradients go back to where they came from.

    Source: ATen/native/sparse/cuda/SparseCUDATensor.cu (_coalesce_sparse_cuda).
    """

    adds_no_gradients = True

    @staticmethod
    def forward(ctx: Any, matrix: Matrix, values: Any, distinct: int) -> Any:
        """Record the sorting."""
        if ctx.needs_input_grad[1]:
            _saved(ctx, matrix)
        indices = matrix.device.new((len(matrix.size), distinct), torch.int64)
        out = indices, matrix.device.new((distinct, *values.shape[1:]), values.dtype)
        ctx.mark_non_differentiable(indices)
        return record(matrix, aten._coalesce.default, out)

    @staticmethod
    def backward(ctx: Any, unused: Any, grad: Any) -> Any:
        """Look each element's gradient up."""
        matrix, _ = _restored(ctx)
        out = matrix.device.new(matrix.values.shape, grad.dtype)
        return None, record(matrix, aten.sparse_mask.default, out, {"self": grad}, without=("values",)), None


class _Softmax(torch.autograd.Function):  # type: ignore[misc]
    """A softmax, or its logarithm, over the elements of each line of a matrix.

    Source: ATen/native/sparse/cuda/SoftMax.cu.
    """

    adds_no_gradients = True

    @staticmethod
    def forward(ctx: Any, matrix: Matrix, values: Any, dim: int, is_log: bool) -> Any:
        """Record it."""
        ctx.dim, ctx.is_log = dim, is_log
        out = matrix.device.new(values.shape, values.dtype)
        if ctx.needs_input_grad[1]:
            _saved(ctx, matrix.like(out))
        func = aten._sparse_log_softmax.default if is_log else aten._sparse_softmax.default
        return record(matrix, func, out, {"dim": dim})

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Record the gradient of its values."""
        matrix, _ = _restored(ctx)
        name = "_sparse_log_softmax_backward_data" if ctx.is_log else "_sparse_softmax_backward_data"
        out = matrix.device.new(grad.shape, grad.dtype)
        return None, record(matrix, getattr(aten, name).default, out, {"grad_output": grad, "dim": ctx.dim}), None, None


def _in_order(dense: Any) -> Any:
    """Return a dense factor as cuSPARSE takes it: its rows or its columns without gaps between their elements."""
    rows, columns = dense.stride()
    if (rows == 1 and columns == dense.shape[0]) or (columns == 1 and rows != dense.shape[1]):
        return dense
    return dense.contiguous()


def _times(tensor: Any, factor: float) -> Any:
    return tensor if factor == 1 else tensor * factor

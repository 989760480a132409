"""What torch's functions do with sparse tensors of the phantom GPU, by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Number
from typing import Any, TypeVar

import torch

from whichgpu.capture.phantom_tensor import META, PhantomTensor
from whichgpu.capture.sparse_matrix import PLACES, Matrix, as_csr, coalesced, product, softmax, transposed
from whichgpu.capture.sparse_tensor import SparsePhantom, refusal

F = TypeVar("F", bound=Callable[..., Any])

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def handles(*names: str) -> Callable[[F], F]:
    """Return a decorator that lets a function answer torch's functions, methods and properties of these names."""

    def register(function: F) -> F:
        FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return register


def _sparse(value: Any) -> bool:
    return isinstance(value, SparsePhantom)


# --- forms and places of memory


@handles("to")
def _to(tensor: SparsePhantom, *args: Any, **kwargs: Any) -> Any:
    matrix = tensor.matrix
    for value in (*args, *kwargs.values()):
        if isinstance(value, (torch.dtype, torch.Tensor)):
            dtype = value if isinstance(value, torch.dtype) else value.dtype
            matrix = matrix.like(matrix.values.to(dtype))
        elif str(value).startswith("cpu"):
            return _cpu(SparsePhantom.of(matrix))
    return tensor if matrix is tensor.matrix else SparsePhantom.of(matrix)


@handles("cpu")
def _cpu(tensor: SparsePhantom) -> torch.Tensor:
    matrix = tensor.matrix
    places, values = [p.cpu() for p in matrix.places], matrix.values.detach().cpu()
    if matrix.layout == torch.sparse_coo:
        return torch.sparse_coo_tensor(*places, values, matrix.size)
    return torch.sparse_compressed_tensor(*places, values, matrix.size, layout=matrix.layout)


@handles("cuda", "contiguous", "pin_memory")
def _itself(tensor: SparsePhantom, *args: Any, **kwargs: Any) -> SparsePhantom:
    return tensor


@handles("_has_compatible_shallow_copy_type")
def _is_exchangeable(*tensors: Any) -> bool:
    # A module then makes a new parameter of what it moved.
    return False


@handles("detach")
def _detach(tensor: SparsePhantom) -> SparsePhantom:
    return SparsePhantom.of(tensor.matrix.like(tensor.matrix.values.detach()))


@handles("clone")
def _clone(tensor: SparsePhantom, **kwargs: Any) -> SparsePhantom:
    matrix = tensor.matrix
    return SparsePhantom.of(
        replace(matrix, places=tuple(p.clone() for p in matrix.places), values=matrix.values.clone())
    )


@handles("requires_grad_")
def _requires_grad(tensor: SparsePhantom, requires_grad: bool = True) -> SparsePhantom:
    tensor.matrix.values.requires_grad_(requires_grad)
    return tensor


# --- parts


def _of_order(name: str, part: Callable[[Matrix], Any]) -> Callable[[SparsePhantom], Any]:
    """Return what gives a part of a tensor, of COO once it is coalesced."""

    def asked(tensor: SparsePhantom) -> Any:
        if tensor.is_sparse and not tensor.matrix.is_coalesced:
            raise RuntimeError(f"Cannot get {name} on an uncoalesced tensor, please call .coalesce() first")
        return part(tensor.matrix)

    return asked


def _of_any(part: Callable[[Matrix], Any]) -> Callable[[SparsePhantom], Any]:
    return lambda tensor: part(tensor.matrix)


handles("indices")(_of_order("indices", lambda matrix: matrix.places[0].detach()))
handles("values")(_of_order("values", lambda matrix: matrix.values))
handles("_indices")(_of_any(lambda matrix: matrix.places[0].detach()))
handles("_values")(_of_any(lambda matrix: matrix.values.detach()))
handles("crow_indices", "ccol_indices")(_of_any(lambda matrix: matrix.places[0]))
handles("col_indices", "row_indices")(_of_any(lambda matrix: matrix.places[1]))
handles("_nnz")(_of_any(lambda matrix: matrix.nnz))
handles("sparse_dim")(_of_any(lambda matrix: len(matrix.size)))
handles("dense_dim")(_of_any(lambda matrix: 0))
handles("is_coalesced")(_of_any(lambda matrix: matrix.is_coalesced))


@handles("type")
def _type(tensor: SparsePhantom, dtype: Any = None, **kwargs: Any) -> Any:
    if dtype is None:
        return "torch.cuda.sparse." + tensor.matrix.values.cpu().type().removeprefix("torch.")
    if not isinstance(dtype, torch.dtype):
        raise refusal(tensor, f"type({dtype})")
    return _to(tensor, dtype)


# --- forms


@handles("coalesce")
def _coalesce(tensor: SparsePhantom) -> SparsePhantom:
    return tensor if tensor.matrix.is_coalesced else SparsePhantom.of(coalesced(tensor.matrix, keeps_places=True))


@handles("t", "T", "mT", "adjoint", "H", "mH")
def _t(tensor: SparsePhantom) -> SparsePhantom:
    return _transpose(tensor, 0, 1)


@handles("transpose", "swapaxes", "swapdims")
def _transpose(tensor: SparsePhantom, dim0: int, dim1: int) -> SparsePhantom:
    count = len(tensor.matrix.size)
    return SparsePhantom.of(transposed(tensor.matrix, dim0 % count, dim1 % count))


@handles("to_dense")
def _to_dense(tensor: SparsePhantom, *args: Any, **kwargs: Any) -> Any:
    matrix = tensor.matrix
    empty = matrix.device.answer(
        torch.ops.aten.zeros.default, (list(matrix.size),), {"dtype": matrix.values.dtype, "device": META}
    )
    return _added_to(empty, matrix, 1)


@handles("to_sparse", "to_sparse_coo")
def _to_sparse(tensor: SparsePhantom, *args: Any, layout: Any = None, **kwargs: Any) -> SparsePhantom:
    if layout in PLACES and layout != torch.sparse_coo:
        if layout == torch.sparse_csr:
            return SparsePhantom.of(as_csr(tensor.matrix))
        raise refusal(tensor, "to_sparse_csc")
    matrix = tensor.matrix
    if matrix.layout == torch.sparse_coo:
        return tensor
    matrix = as_csr(matrix)
    return SparsePhantom.of(replace(matrix, layout=torch.sparse_coo, places=(_coordinates(matrix),), is_coalesced=True))


@handles("to_sparse_csr")
def _to_sparse_csr(tensor: SparsePhantom, *args: Any, **kwargs: Any) -> SparsePhantom:
    return SparsePhantom.of(as_csr(tensor.matrix))


def _coordinates(matrix: Matrix) -> Any:
    """Return the indices (2, n) of a matrix."""
    if matrix.layout == torch.sparse_coo:
        return matrix.places[0]
    is_int32 = matrix.places[0].dtype == torch.int32
    return torch._convert_indices_from_csr_to_coo(
        *matrix.places, out_int32=is_int32, transpose=matrix.layout == torch.sparse_csc
    )


# --- arithmetic


# What sums of elements in one place are not changed by, beforehand or afterwards.
_LINEAR = "float double half bfloat16 long int neg negative conj resolve_conj"
_OTHERS = "abs sqrt square relu tanh sign bool floor ceil round sin expm1 log1p pow __pow__"


def _on_values(name: str, is_linear: bool) -> Callable[..., Any]:
    """Return what does to a sparse tensor what the method of this name does to its values."""

    def on_sparse(tensor: SparsePhantom, *args: Any, **kwargs: Any) -> SparsePhantom:
        matrix = tensor.matrix if is_linear else coalesced(tensor.matrix)
        return SparsePhantom.of(matrix.like(getattr(matrix.values, name)(*args, **kwargs)))

    return on_sparse


for _name in _LINEAR.split():
    handles(_name)(_on_values(_name, is_linear=True))
for _name in _OTHERS.split():
    handles(_name)(_on_values(_name, is_linear=False))


def _is_number(value: Any) -> bool:
    return isinstance(value, Number) or (isinstance(value, torch.Tensor) and not _sparse(value) and not value.dim())


@handles("mul", "multiply", "__mul__", "__rmul__")
def _mul(first: Any, second: Any) -> SparsePhantom:
    tensor, other = (first, second) if _sparse(first) else (second, first)
    matrix = tensor.matrix
    if _is_number(other):
        return SparsePhantom.of(matrix.like(matrix.values * other))
    if _sparse(other) or other.shape != tensor.shape:
        raise refusal(tensor, "mul of two sparse tensors, or of one with a tensor of another shape")
    return SparsePhantom.of(matrix.like(matrix.values * other[tuple(_coordinates(matrix))]))


@handles("div", "divide", "true_divide", "__truediv__")
def _div(tensor: Any, other: Any, **kwargs: Any) -> SparsePhantom:
    if not _sparse(tensor) or not _is_number(other):
        raise refusal(tensor if _sparse(tensor) else other, "div by what is no number")
    return SparsePhantom.of(tensor.matrix.like(torch.div(tensor.matrix.values, other, **kwargs)))


def _in_place(name: str) -> Callable[..., Any]:
    def in_place(tensor: SparsePhantom, other: Any) -> SparsePhantom:
        if not _is_number(other):
            raise refusal(tensor, f"{name} with what is no number")
        getattr(tensor.matrix.values, name)(other)
        return tensor

    return in_place


handles("mul_", "__imul__")(_in_place("mul_"))
handles("div_", "__itruediv__")(_in_place("div_"))


@handles("add", "__add__", "__radd__")
def _add(first: Any, second: Any, *, alpha: float = 1) -> Any:
    if _sparse(first) and _sparse(second):
        one, other = first.matrix, second.matrix
        if one.layout != torch.sparse_coo or other.layout != torch.sparse_coo or one.size != other.size:
            raise refusal(first, "add of other layouts than COO, or of other shapes")
        # Source: ATen/native/sparse/cuda/SparseCUDATensorMath.cu (add_out_sparse_cuda).
        indices = torch.cat([one.places[0], other.places[0]], 1)
        added = other.values if alpha == 1 else other.values * alpha
        values = torch.cat([one.values, added])
        return SparsePhantom.of(replace(one, places=(indices,), values=values, is_coalesced=False, distinct=None))
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        if _sparse(second):
            return _added_to(first.clone(), second.matrix, alpha)
        return _added_to(second if alpha == 1 else second * alpha, first.matrix, 1)
    raise refusal(first if _sparse(first) else second, "add of a number")


@handles("sub", "subtract", "__sub__")
def _sub(first: Any, second: Any, *, alpha: float = 1) -> Any:
    return _add(first, second, alpha=-alpha)


def _added_to(dense: Any, matrix: Matrix, alpha: float) -> Any:
    """Return a dense tensor with a matrix added to it.

    Source: ATen/native/sparse/cuda/SparseCUDATensorMath.cu (add_out_dense_sparse_cuda).
    """
    indices = _coordinates(matrix)
    flat = indices[0]
    for dim in range(1, len(matrix.size)):
        flat = flat * matrix.size[dim] + indices[dim]
    return dense.reshape(-1).index_add(0, flat, matrix.values, alpha=alpha).view(matrix.size)


# --- products and sums


@handles("mm", "matmul", "__matmul__", "__rmatmul__", "spmm", "_sparse_mm", "smm")
def _mm(first: Any, second: Any) -> Any:
    if _sparse(first) and _sparse(second):
        raise refusal(first, "mm of two sparse tensors")
    if not _sparse(first):
        # Source: ATen/native/sparse/SparseTensorMath.cpp (_sparse_mm).
        return _mm(_t(second), first.t()).t()
    _must_fit(first, second, "mm")
    if second.dim() == 1:
        return product(first.matrix, second.unsqueeze(-1)).squeeze(-1)
    return product(first.matrix, second)


@handles("mv")
def _mv(tensor: Any, vector: Any) -> Any:
    return _mm(tensor, vector)


@handles("addmm", "_sparse_addmm", "sspaddmm")
def _addmm(added: Any, first: Any, second: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    if not _sparse(first) or _sparse(added):
        raise refusal(next(t for t in (added, first, second) if _sparse(t)), "addmm with other factors")
    _must_fit(first, second, "addmm")
    return product(first.matrix, second, added.expand(first.shape[0], second.shape[1]), beta, alpha)


@handles("linear")
def _linear(tensor: Any, weight: Any, bias: Any = None) -> Any:
    if not _sparse(tensor):
        raise refusal(weight if _sparse(weight) else bias, "linear")
    return _mm(tensor, weight.t()) if bias is None else _addmm(bias, tensor, weight.t())


@handles("sparse_mask")
def _mask(dense: Any, tensor: Any) -> SparsePhantom:
    if _sparse(dense):
        raise refusal(dense, "sparse_mask")
    return SparsePhantom.of(tensor.matrix.like(dense[tuple(_coordinates(tensor.matrix))]))


def _must_fit(tensor: Any, dense: Any, name: str) -> None:
    """Raise as CUDA does where two factors do not fit."""
    if tensor.dim() != 2 or dense.dim() not in (1, 2) or not isinstance(dense, PhantomTensor):
        if isinstance(dense, torch.Tensor) and not isinstance(dense, PhantomTensor):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and "
                f"{dense.device}! (when calling {name} of a sparse tensor)"
            )
        raise refusal(tensor, f"{name} of other than matrices")
    if tensor.shape[1] != dense.shape[0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({tuple(tensor.shape)} and {tuple(dense.shape)})"
        )
    if tensor.dtype != dense.dtype:
        raise RuntimeError(f"expected mat1 and mat2 to have the same dtype, but got: {tensor.dtype} != {dense.dtype}")


@handles("sum", "_sparse_sum")
def _sum(tensor: SparsePhantom, dim: Any = None, *, dtype: Any = None, **kwargs: Any) -> Any:
    if kwargs.get("keepdim"):
        raise refusal(tensor, "sum with keepdim=True")
    matrix = tensor.matrix
    if dtype is not None:
        matrix = matrix.like(matrix.values.to(dtype))
    count = len(matrix.size)
    gone = set(range(count)) if dim is None else {d % count for d in ((dim,) if isinstance(dim, int) else dim)}
    left = [d for d in range(count) if d not in gone]
    if not left:
        return coalesced(matrix).values.sum()
    if matrix.layout != torch.sparse_coo:
        raise refusal(tensor, "sum along a dimension")
    indices = torch.stack([matrix.places[0][d] for d in left])
    size = tuple(matrix.size[d] for d in left)
    rest = replace(
        matrix, size=size, places=(indices,), values=matrix.values.clone(), is_coalesced=False, distinct=None
    )
    return SparsePhantom.of(coalesced(rest, keeps_places=True))


@handles("softmax", "_sparse_softmax")
def _softmax(tensor: SparsePhantom, dim: int, dtype: Any = None) -> SparsePhantom:
    return _softmaxed(tensor, dim, dtype, is_log=False)


@handles("log_softmax", "_sparse_log_softmax")
def _log_softmax(tensor: SparsePhantom, dim: int, dtype: Any = None) -> SparsePhantom:
    return _softmaxed(tensor, dim, dtype, is_log=True)


def _softmaxed(tensor: SparsePhantom, dim: int, dtype: Any, *, is_log: bool) -> SparsePhantom:
    matrix = tensor.matrix
    if matrix.layout != torch.sparse_coo:
        raise refusal(tensor, "softmax")
    if dtype is not None:
        matrix = matrix.like(matrix.values.to(dtype))
    return SparsePhantom.of(softmax(matrix, dim % len(matrix.size), is_log))

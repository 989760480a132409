"""Tensors of the phantom GPU that are sparse to the user's code; what they do is done with their dense parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from whichgpu.capture import phantom_tensor
from whichgpu.capture.phantom_tensor import CUDA, META, PhantomTensor
from whichgpu.capture.sparse_matrix import Matrix
from whichgpu.capture.storages import sparse_refusal
from whichgpu.errors import CaptureError


class SparsePhantom(torch.Tensor):  # type: ignore[misc]
    """A sparse tensor on the phantom GPU: to C++ a dense one without memory, whose functions all end here.

    Attributes:
        matrix: Its parts.
    """

    matrix: Matrix

    @classmethod
    def of(cls, matrix: Matrix) -> SparsePhantom:
        """Return the tensor of a matrix."""
        made: SparsePhantom = torch.Tensor._make_wrapper_subclass(
            cls, torch.Size(matrix.size), dtype=matrix.values.dtype, device=META
        )
        made.matrix = matrix
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer one of torch's functions."""
        from whichgpu.capture.sparse_functions import FUNCTIONS

        name = _name_of(func)
        if name in _PLAIN:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        found = FUNCTIONS.get(name)
        given = kwargs or {}
        if found is None or given.get("out") is not None:
            raise refusal(next(a for a in _flat(args, given) if isinstance(a, SparsePhantom)), name)
        return found(*args, **given)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse what did not come through a function of torch."""
        raise CaptureError(f"{func} was called on a sparse tensor of the phantom GPU, which has no kernel for it.")

    @property
    def device(self) -> torch.device:
        """cuda:0."""
        return CUDA

    @property
    def layout(self) -> torch.layout:
        """Its layout."""
        return self.matrix.layout

    @property
    def is_sparse(self) -> bool:
        """Whether its layout is COO."""
        return bool(self.matrix.layout == torch.sparse_coo)

    @property
    def is_sparse_csr(self) -> bool:
        """Whether its layout is CSR."""
        return bool(self.matrix.layout == torch.sparse_csr)

    @property
    def is_cuda(self) -> bool:
        """True."""
        return True

    @property
    def is_meta(self) -> bool:
        """False."""
        return False

    @property
    def is_cpu(self) -> bool:
        """False."""
        return False

    @property
    def requires_grad(self) -> bool:
        """Whether its values do."""
        return bool(self.matrix.values.requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.matrix.values.requires_grad = value

    @property
    def is_leaf(self) -> bool:
        """Whether its values are a leaf."""
        return bool(self.matrix.values.is_leaf)

    @property
    def grad_fn(self) -> Any:
        """What made its values."""
        return self.matrix.values.grad_fn

    @property
    def grad(self) -> Any:
        """The gradient of its values, in the same places."""
        grad = self.matrix.values.grad
        return None if grad is None else SparsePhantom.of(self.matrix.like(grad))

    @grad.setter
    def grad(self, value: Any) -> None:
        self.matrix.values.grad = None if value is None else value.matrix.values

    @property
    def data(self) -> SparsePhantom:
        """It without its history."""
        return SparsePhantom.of(self.matrix.like(self.matrix.values.detach()))

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, SparsePhantom):
            raise refusal(self, "data of another device or layout")
        requires_grad = self.requires_grad
        self.matrix = value.matrix.like(value.matrix.values.detach().requires_grad_(requires_grad))

    def get_device(self) -> int:
        """Return the ordinal of its device."""
        return 0

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        size, nnz = tuple(self.matrix.size), self.matrix.nnz
        return f"phantom(shape={size}, nnz={nnz}, layout={self.layout}, dtype={self.dtype}, device='cuda:0')"

    def __deepcopy__(self, memo: dict[int, Any]) -> SparsePhantom:
        if id(self) not in memo:
            places = tuple(p.clone() for p in self.matrix.places)
            values = self.matrix.values.detach().clone().requires_grad_(self.requires_grad)
            memo[id(self)] = SparsePhantom.of(replace(self.matrix, places=places, values=values))
        copy: SparsePhantom = memo[id(self)]
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return its form for pickle and torch.save."""
        matrix = self.matrix
        layout = str(matrix.layout).removeprefix("torch.")
        is_parameter = bool(getattr(self, "_is_param", False))
        parts = list(matrix.places), matrix.values.detach()
        return rebuild, (layout, tuple(matrix.size), *parts, matrix.is_coalesced, self.requires_grad, is_parameter)

    def __format__(self, format_spec: str) -> str:
        return repr(self)


# As that of other tensors there, for programs that look at it.
SparsePhantom.__module__, SparsePhantom.__qualname__, SparsePhantom.__name__ = "torch", "Tensor", "Tensor"


def rebuild(
    layout: str,
    size: tuple[int, ...],
    places: list[Any],
    values: Any,
    is_coalesced: bool,
    requires_grad: bool,
    is_parameter: bool,
) -> torch.Tensor:
    """Return the tensor that was saved, where its parts are now."""
    if isinstance(values, PhantomTensor):
        device = phantom_tensor.active_dispatch.__self__
        values.requires_grad_(requires_grad)
        made = SparsePhantom.of(Matrix(device, getattr(torch, layout), size, tuple(places), values, is_coalesced))
        made._is_param = is_parameter
        return made
    if layout == "sparse_coo":
        # Places that are not known are all the same.
        tensor: torch.Tensor = torch.sparse_coo_tensor(*places, values, size)
    else:
        tensor = torch.sparse_compressed_tensor(*places, values, size, layout=getattr(torch, layout))
    return torch.nn.Parameter(tensor, requires_grad) if is_parameter else tensor.requires_grad_(requires_grad)


def refusal(tensor: SparsePhantom, name: str) -> CaptureError:
    """Return the error that says that `name` is not there for a tensor of its layout."""
    return sparse_refusal(tensor.matrix.layout, name)


# What C++ knows of the form of every tensor.
_PLAIN = frozenset(
    {"shape", "size", "dim", "ndim", "ndimension", "numel", "nelement", "dtype", "__len__", "element_size", "itemsize"}
    | {"is_floating_point", "is_complex", "__hash__", "names", "is_quantized", "is_mkldnn", "is_nested", "is_xpu"}
)


def _name_of(func: Any) -> str:
    name: str = func.__name__
    return str(func.__self__.__name__) if name == "__get__" else name


def _flat(args: Any, kwargs: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for value in (*args, *kwargs.values()):
        found += value if isinstance(value, (list, tuple)) else [value]
    return found

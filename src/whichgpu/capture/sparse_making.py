"""Sparse tensors of the phantom GPU made, and brought to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import META, PhantomTensor
from whichgpu.capture.sparse_matrix import PLACES, Matrix
from whichgpu.capture.sparse_tensor import SparsePhantom
from whichgpu.capture.storages import sparse_refusal
from whichgpu.capture.tensor_types import DTYPES

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

_HYBRID = "elements that are more than a number"


def moved(device: FakeDevice, tensor: torch.Tensor, dtype: torch.dtype | None = None, **options: Any) -> SparsePhantom:
    """Return a sparse tensor of the CPU on the phantom GPU: its places and its values are copied one by one."""
    if tensor.layout not in PLACES:
        raise sparse_refusal(tensor.layout, "copy_")
    tensor_values = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values().detach()
    if tensor.layout == torch.sparse_coo:
        held = (tensor._indices(),)
    else:
        held = tuple(getattr(tensor, name)() for name in PLACES[tensor.layout])
    if tensor_values.dim() != 1:
        raise sparse_refusal(tensor.layout, _HYBRID)
    places = tuple(part.to(META, **options) for part in held)
    values = tensor_values.to(META, dtype or tensor.dtype, **options)
    if tensor.requires_grad:
        values.requires_grad_()
    is_coalesced = tensor.layout == torch.sparse_coo and tensor.is_coalesced()
    distinct = tensor_values.shape[0] if is_coalesced else None
    return SparsePhantom.of(Matrix(device, tensor.layout, tuple(tensor.shape), places, values, is_coalesced, distinct))


def made(
    device: FakeDevice, layout: torch.layout, places: tuple[Any, ...], values: Any, size: Any = None, **options: Any
) -> SparsePhantom:
    """Return a sparse tensor of places and values, which are brought to the phantom GPU unless they are there."""
    kept = tuple(_brought(part, None if isinstance(part, torch.Tensor) else torch.int64) for part in places)
    held = _brought(values, options.get("dtype"))
    if held.dim() != 1:
        raise sparse_refusal(layout, _HYBRID)
    if options.get("requires_grad"):
        held = held.detach().requires_grad_()
    if size is None:
        size = _size_of(layout, kept)
    elif isinstance(size, int):
        size = (size,)
    is_coalesced = bool(options.get("is_coalesced"))
    return SparsePhantom.of(Matrix(device, layout, tuple(size), kept, held, is_coalesced))


def made_by(func: Any, device: FakeDevice, kind: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a function that makes sparse tensors gives, on the phantom GPU if it is wanted there.

    Args:
        func: One of `MAKERS`.
        device: The phantom GPU.
        kind: Type of the device that is asked for; None if its arguments decide.
        args: Places, values and the size, if it is given.
        kwargs: The rest.
    """
    layout, names = MAKERS[func]
    layout = layout or kwargs.get("layout")
    given = dict(zip((*names, "values", "size"), args, strict=False))
    options = {k: v for k, v in kwargs.items() if k not in ("device", "layout")}
    given |= {k: options.pop(k) for k in (*names, "values", "size") if k in options}
    places, values = tuple(given.get(name) for name in names), given.get("values")
    if layout == torch.sparse_coo and values is None:
        given = {"size": given.get("size", given.get("indices"))}
        places, values = _nothing(len(given["size"]))
    if kind == "cuda" or (kind is None and isinstance(values, PhantomTensor)):
        if layout not in PLACES:
            raise sparse_refusal(layout, func.__name__)
        return made(device, layout, places, values, given.get("size"), **options)
    host = (part.cpu() if isinstance(part, PhantomTensor) else part for part in args)
    return func(*host, **kwargs)


# What makes sparse tensors: the layout of its results, and what it calls their places.
MAKERS: dict[Any, tuple[Any, tuple[str, ...]]] = {
    torch.sparse_coo_tensor: (torch.sparse_coo, ("indices",)),
    torch.sparse_csr_tensor: (torch.sparse_csr, ("crow_indices", "col_indices")),
    torch.sparse_csc_tensor: (torch.sparse_csc, ("ccol_indices", "row_indices")),
    torch.sparse_compressed_tensor: (None, ("compressed_indices", "plain_indices")),
}


def is_on_host(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is sparse and lies on the CPU."""
    return not isinstance(tensor, SparsePhantom) and tensor.layout != torch.strided and tensor.layout in PLACES


def followed(device: FakeDevice, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments with sparse tensors of the CPU on the phantom GPU, if they meet others that lie there."""
    tensors = [a for a in args if isinstance(a, torch.Tensor)]
    if not any(isinstance(t, (PhantomTensor, SparsePhantom)) for t in tensors):
        return args
    return tuple(moved(device, a) if isinstance(a, torch.Tensor) and is_on_host(a) else a for a in args)


def install(patches: Patches, device: FakeDevice) -> None:
    """Let the classes of sparse tensors, torch.sparse.FloatTensor and its like, know those of the phantom GPU."""

    class SparseType(type):
        """The type of such a class."""

        dtype: torch.dtype
        plain: Any

        def __instancecheck__(cls, instance: object) -> bool:
            is_here = isinstance(instance, SparsePhantom)
            if is_here or cls.plain is None:
                return is_here and cls.plain is None and instance.dtype == cls.dtype  # type: ignore[attr-defined]
            return isinstance(instance, cls.plain)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            """Return a sparse tensor of indices, values and a size."""
            if cls.plain is None and all(isinstance(a, int) for a in args):
                return made(device, torch.sparse_coo, *_nothing(len(args)), args)
            if cls.plain is None or any(isinstance(a, PhantomTensor) for a in args):
                return made(device, torch.sparse_coo, args[:1], *args[1:])
            return cls.plain(*args, **kwargs)

    for owner, on_cuda in ((torch.sparse, False), (torch.cuda.sparse, True)):
        for name, dtype in DTYPES.items():
            if hasattr(owner, name):
                plain = None if on_cuda else getattr(owner, name)
                patches.set(owner, name, SparseType(name, (), {"dtype": dtype, "plain": plain}))


def _nothing(dimensions: int) -> tuple[tuple[torch.Tensor], torch.Tensor]:
    """Return the places and values of a tensor of which nothing but the size is given."""
    return (torch.zeros(dimensions, 0, dtype=torch.int64, device="cpu"),), torch.zeros(0, device="cpu")


def _brought(part: Any, dtype: torch.dtype | None) -> Any:
    if isinstance(part, PhantomTensor):
        return part if dtype is None else part.to(dtype)
    return torch.as_tensor(part, dtype=dtype, device="cpu").to(META)


def _size_of(layout: torch.layout, places: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the size that places tell; the host waits for it."""
    if layout == torch.sparse_coo:
        return tuple(int(n) + 1 for n in places[0].amax(1).cpu().tolist())
    lines, across = places[0].shape[0] - 1, int(places[1].max()) + 1
    return (lines, across) if layout == torch.sparse_csr else (across, lines)


def of_dense(tensor: Any, device: FakeDevice) -> SparsePhantom:
    """Return what is not zero of a dense tensor; where nobody knows, that is every second element."""
    places = tensor.nonzero().t().contiguous()
    values = tensor[tuple(places)]
    size = tuple(tensor.shape)
    return SparsePhantom.of(Matrix(device, torch.sparse_coo, size, (places,), values, True, values.shape[0]))

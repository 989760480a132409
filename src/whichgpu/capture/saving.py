"""Saving tensors of the phantom GPU and loading them again: checkpoints of shapes, with the few values that are known.

What is written is small, however large the model. Loaded without a phantom GPU it raises.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

from whichgpu.capture import sparse_tensor
from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import META, PhantomTensor, wrap
from whichgpu.capture.placeholders import placeholder
from whichgpu.capture.shadow import give_shadow, value_of
from whichgpu.errors import CaptureError

LOCATION = "cuda:0"
# Before torch's own handling of files saved on CUDA, which wants a driver.
_BEFORE_CUDA = 15


class _SavedStorage:
    """A storage of the phantom GPU as pickle sees it: one object for all tensors that share it."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def __reduce__(self) -> Any:
        return rebuild_storage, (self.nbytes,)


_saved: weakref.WeakKeyDictionary[Any, _SavedStorage] = weakref.WeakKeyDictionary()
# Where torch.load puts what it loads, while it does.
_map_locations: list[Any] = []
# The phantom GPU's own count of its memory takes every tensor that is made here.
_note: list[Callable[[PhantomTensor], Any]] = []


def reduced(tensor: PhantomTensor) -> Any:
    """Return what pickle rebuilds `tensor` from."""
    storage = tensor.untyped_storage()
    saved = _saved.setdefault(storage, _SavedStorage(storage.nbytes()))
    value = value_of(tensor)
    form = (tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype)
    is_parameter = bool(getattr(tensor, "_is_param", False))
    # Not a tensor: where torch.load puts tensors is another matter.
    raw = None if value is None else value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return rebuild_tensor, (saved, *form, tensor.requires_grad, is_parameter, raw)


def rebuild_storage(nbytes: int) -> torch.UntypedStorage:
    """Return a storage of the phantom GPU, or of the CPU where torch.load was asked for that.

    Raises:
        CaptureError: If no phantom GPU is switched on.
    """
    if not _note:
        raise CaptureError(
            "This file was saved on the phantom GPU: it has the shapes of tensors and no values. "
            "Load it inside `with whichgpu.phantom_gpu():`."
        )
    return torch.UntypedStorage(nbytes, device="meta" if _goes_to_phantom() else "cpu")


def rebuild_tensor(
    storage: torch.UntypedStorage,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int,
    dtype: torch.dtype,
    requires_grad: bool,
    is_parameter: bool,
    raw: bytes | None,
) -> torch.Tensor:
    """Return the tensor that was saved, over `storage`; `raw` are the bytes of its value, where known."""
    value = None if raw is None else _from_bytes(raw, dtype).view(shape)
    if storage.device.type == "meta":
        made = _over(storage, shape, stride, offset, dtype)
        if value is not None:
            give_shadow(made, value)
        tensor: torch.Tensor = made
    else:
        tensor = torch.empty(0, dtype=dtype, device="cpu").set_(storage, offset, shape, stride)
        tensor.copy_(placeholder(shape, dtype) if value is None else value)
    if is_parameter:
        return torch.nn.Parameter(tensor, requires_grad)
    return tensor.requires_grad_(requires_grad)


def _from_bytes(raw: bytes, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)


def _over(
    storage: torch.UntypedStorage, shape: tuple[int, ...], stride: tuple[int, ...], offset: int, dtype: torch.dtype
) -> PhantomTensor:
    with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
        meta = torch.empty(0, dtype=dtype, device=META).set_(storage, offset, shape, stride)
        made = wrap(meta)
    _note[-1](made)
    return made


def _goes_to_phantom() -> bool:
    where = _map_locations[-1] if _map_locations else None
    if isinstance(where, dict):
        where = where.get(LOCATION, LOCATION)
    if callable(where):
        # A function that moves a storage: mostly `lambda storage, location: storage`, which leaves it on the CPU.
        try:
            moved = where(torch.UntypedStorage(0), LOCATION)
        except RuntimeError:
            return True
        return moved is None or moved.device.type == "meta"
    return where is None or not str(where).startswith("cpu")


def install(patches: Patches, note: Callable[[PhantomTensor], Any]) -> Callable[[], None]:
    """Let torch.load bring tensors to the phantom GPU; return what undoes the part that is no attribute."""
    _note.append(note)
    plain_load = torch.load

    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        _map_locations.append(map_location)
        try:
            if isinstance(map_location, int):
                map_location = LOCATION
            return plain_load(f, map_location, *args, **kwargs)
        finally:
            _map_locations.pop()

    plain_rebuild = torch._utils._rebuild_tensor

    def rebuild(storage: Any, offset: int, shape: Any, stride: Any) -> torch.Tensor:
        untyped = storage._untyped_storage
        if untyped.device.type != "meta" or (_map_locations and str(_map_locations[-1]) == "meta"):
            plain: torch.Tensor = plain_rebuild(storage, offset, shape, stride)
            return plain
        return _over(untyped, shape, stride, offset, storage.dtype)

    patches.set(torch._utils, "_rebuild_tensor", rebuild)
    patches.set(torch.UntypedStorage, "cuda", lambda storage, *args, **kwargs: _to_phantom(storage, LOCATION))
    patches.set(torch, "load", load)
    patches.set(torch.serialization, "load", load)
    registry = torch.serialization._package_registry
    entry = (_BEFORE_CUDA, _location_of, _to_phantom)
    registry.append(entry)
    registry.sort(key=lambda e: e[0])
    safe = [rebuild_storage, rebuild_tensor, sparse_tensor.rebuild]
    known = list(torch.serialization.get_safe_globals())
    torch.serialization.add_safe_globals(safe)

    def undo() -> None:
        _note.pop()
        registry.remove(entry)
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(known)

    return undo


def _location_of(storage: Any) -> str | None:
    return None


def _to_phantom(storage: Any, location: str) -> Any:
    """Return a storage of the phantom GPU in place of one read from a file, as torch asks where it is to go."""
    if not location.startswith("cuda"):
        return None
    return torch.UntypedStorage(storage.nbytes(), device="meta")

"""What must change in torch's Python functions before they reach C++: which device is meant."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device

from whichgpu.capture import dense_gradients, sparse_making
from whichgpu.capture.fake_device import FakeDevice
from whichgpu.capture.following import place_leaf
from whichgpu.capture.modules import become
from whichgpu.capture.phantom_tensor import CUDA, META, PhantomTensor
from whichgpu.capture.tensor_types import dtype_on_cuda, name_of

# Functions whose values come from Python or NumPy: they are made on the CPU, where the values can be kept.
_FROM_DATA = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor})


class PhantomFunctions(TorchFunctionMode):  # type: ignore[misc]
    """Turns "cuda" into the name C++ knows the phantom GPU by, and keeps it apart from the user's own meta device.

    Attributes:
        device: The phantom GPU.
        seconds: Wall time spent in torch's functions so far.
    """

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self.device = device
        self.seconds = 0.0
        self._is_within = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` with its device named as C++ needs it."""
        if self._is_within:
            return self._call(func, args, kwargs or {})
        self._is_within, begin = True, time.perf_counter()
        try:
            return self._call(func, args, kwargs or {})
        finally:
            self._is_within = False
            self.seconds += time.perf_counter() - begin

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
        special = _SPECIAL.get(func)
        if special is not None:
            return special(self, func, args, kwargs)
        if "pin_memory" in kwargs:
            # Pinning takes a driver; how a copy from pinned memory differs is in `non_blocking`.
            kwargs = {k: v for k, v in kwargs.items() if k != "pin_memory"}
        wanted = kwargs.get("device")
        if wanted is None and _device.CURRENT_DEVICE is not None and func in _device._device_constructors():
            # torch puts `with torch.device(...)` below every other mode, so it has to be looked up.
            wanted = _device.CURRENT_DEVICE
        if wanted is None:
            if self.device.is_followed:
                if kwargs.get("requires_grad"):
                    return _make_on_phantom(func, args, kwargs)
                args = sparse_making.followed(self.device, args)
            return func(*args, **kwargs)
        kind = device_type(wanted)
        if kind == "cuda":
            return _make_on_phantom(func, args, kwargs)
        return self.with_real_meta(func, args, kwargs) if kind == "meta" else func(*args, **kwargs)

    def with_real_meta(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call `func`, in which meta means torch's own meta device."""
        before, self.device.wants_meta = self.device.wants_meta, True
        try:
            return func(*args, **kwargs)
        finally:
            self.device.wants_meta = before


def device_type(device: Any) -> str:
    """Return the type of anything torch takes for a device: "cuda" for "cuda:0", 0 and torch.device("cuda")."""
    if isinstance(device, torch.device):
        return str(device.type)
    return "cuda" if isinstance(device, int) else str(device).partition(":")[0]


def _make_on_phantom(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func not in _FROM_DATA:
        return func(*map(_like, args), **{**kwargs, "device": META})
    # A leaf that requires grad must be the tensor on the device, not the one on the CPU.
    requires_grad = kwargs.pop("requires_grad", False)
    made = func(*args, **{**kwargs, "device": "cpu"}).to(META)
    return made.requires_grad_() if requires_grad else made


def _like(value: Any) -> Any:
    # empty_like of the user's own meta tensor, where both devices have one name in C++.
    if isinstance(value, torch.Tensor) and value.is_meta and not isinstance(value, PhantomTensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META)
    return value


def _is_device(value: Any) -> bool:
    return isinstance(value, (str, torch.device)) or (isinstance(value, int) and not isinstance(value, bool))


def _to(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, *rest = args
    wanted = rest[0] if rest and _is_device(rest[0]) else kwargs.get("device")
    if not _is_device(wanted):
        return func(*args, **kwargs)
    kind = device_type(wanted)
    if kind == "meta":
        if isinstance(tensor, PhantomTensor):
            tensor = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
        return mode.with_real_meta(func, (tensor, *rest), kwargs)
    if kind == "cuda":
        if sparse_making.is_on_host(tensor):
            dtype = next((v for v in (*rest, *kwargs.values()) if isinstance(v, torch.dtype)), None)
            return sparse_making.moved(mode.device, tensor, dtype)
        if "device" in kwargs:
            kwargs = {**kwargs, "device": META}
        else:
            rest[0] = META
    return func(tensor, *rest, **kwargs)


def _cuda(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if sparse_making.is_on_host(args[0]):
        return sparse_making.moved(mode.device, args[0])
    return args[0].to(META, **{k: v for k, v in kwargs.items() if k in ("non_blocking", "memory_format")})


def _pin(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0]


def _share(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # What lies on a GPU is shared with other processes as it is.
    return args[0] if isinstance(args[0], PhantomTensor) else func(*args, **kwargs)


def _parse_to(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Module.to asks what its arguments mean; C++ takes a number for a place on an accelerator, of which it has none.
    if args and _is_device(args[0]) and isinstance(args[0], int):
        args = (CUDA, *args[1:])
    if isinstance(kwargs.get("device"), int):
        kwargs = {**kwargs, "device": CUDA}
    return func(*args, **kwargs)


def _type(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, *rest = args
    kind = rest[0] if rest else kwargs.get("dtype")
    if kind is None:
        return name_of(tensor) if isinstance(tensor, PhantomTensor) else func(tensor)
    dtype = dtype_on_cuda(kind)
    if dtype is not None:
        return tensor.to(META, dtype)
    if isinstance(tensor, PhantomTensor) and not isinstance(kind, torch.dtype):
        tensor = tensor.cpu()
    return func(tensor, *rest, **kwargs)


def _legacy_new(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    like, *rest = args
    if not isinstance(like, PhantomTensor):
        return func(*args, **kwargs)
    if rest and not isinstance(rest[0], (int, torch.Size)):
        return torch.as_tensor(rest[0], dtype=like.dtype, device=like.device)
    shape = tuple(rest[0]) if rest and isinstance(rest[0], torch.Size) else rest or (0,)
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def _to_host(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, *rest = args
    if isinstance(tensor, PhantomTensor):
        tensor = tensor.detach().cpu()
    return func(tensor, *rest, **kwargs)


def _new_tensor(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    like, data = args
    if not isinstance(like, PhantomTensor):
        return func(*args, **kwargs)
    return torch.tensor(data, **{"dtype": like.dtype, "device": like.device, **kwargs})


def _set_data(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, data = args
    if isinstance(tensor, PhantomTensor) != isinstance(data, PhantomTensor):
        become(tensor, data)
        return None
    return func(tensor, data)


def _require_grad(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, *rest = args
    if mode.device.is_followed and (rest[0] if rest else kwargs.get("requires_grad", True)):
        place_leaf(tensor)
    return func(*args, **kwargs)


def _make_sparse(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    wanted = kwargs.get("device", _device.CURRENT_DEVICE)
    return sparse_making.made_by(func, mode.device, None if wanted is None else device_type(wanted), args, kwargs)


def _to_sparse(mode: PhantomFunctions, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not isinstance(args[0], PhantomTensor):
        return func(*args, **kwargs)
    return func(sparse_making.of_dense(args[0], mode.device), *args[1:], **kwargs)


_SPECIAL: dict[Any, Callable[..., Any]] = {
    torch.Tensor.to: _to,
    torch._C._nn._parse_to: _parse_to,
    torch.Tensor.cuda: _cuda,
    torch.Tensor.pin_memory: _pin,
    torch.Tensor.share_memory_: _share,
    torch.Tensor.type: _type,
    torch.Tensor.new: _legacy_new,
    torch.Tensor.new_tensor: _new_tensor,
    torch.Tensor.numpy: _to_host,
    torch.Tensor.tolist: _to_host,
    torch.Tensor.__array__: _to_host,
    torch.Tensor.data.__set__: _set_data,
    torch.Tensor.requires_grad.__set__: _require_grad,
    torch.Tensor.requires_grad_: _require_grad,
    **dict.fromkeys(dense_gradients.PLACES, dense_gradients.embed),
    **dict.fromkeys(sparse_making.MAKERS, _make_sparse),
    **dict.fromkeys((torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr, torch.Tensor.to_sparse_coo), _to_sparse),
}

"""What must change in torch's Python functions before they reach C++: which device is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device

from whichgpu.capture.fake_device import FakeDevice
from whichgpu.capture.phantom_tensor import META, PhantomTensor

_FROM_DATA = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor})
_TO_HOST = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})


class PhantomFunctions(TorchFunctionMode):  # type: ignore[misc]
    """Turns "cuda" into the name C++ knows the phantom GPU by, and keeps it apart from the user's own meta device."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` with its device named as C++ needs it."""
        kwargs = kwargs or {}
        special = _SPECIAL.get(func)
        if special is not None:
            func, args, kwargs = special(func, args, kwargs)
        wanted = kwargs.get("device")
        if wanted is None and _device.CURRENT_DEVICE is not None and func in _device._device_constructors():
            # torch puts `with torch.device(...)` below every other mode, so it has to be looked up.
            wanted = _device.CURRENT_DEVICE
        if wanted is None:
            return func(*args, **kwargs)
        kind = device_type(wanted)
        if kind == "cuda":
            if func in _FROM_DATA:
                # Their values are known on the CPU; a leaf that requires grad must be the tensor on the device.
                on_cpu = {k: v for k, v in kwargs.items() if k != "requires_grad"} | {"device": "cpu"}
                moved = func(*args, **on_cpu).to(META)
                return moved.requires_grad_() if kwargs.get("requires_grad") else moved
            if kwargs.get("pin_memory"):
                kwargs = {**kwargs, "pin_memory": False}
            return func(*args, **{**kwargs, "device": META})
        if kind == "meta":
            before, self.device.wants_meta = self.device.wants_meta, True
            try:
                return func(*args, **kwargs)
            finally:
                self.device.wants_meta = before
        return func(*args, **kwargs)


def device_type(device: Any) -> str:
    """Return the type of anything torch takes for a device: "cuda" for "cuda:0", 0 and torch.device("cuda")."""
    if isinstance(device, torch.device):
        return str(device.type)
    if isinstance(device, int):
        return "cuda"
    return str(device).partition(":")[0]


def _named_for_cpp(device: Any) -> Any:
    return META if isinstance(device, (str, int, torch.device)) and device_type(device) == "cuda" else device


Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


def _to(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    rest = tuple(_named_for_cpp(a) if isinstance(a, (str, torch.device)) else a for a in args[1:])
    if isinstance(kwargs.get("device"), (str, int, torch.device)):
        kwargs = {**kwargs, "device": _named_for_cpp(kwargs["device"])}
        # Handled here; what follows must not take it for a request for the meta device.
        return _call_to, (args[0], rest, kwargs), {}
    return func, (args[0], *rest), kwargs


def _call_to(tensor: torch.Tensor, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    return tensor.to(*rest, **kwargs)


def _cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return torch.Tensor.to, (args[0], META), {k: v for k, v in kwargs.items() if k in ("non_blocking", "memory_format")}


def _pin(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return (lambda tensor: tensor), (args[0],), {}


def _to_host(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    tensor = args[0]
    if isinstance(tensor, PhantomTensor):
        tensor = tensor.detach().cpu()
    return func, (tensor, *args[1:]), kwargs


_SPECIAL: dict[Any, Callable[..., Call]] = {
    torch.Tensor.to: _to,
    torch.Tensor.cuda: _cuda,
    torch.Tensor.pin_memory: _pin,
    **dict.fromkeys(_TO_HOST, _to_host),
}

"""Parameters of a class of their own on the phantom GPU: those of bitsandbytes know how they are quantized."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA, KernelCall, PhantomTensor

_make = torch.Tensor._make_subclass
_PLAIN = "_whichgpu_plain"


def is_own(cls: type) -> bool:
    """Return whether `cls` is a class of parameters somebody derived, on the phantom GPU or elsewhere."""
    return issubclass(cls, torch.nn.Parameter) and cls is not torch.nn.Parameter


def parameter_of(cls: type, tensor: torch.Tensor, requires_grad: bool = False) -> Any:
    """Return a parameter of a class derived from torch.nn.Parameter over the storage of a phantom tensor."""
    with KernelCall():
        meta = tensor.detach()
    made = _make(_phantom_class(plain_class(cls)), meta, requires_grad, device_for_backend_keys=CUDA)
    made.shadow = getattr(tensor, "shadow", None)
    return made


def plain_class(cls: type) -> type:
    """Return the class a program knows by this name."""
    plain: type = getattr(cls, _PLAIN, cls)
    return plain


@cache
def _phantom_class(cls: type) -> type:
    return type(cls)(cls.__name__, (cls, PhantomTensor), {"__module__": cls.__module__, _PLAIN: cls})


def install(patches: Patches) -> None:
    """Let a class of parameters be made of tensors of the phantom GPU."""

    def make(cls: type, data: torch.Tensor, require_grad: bool = False, **kwargs: Any) -> Any:
        if is_own(cls):
            if isinstance(data, PhantomTensor):
                return parameter_of(cls, data, require_grad)
            return _make(plain_class(cls), data, require_grad, **kwargs)
        return _make(cls, data, require_grad, **kwargs)

    patches.set(torch.Tensor, "_make_subclass", staticmethod(make))

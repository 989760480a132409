"""Parameters and buffers of lazy modules, which have no shape before their first call, on the phantom GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import parameter as torch_parameter
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA, PhantomTensor

# Not exported, and the base of both.
_Lazy: Any = vars(torch_parameter)["UninitializedTensorMixin"]
_GOES_THERE = "_whichgpu_goes_to_phantom"


def is_lazy(tensor: object) -> bool:
    """Return whether `tensor` has no shape yet."""
    return isinstance(tensor, _Lazy)


def move(tensor: Any, fn: Callable[..., Any]) -> Any:
    """Return `tensor`, which remembers where `fn` would have taken it, and in which format."""
    moved = fn(torch.empty(0, dtype=tensor.dtype, device="cpu"))
    tensor.__dict__[_GOES_THERE] = isinstance(moved, PhantomTensor)
    if moved.dtype != tensor.dtype:
        tensor.data = torch.empty(0, dtype=moved.dtype, device="cpu")
    return tensor


def install(patches: Patches, become: Callable[[torch.Tensor, torch.Tensor], None]) -> None:
    """Let what was moved to the phantom GPU before it had a shape get it there.

    Args:
        patches: What is replaced, to be put back.
        become: Turns a tensor into another without changing which object it is.
    """
    plain = _Lazy.materialize

    def materialize(tensor: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        there = tensor.__dict__.pop(_GOES_THERE, False) if device is None else torch.device(device).type == "cuda"
        if not there:
            plain(tensor, shape, device, dtype)
            return
        made = torch.empty(shape, dtype=tensor.dtype if dtype is None else dtype, device=CUDA)
        tensor.__class__ = tensor.cls_to_become
        become(tensor, made)

    patches.set(_Lazy, "materialize", materialize)
    for kind in (UninitializedParameter, UninitializedBuffer):
        patches.set(kind, "__new__", staticmethod(_made_on_host(kind.__new__)))


def _made_on_host(plain: Callable[..., Any]) -> Callable[..., Any]:
    def new(kind: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        is_there = torch.device(torch.get_default_device() if device is None else device).type == "cuda"
        made = plain(kind, *args, device="cpu" if is_there else device, **kwargs)
        made.__dict__[_GOES_THERE] = is_there
        return made

    return new

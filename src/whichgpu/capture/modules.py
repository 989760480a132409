"""Moving modules to the phantom GPU: parameters keep their identity, as they do when a real one takes them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from whichgpu.capture import lazy_parameters, parameter_classes
from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA, PhantomTensor
from whichgpu.errors import CaptureError


def install(patches: Patches) -> None:
    """Let Module.to, .cuda and the like carry parameters over in place.

    torch assigns a parameter's data when both devices use tensors of one kind. Between CPU and phantom they do not,
    and torch would make new parameters: an optimizer made before, or a module that shares the weight, would lose them.
    """
    plain_apply = torch.nn.Module._apply

    def apply(module: torch.nn.Module, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not getattr(fn, "_keeps_identity", False):
            fn = _keeping_identity(fn)
        return plain_apply(module, fn, *args, **kwargs)

    patches.set(torch.nn.Module, "_apply", apply)
    lazy_parameters.install(patches, become)
    # In evaluation an encoder may go to nested tensors, whose sizes are values; the layers one by one do the same work.
    patches.set(torch.backends.mha, "get_fastpath_enabled", lambda: False)
    # DataParallel over the one device there is: nothing is split, tensors on the CPU move.
    patches.set(sys.modules["torch.nn.parallel.data_parallel"], "scatter_kwargs", _move_all)


def _move_all(inputs: Any, kwargs: Any, *args: Any, **options: Any) -> tuple[Any, Any]:
    def move(value: Any) -> Any:
        return value.to(CUDA) if isinstance(value, torch.Tensor) else value

    return (tree_map(move, tuple(inputs)),), (tree_map(move, dict(kwargs or {})),)


def _keeping_identity(fn: Callable[..., Any]) -> Callable[..., Any]:
    def move(tensor: torch.Tensor) -> torch.Tensor:
        if lazy_parameters.is_lazy(tensor):
            lazily: torch.Tensor = lazy_parameters.move(tensor, fn)
            return lazily
        moved: torch.Tensor = fn(tensor)
        if not isinstance(tensor, torch.nn.Parameter):
            return moved
        if isinstance(moved, PhantomTensor) == isinstance(tensor, PhantomTensor):
            return moved
        become(tensor, moved)
        return tensor

    move._keeps_identity = True  # type: ignore[attr-defined]
    return move


def become(parameter: torch.Tensor, moved: torch.Tensor) -> None:
    """Turn `parameter`, or a buffer, into `moved`, its gradient carried over, without changing which object it is.

    torch.utils.swap_tensors does the same and refuses where something still refers to the old tensor: a weak reference,
    or a graph of an earlier forward pass. A device that a program moves to for good needs neither.

    Raises:
        CaptureError: If autograd holds on to it so that it cannot be exchanged.
    """
    new = moved.detach()
    if parameter_classes.is_own(type(parameter)) and isinstance(new, PhantomTensor):
        new = parameter_classes.parameter_of(type(parameter), new, parameter.requires_grad)
    elif isinstance(parameter, torch.nn.Parameter):
        new = torch.nn.Parameter(new, parameter.requires_grad)
    else:
        new.requires_grad_(parameter.requires_grad)
    for name, value in parameter.__dict__.items():
        new.__dict__.setdefault(name, value)
    grad, parameter.grad = parameter.grad, None
    try:
        torch._C._swap_tensor_impl(parameter, new)
    except RuntimeError as error:
        raise CaptureError(
            "A parameter that is in use on the CPU cannot move to the phantom GPU. "
            "Move the model with .to('cuda') before its first forward pass."
        ) from error
    for name in ("__class__", "__dict__"):
        before = getattr(parameter, name)
        setattr(parameter, name, getattr(new, name))
        setattr(new, name, before)
    if grad is not None:
        parameter.grad = grad.to(parameter.device)

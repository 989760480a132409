"""Programs that know no GPU, run as if they did: what they train lies on the phantom GPU, and what meets it follows.

Data stay on the CPU, where their values are, until they meet something that is trained.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

from whichgpu.capture.modules import become
from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom_tensor import CUDA, META, PhantomTensor
from whichgpu.capture.sparse_making import is_on_host, moved
from whichgpu.capture.sparse_tensor import SparsePhantom

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice
    from whichgpu.capture.function_mode import PhantomFunctions


def install(patches: Patches, functions: PhantomFunctions) -> None:
    """Put modules that are called, parameters of optimizers and tensors that require gradients on the phantom GPU."""
    functions.device.is_followed = True
    placed: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
    plain_call = torch.nn.Module.__call__
    depth = 0

    def brought(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or isinstance(value, (PhantomTensor, SparsePhantom)) or value.is_meta:
            return value
        return moved(functions.device, value) if is_on_host(value) else _copied(value)

    def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        if module not in placed:
            _place(module)
            placed.update(module.modules())
        if not depth and next(module.parameters(), None) is not None:
            args, kwargs = tree_map(brought, (args, kwargs))
        depth += 1
        try:
            return plain_call(module, *args, **kwargs)
        finally:
            depth -= 1

    patches.set(torch.nn.Module, "__call__", call)
    plain_add = torch.optim.Optimizer.add_param_group

    def add_param_group(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
        plain_add(optimizer, group)
        for parameter in optimizer.param_groups[-1]["params"]:
            place_leaf(parameter)

    patches.set(torch.optim.Optimizer, "add_param_group", add_param_group)


def _place(module: torch.nn.Module) -> None:
    tensors = (*module.parameters(), *module.buffers())
    if any(
        not isinstance(t, (PhantomTensor, SparsePhantom)) and not isinstance(t, torch.nn.UninitializedParameter)
        for t in tensors
    ):
        module.to(CUDA)


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    # With functions' modes on, meta would be the program's own meta device.
    with torch._C.DisableTorchFunction():
        return tensor.to(META)


def place_leaf(tensor: torch.Tensor) -> None:
    """Put a tensor that gradients are wanted of on the phantom GPU, without changing which object it is."""
    if not isinstance(tensor, PhantomTensor) and tensor.is_leaf and not tensor.is_meta:
        become(tensor, _copied(tensor.detach()))


def follow(
    device: FakeDevice, func: Any, written: frozenset[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return the result of `func`, whose arguments lie on the CPU and on the phantom GPU, where it belongs.

    Args:
        device: The phantom GPU.
        func: An operator.
        written: Names of the arguments it writes to.
        args: Its arguments.
        kwargs: Its keyword arguments.
    """
    names = [a.name for a in func._schema.arguments]
    targets = [v for name, v in (*zip(names, args, strict=False), *kwargs.items()) if name in written]
    to_host = any(isinstance(t, torch.Tensor) and not isinstance(t, PhantomTensor) for t in targets)

    def beside(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [beside(v) for v in value] if any(isinstance(v, torch.Tensor) for v in value) else value
        if not isinstance(value, torch.Tensor) or isinstance(value, PhantomTensor) != to_host:
            return value
        where = torch.device("cpu") if to_host else META
        return device.answer(torch.ops.aten._to_copy.default, (value,), {"device": where})

    args, kwargs = tuple(beside(a) for a in args), {k: beside(v) for k, v in kwargs.items()}
    return func(*args, **kwargs) if to_host else device.answer(func, args, kwargs)

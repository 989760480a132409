"""Libraries that ask for more than one GPU, or bring kernels of their own: what a pass makes of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from whichgpu.capture.patches import Patches
from whichgpu.capture.script import when_imported
from whichgpu.capture.script.seen import Seen
from whichgpu.errors import CaptureError

TRITON = (
    "The script launches a Triton kernel of its own, {}: nobody knows what it computes. "
    "Give the script's option for a plain PyTorch path."
)
EXTENSION = (
    "The script compiles a CUDA extension of its own, {}: nobody knows what its kernels compute. "
    "Give the script's option for a plain PyTorch path."
)


def install(patches: Patches, seen: Seen, *, refuses_kernels: bool) -> None:
    """Change libraries when they are imported.

    Args:
        patches: What is replaced, to be put back.
        seen: Takes how many devices were asked for.
        refuses_kernels: Whether kernels in other languages raise, instead of failing in their own way.
    """

    def one_device(name: str) -> Callable[[ModuleType], None]:
        return lambda module: _with_one_device(patches, getattr(module, name), seen)

    actions: dict[str, Callable[[ModuleType], None]] = {
        "lightning.pytorch.trainer.trainer": one_device("Trainer"),
        "pytorch_lightning.trainer.trainer": one_device("Trainer"),
        "lightning.fabric.fabric": one_device("Fabric"),
        "lightning_fabric.fabric": one_device("Fabric"),
    }
    if refuses_kernels:
        actions["triton.runtime.jit"] = lambda module: _refuse_triton(patches, module)
        actions["torch.utils.cpp_extension"] = lambda module: _refuse_extensions(patches, module)
    when_imported.install(patches, actions)


def _with_one_device(patches: Patches, owner: Any, seen: Seen) -> None:
    """Let a Trainer that is to use several devices use one, and remember how many it was to use."""
    plain = owner.__init__
    signature = inspect.signature(plain)

    def init(trainer: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(trainer, *args, **kwargs).arguments
        more = given.pop(next((n for n, p in signature.parameters.items() if p.kind is p.VAR_KEYWORD), ""), {})
        count = _count(given.get("devices")) * max(int(given.get("num_nodes") or 1), 1)
        if count > 1:
            seen.world_size = max(seen.world_size, count)
            given["devices"] = given["num_nodes"] = 1
        given.pop("self", None)
        plain(trainer, **given, **more)

    init.__signature__ = signature  # type: ignore[attr-defined]
    init.__doc__ = plain.__doc__
    init.__wrapped__ = plain  # type: ignore[attr-defined]
    patches.set(owner, "__init__", init)


def _count(devices: Any) -> int:
    if isinstance(devices, str):
        parts = [part for part in devices.split(",") if part.strip()]
        if len(parts) > 1:
            return len(parts)
        devices = int(devices) if devices.strip().isdecimal() else 1
    if isinstance(devices, (list, tuple)):
        return max(len(devices), 1)
    return max(devices, 1) if isinstance(devices, int) else 1


def _refuse_triton(patches: Patches, module: ModuleType) -> None:
    def run(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        raise CaptureError(TRITON.format(getattr(kernel, "__name__", "unnamed")))

    patches.set(module.JITFunction, "run", run)


def _refuse_extensions(patches: Patches, module: ModuleType) -> None:
    for name in ("load", "load_inline"):
        plain = getattr(module, name)
        patches.set(module, name, _unless_cuda(plain))


def _unless_cuda(plain: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(plain)

    def load(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        sources = given.get("sources", ())
        files = [sources] if isinstance(sources, str) else sources
        if given.get("with_cuda") or given.get("cuda_sources") or any(str(f).endswith((".cu", ".cuh")) for f in files):
            raise CaptureError(EXTENSION.format(given["name"]))
        return plain(*args, **kwargs)

    return load

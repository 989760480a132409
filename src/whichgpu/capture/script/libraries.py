"""Libraries that ask for more GPUs, end an epoch early or bring kernels of their own: what a pass makes of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from whichgpu.capture import fake_device, quantized_ops
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


def install(patches: Patches, seen: Seen, *, on_phantom: bool) -> None:
    """Change libraries when they are imported.

    Args:
        patches: What is replaced, to be put back.
        seen: Takes how many devices were asked for, and how much of an epoch.
        on_phantom: Whether there is a phantom GPU: kernels in other languages raise there, for nobody could run them.
    """

    def one_device(name: str) -> Callable[[ModuleType], None]:
        return lambda module: _with_one_device(patches, getattr(module, name), seen)

    actions: dict[str, Callable[[ModuleType], None]] = {
        "lightning.pytorch.trainer.trainer": one_device("Trainer"),
        "pytorch_lightning.trainer.trainer": one_device("Trainer"),
        "lightning.fabric.fabric": one_device("Fabric"),
        "lightning_fabric.fabric": one_device("Fabric"),
        "transformers.trainer": lambda module: _note_steps(patches, module.Trainer, seen),
        # A drawing of the model, by a trace that no pass makes.
        "torch.utils.tensorboard.writer": lambda module: _leave_out(patches, module.SummaryWriter, "add_graph"),
        "tensorboardX.writer": lambda module: _leave_out(patches, module.SummaryWriter, "add_graph"),
    }
    if not on_phantom:
        actions["bitsandbytes"] = lambda module: quantized_ops.keep_state_on_the_device(patches, module)
    else:
        actions["bitsandbytes"] = lambda module: quantized_ops.install(patches, module, fake_device.HANDLERS)
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
        quick = given.get("fast_dev_run") or 0
        seen.batches_wanted = int(quick) or given.get("overfit_batches") or given.get("limit_train_batches")
        seen.steps_wanted = _positive(given.get("max_steps"))
        given.pop("self", None)
        plain(trainer, **given, **more)

    init.__signature__ = signature  # type: ignore[attr-defined]
    init.__doc__ = plain.__doc__
    init.__wrapped__ = plain  # type: ignore[attr-defined]
    patches.set(owner, "__init__", init)


def _note_steps(patches: Patches, owner: Any, seen: Seen) -> None:
    """Remember after how many steps a Trainer of transformers ends."""
    plain = owner.__init__

    @functools.wraps(plain)
    def init(trainer: Any, *args: Any, **kwargs: Any) -> None:
        plain(trainer, *args, **kwargs)
        seen.steps_wanted = _positive(getattr(trainer.args, "max_steps", None))

    patches.set(owner, "__init__", init)


def _positive(number: Any) -> int | None:
    return number if isinstance(number, int) and number > 0 else None


def _leave_out(patches: Patches, owner: Any, name: str) -> None:
    """Let a method do nothing."""
    patches.set(owner, name, lambda *args, **kwargs: None)


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

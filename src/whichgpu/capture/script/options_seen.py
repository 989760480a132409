"""What a script asks torch for beside tensors: compiling, loss scaling, autocast, TF32, other processes."""

from __future__ import annotations

from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.phantom import fuses
from whichgpu.capture.script.seen import Seen


def install(patches: Patches, seen: Seen) -> None:
    """Note all of it; torch.compile gives the model back as it is."""

    def compile_nothing(model: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fuses(**kwargs):
            seen.compile_requested = True
        return model if model is not None else (lambda function: function)

    patches.set(torch, "compile", compile_nothing)
    watch_precision(patches, seen)


def watch_precision(patches: Patches, seen: Seen) -> None:
    """Note loss scaling and autocast, and leave them as they are."""
    plain_step = torch.amp.GradScaler.step

    def step(scaler: Any, *args: Any, **kwargs: Any) -> Any:
        seen.loss_scaling = seen.loss_scaling or scaler.is_enabled()
        return plain_step(scaler, *args, **kwargs)

    patches.set(torch.amp.GradScaler, "step", step)
    plain_enter = torch.autocast.__enter__

    def enter(context: Any) -> Any:
        # Evaluation may run in another format; what trains is what counts.
        if context._enabled and torch.is_grad_enabled():
            seen.autocast = str(context.fast_dtype).removeprefix("torch.")
        return plain_enter(context)

    patches.set(torch.autocast, "__enter__", enter)


def note_tf32(seen: Seen) -> None:
    """Note whether matrix products may use TF32 by now."""
    # Asked this way it answers however it was told; the older way it refuses where both were used.
    own = torch.backends.cuda.matmul.fp32_precision
    seen.matmul_tf32 = (torch.backends.fp32_precision if own == "none" else own) == "tf32"

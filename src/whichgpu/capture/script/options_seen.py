"""What a script asks torch for beside tensors: loss scaling, autocast, TF32."""

from __future__ import annotations

from typing import Any

import torch

from whichgpu.capture.patches import Patches
from whichgpu.capture.script.seen import Seen


def install(patches: Patches, seen: Seen) -> None:
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

"""What torch can train on here."""

from __future__ import annotations


def torch_devices() -> tuple[str, ...]:
    """Return the devices of this machine by torch's names, the CPU first, and of several GPUs the first.

    Only the CPU where torch is not installed: measuring then says what is missing.
    """
    try:
        import torch
    except ImportError:
        return ("cpu",)
    gpus = (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
    return ("cpu", *(name for name, there in gpus if there))

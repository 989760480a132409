"""What torch can train on here."""

from __future__ import annotations

from whichgpu.errors import MissingExtraError


def torch_devices() -> tuple[str, ...]:
    """Return what torch calls the devices it can train on here: "cpu", "cuda:0", "cuda:1", ..., "mps".

    One of several GPUs of the same name stands for all of them.

    Raises:
        MissingExtraError: If torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch", "train a job on this machine") from None
    cuda = {torch.cuda.get_device_name(i): f"cuda:{i}" for i in reversed(range(torch.cuda.device_count()))}
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return ("cpu", *sorted(cuda.values(), key=lambda name: int(name.partition(":")[2])), *mps)

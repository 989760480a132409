"""Random number generators on the phantom GPU: they have a device, a seed and a state, and are never drawn from."""

from __future__ import annotations

from typing import Any

import torch

from whichgpu.capture.phantom_tensor import CUDA

_PlainGenerator: Any = torch.Generator


class PhantomGenerator(_PlainGenerator):  # type: ignore[misc]
    """A generator that lives on the CPU and says it is on cuda:0."""

    @property
    def device(self) -> torch.device:
        """cuda:0."""
        return CUDA


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _PlainGenerator)


class Generator(metaclass=_Meta):
    """Makes generators: torch's own, or one of the phantom GPU."""

    def __new__(cls, device: Any = "cpu") -> Any:
        """Return a generator for `device`."""
        kind = "cuda" if isinstance(device, int) else torch.device(device).type
        return PhantomGenerator() if kind == "cuda" else _PlainGenerator(device)

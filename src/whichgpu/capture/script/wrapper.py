"""What a wrapper for training on many devices is on one: a module that hands everything on to the one it wraps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_map


class Wrapper(torch.nn.Module):  # type: ignore[misc]
    """A module that calls another one, which its attributes come from.

    Args:
        module: The other one.
        device: Where it brings its arguments, as the wrappers it stands for do; None leaves them where they are.
    """

    def __init__(self, module: Any, device: Any = None) -> None:
        super().__init__()
        self.module = module
        self._brings_to = as_device(device)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""
        if self._brings_to is not None:
            args, kwargs = tree_map(self._bring, (args, kwargs))
        return self.module(*args, **kwargs)

    def _bring(self, value: Any) -> Any:
        return value.to(self._brings_to) if isinstance(value, torch.Tensor) else value

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Synchronise nothing, as ever."""
        yield

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":
                raise
            return getattr(super().__getattr__("module"), name)


def as_device(device: Any) -> Any:
    """Return a device, where it may be given by its number."""
    return torch.device("cuda", device) if isinstance(device, int) else device

"""torch.device where a number names a GPU, as it does on a machine that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_PLAIN = torch.device


class _Kind(type):
    """What makes the stand-in the same class as the original wherever classes are compared."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _PLAIN)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return subclass is cls or issubclass(subclass, _PLAIN)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is _PLAIN

    def __hash__(cls) -> int:
        return hash(_PLAIN)


def device_class(numbered: Callable[[int], torch.device]) -> Any:
    """Return a stand-in for torch.device, which C++ gives no GPU's name to a number where it knows of none.

    Args:
        numbered: The device of a number.
    """

    class Device(metaclass=_Kind):
        """Makes devices."""

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            named = args or tuple(kwargs.values())
            return numbered(named[0]) if len(named) == 1 and type(named[0]) is int else _PLAIN(*args, **kwargs)

    # By these names pickled devices find it.
    Device.__module__, Device.__name__, Device.__qualname__ = "torch", "device", "device"
    return Device

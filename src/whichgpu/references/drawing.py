"""Building models without drawing their weights: what takes longest on a CPU and changes nothing of what runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Tensors smaller than this stay on the CPU while a model is built: code that builds models may look at their values.
_LARGE = 4096


@contextmanager
def without_drawing() -> Iterator[None]:
    """Make weights on the device at once, and skip drawing them, for as long as a model is being built.

    Only what `torch.empty` makes, and only if it is large, goes to the device: layers make their weights so, and
    nothing reads them before they are drawn.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    drawing = (torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.erfinv_, torch.nn.init.trunc_normal_)

    class Undrawn(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func in drawing:
                return args[0] if args else kwargs["tensor"]
            if func is torch.empty and kwargs.get("device") is None:
                shape = args[0] if len(args) == 1 and not isinstance(args[0], int) else args
                if all(isinstance(n, int) for n in shape) and _product(shape) >= _LARGE:
                    kwargs = {**kwargs, "device": "cuda"}
            return func(*args, **kwargs)

    with Undrawn():
        yield


def _product(shape: Any) -> int:
    count = 1
    for side in shape:
        count *= side
    return count

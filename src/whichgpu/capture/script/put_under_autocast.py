"""A script that trains in float32, run as if its forward pass and its loss stood under autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from whichgpu.capture.patches import Patches


@contextmanager
def put_under_autocast(dtype: str, in_module: Callable[[], bool]) -> Iterator[None]:
    """Run what is inside under autocast to `dtype`, but for backward passes; do nothing for "".

    A backward pass ends the region, as it does where people write it: the half-precision copies of the weights are
    dropped before it. A script's own region that is switched off is switched on, for it is where its author would have
    autocast; one inside of a module stays off, for there float32 is meant.

    Args:
        dtype: "float16", "bfloat16" or "".
        in_module: Tells whether a module runs.
    """
    if not dtype:
        yield
        return
    patches = Patches()
    for name in ("backward", "grad"):
        patches.set(torch.autograd, name, _outside_of_autocast(getattr(torch.autograd, name)))
    enter = torch.autocast.__enter__

    def switched_on(region: Any) -> Any:
        if region.device == "cuda" and not region._enabled and not in_module():
            region._enabled, region.fast_dtype = True, getattr(torch, dtype)
        return enter(region)

    patches.set(torch.autocast, "__enter__", switched_on)
    try:
        with torch.autocast("cuda", dtype=getattr(torch, dtype)):
            yield
    finally:
        patches.undo()


def _outside_of_autocast(function: Any) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        torch.clear_autocast_cache()
        before = torch.is_autocast_enabled("cuda")
        torch.set_autocast_enabled("cuda", False)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_autocast_enabled("cuda", before)

    return wrapped

"""Operators the phantom GPU answers by hand: copies between host and device, values read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.op_traits import traits_of
from whichgpu.capture.phantom_tensor import META, KernelCall, PhantomTensor, wrap
from whichgpu.capture.placeholders import placeholder, placeholder_of
from whichgpu.capture.shadow import forget, give_shadow, is_small, value_of

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

aten = torch.ops.aten
Handler = Callable[["FakeDevice", Any, tuple[Any, ...], dict[str, Any]], Any]


def handler_table(table: dict[Any, Handler]) -> Callable[..., Callable[[Handler], Handler]]:
    """Return a decorator that enters a handler for operators into `table`.

    A handler may return NotImplemented to leave a call to the operator's meta kernel.
    """

    def handles(*funcs: Any) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            table.update(dict.fromkeys(funcs, handler))
            return handler

        return register

    return handles


HANDLERS: dict[Any, Handler] = {}
handles = handler_table(HANDLERS)


@handles(aten.detach.default)
def _detach(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Autograd detaches what it saves and hands out; on a GPU that never reaches the dispatcher, so it is not recorded.
    (source,) = args
    with KernelCall():
        out = wrap(func(source))
    out.shadow, out.guess = source.shadow, source.guess
    return out


@handles(aten._to_copy.default)
def _to_copy(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    source = args[0]
    target = kwargs.get("device")
    if isinstance(source, PhantomTensor):
        if target is None or target.type != "cpu":
            return NotImplemented
        return _read_back(device, source, kwargs)
    if target is None or target.type == "cpu":
        return NotImplemented
    rest = {k: v for k, v in kwargs.items() if k in ("dtype", "memory_format")}
    with KernelCall():
        empty = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype, device=META)
        out = wrap(func(empty, **rest))
    device.storages.note(out)
    value = None if device.made_up.holds(source) else value_of(source)
    if value is not None and is_small(value):
        give_shadow(out, value.detach().to(out.dtype, copy=True))
    if device.recorder is not None:
        waits_not = bool(kwargs.get("non_blocking"))
        device.recorder.record_transfer("memcpy.h2d", {"self": source}, out, non_blocking=waits_not)
    return out


def _read_back(device: FakeDevice, source: PhantomTensor, kwargs: dict[str, Any]) -> torch.Tensor:
    value = value_of(source)
    dtype = kwargs.get("dtype") or source.dtype
    if value is None:
        device.placeholders_read += 1
        out = placeholder(source.shape, dtype)
        device.made_up.note(out)
    else:
        out = value.to(dtype, copy=True)
    if device.recorder is not None:
        waits_not = bool(kwargs.get("non_blocking"))
        device.recorder.record_transfer("memcpy.d2h", {"self": source}, out, non_blocking=waits_not)
    return out


@handles(aten.copy_.default)
def _copy(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target, source = args[:2]
    if isinstance(target, PhantomTensor) == isinstance(source, PhantomTensor):
        return NotImplemented
    value = None if device.made_up.holds(source) else value_of(source)
    if isinstance(target, PhantomTensor):
        known = value_of(target)
        if known is not None and value is not None:
            known.copy_(value)
        else:
            forget(target)
    elif value is not None:
        target.copy_(value)
    else:
        device.placeholders_read += 1
        target.zero_()
        device.made_up.note(target)
    if device.recorder is not None:
        way = "memcpy.h2d" if isinstance(target, PhantomTensor) else "memcpy.d2h"
        waits_not = bool(kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        device.recorder.record_transfer(way, {"self": target, "src": source}, target, non_blocking=waits_not)
    return target


@handles(aten._local_scalar_dense.default)
def _item(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    (source,) = args
    device.recorded(traits_of(func), args, kwargs, None)
    value = value_of(source)
    if value is not None:
        return value.item()
    device.placeholders_read += 1
    if source.dtype == torch.bool:
        return bool(source.guess)
    return placeholder_of(source.dtype)


@handles(aten._pin_memory.default)
def _pin_memory(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0]


@handles(aten.is_pinned.default)
def _is_pinned(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return False


@handles(aten._amp_foreach_non_finite_check_and_unscale_.default)
def _unscale(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Gradients count as finite, so `found_inf` keeps the zero it was made with and the optimizer steps.
    return device.recorded(traits_of(func), args, kwargs, None)

"""Operators whose result's shape depends on values: indexing and selecting by a mask, places, distinct values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.op_traits import traits_of
from whichgpu.capture.phantom_tensor import META, KernelCall, PhantomTensor, wrap
from whichgpu.capture.shadow import give_shadow, value_of
from whichgpu.capture.special_ops import Handler, handler_table
from whichgpu.capture.stand_in import mask_of

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

aten = torch.ops.aten
HANDLERS: dict[Any, Handler] = {}
handles = handler_table(HANDLERS)


@handles(aten.index.Tensor)
def _index(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    source, indices = args
    out = _picked(device, source, [count for index in indices for count in _positions(device, index)])
    known = [None if i is None else value_of(i) for i in indices]
    if all(k is not None or i is None for k, i in zip(known, indices, strict=True)):
        _give_value(out, source, lambda value: aten.index(value, known))
    return device.recorded(traits_of(func), args, kwargs, out)


@handles(aten.masked_select.default)
def _masked_select(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    source, mask = args
    chosen = mask_of(device, mask)
    shape = torch.broadcast_shapes(source.shape, mask.shape)
    out = device.new((int(chosen.expand(shape).count_nonzero()),), source.dtype)
    _give_value(out, source, lambda value: value.masked_select(chosen))
    return device.recorded(traits_of(func), args, kwargs, out)


@handles(aten.nonzero.default)
def _nonzero(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    (source,) = args
    return device.recorded(traits_of(func), args, kwargs, device.from_real(mask_of(device, source).nonzero()))


@handles(aten._unique2.default, aten.unique_consecutive.default)
def _unique(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    source = args[0]
    if value_of(source) is not None and not source.is_floating_point():
        return NotImplemented
    # No two numbers that a layer computes are equal.
    count = source.numel()
    places = torch.arange(count)
    out = (
        device.new((count,), source.dtype),
        device.from_real(places.view(source.shape)),
        device.from_real(torch.ones(count, dtype=torch.int64)),
    )
    return device.recorded(traits_of(func), args, kwargs, out)


@handles(aten.equal.default, aten.allclose.default)
def _equal(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    device.recorded(traits_of(func), args, kwargs, None)
    first, second, *rest = args
    known = _read(first), _read(second)
    if known[0] is not None and known[1] is not None:
        return func(*known, *rest, **kwargs)
    return first.shape == second.shape or func is aten.allclose.default


def _read(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the value of a tensor; of a single unknown truth value what `.item()` would give, too."""
    value = value_of(tensor)
    return torch.tensor(False) if value is None and tensor.dtype == torch.bool and not tensor.dim() else value


def _picked(device: FakeDevice, source: torch.Tensor, positions: list[torch.Tensor | None]) -> PhantomTensor:
    with KernelCall():
        if not isinstance(source, PhantomTensor):
            source = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype, device=META)
        out = wrap(aten.index.Tensor(source, positions))
    device.storages.note(out)
    return out


def _positions(device: FakeDevice, index: torch.Tensor | None) -> list[torch.Tensor | None]:
    """Return what stands for an index: a mask, whose values decide the shape of the result, for the places it picks."""
    if index is None:
        return [None]
    if index.dtype not in (torch.bool, torch.uint8):
        return [torch.empty(index.shape, dtype=index.dtype, device=META)]
    count = int(mask_of(device, index).count_nonzero())
    return [torch.empty(count, dtype=torch.int64, device=META)] * index.dim()


def _give_value(out: PhantomTensor, source: torch.Tensor, pick: Any) -> None:
    """Give `out` what `pick` takes from the value of `source`, if that is known."""
    value = value_of(source)
    if value is not None:
        give_shadow(out, pick(value))

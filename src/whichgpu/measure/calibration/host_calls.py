"""What the host costs, whatever the device: calls of torch from Python, timed until they are issued."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from whichgpu.measure.calibration.record import HostRecord
from whichgpu.measure.calibration.timing import Call, Clock, Timing

if TYPE_CHECKING:
    import torch

_ROUNDS = 15
_CHAIN = 100
# Small enough that the device is always done before the host.
_SIDE = 32

Timed = Callable[[], float]


def time_host_call(section: str, name: str, clock: Clock) -> HostRecord:
    """Return the record of the host call `name`; of an optimizer or a list, the time of the whole."""
    once = _CALLS[name](clock)
    once()
    timing = Timing.of([once() for _ in range(_ROUNDS)], 1)
    return HostRecord(section, name, timing.seconds, timing.noise)


def _tensor(clock: Clock, *, needs_gradient: bool = False) -> torch.Tensor:
    import torch

    return torch.randn(_SIDE, _SIDE, device=clock.device, requires_grad=needs_gradient)


def _issued(clock: Clock, call: Call, calls: int | None = None) -> Timed:
    return (lambda: clock.issue(call)) if calls is None else (lambda: clock.issue(call, calls))


def _add(clock: Clock) -> Timed:
    x = _tensor(clock)
    return _issued(clock, lambda: x + x)


def _view(clock: Clock) -> Timed:
    x = _tensor(clock)
    return _issued(clock, lambda: x.view(-1))


def _synchronize(clock: Clock) -> Timed:
    return _issued(clock, clock.synchronize)


def _read(clock: Clock) -> Timed:
    x = _tensor(clock).sum()
    return _issued(clock, x.item)


def _allocate(clock: Clock) -> Timed:
    import torch

    return _issued(clock, lambda: torch.empty(_SIDE, _SIDE, device=clock.device))


def _linear(clock: Clock) -> Timed:
    from torch import nn

    layer, x = nn.Linear(_SIDE, _SIDE, device=clock.device), _tensor(clock)
    return _issued(clock, lambda: layer(x))


def _foreach(clock: Clock) -> Timed:
    import torch

    lists = [[_tensor(clock) for _ in range(_CHAIN)] for _ in range(2)]
    return _issued(clock, lambda: torch._foreach_add_(lists[0], lists[1]), 10)


def _with_gradients(clock: Clock) -> Timed:
    x = _tensor(clock, needs_gradient=True)
    return _issued(clock, lambda: x + x)


def _backward(clock: Clock) -> Timed:
    """Backward of a chain, a node: an addition of two tensors has nothing to do on the device but to pass on."""
    x = _tensor(clock, needs_gradient=True)

    def once() -> float:
        y = x
        for _ in range(_CHAIN):
            y = y * 1.001
        total = y.sum()
        clock.synchronize()
        begin = time.perf_counter()
        total.backward()
        seconds = (time.perf_counter() - begin) / _CHAIN
        clock.synchronize()
        return seconds

    return once


def _adamw(clock: Clock) -> Timed:
    import torch

    weights = [_tensor(clock, needs_gradient=True) for _ in range(_CHAIN)]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimizer = torch.optim.AdamW(weights, foreach=True)
    return _issued(clock, optimizer.step, 10)


_CALLS: dict[str, Callable[[Clock], Timed]] = {
    "add": _add,
    "view": _view,
    "synchronize": _synchronize,
    "read a number": _read,
    "allocate": _allocate,
    "linear layer": _linear,
    "foreach add of 100": _foreach,
    "add with gradients": _with_gradients,
    "backward of a product": _backward,
    "AdamW step of 100": _adamw,
}

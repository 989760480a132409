"""Where the time of a step goes: by what limits it, by kernel kind, and in ops nobody has described."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whichgpu.estimate.estimate import Bound, Share
from whichgpu.work import GraphWork

if TYPE_CHECKING:
    from whichgpu.cost.roofline import Priced


@dataclass(frozen=True, slots=True)
class Unruled:
    """An op without a work rule: its name, its calls in a step and a lower bound of their time."""

    label: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The parts of a step's device time, in seconds, and what bounds the step."""

    compute_s: float
    memory_s: float
    launch_s: float
    bound: Bound
    shares: tuple[Share, ...]
    unruled: tuple[Unruled, ...]


def breakdown(priced: Priced, work: GraphWork) -> Breakdown:
    """Return the parts of the time of a step whose kernels are `priced`."""
    busy = priced.calls * (priced.seconds - priced.launch_s)
    by_compute = priced.compute_s >= priced.memory_s
    compute_s, memory_s = float(busy @ by_compute), float(busy @ ~by_compute)
    launch_s = float(priced.calls @ priced.launch_s)
    unruled = _unruled(priced, work)
    return Breakdown(
        compute_s,
        memory_s,
        launch_s,
        _bound(priced, compute_s, memory_s, launch_s),
        _shares(priced, unruled),
        unruled,
    )


def _bound(priced: Priced, compute_s: float, memory_s: float, launch_s: float) -> Bound:
    """Starting kernels bounds a step if the device waits for the host most of the time, or does little else."""
    idle_s = priced.step_s - priced.device_s
    if max(priced.host_s, idle_s) > priced.device_s or launch_s > max(compute_s, memory_s):
        return "host launch"
    return "compute" if compute_s >= memory_s else "memory bandwidth"


def _unruled(priced: Priced, work: GraphWork) -> tuple[Unruled, ...]:
    bounded = work.bounded
    if not bounded:
        return ()
    seconds = dict(zip(priced.table.kernels, priced.seconds.tolist(), strict=True))
    calls: defaultdict[str, int] = defaultdict(int)
    total: defaultdict[str, float] = defaultdict(float)
    for count in bounded:
        calls[count.op.base_name] += count.calls
        total[count.op.base_name] += count.calls * sum(seconds[kernel] for kernel in count.work.kernels)
    found = (Unruled(name, calls[name], total[name]) for name in calls)
    return tuple(sorted(found, key=lambda u: -u.seconds))


def _shares(priced: Priced, unruled: tuple[Unruled, ...]) -> tuple[Share, ...]:
    """Return device time by kernel kind, ops without a rule under their own names, largest first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    parts: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    each = zip(
        priced.table.kernels,
        (priced.calls * priced.seconds).tolist(),
        (priced.calls * priced.launch_s).tolist(),
        (priced.compute_s >= priced.memory_s).tolist(),
        strict=True,
    )
    for kernel, total_s, launch_s, by_compute in each:
        seconds[kernel.kind] += total_s
        split = parts[kernel.kind]
        split[0 if by_compute else 1] += total_s - launch_s
        split[2] += launch_s
    for op in unruled:  # priced as elementwise kernels
        seconds["elementwise"] -= op.seconds
        seconds[op.label] += op.seconds
        parts[op.label] = [0.0, op.seconds, 0.0]
    bounds: tuple[Bound, ...] = ("compute", "memory bandwidth", "host launch")
    device_s = priced.device_s or 1.0
    shares = (
        Share(label, s, s / device_s, bounds[parts[label].index(max(parts[label]))]) for label, s in seconds.items()
    )
    return tuple(sorted((s for s in shares if s.seconds > 0), key=lambda s: -s.seconds))

"""What a step needs on a device, in the three figures people know, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass, field

from whichgpu.devices.device import Device
from whichgpu.graph import Graph, Phase
from whichgpu.memory.allocator_options import AllocatorOptions
from whichgpu.memory.capacity import usable_bytes
from whichgpu.memory.context import context_bytes, nccl_bytes
from whichgpu.memory.holders import Holder, Timeline, holders_at, modules_at, timeline
from whichgpu.memory.replay import OutOfDeviceMemory, Replay, replay
from whichgpu.memory.scratch import Libraries, Workspaces, workspaces

LEVEL = 0.8
# All rows of docs/memory.md lie within this of what was measured, four in five within 0.015. Twice as wide and more,
# for nobody's published figures are of jobs that strangers write, nor of convolutions' workspaces.
SPREAD = 0.04


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory of a training step on one device.

    Attributes:
        allocated_bytes: What its tensors and workspaces take at most, as torch.cuda.max_memory_allocated tells.
        reserved_bytes: What the caching allocator takes from the device for them, as torch.cuda.max_memory_reserved
            tells.
        device_bytes: What the process takes, as nvidia-smi shows it: reserved, context and NCCL's buffers.
        device_bytes_low: Lower end of the interval around it, of `LEVEL`.
        device_bytes_high: Upper end.
        context_bytes: Of the driver and its kernels, part of `device_bytes`.
        collective_bytes: Of NCCL, likewise; 0 on one device.
        usable_bytes: What a process can have there; None if the device's memory is not known.
        fits: Whether the step runs there; None likewise. It may although `device_bytes` is more than is usable, where
            the allocator can give back segments that lie idle.
        peak_phase: In which phase the most is allocated.
        peak_op: By which op.
        peak_module: In which module, as far as known.
        holders: Bytes by holder at that moment, before the allocator rounds up to its blocks.
        modules: Activations by group of modules at that moment, largest first.
        phases: Most allocated at once in each phase.
    """

    allocated_bytes: int
    reserved_bytes: int
    device_bytes: int
    device_bytes_low: int
    device_bytes_high: int
    context_bytes: int
    collective_bytes: int
    usable_bytes: int | None
    fits: bool | None
    peak_phase: Phase
    peak_op: str
    peak_module: str
    holders: dict[Holder, int] = field(default_factory=dict)
    modules: tuple[tuple[str, int], ...] = ()
    phases: dict[Phase, int] = field(default_factory=dict)

    @property
    def margin_bytes(self) -> int | None:
        """What is left of the device's memory, negative if it does not suffice; None if that memory is not known."""
        return None if self.usable_bytes is None else self.usable_bytes - self.device_bytes

    @property
    def is_close(self) -> bool:
        """Whether the interval holds both answers, fits and does not."""
        if self.usable_bytes is None:
            return False
        return self.device_bytes_low <= self.usable_bytes < self.device_bytes_high


@dataclass(frozen=True, slots=True)
class _Unlimited:
    """What a step takes where there is room for all of it; the same for all devices whose workspaces are the same."""

    beside: Workspaces
    replay: Replay
    holders: dict[Holder, int]
    modules: tuple[tuple[str, int], ...]


class GraphMemory:
    """The memory of one graph, worked out once for all devices that treat it alike.

    Args:
        graph: One step, with lifetimes.
        options: How the allocator cuts memory.
        world_size: Processes that train together, one a device.
    """

    def __init__(self, graph: Graph, options: AllocatorOptions | None = None, world_size: int = 1) -> None:
        self.graph = graph
        self.options = options
        self.world_size = world_size
        self._known: dict[Libraries, _Unlimited] = {}

    def on(self, device: Device) -> Footprint:
        """Return the footprint on `device`.

        Raises:
            GraphError: If the graph carries no lifetimes.
        """
        found = self._unlimited(Libraries.of(device))
        free = found.replay
        context, collective = context_bytes(device), nccl_bytes(self.world_size)
        usable = usable_bytes(device)
        outside = context + collective
        reserved = free.reserved_bytes
        fits = None if usable is None else reserved + outside <= usable
        if fits is False and usable is not None and free.allocated_bytes + outside <= usable:
            try:
                reserved = replay(self.graph, found.beside, int(usable) - outside, self.options).reserved_bytes
                fits = True
            except OutOfDeviceMemory:
                pass
        taken = reserved + outside
        op = self.graph.ops[free.peak_op]
        return Footprint(
            allocated_bytes=free.allocated_bytes,
            reserved_bytes=reserved,
            device_bytes=taken,
            device_bytes_low=round(taken / (1 + SPREAD)),
            device_bytes_high=round(taken * (1 + SPREAD)),
            context_bytes=context,
            collective_bytes=collective,
            usable_bytes=None if usable is None else int(usable),
            fits=fits,
            peak_phase=op.phase,
            peak_op=op.name,
            peak_module=op.module,
            holders=found.holders,
            modules=found.modules,
            phases=dict(free.phase_bytes),
        )

    def timeline(self, device: Device) -> Timeline:
        """Return who holds what over the course of a step on `device`."""
        return timeline(self.graph, self._unlimited(Libraries.of(device)).beside)

    def _unlimited(self, libraries: Libraries) -> _Unlimited:
        if libraries not in self._known:
            beside = workspaces(self.graph, libraries)
            free = replay(self.graph, beside, None, self.options)
            self._known[libraries] = _Unlimited(
                beside,
                free,
                holders_at(self.graph, beside, free.peak_op),
                tuple(modules_at(self.graph, free.peak_op)),
            )
        return self._known[libraries]


def footprint(
    graph: Graph, device: Device, *, options: AllocatorOptions | None = None, world_size: int = 1
) -> Footprint:
    """Return what a step of `graph` needs on `device`.

    Args:
        graph: One step, with lifetimes.
        device: Where it runs.
        options: How the allocator cuts memory; PyTorch's defaults if not given.
        world_size: Processes that train together, one a device.

    Raises:
        GraphError: If the graph carries no lifetimes.
    """
    return GraphMemory(graph, options, world_size).on(device)

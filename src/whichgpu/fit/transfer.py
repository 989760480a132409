"""Time on links that the cost model of a step knows nothing of: between devices, and to the host."""

from __future__ import annotations

from dataclasses import dataclass

from whichgpu.devices.device import Device
from whichgpu.graph import Graph
from whichgpu.units import GIGA

# A lane of PCI Express carries so much one way after encoding, by generation; copies reach this share of it.
# Source: PCI Express base specifications 3.0 to 6.0; the share is what NVIDIA's bandwidthTest reaches, 12 to 13 GB/s of
# 15.75 on x16 of generation 3 (public logs, 2024).
_LANE_BYTES_PER_S = {3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
_REACHED = 0.8
_GENERATION, _LANES = 3, 16
# What a host reads and writes its memory with while it updates weights: two channels of DDR4-3200 reach about this.
_HOST_BYTES_PER_S = 40 * GIGA
# Adam on float32: weight, gradient and two states read, weight and states written.
_HOST_BYTES_A_WEIGHT = 7 * 4
# Links between devices reach this share of their peak in NCCL's collectives of many megabytes: nccl-tests tell busbw of
# 230 to 240 GB/s on A100 and 360 to 370 on H100 (300 and 450 one way). Source: NVIDIA/nccl-tests issues, 2022 to 2024.
_LINK_REACHED = 0.78


@dataclass(frozen=True, slots=True)
class _Link:
    bytes_per_s: float
    words: str


def host_link_bytes_per_s(device: Device) -> float:
    """Return what copies to and from the host reach, one way."""
    lane = _LANE_BYTES_PER_S[min(max(device.pcie_generation or _GENERATION, 3), 6)]
    return _REACHED * lane * (device.pcie_lanes or _LANES)


def sharded_step_s(step_s: float, graph: Graph, device: Device, processes: int) -> tuple[float, str]:
    """Return the time of a step whose weights are gathered twice and gradients scattered once, and what it rests on.

    Communication runs beside computing but for the first block; so the step takes the longer of the two and a little.

    Args:
        step_s: Of one process's share of the batch.
        graph: The step before it was sharded.
        device: One of them.
        processes: How many.
    """
    link = _link(device)
    weights = sum(s.nbytes for s in graph.storages if s.kind == "parameter")
    gradients = sum(s.nbytes for s in graph.storages if s.kind == "gradient" and s.allocated_at is not None)
    moved = (2 * weights + gradients) * (processes - 1) / processes
    moving_s = moved / link.bytes_per_s
    return max(step_s, moving_s) + 0.05 * min(step_s, moving_s), f"devices linked by {link.words}"


def host_update_s(step_s: float, graph: Graph, device: Device) -> tuple[float, str]:
    """Return the time of a step whose weights are updated on the host: gradients down, the update, weights up."""
    weights = sum(s.nbytes for s in graph.storages if s.kind == "gradient" and s.allocated_at is not None)
    moving_s = 2 * weights / host_link_bytes_per_s(device)
    updating_s = weights / 4 * _HOST_BYTES_A_WEIGHT / _HOST_BYTES_PER_S
    return step_s + moving_s + updating_s, f"a host that moves {_HOST_BYTES_PER_S / GIGA:.0f} GB/s in its memory"


def _link(device: Device) -> _Link:
    if device.link_bytes_per_s is not None:
        return _Link(_LINK_REACHED * device.link_bytes_per_s, "NVLink or the like")
    return _Link(host_link_bytes_per_s(device), "PCI Express")

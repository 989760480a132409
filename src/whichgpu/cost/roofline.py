"""The pass over the kernels of a step on one device: compute against bandwidth for each, and the host beside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whichgpu.cost.family import Efficiencies, Family, Model, Software
from whichgpu.cost.host import host_s
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.cost.rates import Rates
from whichgpu.cost.tiles import Floats, product_s
from whichgpu.devices.device import Device
from whichgpu.graph import Precision

# Of a wave, where a device's cache or number of multiprocessors is not known.
_USUALLY_UNCACHED = 0.3


@dataclass(frozen=True, slots=True)
class Priced:
    """The time of a step on one device, by distinct kernel.

    Attributes:
        table: The n kernels.
        family: Whose efficiencies were used.
        calls: How often the step runs each kernel, (n,).
        seconds: Time of one call, start included, (n,).
        compute_s: Time its arithmetic alone would take, (n,).
        memory_s: Time its memory traffic alone, with what handles it on the multiprocessors, would take, (n,).
        launch_s: Time the device loses to starting it, (n,).
        host_s: Time the host takes to issue the step.
        timeline_s: Time of the step where the host waits for the device inside of it; None where it never does.
        idle_w: What the board draws whatever it does.
        dynamic_j: What the step's arithmetic and memory traffic draw at full clock.
        overlapped: Whether host and device work at the same time; on a CPU they are the same.
        step_norm: p of the smooth maximum of device and host time.
        assumptions: What had to be assumed because the device's figures do not say.
    """

    table: KernelTable
    family: Family
    calls: Floats
    seconds: Floats
    compute_s: Floats
    memory_s: Floats
    launch_s: Floats
    host_s: float
    timeline_s: float | None
    idle_w: float
    dynamic_j: float
    overlapped: bool
    step_norm: float
    assumptions: tuple[str, ...]

    @property
    def device_s(self) -> float:
        """Time the device is busy in one step."""
        return float(self.calls @ self.seconds)

    @property
    def step_s(self) -> float:
        """Time of one step: the longer of device and host, more where both are close; their sum on a CPU.

        Where the host waits inside of the step, that holds between two waits.
        """
        if not self.overlapped:
            return self.device_s + self.host_s
        if self.timeline_s is not None:
            return self.timeline_s
        longer = max(self.device_s, self.host_s)
        if longer == 0:
            return 0.0
        shorter = min(self.device_s, self.host_s)
        return float(longer * (1 + (shorter / longer) ** self.step_norm) ** (1 / self.step_norm))


def price_table(
    table: KernelTable,
    device: Device,
    precision: Precision,
    efficiencies: Efficiencies,
    software: tuple[Software, ...] = (),
) -> Priced:
    """Return the time of the kernels in `table` on `device`, by a PyTorch that lacks what `software` says."""
    model = efficiencies.model
    rates = Rates.of(device, precision, efficiencies, software)
    by_group = [rates.rate(group) for group in table.groups]
    numbers = np.array([rate[:6] for rate in by_group], dtype=np.float64).reshape(-1, 6)
    flops_per_s, bytes_per_s, elements_per_s, reorder_s_per_byte, joules_per_flop, reread = numbers[table.group].T

    compute_s = table.flops / flops_per_s
    if not device.is_cpu and not device.l2_bytes:
        rates.assumptions.append("the size of its cache is unknown: priced as of a middling one")
    if not device.is_cpu and len(table.gemm):
        if device.multiprocessors is None:
            rates.assumptions.append("its number of multiprocessors is unknown: priced as if all were always busy")
        shares = np.array([rate.tile_shares for rate in by_group], dtype=np.float64)
        compute_s[table.gemm] = product_s(
            table.tile_count,
            table.tile_depth,
            flops_per_s[table.gemm],
            shares[table.group[table.gemm]].T,
            multiprocessors=device.multiprocessors,
            prologue=model.prologue,
            tail=model.tail,
            split_k_s=model.split_k_s,
        )
    memory_s = _memory_s(table.bytes_moved, bytes_per_s, rates.cache_bytes_per_s, device.l2_bytes, model)
    memory_s *= 1 + reread * _uncached(table.slab_bytes, device)
    memory_s = _smooth_max(memory_s, _elements_s(table, elements_per_s, device), model.kernel_norm)
    reorder_s = table.bytes_moved * reorder_s_per_byte
    launch_s = table.launches * rates.family.kernel_start_s
    seconds = _smooth_max(compute_s, memory_s, model.kernel_norm) + reorder_s + launch_s
    slower = math.prod(s.host for s in software)
    timeline_s = None
    if table.timeline is not None and not device.is_cpu:
        timeline_s = table.timeline.step_s(seconds, rates.family, efficiencies.host, slower, model.step_norm)
    return Priced(
        table=table,
        family=rates.family,
        calls=table.calls,
        seconds=seconds,
        compute_s=compute_s,
        memory_s=memory_s + reorder_s,
        launch_s=launch_s,
        host_s=host_s(table, rates.family, efficiencies.host, slower),
        timeline_s=timeline_s,
        idle_w=model.idle_w,
        dynamic_j=float(table.calls @ (table.flops * joules_per_flop + table.bytes_moved * model.joules_per_byte)),
        overlapped=not device.is_cpu,
        step_norm=model.step_norm,
        assumptions=tuple(rates.assumptions),
    )


def _memory_s(
    bytes_moved: Floats, bytes_per_s: Floats, cache_bytes_per_s: float | None, l2_bytes: float | None, model: Model
) -> Floats:
    """Return the time of the memory traffic: what a small kernel touches may still lie in the shared cache."""
    seconds = bytes_moved / bytes_per_s
    if not l2_bytes or cache_bytes_per_s is None:
        return seconds
    within = model.l2_reach * l2_bytes
    cached = within / (within + bytes_moved)
    faster: Floats = (1 - cached) * seconds + cached * np.minimum(seconds, bytes_moved / cache_bytes_per_s)
    return faster


def _elements_s(table: KernelTable, elements_per_s: Floats, device: Device) -> Floats:
    """Return the time multiprocessors take to go through elements; those without a block of a kernel stand idle."""
    busy = np.minimum(1.0, table.blocks / (device.multiprocessors or 1))
    found: Floats = table.elements / (elements_per_s * busy)
    return found


def _uncached(slab_bytes: Floats, device: Device) -> Floats:
    """Return how much of a wave the shared cache does not hold, 0 to 1: what neighbours share is read again then."""
    if device.multiprocessors is None or not device.l2_bytes:
        return np.full_like(slab_bytes, _USUALLY_UNCACHED)
    wave = slab_bytes * device.multiprocessors
    share: Floats = wave / (wave + device.l2_bytes)
    return share


def _smooth_max(first: Floats, second: Floats, norm: float) -> Floats:
    """Return (first^p + second^p)^(1/p), without overflow."""
    longer, shorter = np.maximum(first, second), np.minimum(first, second)
    ratio = np.divide(shorter, longer, out=np.zeros_like(longer), where=longer > 0)
    smooth: Floats = longer * (1 + ratio**norm) ** (1 / norm)
    return smooth

"""The pass over the kernels of a step on one device: compute against bandwidth for each, and the host beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whichgpu.cost.family import Efficiencies, Family, Host, Model
from whichgpu.cost.kernel_table import TILES, Floats, KernelTable
from whichgpu.cost.rates import Rates
from whichgpu.devices.device import Device
from whichgpu.graph import Precision


@dataclass(frozen=True, slots=True)
class Priced:
    """The time of a step on one device, by distinct kernel.

    Attributes:
        table: The n kernels.
        family: Whose efficiencies were used.
        calls: How often the step runs each kernel, (n,).
        seconds: Time of one call, start included, (n,).
        compute_s: Time its arithmetic alone would take, (n,).
        memory_s: Time its memory traffic alone would take, (n,).
        launch_s: Time the device loses to starting it, (n,).
        host_s: Time the host takes to issue the step.
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
    overlapped: bool
    step_norm: float
    assumptions: tuple[str, ...]

    @property
    def device_s(self) -> float:
        """Time the device is busy in one step."""
        return float(self.calls @ self.seconds)

    @property
    def step_s(self) -> float:
        """Time of one step: the longer of device and host, more where both are close; their sum on a CPU."""
        if not self.overlapped:
            return self.device_s + self.host_s
        longer = max(self.device_s, self.host_s)
        if longer == 0:
            return 0.0
        shorter = min(self.device_s, self.host_s)
        return float(longer * (1 + (shorter / longer) ** self.step_norm) ** (1 / self.step_norm))


def price_table(table: KernelTable, device: Device, precision: Precision, efficiencies: Efficiencies) -> Priced:
    """Return the time of the kernels in `table` on `device`."""
    model = efficiencies.model
    rates = Rates.of(device, precision, efficiencies)
    by_group = np.array([rates.rate(group) for group in table.groups], dtype=np.float64).reshape(-1, 4)
    flops_per_s, edge, bytes_per_s, reorder_s_per_byte = by_group[table.group].T

    compute_s = table.flops / flops_per_s
    if not device.is_cpu and len(table.gemm):
        if device.multiprocessors is None:
            rates.assumptions.append("its number of multiprocessors is unknown: priced as if all were always busy")
        products = table.gemm
        compute_s[products] = _product_s(table, flops_per_s[products], edge[products], device.multiprocessors, model)
    memory_s = _memory_s(table.bytes_moved, bytes_per_s, device.l2_bytes, model)
    reorder_s = table.bytes_moved * reorder_s_per_byte
    launch_s = table.launches * rates.family.kernel_start_s
    return Priced(
        table=table,
        family=rates.family,
        calls=table.calls,
        seconds=_smooth_max(compute_s, memory_s, model.kernel_norm) + reorder_s + launch_s,
        compute_s=compute_s,
        memory_s=memory_s + reorder_s,
        launch_s=launch_s,
        host_s=_host_s(table, rates.family, efficiencies.host),
        overlapped=not device.is_cpu,
        step_norm=model.step_norm,
        assumptions=tuple(rates.assumptions),
    )


def _product_s(
    table: KernelTable, flops_per_s: Floats, edge: Floats, multiprocessors: int | None, model: Model
) -> Floats:
    """Return the time of each product by its best tile and split, (g,).

    The output is cut into tiles, each the work of one multiprocessor; a wave is as many tiles as there are
    multiprocessors, and the last wave is paid for in part even where it is not full. Small tiles load more per FLOP.
    """
    rows, columns = TILES[:, 0, None, None], TILES[:, 1, None, None]
    tile_flops = 2 * rows * columns * (table.tile_depth + model.prologue)
    tile_share = 1 / (1 + edge * (1 / rows + 1 / columns))
    tiles = table.tile_count
    if multiprocessors is not None:
        waves = tiles / multiprocessors
        waves = np.maximum(1, waves + model.tail * (np.ceil(waves) - waves))
        tiles = waves * multiprocessors
    seconds = tiles * tile_flops / (flops_per_s * tile_share)
    seconds[:, 1:] += model.split_k_s
    best: Floats = seconds.min(axis=(0, 1))
    return best


def _memory_s(bytes_moved: Floats, bytes_per_s: Floats, l2_bytes: float | None, model: Model) -> Floats:
    """Return the time of the memory traffic: what a small kernel touches may still lie in the shared cache."""
    seconds = bytes_moved / bytes_per_s
    if not l2_bytes:
        return seconds
    cached = np.exp(-bytes_moved / (model.l2_reach * l2_bytes))
    faster: Floats = seconds * (1 - cached * (1 - 1 / model.l2_speed))
    return faster


def _smooth_max(first: Floats, second: Floats, norm: float) -> Floats:
    """Return (first^p + second^p)^(1/p), without overflow."""
    longer, shorter = np.maximum(first, second), np.minimum(first, second)
    ratio = np.divide(shorter, longer, out=np.zeros_like(longer), where=longer > 0)
    smooth: Floats = longer * (1 + ratio**norm) ** (1 / norm)
    return smooth


def _host_s(table: KernelTable, family: Family, host: Host) -> float:
    """Return the time the host takes to issue the step's calls one by one."""
    op_s = host.op_s if family.op_host_s is None else family.op_host_s
    return (
        table.op_calls * op_s
        + table.extra_launches * host.launch_s
        + table.view_calls * host.view_s
        + table.synchronizations * host.synchronization_s
    )

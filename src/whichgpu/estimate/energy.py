"""What a board draws over a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.devices.device import Device

if TYPE_CHECKING:
    from whichgpu.cost.roofline import Priced


def energy_j(priced: Priced, device: Device) -> float | None:
    """Return the energy of one step in joules: what arithmetic and memory draw, and what the board draws anyway.

    Arithmetic at full clock and voltage, and never more than the power limit allows: so it is an upper estimate.
    Leaves out: the host.
    Returns None for a CPU and where the power limit is not known.
    """
    if device.is_cpu or device.tdp_w is None:
        return None
    return min(device.tdp_w * priced.step_s, priced.idle_w * priced.step_s + priced.dynamic_j)

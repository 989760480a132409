"""How far a prediction may be off: an interval from the errors found where predictions could be checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from whichgpu.cost.family import Efficiencies, Spread
from whichgpu.devices.device import Device
from whichgpu.estimate.estimate import Interval
from whichgpu.estimate.own_measurements import Adjustment, Errors

if TYPE_CHECKING:
    from whichgpu.cost.roofline import Priced
    from whichgpu.work import GraphWork

LEVEL = 0.8
# Quantile of the normal distribution that leaves (1 - LEVEL) / 2 above it.
_Z = 1.2816
# What each figure that had to be assumed adds to the standard deviation of log time.
_ASSUMED_SIGMA = 0.2


def errors_of(priced: Priced, device: Device, efficiencies: Efficiencies, unknown: float, derived: bool) -> Errors:
    """Return the errors a prediction is made of.

    Args:
        priced: The prediction.
        device: Its device.
        efficiencies: The coefficients, with the errors found.
        unknown: Share of the step in ops without a work rule.
        derived: Whether the graph was derived from one captured in another precision.
    """
    spread, _ = _spread(priced, device, efficiencies)
    assumed = (len(priced.assumptions) + derived) * _ASSUMED_SIGMA**2
    return Errors(
        device_sigma=spread.device_part,
        job_sigma=spread.job_part,
        host_sigma=efficiencies.spreads["host"].sigma,
        own_sigma=math.sqrt(math.log1p(unknown) ** 2 + assumed),
        host_weight=host_weight(priced),
    )


def interval(
    priced: Priced, device: Device, efficiencies: Efficiencies, unknown: float, derived: bool, adjusted: Adjustment
) -> Interval:
    """Return the 80 % interval around a predicted step time, log-normal.

    Args:
        priced: The prediction.
        device: Its device.
        efficiencies: The coefficients, with the errors found.
        unknown: Share of the step in ops without a work rule.
        derived: Whether the graph was derived from one captured in another precision.
        adjusted: What the user's own measurements say of it.
    """
    spread, where = _spread(priced, device, efficiencies)
    factor = math.exp(_Z * math.sqrt(adjusted.variance))
    basis = f"{LEVEL * 100:.0f} % interval: {spread.basis}{where}"
    if host_weight(priced) > 0.5:
        basis += f"; bound by the host: {efficiencies.spreads['host'].basis}"
    if unknown > 0.02 or priced.assumptions or derived:
        basis += "; widened for what is unknown"
    if adjusted.note:
        basis += "; narrowed by your own measurements"
    step_s = priced.step_s * adjusted.factor
    return Interval(step_s / factor, step_s * factor, LEVEL, basis)


def compile_interval(work: GraphWork, efficiencies: Efficiencies) -> Interval:
    """Return what torch.compile takes before the first step that is `work`, in seconds, nothing being cached."""
    host, spread = efficiencies.host, efficiencies.spreads["compile"]
    seconds = (
        host.compile_begin_s + work.compiled_ops * host.compile_op_s + work.generated_kernels * host.compile_kernel_s
    )
    factor = math.exp(_Z * spread.sigma)
    return Interval(seconds / factor, seconds * factor, LEVEL, f"{LEVEL * 100:.0f} % interval: {spread.basis}")


def _spread(priced: Priced, device: Device, efficiencies: Efficiencies) -> tuple[Spread, str]:
    """Return the errors that apply, by how much was measured of such devices, and a word on this one."""
    spreads, family = efficiencies.spreads, priced.family
    if device.is_cpu:
        return spreads["cpu"], ""
    if device.name in family.measured_devices:
        return spreads["device"], "; this device is among them"
    if family.measured_devices:
        return spreads["family"], f"; of this device none, of {family.name} {len(family.measured_devices)}"
    if device.vendor == "NVIDIA":
        return spreads["vendor"], f"; none of {device.architecture}"
    return spreads["none"], ""


def host_weight(priced: Priced) -> float:
    """Return how much of the step's length the host decides, 0 to 1."""
    if not priced.overlapped:
        total = priced.device_s + priced.host_s
        return priced.host_s / total if total else 0.0
    host, device = priced.host_s, priced.device_s
    longest = max(host, device)
    if longest == 0:
        return 0.0
    h: float = (host / longest) ** priced.step_norm
    d: float = (device / longest) ** priced.step_norm
    # Where the host waits inside of the step, the device is idle after each wait, whichever is slower on the whole.
    return max(h / (h + d), 1 - device / priced.step_s)

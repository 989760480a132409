"""What a device would really run where it lacks the precision asked for."""

from __future__ import annotations

from whichgpu.devices.device import Device
from whichgpu.errors import PrecisionError
from whichgpu.graph import PRECISIONS, Precision

# The precisions to try, in order, where a device has no units for the one asked for: the other half format under
# autocast, then float32. A CPU goes straight to float32, as PyTorch's users do: it has no float16 units to gain from.
_INSTEAD: dict[str, tuple[str, ...]] = {
    "tf32": ("fp32",),
    "amp-fp16": ("amp-bf16", "fp32"),
    "amp-bf16": ("amp-fp16", "fp32"),
    "bf16": ("amp-fp16", "fp32"),
}


def runnable_precision(device: Device, precision: Precision) -> Precision:
    """Return `precision` if `device` has matrix units for it, else what one would train in there instead.

    Where a device's file gives no rate at all that could stand in, `precision` itself is returned, and pricing says
    what it assumes.
    """
    if precision.matrix_format in device.flops_per_s:
        return precision
    for name in ("fp32",) if device.is_cpu else _INSTEAD.get(precision.name, ()):
        if PRECISIONS[name].matrix_format in device.flops_per_s:
            return PRECISIONS[name]
    return precision


def require_precision(device: Device, precision: Precision, allow_fallback: bool) -> Precision:
    """Return the precision to price.

    Args:
        device: Where the job would run.
        precision: The one asked for.
        allow_fallback: Whether another may stand in for it.

    Raises:
        PrecisionError: If another would have to, and may not.
    """
    runs = runnable_precision(device, precision)
    if runs is precision or allow_fallback:
        return runs
    raise PrecisionError(
        f"{device.name} has no {lacking(precision)}; it would run {runs.name}. Ask for precision {runs.name}, or allow "
        "it to fall back (allow_fallback=True, --allow-fallback)."
    )


def lacking(precision: Precision) -> str:
    """Return what a device lacks that cannot run `precision`: "bf16 matrix units"."""
    return f"{precision.matrix_format} matrix units"

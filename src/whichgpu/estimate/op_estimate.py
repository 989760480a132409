"""Predicting single calls: what a kernel that was measured alone should have taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whichgpu.cost import efficiencies
from whichgpu.devices.device import Device
from whichgpu.graph import Op, Precision
from whichgpu.graph import precision as precision_named
from whichgpu.work import count_op


@dataclass(frozen=True, slots=True)
class OpEstimate:
    """Calls one after the other.

    Attributes:
        seconds: Predicted time on the device, the host's left out; None where the device is not known.
        flops: FLOPs of all.
        bytes_moved: Bytes read and written by all.
    """

    seconds: float | None
    flops: float
    bytes_moved: float


def math_of(tf32: bool) -> Precision:
    """Return the precision of float32 products and convolutions that may, or may not, run in TF32."""
    return replace(precision_named("tf32" if tf32 else "fp32"), convolution_tf32=tf32)


def estimate_ops(ops: Sequence[Op], device: Device | None, tf32: bool) -> OpEstimate:
    """Return what calling `ops` on `device` takes.

    Raises:
        UnknownOpError: If one of them has no work rule.
    """
    kernels = [kernel for op in ops for kernel in count_op(op).kernels]
    flops, moved = sum(k.flops for k in kernels), sum(k.bytes_moved for k in kernels)
    if device is None or not kernels:
        return OpEstimate(None, flops, moved)
    from whichgpu.cost.kernel_table import KernelTable
    from whichgpu.cost.roofline import price_table

    table = KernelTable.of_kernels((kernel, 1) for kernel in kernels)
    return OpEstimate(price_table(table, device, math_of(tf32), efficiencies()).device_s, flops, moved)

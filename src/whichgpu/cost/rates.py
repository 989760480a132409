"""What a device sustains for a group of kernels: FLOP/s, bytes/s, and how its products are tiled."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import NamedTuple

from whichgpu.cost.family import Efficiencies, Family, sustained_flops_per_s
from whichgpu.cost.kernel_table import Group
from whichgpu.devices.device import Device, NumberFormat
from whichgpu.graph import Precision
from whichgpu.work.kernel import MATRIX_KINDS, KernelKind

_FORMATS: dict[str, NumberFormat] = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "float32": "fp32",
}
# A rate nobody states cannot bound a kernel; finite, so that what is divided by it stays a number.
_UNBOUNDED = sys.float_info.max
# Formats nothing was measured in reach the share, and draw the power, of the one they share units with.
_MEASURED_AS: dict[NumberFormat, NumberFormat] = {"bf16": "fp16", "fp8": "fp16", "int8": "fp16"}
# cuDNN's switch for TF32 governs these, cuBLAS's the others.
_CUDNN_KINDS = ("convolution", "rnn")


class Rate(NamedTuple):
    """What kernels of a group reach.

    Attributes:
        flops_per_s: Sustained arithmetic, without bound where the device's rate is unknown.
        edge: c of the tile efficiency of its products; 0 where tiles do not matter.
        bytes_per_s: Sustained bandwidth.
        reorder_s_per_byte: What reordering its operands for matrix units costs, in kernels of its own.
    """

    flops_per_s: float
    edge: float
    bytes_per_s: float
    reorder_s_per_byte: float


@dataclass(slots=True)
class Rates:
    """The rates of one device in one precision.

    Attributes:
        device: The device.
        precision: What its float32 matrix math may be rounded to.
        efficiencies: The coefficients.
        family: The family of the device.
        assumptions: What had to be assumed because the device's figures do not say; grows as rates are asked for.
    """

    device: Device
    precision: Precision
    efficiencies: Efficiencies
    family: Family
    assumptions: list[str]

    @classmethod
    def of(cls, device: Device, precision: Precision, efficiencies: Efficiencies) -> Rates:
        """Return the rates of `device`."""
        return cls(device, precision, efficiencies, efficiencies.family_of(device), [])

    def rate(self, group: Group) -> Rate:
        """Return what kernels of `group` reach."""
        bytes_per_s = self._bandwidth(group.kind, group.channels_last)
        if group.kind not in MATRIX_KINDS:
            return Rate(self._vector(group), 0.0, bytes_per_s, 0.0)
        wanted = self._format(group)
        runs = self._available(wanted)
        peak = self.device.flops_per_s.get(runs)
        if peak is None:
            self._assume("its arithmetic rate is unknown: priced by memory traffic alone, at least")
            return Rate(_UNBOUNDED, 0.0, bytes_per_s, 0.0)
        model = self.efficiencies.model
        sustained = self._sustained(peak, runs)
        like = _MEASURED_AS.get(runs, runs)
        share = self.family.matrix[like] * self._kind_factor(group, like)
        tiled = not self.device.is_cpu
        reordered = tiled and runs != "fp32" and group.kind == "convolution" and not group.channels_last
        reorder_s_per_byte = model.nchw_passes[like] / self._bandwidth("copy") if reordered else 0.0
        return Rate(sustained * share, model.edge[like] if tiled else 0.0, bytes_per_s, reorder_s_per_byte)

    def _format(self, group: Group) -> NumberFormat:
        """Return the format a matrix kernel computes in if the device has it."""
        found = _FORMATS.get(group.dtype)
        if found is None:
            self._assume(f"{group.dtype} matrix math is priced at the float32 rate: at least")
            return "fp32"
        allowed = self.precision.convolution_tf32 if group.kind in _CUDNN_KINDS else self.precision.matmul_tf32
        return "tf32" if found == "fp32" and allowed and "tf32" in self.device.flops_per_s else found

    def _available(self, wanted: NumberFormat) -> NumberFormat:
        """Return `wanted`, or the format that stands in for it where the device has no rate for it."""
        if wanted in self.device.flops_per_s:
            return wanted
        if wanted != "fp32" and "fp32" in self.device.flops_per_s:
            self._assume(f"{wanted} matrix math is priced at the fp32 rate: it has no matrix units for {wanted}")
            return "fp32"
        return wanted

    def _sustained(self, peak: float, runs: NumberFormat) -> float:
        energy = self.family.picojoules_per_flop.get(_MEASURED_AS.get(runs, runs))
        if not self.device.is_cpu and self.device.tdp_w is None:
            self._assume("its power limit is unknown: priced at full clock, which it may not hold")
        return sustained_flops_per_s(peak, energy, self.device.tdp_w, self.efficiencies.model.power_exponent)

    def _kind_factor(self, group: Group, number_format: NumberFormat) -> float:
        """Return the factor of the kind of kernel, its direction and its format on the matrix efficiency."""
        compute = self.efficiencies.compute
        by_direction = compute.get(f"{group.kind}.{group.direction}", 1.0)
        return compute[group.kind] * by_direction * compute.get(f"{group.kind}.{number_format}", 1.0)

    def _bandwidth(self, kind: KernelKind, channels_last: bool = False) -> float:
        """Return the sustained bandwidth; never above the datasheet's, whatever a family's factor says."""
        memory = self.efficiencies.memory
        by_layout = memory.get(f"{kind}.channels_last", 1.0) if channels_last else 1.0
        share = self.family.memory * memory[kind] * by_layout
        return self.device.memory_bandwidth_bytes_per_s * min(1.0, share)

    def _vector(self, group: Group) -> float:
        peak = self.device.flops_per_s.get("fp32")
        if peak is None:
            self._assume("its FP32 rate is unknown: arithmetic outside matrix units is priced by memory traffic alone")
            return _UNBOUNDED
        return peak * self.efficiencies.vector * self.efficiencies.compute.get(group.kind, 1.0)

    def _assume(self, text: str) -> None:
        if text not in self.assumptions:
            self.assumptions.append(text)

"""What a device sustains for a group of kernels: FLOP/s, bytes/s, and how its products are tiled."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, NamedTuple

from whichgpu.cost.coefficients import Coefficients
from whichgpu.cost.family import Efficiencies, Family, Software
from whichgpu.cost.group import Group
from whichgpu.cost.power import idle_w, sustained_flops_per_s
from whichgpu.cost.tile_names import TILE_NAMES
from whichgpu.cost.tiles import matrix_unit_shares
from whichgpu.devices.device import Device, NumberFormat
from whichgpu.graph import Precision
from whichgpu.graph.tensor import dtype_bytes
from whichgpu.units import TERA
from whichgpu.work.kernel import MATRIX_KINDS, KernelKind

_FORMATS: dict[str, NumberFormat] = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "int8": "int8",
    "float32": "fp32",
}
# A rate nobody states cannot bound a kernel; finite, so that what is divided by it stays a number.
_UNBOUNDED = sys.float_info.max
# Formats nothing was measured in reach the share, and draw the power, of the one they share units with.
_MEASURED_AS: dict[NumberFormat, NumberFormat] = {"bf16": "fp16", "fp8": "fp16", "int8": "fp16"}
# bf16 is known to run at the rate of fp16; of these nothing is.
_UNMEASURED: tuple[NumberFormat, ...] = ("fp8", "int8")
# cuDNN's switch for TF32 governs these, cuBLAS's the others.
_CUDNN_KINDS = ("convolution", "rnn")


# FP32 kernels of a device whose library nobody has described.
_ANY_TILES = "Ampere"
_ALL_TILES = (1.0,) * len(TILE_NAMES)


class Rate(NamedTuple):
    """What kernels of a group reach.

    Attributes:
        flops_per_s: Sustained arithmetic, without bound where the device's rate is unknown.
        bytes_per_s: Sustained bandwidth.
        elements_per_s: How fast all multiprocessors go through its elements, without bound where nothing says so.
        reorder_s_per_byte: What reordering its operands for matrix units costs, in kernels of its own.
        joules_per_flop: What its arithmetic draws.
        reread: How often more it reads what it reads where the cache holds nothing of a wave.
        tile_shares: What each tile of its products reaches of `flops_per_s`; 0 where there is no such kernel.
    """

    flops_per_s: float
    bytes_per_s: float
    elements_per_s: float
    reorder_s_per_byte: float
    joules_per_flop: float
    reread: float
    tile_shares: tuple[float, ...]


@dataclass(slots=True)
class Rates:
    """The rates of one device in one precision.

    Attributes:
        device: The device.
        precision: What its float32 matrix math may be rounded to.
        efficiencies: The coefficients.
        family: The family of the device.
        software: What its PyTorch lacks, nothing for today's.
        assumptions: What had to be assumed because the device's figures do not say; grows as rates are asked for.
    """

    device: Device
    precision: Precision
    efficiencies: Efficiencies
    family: Family
    software: tuple[Software, ...]
    assumptions: list[str]

    @classmethod
    def of(
        cls, device: Device, precision: Precision, efficiencies: Efficiencies, software: tuple[Software, ...] = ()
    ) -> Rates:
        """Return the rates of `device`."""
        return cls(device, precision, efficiencies, efficiencies.family_of(device), software, [])

    def rate(self, group: Group) -> Rate:
        """Return what kernels of `group` reach."""
        bytes_per_s = self._bandwidth(group.kind, group.qualifiers)
        elements_per_s = self._elements_per_s(group.kind, group.qualifiers)
        reread = self.efficiencies.reread.of(group.kind, group.qualifiers) if self._is_gpu else 0.0
        if group.kind not in MATRIX_KINDS:
            joules_per_flop = self._joules_per_flop("fp32")
            return Rate(self._vector(group), bytes_per_s, elements_per_s, 0.0, joules_per_flop, reread, _ALL_TILES)
        wanted = self._format(group)
        runs = self._available(wanted)
        peak = self.device.flops_per_s.get(runs)
        if peak is None:
            self._assume("its arithmetic rate is unknown: priced by memory traffic alone, at least")
            return Rate(_UNBOUNDED, bytes_per_s, elements_per_s, 0.0, 0.0, reread, _ALL_TILES)
        if runs in _UNMEASURED:
            self._assume(f"{runs} matrix math reaches the share of its peak that fp16 does: nothing was measured in it")
        like = _MEASURED_AS.get(runs, runs)
        qualifiers = group.qualifiers | {like}
        share = self.family.matrix[like] * self._factor("compute", group.kind, qualifiers)
        reorder_s_per_byte = 0.0
        if runs != "fp32" and "channels_last" not in qualifiers and group.kind == "convolution" and self._is_gpu:
            passes = self.efficiencies.reorder.of(group.kind, qualifiers)
            reorder_s_per_byte = passes * self._copy_s_per_byte(group.dtype)
        return Rate(
            self._sustained(peak, runs) * share,
            bytes_per_s,
            elements_per_s,
            reorder_s_per_byte,
            self._joules_per_flop(runs),
            reread,
            self._tile_shares(runs, group, share),
        )

    def runs_in(self, group: Group) -> NumberFormat:
        """Return the number format whose measured figures apply to a group of matrix kernels."""
        runs = self._available(self._format(group))
        return _MEASURED_AS.get(runs, runs)

    @property
    def _is_gpu(self) -> bool:
        return not self.device.is_cpu

    def _factor(self, of: Literal["compute", "memory"], kind: str, qualifiers: frozenset[str]) -> float:
        qualifiers = qualifiers | self.own_qualifiers
        common: Coefficients = getattr(self.efficiencies, of)
        factor = common.of(kind, qualifiers)
        for release in self.software:
            older: Coefficients = getattr(release, of)
            factor *= older.of(kind, qualifiers) ** self.efficiencies.gain_share(self.family, release)
        return factor

    @property
    def own_qualifiers(self) -> frozenset[str]:
        """What qualifies every kernel on the device."""
        name = "cpu" if self.device.is_cpu else self.family.qualifier
        return frozenset((name,)) if name else frozenset()

    def _elements_per_s(self, kind: KernelKind, qualifiers: frozenset[str]) -> float:
        """Return how fast the multiprocessors go through a kernel's elements."""
        device, known = self.device, self.efficiencies.elements_per_clock
        if device.is_cpu or not known.has(kind) or not device.multiprocessors or not device.boost_clock_hz:
            return _UNBOUNDED
        clocks_per_s = device.multiprocessors * device.boost_clock_hz * self._clock
        return clocks_per_s * known.of(kind, qualifiers | self.own_qualifiers)

    @property
    def cache_bytes_per_s(self) -> float | None:
        """Bandwidth of the cache all multiprocessors share; None where its clock or their number is unknown."""
        device, model = self.device, self.efficiencies.model
        if device.is_cpu:
            return device.memory_bandwidth_bytes_per_s * model.cpu_cache_speed
        if not device.multiprocessors or not device.boost_clock_hz:
            return None
        return device.multiprocessors * device.boost_clock_hz * self._clock * model.l2_bytes_per_clock

    def _copy_s_per_byte(self, dtype: str) -> float:
        """Return what a copy that reorders takes for a byte it reads or writes."""
        plain: frozenset[str] = frozenset()
        by_memory_s = 1 / self._bandwidth("copy", plain)
        by_element_s = 1 / (self._elements_per_s("copy", plain) * dtype_bytes(dtype))
        norm = self.efficiencies.model.kernel_norm
        return float((by_memory_s**norm + by_element_s**norm) ** (1 / norm))

    def _tile_shares(self, runs: NumberFormat, group: Group, share: float) -> tuple[float, ...]:
        if not self._is_gpu:
            return _ALL_TILES
        if runs != "fp32":
            return matrix_unit_shares(self.efficiencies.model.edge)
        library = self.efficiencies.tiles[self.family.tiles or _ANY_TILES]
        tiles = library["batched" if "batched" in group.qualifiers else "single"]
        if group.kind != "matmul":
            return tiles
        # No product does more than its units, or than the library was seen to do: factors of several kinds may say so.
        return tuple(min(tile, max(1.0, tile) / share) for tile in tiles)

    def _joules_per_flop(self, runs: NumberFormat) -> float:
        return self.family.picojoules_per_flop.get(_MEASURED_AS.get(runs, runs), 0.0) / TERA

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

    @property
    def _clock(self) -> float:
        return self.efficiencies.model.clock.get(self.device.segment, 1.0)

    def _sustained(self, peak: float, runs: NumberFormat) -> float:
        peak *= self._clock
        energy, tdp_w = self.family.picojoules_per_flop.get(_MEASURED_AS.get(runs, runs)), self.device.tdp_w
        if self.device.is_cpu:
            return peak
        if tdp_w is None:
            self._assume("its power limit is unknown: priced at full clock, which it may not hold")
        if tdp_w is None or energy is None:
            return peak
        model = self.efficiencies.model
        beside_w = idle_w(tdp_w, self.device.memory_bandwidth_bytes_per_s, model.joules_per_byte, model.idle_w)
        return sustained_flops_per_s(peak, energy, tdp_w - beside_w, model.lowest_voltage)

    def _bandwidth(self, kind: KernelKind, qualifiers: frozenset[str]) -> float:
        """Return the sustained bandwidth; never above the datasheet's, whatever a family's factor says."""
        share = self.family.memory * self._factor("memory", kind, qualifiers)
        return self.device.memory_bandwidth_bytes_per_s * min(1.0, share)

    def _vector(self, group: Group) -> float:
        peak = self.device.flops_per_s.get("fp32")
        if peak is None:
            self._assume("its FP32 rate is unknown: arithmetic outside matrix units is priced by memory traffic alone")
            return _UNBOUNDED
        vector = self.efficiencies.compute.of("vector", frozenset())
        return peak * self._clock * vector * self._factor("compute", group.kind, group.qualifiers)

    def _assume(self, text: str) -> None:
        if text not in self.assumptions:
            self.assumptions.append(text)

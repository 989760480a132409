"""What a calibration found, in a few figures: rates beside the datasheet's, steps beside their predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from whichgpu.devices.device import Device, NumberFormat
from whichgpu.estimate.op_estimate import estimate_ops

if TYPE_CHECKING:
    from whichgpu.measure.calibration import Calibration
    from whichgpu.measure.calibration.record import AnchorRecord, KernelRecord

_FORMATS: dict[str, NumberFormat] = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "float32": "fp32",
    "float8_e4m3fn": "fp8",
}
_COPY = "aten.copy_"
_PRODUCTS = ("aten.mm", "aten._scaled_mm")


@dataclass(frozen=True, slots=True)
class Reached:
    """A rate that was reached.

    Attributes:
        what: "bf16 product" or "copy".
        rate: FLOPs or bytes a second.
        unit: "FLOP/s" or "B/s".
        share: Of the datasheet's; None where that is not known.
        sm_clock_hz: Clock it was held at; None where it was not read.
        power_w: Power meanwhile; likewise.
    """

    what: str
    rate: float
    unit: str
    share: float | None
    sm_clock_hz: float | None
    power_w: float | None


@dataclass(frozen=True, slots=True)
class CalibratedStep:
    """A whole step: what it took and what had been predicted; None where it cannot be."""

    name: str
    step_s: float
    predicted_s: float | None


@dataclass(frozen=True, slots=True)
class CalibrationSummary:
    """A calibration in a few figures.

    Attributes:
        device: Full name.
        seconds: How long it took.
        measured: Records.
        failed: Probes that did not run.
        unreached: Probes there was no time for.
        reached: Rates.
        host_s: What the host takes to issue an op, to start a kernel after another and so on, by what it is.
        steps: Whole steps.
        kernel_error: Mean of the absolute errors of predicted kernels; None where nothing could be predicted.
        kernels: How many those are.
        notes: What a reader must know.
    """

    device: str
    seconds: float
    measured: int
    failed: int
    unreached: int
    reached: tuple[Reached, ...]
    host_s: Mapping[str, float]
    steps: tuple[CalibratedStep, ...]
    kernel_error: float | None
    kernels: int
    notes: tuple[str, ...]


def summary(
    calibration: Calibration, device: Device | None, predicted_s: Mapping[str, float] | None = None
) -> CalibrationSummary:
    """Return a calibration in a few figures.

    Args:
        calibration: What was measured.
        device: What it was measured on; None where no device file has it.
        predicted_s: Predicted seconds of whole steps, by the name of their record.
    """
    from whichgpu.measure.calibration.record import AnchorRecord, FailedRecord, HostRecord, KernelRecord

    kernels = [r for r in calibration.records if isinstance(r, KernelRecord)]
    anchors = [r for r in calibration.records if isinstance(r, AnchorRecord) and r.step_s is not None]
    host = {r.name: r.seconds for r in calibration.records if isinstance(r, HostRecord)}
    host |= {_chain_name(r): r.seconds / len(r.ops) for r in kernels if r.section == "launches"}
    errors = _errors(kernels, device)
    failed = sum(isinstance(r, FailedRecord) for r in calibration.records)
    return CalibrationSummary(
        device=calibration.device,
        seconds=calibration.seconds,
        measured=len(calibration.records) - failed,
        failed=failed,
        unreached=sum(section.unreached for section in calibration.sections.values()),
        reached=(*_products(kernels, device), *_copies(kernels, device)),
        host_s=host,
        steps=tuple(_step(r, predicted_s or {}) for r in anchors),
        kernel_error=sum(errors) / len(errors) if errors else None,
        kernels=len(errors),
        notes=calibration.notes,
    )


def _products(kernels: list[KernelRecord], device: Device | None) -> list[Reached]:
    """Return the best sustained product of each format; the best of all where none was sustained."""
    best: dict[NumberFormat, tuple[float, KernelRecord]] = {}
    sustained = [r for r in kernels if r.burst_s is not None]
    for record in sustained or kernels:
        if len(record.ops) == 1 and record.ops[0].base_name in _PRODUCTS:
            rate = estimate_ops(record.ops, None, record.tf32).flops / record.seconds
            form = _format(record)
            if rate > best.get(form, (0.0, record))[0]:
                best[form] = (rate, record)
    return [_reached(f"{form} product", rate, "FLOP/s", _peak(device, form), r) for form, (rate, r) in best.items()]


def _copies(kernels: list[KernelRecord], device: Device | None) -> list[Reached]:
    """Return the largest copy there is."""
    copies = [r for r in kernels if len(r.ops) == 1 and r.ops[0].base_name == _COPY]
    if not copies:
        return []
    moved = [estimate_ops(r.ops, None, r.tf32).bytes_moved for r in copies]
    index = max(range(len(copies)), key=lambda i: (moved[i], copies[i].burst_s is not None))
    bandwidth = None if device is None else device.memory_bandwidth_bytes_per_s
    return [_reached("copy", moved[index] / copies[index].seconds, "B/s", bandwidth, copies[index])]


def _reached(what: str, rate: float, unit: str, peak: float | None, record: KernelRecord) -> Reached:
    power = record.power
    return Reached(
        what,
        rate,
        unit,
        None if peak is None else rate / peak,
        None if power is None else power.sm_clock_hz,
        None if power is None else power.power_w,
    )


def _format(record: KernelRecord) -> NumberFormat:
    form = _FORMATS[record.ops[0].tensor("self").dtype]
    return "tf32" if form == "fp32" and record.tf32 else form


def _peak(device: Device | None, form: NumberFormat) -> float | None:
    return None if device is None else device.flops_per_s.get(form)


def _errors(kernels: list[KernelRecord], device: Device | None) -> list[float]:
    """Return |predicted / measured - 1| of each kernel that can be predicted."""
    if device is None:
        return []
    errors = []
    for record in kernels:
        predicted = estimate_ops(record.ops, device, record.tf32).seconds
        if predicted is not None and math.isfinite(predicted) and record.section != "launches":
            errors.append(abs(predicted / record.seconds - 1))
    return errors


def _chain_name(record: KernelRecord) -> str:
    return f"{record.name.partition(' of ')[2]}, each"


def _step(record: AnchorRecord, predicted_s: Mapping[str, float]) -> CalibratedStep:
    return CalibratedStep(record.name, cast("float", record.step_s), predicted_s.get(record.name))

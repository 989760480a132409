"""Files of `whichgpu calibrate` as rows to fit to: single calls with their kernels, and whole steps.

``python -m benchmarks.calibration_rows FILE`` tells how far off today's coefficients are, by section.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_cases import RESULTS
from benchmarks.measured import Measured
from benchmarks.parameters import Parameter
from benchmarks.sections import table
from whichgpu.cost.family import Efficiencies, efficiencies
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.cost.roofline import price_table
from whichgpu.devices import find_device
from whichgpu.devices.device import Device
from whichgpu.errors import UnknownNameError, WhichGpuError
from whichgpu.estimate.op_estimate import math_of
from whichgpu.graph import Job, Precision
from whichgpu.graph import precision as precision_named
from whichgpu.measure.calibration import Calibration, calibration_from_document
from whichgpu.measure.calibration.record import AnchorRecord, HostRecord, KernelRecord
from whichgpu.work import count_graph, count_op, rule_for

if TYPE_CHECKING:
    from whichgpu.measure.calibration.probe import AnchorProbe

Floats = NDArray[np.float64]
# Blocks of calls that came out further apart than this are no measurement.
MOST_NOISE = 0.2
# What is timed as the host issues it says nothing of the device.
HOST_BOUND = "launches"
SOURCE = "calibrations"
# All calls of one section on one device together weigh as much as this many steps.
SECTION_WEIGHT = 4.0


@dataclass(frozen=True)
class CalibratedStep:
    """A whole step.

    Attributes:
        device: Where.
        anchor: The job and how it ran.
        precision: What it ran in.
        seconds: Its time.
        host_s: Time the host took to issue it; None if not known.
        allocated_bytes: Peak of allocated memory; None on a CPU.
        reserved_bytes: Peak of memory the allocator held; likewise.
        software: Version of torch.
    """

    device: Device
    anchor: AnchorProbe
    precision: Precision
    seconds: float
    host_s: float | None
    allocated_bytes: int | None
    reserved_bytes: int | None
    software: str

    @cached_property
    def job(self) -> Job:
        """The step as an eager one; captured anew where no graph is shipped.

        Raises:
            WhichGpuError: If that needs a package that is not installed.
        """
        anchor = self.anchor
        if anchor.task == "train":
            from whichgpu.workloads import workload

            layout = anchor.layout or None
            return workload(anchor.job, batch=anchor.batch, precision=anchor.precision, layout=layout)
        from whichgpu.capture import capture, phantom_gpu
        from whichgpu.workloads import definition

        with phantom_gpu():
            layout = anchor.layout or definition(anchor.job).layout
            step = definition(anchor.job).inference_step(anchor.batch, "cuda", anchor.precision, layout)
            return capture(step, name=anchor.job, samples_per_step=anchor.batch, precision=anchor.precision)

    @cached_property
    def table(self) -> KernelTable:
        """The kernels of the eager step."""
        return KernelTable.of(count_graph(self.job.graph))


@dataclass(frozen=True)
class SectionErrors:
    """How far off predicted calls are.

    Attributes:
        log_errors: log(predicted / measured) of each.
    """

    log_errors: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.log_errors)

    @property
    def mean_error(self) -> float:
        """Mean of the absolute errors."""
        return float(np.mean(np.abs(np.expm1(self.log_errors))))

    @property
    def bias(self) -> float:
        """Geometric mean of predicted / measured, minus one."""
        return float(np.expm1(np.mean(self.log_errors)))


def load_calibrations(folder: Path = RESULTS) -> Iterator[Calibration]:
    """Yield the calibrations in a folder, in order of their names."""
    for file in sorted(folder.glob("calibration.*.json")):
        yield calibration_from_document(json.loads(file.read_text(encoding="utf-8")))


def calls(calibration: Calibration, *, cold: bool = False) -> list[Measured]:
    """Return the calls of a calibration that tell how long a device takes, as rows to fit to.

    Args:
        calibration: What was measured; one of a device that no device file has has no rows.
        cold: Whether to return, too, calls whose operands were kept out of the cache.
    """
    device = _device(calibration)
    found = [] if device is None else [_call(r, device, calibration) for r in _kernels(calibration, cold)]
    among = Counter(row.family for row in found)
    return [replace(row, weight=SECTION_WEIGHT / among[row.family]) for row in found]


def _kernels(calibration: Calibration, cold: bool) -> Iterator[KernelRecord]:
    for record in calibration.records:
        if not isinstance(record, KernelRecord) or record.section == HOST_BOUND or record.noise > MOST_NOISE:
            continue
        known = all(rule_for(op) for op in record.ops) and any(count_op(op).kernels for op in record.ops)
        if known and (cold or not record.cold):
            yield record


def _call(record: KernelRecord, device: Device, calibration: Calibration) -> Measured:
    kernels = [kernel for op in record.ops for kernel in count_op(op).kernels]
    return Measured(
        source=SOURCE,
        device=device,
        job=record.name,
        family=record.section,
        task="kernel",
        precision=math_of(record.tf32),
        layout="",
        software=_torch(calibration),
        table=KernelTable.of_kernels((kernel, 1) for kernel in kernels),
        seconds=record.seconds,
    )


def steps(calibration: Calibration) -> Iterator[CalibratedStep]:
    """Yield the whole steps of a calibration, compiled ones too."""
    device = _device(calibration)
    for record in calibration.records:
        if device is not None and isinstance(record, AnchorRecord) and record.step_s is not None:
            yield CalibratedStep(
                device,
                record.anchor,
                precision_named(record.anchor.precision),
                record.step_s,
                record.host_s,
                record.allocated_bytes,
                record.reserved_bytes,
                _torch(calibration),
            )


def measured(folder: Path = RESULTS) -> Iterator[Measured]:
    """Yield the rows to fit to of all files in a folder: single calls, and whole steps that no compiler fused."""
    for calibration in load_calibrations(folder):
        yield from calls(calibration)
        for step in steps(calibration):
            if step.anchor.compiled:
                continue
            try:
                kernels = step.table
            except WhichGpuError:  # a package its capture needs is not installed
                continue
            yield Measured(
                source=SOURCE,
                device=step.device,
                job=step.anchor.job,
                family=step.anchor.job,
                task=step.anchor.task,
                precision=step.precision,
                layout=step.anchor.layout,
                software=step.software,
                table=kernels,
                seconds=step.seconds,
                host=Parameter(f"host.{SOURCE} {step.device.short_name}", 1.0, 0.4),
            )


def host_times(calibration: Calibration) -> dict[str, float]:
    """Return what the host of a machine takes for single things, and a kernel after another, in seconds."""
    found = {r.name: r.seconds for r in calibration.records if isinstance(r, HostRecord)}
    chains = [r for r in calibration.records if isinstance(r, KernelRecord) and r.section == HOST_BOUND]
    return found | {r.name: r.seconds / len(r.ops) for r in chains}


def errors_by_section(calibration: Calibration, coefficients: Efficiencies | None = None) -> dict[str, SectionErrors]:
    """Return how far off predicted calls and eager steps are, by section."""
    known = coefficients or efficiencies()
    found: dict[str, list[float]] = {}
    for call in calls(calibration):
        found.setdefault(call.family, []).append(float(np.log(predicted_s(call, known) / call.seconds)))
    for step in steps(calibration):
        if not step.anchor.compiled:
            try:
                step_s = price_table(step.table, step.device, step.precision, known).step_s
            except WhichGpuError:
                continue
            found.setdefault("anchors", []).append(float(np.log(step_s / step.seconds)))
    return {name: SectionErrors(tuple(errors)) for name, errors in found.items()}


def predicted_s(row: Measured, coefficients: Efficiencies) -> float:
    """Return what calls should have taken on the device."""
    software = coefficients.software_of(row.software)
    return price_table(row.table, row.device, row.precision, coefficients, software).device_s


def offsets(rows: Iterable[Measured], coefficients: Efficiencies) -> Mapping[tuple[str, str], float]:
    """Return by how much predicted calls are too long, by kind of kernel and number format: the median of the ratio.

    What one device's file says of each coefficient that acts on it, robust against single calls gone wrong.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        kinds = {(kernel.kind, kernel.dtype) for kernel in row.table.kernels}
        if len(kinds) == 1:
            (kind,) = kinds
            form = "tf32" if kind[1] == "float32" and row.precision.matmul_tf32 else kind[1]
            found.setdefault((kind[0], form), []).append(predicted_s(row, coefficients) / row.seconds)
    return {kind: float(np.median(ratios)) for kind, ratios in sorted(found.items())}


def _torch(calibration: Calibration) -> str:
    return str(calibration.machine["software"]["torch"])


def _device(calibration: Calibration) -> Device | None:
    try:
        return find_device(calibration.device)
    except UnknownNameError:
        return None


def main(file: str) -> None:
    """Print how far off today's coefficients are from one file."""
    found = calibration_from_document(json.loads(Path(file).read_text(encoding="utf-8")))
    rows = [[n, str(e.count), f"{e.mean_error:.1%}", f"{e.bias:+.1%}"] for n, e in errors_by_section(found).items()]
    print(table(["section", "n", "mean error", "bias"], rows))
    parts = offsets(calls(found), efficiencies())
    print(table(["kind", "format", "predicted / measured"], [[*kind, f"{ratio:.2f}"] for kind, ratio in parts.items()]))


if __name__ == "__main__":
    main(sys.argv[1])

"""Comparing: one job, priced on every device asked for, beside what was measured on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from whichgpu.comparison.cells import misfit_text
from whichgpu.comparison.comparison import THIS_CPU, Comparison, JobSummary, Row, RowMemory
from whichgpu.comparison.compiling import Compiling, compiling
from whichgpu.comparison.measured import measured_row, prediction_note
from whichgpu.comparison.money import offer_notes, row_offer, usd_for
from whichgpu.devices import DEFAULT_DEVICES, find_device, this_cpu
from whichgpu.devices import devices as shipped_devices
from whichgpu.devices.device import Device
from whichgpu.errors import PrecisionError, require_count
from whichgpu.estimate import CountedJob, Estimate, OwnMeasurement, estimate, estimate_all, runnable_precision
from whichgpu.graph import Job
from whichgpu.graph import precision as precision_named

if TYPE_CHECKING:
    from whichgpu.measure import Measurement
    from whichgpu.memory import Footprint

ALL = "all"
# Beginning of the source of jobs that torch.compile can compile.
_COMPILES = "torch"


@dataclass(frozen=True, slots=True)
class _Choice:
    """A device to compare, and whether the user asked for this very one."""

    device: Device
    named: bool


def compare(
    job: Job,
    devices: Sequence[Device | str] | None = None,
    *,
    measurements: Sequence[Measurement] = (),
    epochs: int = 1,
    precision: str | None = None,
    allow_fallback: bool = False,
    own: Sequence[OwnMeasurement] = (),
    ignore_memory: bool = False,
) -> Comparison:
    """Return one row a device: those measured first, then those predicted, in the order asked for.

    Speed-ups refer to this machine's CPU: as measured if it is among `measurements`, else as predicted, in a row of
    its own.

    Args:
        job: What to train.
        devices: Devices or their names; "all" stands for every device known. `DEFAULT_DEVICES` if not given.
        measurements: What the job really took on devices of this machine.
        epochs: Passes over the data the job makes, 1 or more.
        precision: What to train in. If not given, every device runs the job's own, or what PyTorch would run there
            instead, and its row says so. If given, a device asked for by name must have it.
        allow_fallback: Whether a device without `precision` may run something else.
        own: What was measured before, here or on other devices: predictions are adjusted by it. The prediction told
            beside a measured row is not.
        ignore_memory: Whether a device with too little memory is compared as if it had enough.

    Raises:
        OptionError: If `epochs` is less than 1.
        UnknownNameError: If a device or the precision is not known.
        PrecisionError: If a named device lacks `precision` and `allow_fallback` is not set.
    """
    require_count("Epochs are", epochs)
    wanted = precision_named(job.precision if precision is None else precision)
    choices = _choose(devices)
    lacking = {c.device.name for c in choices if runnable_precision(c.device, wanted).name != wanted.name}
    left_out: list[str] = []
    if precision is not None and not allow_fallback:
        for choice in choices:
            if choice.named and choice.device.name in lacking:
                estimate(job, choice.device, precision=precision)  # raises, and says what it would run
        left_out = [c.device.short_name for c in choices if c.device.name in lacking]
        choices = [c for c in choices if c.device.name not in lacking]
    chosen = [c.device for c in choices]

    # The reference may run what it can: it is there to be compared with, not to be chosen.
    here, is_torch = this_cpu(), job.source.startswith(_COMPILES)
    counted = CountedJob(job, both_ways=is_torch)
    reference, *estimates = estimate_all(counted, (here, *chosen), precision=precision, allow_fallback=True, own=own)

    today = date.today()
    rows = [measured_row(m, job, here, today) for m in measurements]
    reference_off: float | None = None
    measured_cpu = next((r for r in rows if not r.accelerator), None)
    if measured_cpu is None:
        rows.append(_predicted_row(reference, here, today, THIS_CPU))
        reference_step_s = reference.step_s
    else:
        compiled = any(m.compiled for m in measurements if m.device == measured_cpu.device)
        beside = _prediction_beside(measured_cpu, counted, here, compiled)
        told_beside = () if beside is None else (prediction_note(measured_cpu, beside),)
        reference_off = None if beside is None else beside.step_s / measured_cpu.step_s
        checked = replace(measured_cpu, notes=(*measured_cpu.notes, *told_beside))
        rows = [checked if r is measured_cpu else r for r in rows]
        reference_step_s = measured_cpu.step_s
    told = estimates if is_torch else []
    known = {r.device for r in rows if r.kind == "predicted"}
    for device, predicted in zip(chosen, estimates, strict=True):
        if device.name not in known:
            row = _predicted_row(predicted, device, today, device.short_name)
            rows.append(replace(row, notes=(*_too_small(row, ignore_memory), *row.notes)))
    comparison = Comparison(
        job=_summary(job, reference, wanted.name, epochs),
        rows=tuple(_over_epochs(replace(r, speedup=reference_step_s / r.step_s), epochs) for r in rows),
        reference=here.name if measured_cpu is None else measured_cpu.device,
        interval_level=reference.interval.level,
        notes=(*job.notes, *_left_out_note(left_out, wanted.name)),
        ignore_memory=ignore_memory,
        reference_off=reference_off,
    )
    return replace(comparison, compiling=_compiling(comparison, told))


def _compiling(comparison: Comparison, estimates: Sequence[Estimate]) -> Compiling | None:
    """Return whether torch.compile pays on the GPU on which the compared step is fastest."""
    by_device = {e.device: e for e in estimates}
    rows = [r for r in comparison.rows if r.accelerator and r.device in by_device and not comparison.withholds(r)]
    if not rows:
        return None
    row = min(rows, key=lambda r: r.step_s)
    found, job = by_device[row.device], comparison.job
    assert found.eager_step_s is not None and found.compiled_step_s is not None and found.compile_time is not None
    return compiling(
        compiled=job.compiled,
        device=row.label,
        eager_step_s=found.eager_step_s,
        compiled_step_s=found.compiled_step_s,
        time=found.compile_time,
        job_steps=None if job.steps_per_epoch is None else job.steps_per_epoch * job.epochs,
    )


def _choose(devices: Sequence[Device | str] | None) -> list[_Choice]:
    """Return the devices asked for, each once, at its first place."""
    asked = [_Choice(find_device(name), False) for name in DEFAULT_DEVICES] if devices is None else []
    for device in devices or ():
        if device == ALL:
            asked += [_Choice(d, False) for d in shipped_devices()]
        else:
            asked.append(_Choice(find_device(device) if isinstance(device, str) else device, True))
    named = {c.device.name for c in asked if c.named}
    by_name = {c.device.name: c.device for c in reversed(asked)}
    return [_Choice(by_name[name], name in named) for name in dict.fromkeys(c.device.name for c in asked)]


def _prediction_beside(measured: Row, counted: CountedJob, here: Device, compiled: bool) -> Estimate | None:
    """Return what would have been predicted for this machine's CPU; None if its precision cannot be derived."""
    try:
        graph = counted.job.graph
        is_other = compiled != (graph.mode == "fused")
        ran = counted
        if is_other:
            ran = CountedJob(replace(counted.job, graph=replace(graph, mode="fused" if compiled else "eager")))
        return estimate(ran, here, precision=measured.precision, allow_fallback=True)
    except PrecisionError:
        return None


def _predicted_row(estimate: Estimate, device: Device, today: date, label: str) -> Row:
    offer = row_offer(device, today)
    return Row(
        device=device.name,
        label=label,
        accelerator=not device.is_cpu,
        kind="predicted",
        precision=estimate.precision,
        step_s=estimate.step_s,
        step_s_low=estimate.interval.low,
        step_s_high=estimate.interval.high,
        interval_basis=estimate.interval.basis,
        samples_per_s=estimate.samples_per_s,
        epoch_s=estimate.epoch_s,
        job_s=None,
        speedup=None,
        bound=estimate.bound,
        usd_per_epoch=None,
        usd_per_job=None,
        offer=offer,
        fits=None if estimate.memory is None else estimate.memory.fits,
        memory=None if estimate.memory is None else _row_memory(estimate.memory),
        eager_step_s=estimate.eager_step_s,
        compiled_step_s=estimate.compiled_step_s,
        notes=(*estimate.notes, *offer_notes(offer)),
    )


def _too_small(row: Row, ignore_memory: bool) -> tuple[str, ...]:
    """Return what a row with times says where they are of a step that would never run there."""
    return (f"The step {misfit_text(row)}.",) * (ignore_memory and row.fits is False)


def _row_memory(found: Footprint) -> RowMemory:
    return RowMemory(
        allocated_bytes=found.allocated_bytes,
        reserved_bytes=found.reserved_bytes,
        device_bytes=found.device_bytes,
        device_bytes_low=found.device_bytes_low,
        device_bytes_high=found.device_bytes_high,
        usable_bytes=found.usable_bytes,
        margin_bytes=found.margin_bytes,
        peak_phase=found.peak_phase,
        holders={str(holder): nbytes for holder, nbytes in found.holders.items()},
    )


def _over_epochs(row: Row, epochs: int) -> Row:
    """Return `row` with the time of all epochs and the prices that follow from its offer."""
    job_s = None if row.epoch_s is None else row.epoch_s * epochs
    return replace(
        row, job_s=job_s, usd_per_epoch=usd_for(row.epoch_s, row.offer), usd_per_job=usd_for(job_s, row.offer)
    )


def _summary(job: Job, estimate: Estimate, precision: str, epochs: int) -> JobSummary:
    return JobSummary(
        name=job.name,
        samples_per_step=job.samples_per_step,
        samples_per_epoch=job.samples_per_epoch,
        steps_per_epoch=job.steps_per_epoch,
        epochs=epochs,
        precision=precision,
        layout=job.layout,
        sample=job.sample,
        source=job.source,
        compiled=job.graph.mode == "fused",
        flops_per_step=estimate.flops,
        bytes_per_step=estimate.bytes_moved,
        peak_bytes=estimate.peak_bytes,
        options=dict(job.options),
        notes=job.notes,
    )


def _left_out_note(labels: Sequence[str], precision: str) -> tuple[str, ...]:
    if not labels:
        return ()
    lack = (
        f"1 device lacks {precision} and is" if len(labels) == 1 else f"{len(labels)} devices lack {precision} and are"
    )
    return (f"{lack} left out: {', '.join(labels)}. --allow-fallback shows what they would run.",)

"""What was measured on this machine, as rows of a comparison."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from whichgpu.comparison.comparison import THIS_CPU, Row
from whichgpu.comparison.money import offer_notes, row_offer
from whichgpu.devices import find_device
from whichgpu.devices.device import Device
from whichgpu.errors import OptionError, UnknownNameError
from whichgpu.estimate import Estimate
from whichgpu.graph import Job
from whichgpu.units import duration

if TYPE_CHECKING:
    from whichgpu.measure import Measurement


def measured_row(measurement: Measurement, job: Job, here: Device, today: date) -> Row:
    """Return the row of a measurement of `job`; its speed-up and prices are left to `compare`.

    Args:
        measurement: What was measured.
        job: What it was measured of.
        here: This machine's CPU.
        today: The day prices are aged to.

    Raises:
        OptionError: If the measurement is of another batch than the job's.
    """
    if measurement.batch != job.samples_per_step:
        raise OptionError(
            f"The measurement on {measurement.device} is for steps of {measurement.batch} samples, those of "
            f"{job.name} have {job.samples_per_step}. Measure with batch={job.samples_per_step}."
        )
    device = here if measurement.device == here.name else _device(measurement.device)
    is_here = device is here
    offer = None if device is None else row_offer(device, today)
    epoch_s = None if job.samples_per_epoch is None else job.samples_per_epoch / measurement.samples_per_s
    return Row(
        device=measurement.device,
        label=THIS_CPU if is_here else measurement.label,
        accelerator=not is_here and (device is None or not device.is_cpu),
        kind="measured",
        precision=measurement.precision,
        step_s=measurement.step_s,
        step_s_low=measurement.step_s_low,
        step_s_high=measurement.step_s_high,
        interval_basis=measurement.spread,
        samples_per_s=measurement.samples_per_s,
        epoch_s=epoch_s,
        job_s=None,
        speedup=None,
        bound=None,
        usd_per_epoch=None,
        usd_per_job=None,
        offer=offer,
        crowded=measurement.crowded,
        fits=True if measurement.measured_batch == measurement.batch else None,
        notes=(f"Range: {measurement.spread}.", *_eager(measurement, job), *measurement.notes, *offer_notes(offer)),
    )


def prediction_note(row: Row, estimate: Estimate) -> str:
    """Return what would have been predicted for a measured row: the reader's own check of the predictions."""
    off = estimate.step_s / row.step_s - 1
    sign = "more" if off > 0 else "less"
    return f"Predicted {duration(estimate.step_s)} a step: {abs(off):.0%} {sign} than measured.".replace("%", " %")


def _eager(measurement: Measurement, job: Job) -> tuple[str, ...]:
    differs = job.graph.mode == "fused" and not measurement.compiled
    return ("Trained here as eager PyTorch runs it.",) if differs else ()


def _device(name: str) -> Device | None:
    try:
        return find_device(name)
    except UnknownNameError:
        return None

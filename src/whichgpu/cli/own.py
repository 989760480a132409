"""The user's own measurements on behalf of a command: read once, kept after measuring, or left alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whichgpu.estimate import OwnMeasurement
    from whichgpu.graph import Job
    from whichgpu.measure import Measurement

# Set to anything, it does what the option does in every command.
OFF = "WHICHGPU_NO_OWN_MEASUREMENTS"

NoOwnMeasurements = Annotated[
    bool,
    typer.Option("--no-own-measurements", help="Neither use nor keep what was measured on this machine."),
]
NoSave = Annotated[bool, typer.Option("--no-save", help="Do not keep what is measured for later predictions.")]


def own_measurements(off: bool = False) -> tuple[OwnMeasurement, ...]:
    """Return what the user has measured on this machine; nothing where that is switched off."""
    if off or OFF in os.environ:
        return ()
    from whichgpu.comparison.own_measurements import own_measurements as kept_measurements
    from whichgpu.measure.kept import KeptMeasurements

    return kept_measurements(KeptMeasurements())


def keep_built_in(found: Measurement, off: bool = False) -> str:
    """Keep a measurement of a built-in job; return what to tell the user of that, '' where it is switched off."""
    from whichgpu.workloads import workload

    return keep_measured(found, workload(found.job, batch=found.measured_batch, precision=found.precision), off)


def keep_measured(found: Measurement, job: Job, off: bool = False) -> str:
    """Keep a measurement of `job`, which has the batch that was measured; return what to tell the user of that."""
    if off or OFF in os.environ:
        return ""
    if found.crowded:
        return "Not kept for later predictions: other programs kept the machine busy."
    if found.interrupted or found.steps < 2:
        return "Not kept for later predictions: too few steps were timed."
    from whichgpu.comparison.own_measurements import keep
    from whichgpu.measure.kept import KeptMeasurements

    place = KeptMeasurements()
    if not keep(place, job, found.device, found.precision, found.step_s / found.scale):
        return f"Not kept for later predictions: it cannot be predicted, or {place.folder} cannot be written."
    return f"Kept in {place.file}: predictions for {found.label} are adjusted by it (docs/calibration.md)."

"""The whole steps of a calibration as jobs: predicted, and kept for later predictions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from whichgpu.cli.own import OFF
from whichgpu.errors import WhichGpuError

if TYPE_CHECKING:
    from whichgpu.devices.device import Device
    from whichgpu.graph import Job
    from whichgpu.measure.calibration import Calibration
    from whichgpu.measure.calibration.record import AnchorRecord

# Steps that come out further apart than this are no measurement.
_MOST_NOISE = 0.15


def anchor_jobs(found: Calibration) -> dict[str, tuple[AnchorRecord, Job]]:
    """Return the steps whose graph is shipped: of training, not compiled, by the name of their record."""
    from whichgpu.measure.calibration.record import AnchorRecord
    from whichgpu.workloads import workload

    jobs = {}
    for record in found.records:
        if not isinstance(record, AnchorRecord) or record.step_s is None:
            continue
        anchor = record.anchor
        if anchor.task == "train" and not anchor.compiled:
            job = workload(anchor.job, batch=anchor.batch, precision=anchor.precision, layout=anchor.layout or None)
            jobs[record.name] = (record, job)
    return jobs


def predicted_s(jobs: Mapping[str, tuple[AnchorRecord, Job]], device: Device | None) -> dict[str, float]:
    """Return the predicted seconds of each step, by the name of its record, nothing the user measured used."""
    from whichgpu.estimate import estimate

    found = {}
    for name, (record, job) in jobs.items():
        if device is not None:
            try:
                found[name] = estimate(job, device, precision=record.anchor.precision, allow_fallback=True).step_s
            except WhichGpuError:
                continue
    return found


def keep_anchors(jobs: Mapping[str, tuple[AnchorRecord, Job]], device: str, off: bool) -> str:
    """Keep the steps for later predictions; return what to tell the user of that, '' where it is switched off."""
    if off or OFF in os.environ:
        return ""
    from whichgpu.comparison.own_measurements import keep
    from whichgpu.measure.kept import KeptMeasurements

    place = KeptMeasurements()
    kept = 0
    for record, job in jobs.values():
        quiet = record.noise is not None and record.noise <= _MOST_NOISE and not record.crowded
        if quiet and record.step_s is not None:
            kept += keep(place, job, device, record.anchor.precision, record.step_s)
    if not kept:
        return "No step was kept for later predictions: none was measured, or none undisturbed on a device known here."
    return f"{kept} of its steps are kept in {place.file}: predictions for {device} are adjusted by them."

"""What the user has measured, as predictions take it: kept beside its prediction, predicted anew where needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from whichgpu.devices import find_device, this_cpu
from whichgpu.devices.device import Device
from whichgpu.errors import UnknownNameError, WhichGpuError
from whichgpu.estimate import OwnMeasurement, estimate, job_key
from whichgpu.estimate.model_name import model_name
from whichgpu.graph import Job

if TYPE_CHECKING:
    from whichgpu.measure.kept import Kept, KeptMeasurements


def keep(place: KeptMeasurements, job: Job, device: str, precision: str, step_s: float) -> bool:
    """Keep a measured step, beside its prediction; return whether that worked.

    Args:
        place: Where.
        job: What was measured, at the batch it was measured at.
        device: Full name of the device; one that no device file has, or a job that cannot be predicted in that
            precision, is not kept.
        precision: What it ran in.
        step_s: Seconds of one step.
    """
    from whichgpu.measure.kept import today

    known = known_device(device)
    graph = None if known is None else place.keep_job(job)
    if known is None or graph is None:
        return False
    found = _predicted(known, job, precision, graph, step_s, today())
    return found is not None and place.add([found])


def own_measurements(place: KeptMeasurements) -> tuple[OwnMeasurement, ...]:
    """Return all measurements that were kept; those predicted by another cost model are predicted anew, once."""
    kept = place.read()
    current = model_name() if kept else ""
    fresh: list[Kept] = []
    found = []
    for one in kept:
        if one.model != current:
            again = _again(place, one)
            if again is None:
                continue
            fresh.append(again)
            one = again
        found.append(_as_own(one))
    if fresh:
        place.add(fresh)
    return tuple(found)


def _again(place: KeptMeasurements, one: Kept) -> Kept | None:
    device, job = known_device(one.device), place.job(one.graph)
    if device is None or job is None:
        return None
    return _predicted(device, job, one.precision, one.graph, one.step_s, one.date)


def _predicted(device: Device, job: Job, precision: str, graph: str, step_s: float, date: str) -> Kept | None:
    from whichgpu.measure.kept import Kept

    try:
        predicted = estimate(job, device, precision=precision, allow_fallback=True)
    except WhichGpuError:
        return None
    return Kept(
        device=device.name,
        is_cpu=device.is_cpu,
        job=job.name,
        job_key=job_key(job, precision),
        graph=graph,
        precision=precision,
        batch=job.samples_per_step,
        step_s=step_s,
        predicted_s=predicted.step_s,
        host_weight=predicted.host_weight,
        model=model_name(),
        date=date,
    )


def _as_own(one: Kept) -> OwnMeasurement:
    return OwnMeasurement(one.device, one.is_cpu, one.job_key, math.log(one.step_s / one.predicted_s), one.host_weight)


def known_device(name: str) -> Device | None:
    """Return the device of a full name, this machine's CPU among them; None if there is none."""
    if name == this_cpu().name:
        return this_cpu()
    try:
        return find_device(name)
    except UnknownNameError:
        return None

"""What a user has measured, and what it says of a prediction: a factor, and less doubt.

How far predictions are off is taken as a sum of three errors, all in log time: one of the device, shared by all jobs on
it; one of the job, shared by all devices of a kind; one of the host's time, shared by what runs on one machine. Each is
normal, with the spread found where predictions could be checked. A step weighs the host's error by how much the host
decides its length. Measuring some steps then tells of others by the rule of the normal distribution: a first
measurement on a device moves predictions there part of the way and narrows their interval; more of them, further.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whichgpu.graph import Job

# How well a measurement repeats, on another day and at another batch: most of the published runs within 1 to 2 %, some
# within 10 % (Lambda's repeats: median coefficient of variation 1.2 %, 90th percentile 11.5 %).
NOISE_SIGMA = 0.04
# Correlation of one job's errors on two GPUs with the same software; the rest belongs to the pair.
# Source: residuals of timm's models on RTX 3090 and RTX 4090 in prototypes of the cost model.
JOB_CORRELATION = 0.9


@dataclass(frozen=True, slots=True)
class OwnMeasurement:
    """A step that was measured, beside what had been predicted.

    Attributes:
        device: Full name of the device.
        is_cpu: Whether that is a host processor.
        job: What was run, all that decides its kernels but the batch.
        log_ratio: log(measured / predicted).
        host_weight: How much the host decided the step's length as predicted, 0 to 1.
    """

    device: str
    is_cpu: bool
    job: str
    log_ratio: float
    host_weight: float


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors a prediction is made of, before anything was measured: standard deviations of log time.

    Attributes:
        device_sigma: Of the device, all jobs alike.
        job_sigma: Of the job.
        host_sigma: Of the host's time.
        own_sigma: Of what had to be assumed for this one prediction.
        host_weight: How much the host decides the step's length, 0 to 1.
    """

    device_sigma: float
    job_sigma: float
    host_sigma: float
    own_sigma: float
    host_weight: float

    @property
    def variance(self) -> float:
        """Variance of log time."""
        device, host = 1 - self.host_weight, self.host_weight
        return (
            device**2 * (self.device_sigma**2 + self.job_sigma**2) + (host * self.host_sigma) ** 2 + self.own_sigma**2
        )


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What measurements say of a prediction.

    Attributes:
        factor: What the predicted time is multiplied by; 1 where they say nothing.
        variance: Of log time that is left.
        on_device: How many of them are of this device.
        of_job: How many are of this job on other devices.
    """

    factor: float
    variance: float
    on_device: int = 0
    of_job: int = 0

    @property
    def note(self) -> str:
        """What a reader must know: 'Adjusted by 3 of your own measurements on this device (x1.07).'; '' for nothing."""
        parts = []
        if self.on_device:
            parts.append(f"{_counted(self.on_device)} on this device")
        if self.of_job:
            parts.append(f"{_counted(self.of_job)} of this job elsewhere")
        return f"Adjusted by {' and '.join(parts)} (x{self.factor:.2f})." if parts else ""


def job_key(job: Job, precision: str) -> str:
    """Return what tells `job` in a precision from other jobs, at any batch: its name, and which operators it calls."""
    from hashlib import sha256

    ops = sha256("\n".join(op.name for op in job.graph.ops).encode()).hexdigest()[:12]
    return ", ".join(filter(None, (job.name, precision, job.layout, job.graph.mode, ops)))


def adjustment(device: str, is_cpu: bool, job: str, errors: Errors, own: Sequence[OwnMeasurement]) -> Adjustment:
    """Return what `own` says of the prediction of `job` on `device`.

    Args:
        device: Full name of the device predicted.
        is_cpu: Whether that is a host processor; what is measured on those says nothing of accelerators.
        job: As in `OwnMeasurement`.
        errors: Of the prediction.
        own: What was measured, in any order.
    """
    used = [m for m in own if m.is_cpu == is_cpu and (m.device == device or m.job == job)]
    if not used:
        return Adjustment(1.0, errors.variance)
    import numpy as np

    target = OwnMeasurement(device, is_cpu, job, 0.0, errors.host_weight)
    between = np.array([[_covariance(errors, a, b) for b in used] for a in used])
    to_target = np.array([_covariance(errors, m, target) for m in used])
    weights = np.linalg.solve(between + NOISE_SIGMA**2 * np.eye(len(used)), to_target)
    log_factor = float(weights @ np.array([m.log_ratio for m in used]))
    # What is measured once more may still come out otherwise by as much as a measurement repeats.
    variance = errors.variance - float(weights @ to_target) + NOISE_SIGMA**2
    on_device = sum(m.device == device for m in used)
    return Adjustment(math.exp(log_factor), min(max(variance, 0.0), errors.variance), on_device, len(used) - on_device)


def _covariance(errors: Errors, first: OwnMeasurement, second: OwnMeasurement) -> float:
    """Return how much of their errors two steps share."""
    on_device = (1 - first.host_weight) * (1 - second.host_weight)
    on_host = first.host_weight * second.host_weight
    shared = 0.0
    if first.device == second.device:
        shared += on_device * errors.device_sigma**2 + on_host * errors.host_sigma**2
    if first.job == second.job:
        pair = 1.0 if first.device == second.device else JOB_CORRELATION
        shared += on_device * pair * errors.job_sigma**2
        shared += errors.own_sigma**2 if first.device == second.device else 0.0
    return shared


def _counted(count: int) -> str:
    return "one of your own measurements" if count == 1 else f"{count} of your own measurements"

"""Predicting: a job on devices, its graph counted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from whichgpu.cost import efficiencies, price
from whichgpu.devices.device import Device
from whichgpu.estimate.breakdown import breakdown
from whichgpu.estimate.counted import CountedJob
from whichgpu.estimate.energy import energy_j
from whichgpu.estimate.estimate import Estimate
from whichgpu.estimate.interval import compile_interval, errors_of, interval
from whichgpu.estimate.own_measurements import OwnMeasurement, adjustment, job_key
from whichgpu.estimate.runnable import lacking, require_precision
from whichgpu.graph import Job, Precision
from whichgpu.graph import precision as precision_named
from whichgpu.memory import Footprint
from whichgpu.memory.replay import NO_LIFETIMES
from whichgpu.units import of_binary_bytes
from whichgpu.work.count import OnUnknown


def estimate(
    job: Job | CountedJob,
    device: Device | str,
    *,
    precision: str | Precision | None = None,
    allow_fallback: bool = False,
    on_unknown: OnUnknown = "bound",
    own: Sequence[OwnMeasurement] = (),
    torch_version: str = "",
) -> Estimate:
    """Return the predicted time of one step of `job` on `device`, in seconds, with an interval and its reasons.

    Args:
        job: What to train; a `CountedJob` brings `on_unknown` with it.
        device: A device or its name.
        precision: What to train in; the job's own if not given. Another than the job's is derived from its graph where
            that can be done: float32 from a half precision, one half precision from the other.
        allow_fallback: Whether a device without that precision may run what it would run instead.
        on_unknown: Whether an op without a work rule is priced by a stated bound ("bound") or refused ("refuse").
        own: What was measured on devices at hand, beside its prediction: it moves and narrows this one.
        torch_version: The PyTorch release to predict for, "1.12"; today's if empty.

    Raises:
        UnknownNameError: If the device or precision is not known.
        PrecisionError: If the device lacks the precision and may not fall back, or it cannot be derived.
        UnknownOpError: If an op has no rule and `on_unknown` is "refuse".
    """
    return estimate_all(
        job,
        (device,),
        precision=precision,
        allow_fallback=allow_fallback,
        on_unknown=on_unknown,
        own=own,
        torch_version=torch_version,
    )[0]


def estimate_all(
    job: Job | CountedJob,
    devices: Sequence[Device | str],
    *,
    precision: str | Precision | None = None,
    allow_fallback: bool = False,
    on_unknown: OnUnknown = "bound",
    own: Sequence[OwnMeasurement] = (),
    torch_version: str = "",
    both_ways: bool = False,
) -> tuple[Estimate, ...]:
    """Return what `estimate` returns, for each of `devices` in their order; the graph is counted once.

    Args:
        job: See `estimate`; a `CountedJob` brings `both_ways` with it, too.
        devices: Devices or their names.
        precision: See `estimate`.
        allow_fallback: See `estimate`.
        on_unknown: See `estimate`.
        own: See `estimate`.
        torch_version: See `estimate`.
        both_ways: Whether to tell the times of an eager and of a compiled step, and what compiling takes, on GPUs.

    Raises:
        UnknownNameError: See `estimate`.
        PrecisionError: See `estimate`.
        UnknownOpError: See `estimate`.
    """
    several = job if isinstance(job, CountedJob) else CountedJob(job, on_unknown=on_unknown, both_ways=both_ways)
    wanted = _precision(several.job.precision if precision is None else precision)
    found = [_device(device) for device in devices]
    runs = [require_precision(device, wanted, allow_fallback) for device in found]
    return tuple(
        _estimate(several, device, wanted, p, own, torch_version) for device, p in zip(found, runs, strict=True)
    )


def _precision(precision: Precision | str) -> Precision:
    return precision if isinstance(precision, Precision) else precision_named(precision)


def _device(device: Device | str) -> Device:
    if isinstance(device, Device):
        return device
    from whichgpu.devices import find_device

    return find_device(device)


def _estimate(
    several: CountedJob,
    device: Device,
    wanted: Precision,
    runs: Precision,
    own: Sequence[OwnMeasurement],
    torch_version: str,
) -> Estimate:
    job, counted = several.job, several.counted(runs)
    priced = price(counted.step.table, device, runs, torch_version)
    parts = breakdown(priced, counted.step.work)
    unknown = sum(share.seconds for share in parts.unruled) / priced.step_s if priced.step_s else 0.0
    errors = errors_of(priced, device, efficiencies(), unknown, counted.derived)
    adjusted = adjustment(device.name, device.is_cpu, job_key(job, runs.name) if own else "", errors, own)
    times = adjusted.factor
    memory = None if counted.memory is None or device.is_cpu else counted.memory.on(device)
    eager_s = compiled_s = compile_time = None
    if several.both_ways and not device.is_cpu:
        other_s = price(counted.other.table, device, runs, torch_version).step_s * times
        this_s = priced.step_s * times
        eager_s, compiled_s = (other_s, this_s) if counted.is_compiled else (this_s, other_s)
        compile_time = compile_interval((counted.step if counted.is_compiled else counted.other).work, efficiencies())
    return Estimate(
        job=job.name,
        device=device.name,
        precision=runs.name,
        step_s=priced.step_s * times,
        interval=interval(priced, device, efficiencies(), unknown, counted.derived, adjusted),
        samples_per_step=job.samples_per_step,
        samples_per_epoch=job.samples_per_epoch,
        device_s=priced.device_s * times,
        host_s=priced.host_s * times,
        compute_s=parts.compute_s * times,
        memory_s=parts.memory_s * times,
        launch_s=parts.launch_s * times,
        bound=parts.bound,
        shares=tuple(replace(share, seconds=share.seconds * times) for share in parts.shares),
        flops=counted.flops,
        bytes_moved=counted.bytes_moved,
        peak_bytes=counted.peak_bytes,
        memory=memory,
        notes=(
            *_fallback_note(wanted, runs),
            *counted.notes,
            *_memory_notes(device, memory),
            *(_unknown_note(s.label, s.calls, s.seconds / priced.step_s) for s in parts.unruled),
            *(f"Assumed: {text}." for text in priced.assumptions),
            *([adjusted.note] if adjusted.note else []),
        ),
        host_weight=errors.host_weight,
        energy_j=energy_j(priced, device),
        eager_step_s=eager_s,
        compiled_step_s=compiled_s,
        compile_time=compile_time,
    )


def _fallback_note(wanted: Precision, runs: Precision) -> tuple[str, ...]:
    return (
        () if runs.name == wanted.name else (f"Has no {lacking(wanted)}: runs {runs.name} instead of {wanted.name}.",)
    )


def _memory_notes(device: Device, memory: Footprint | None) -> tuple[str, ...]:
    if device.is_cpu:
        return ()
    if memory is None:
        return (NO_LIFETIMES,)
    if memory.usable_bytes is None:
        return ("How much memory the device has is not known, nor whether the step fits.",)
    if memory.fits and memory.is_close:
        return (f"Memory is close: about {of_binary_bytes(memory.device_bytes, memory.usable_bytes)}; it may not fit.",)
    return ()


def _unknown_note(name: str, calls: int, share: float) -> str:
    times = "1 call" if calls == 1 else f"{calls} calls"
    return f"{name} ({times}): no work rule, at least {share * 100:.2g} % of the step."

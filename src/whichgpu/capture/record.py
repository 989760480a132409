"""Capturing a training step as a job."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from whichgpu.capture.phantom import active_phantom
from whichgpu.capture.recorder import Recorder
from whichgpu.capture.step_watch import StepWatch
from whichgpu.errors import CaptureError
from whichgpu.graph import Attribute, Graph, Job, check


def record_job(
    step: Callable[[], Any],
    *,
    name: str,
    samples_per_step: int,
    samples_per_epoch: int | None = None,
    precision: str = "fp32",
    layout: str = "",
    sample: str = "sample",
    notes: Sequence[str] = (),
    options: Mapping[str, Attribute] | None = None,
) -> Job:
    """Return the job that the second call of `step` is; `whichgpu.capture` describes the arguments."""
    phantom = active_phantom()
    if phantom is None:
        raise CaptureError(
            "capture() was called outside of the phantom GPU. Build the model and call capture() inside "
            "`with whichgpu.phantom_gpu():`, with everything on the device 'cuda'."
        )
    device = phantom.device
    if device.recorder is not None:
        raise CaptureError("capture() was called inside of a step that is being captured.")
    with StepWatch(device.storages) as watch:
        # The first call makes what later ones find: optimizer state, the scale of a gradient scaler.
        step()
        # Garbage of the first call must not count as memory of the second.
        gc.collect()
        was_collecting = gc.isenabled()
        gc.disable()
        recorder = Recorder(device.storages)
        placeholders = device.placeholders_read
        device.storages.start()
        watch.mark_residents()
        device.recorder = watch.recorder = recorder
        try:
            result = step()
        finally:
            device.recorder = watch.recorder = None
            if was_collecting:
                gc.enable()
        watch.mark_residents()
        storages = device.storages.stop()
        del result
    if not any(t.storage is not None for op in recorder.ops for t in (*op.input_tensors(), *op.output_tensors())):
        raise CaptureError(
            f"The step of {name!r} ran nothing on the phantom GPU. Move the model and its inputs to the device 'cuda' "
            "inside `with whichgpu.phantom_gpu():`."
        )
    told = [*notes, *phantom.notes]
    if device.placeholders_read > placeholders:
        told.append(
            "The step reads values back from the device; the phantom GPU has none and gave zeros and ones. "
            "Work that depends on them may differ."
        )
    job = Job(
        name=name,
        graph=Graph(tuple(recorder.ops), storages),
        samples_per_step=samples_per_step,
        samples_per_epoch=samples_per_epoch,
        precision=precision,
        layout=layout,
        sample=sample,
        source=f"torch {torch.__version__}",
        notes=tuple(told),
        options=dict(options or {}),
    )
    check(job)
    return job

"""Capturing a training step as a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from whichgpu.capture.phantom import active_phantom
from whichgpu.capture.step_recording import PLACEHOLDERS, StepRecording, uses_device
from whichgpu.capture.step_watch import StepWatch
from whichgpu.errors import CaptureError
from whichgpu.graph import Attribute, Job, check


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
    if phantom.device.recorder is not None:
        raise CaptureError("capture() was called inside of a step that is being captured.")
    with StepWatch(phantom.device.storages) as watch:
        # The first call makes what later ones find: optimizer state, the scale of a gradient scaler.
        step()
        recording = StepRecording(phantom, watch)
        try:
            result = step()
        finally:
            recording.stop()
        graph = recording.graph()
        del result
    if not uses_device(graph):
        raise CaptureError(
            f"The step of {name!r} ran nothing on the phantom GPU. Move the model and its inputs to the device 'cuda' "
            "inside `with whichgpu.phantom_gpu():`."
        )
    told = [*notes, *phantom.notes, *([PLACEHOLDERS] if recording.read_placeholders else [])]
    job = Job(
        name=name,
        graph=graph,
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

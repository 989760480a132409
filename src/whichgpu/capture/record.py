"""Capturing training steps as jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from whichgpu.capture.phantom import active_phantom
from whichgpu.capture.step_recording import PLACEHOLDERS, StepRecording, uses_device
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
    about = Job(
        name=name,
        graph=Graph(()),
        samples_per_step=samples_per_step,
        samples_per_epoch=samples_per_epoch,
        precision=precision,
        layout=layout,
        sample=sample,
        notes=tuple(notes),
        options=dict(options or {}),
    )
    return next(record_jobs([(step, samples_per_step)], about))


def record_jobs(steps: Iterable[tuple[Callable[[], Any], int]], about: Job) -> Iterator[Job]:
    """Yield the job that each of several steps of one model is.

    Args:
        steps: Steps, each with its samples, made when they are asked for; the first is called once before, for what
            later calls find: optimizer state, the scale of a gradient scaler, tables that models keep.
        about: All that is said of the jobs but their graphs and samples.

    Raises:
        CaptureError: See `whichgpu.capture`.
    """
    phantom = active_phantom()
    if phantom is None:
        raise CaptureError(
            "capture() was called outside of the phantom GPU. Build the model and call capture() inside "
            "`with whichgpu.phantom_gpu():`, with everything on the device 'cuda'."
        )
    if phantom.device.recorder is not None:
        raise CaptureError("capture() was called inside of a step that is being captured.")
    with StepWatch(phantom.device.storages) as watch:
        for number, (step, samples) in enumerate(steps):
            if not number:
                step()
            recording = StepRecording(phantom, watch)
            try:
                result = step()
            finally:
                recording.stop()
            graph = recording.graph()
            if phantom.compiles:
                graph = replace(graph, mode="fused")
            del result, step
            if not uses_device(graph):
                raise CaptureError(
                    f"The step of {about.name!r} ran nothing on the phantom GPU. Move the model and its inputs to the "
                    "device 'cuda' inside `with whichgpu.phantom_gpu():`."
                )
            told = [*about.notes, *phantom.notes, *([PLACEHOLDERS] if recording.read_placeholders else [])]
            job = replace(
                about,
                graph=graph,
                samples_per_step=samples,
                source=f"torch {torch.__version__}",
                notes=tuple(told),
            )
            check(job)
            yield job

"""Capturing a training step with no GPU: on a phantom one, of shapes and dtypes. Imports torch only when called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from whichgpu.graph import Attribute, Job

__all__ = ["capture", "phantom_gpu"]


@contextmanager
def phantom_gpu() -> Iterator[None]:
    """Give torch a `cuda` device of shapes and dtypes, without values, for as long as the context lasts.

    Parameters, `.to("cuda")`, `.cuda()`, `device="cuda"`, `with torch.device("cuda"):`, autocast, gradient scaling,
    backward, fused attention, foreach and fused optimizers and activation checkpointing work as on one CUDA GPU of
    compute capability 8.0. Tensors on the CPU stay real. Small integer and boolean tensors on the device keep their
    values; any other value read back is a placeholder. On leaving, torch is as it was. Contexts may be nested; the
    inner ones change nothing.

    Raises:
        MissingExtraError: If torch is not installed.
        UnsupportedTorchError: If its version is not one the phantom GPU is tested with.
        CaptureError: If the phantom GPU fails its self-test with the installed torch.
    """
    from whichgpu.capture.torch_versions import import_torch

    import_torch()
    from whichgpu.capture.phantom import switched_on
    from whichgpu.capture.self_test import run_self_test

    with switched_on():
        run_self_test()
        yield


def capture(
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
    """Call `step` twice on the phantom GPU and return its second call as a job.

    Args:
        step: One optimizer step, with no argument: clears gradients, runs forward and backward, updates the weights.
            Its model and batch lie on the device "cuda" of the phantom GPU.
        name: What to call the job.
        samples_per_step: Samples one call learns from.
        samples_per_epoch: Samples of one pass over the data, if known.
        precision: How it trains, a key of `whichgpu.graph.PRECISIONS`; for the reader, the step itself decides.
        layout: "nchw" or "channels_last" for images.
        sample: What one sample is: "image".
        notes: What a reader of results must know.
        options: How the job was built (batch, sequence length, ...).

    Raises:
        CaptureError: If no phantom GPU is switched on, the step ran nothing on it, or it cannot follow the step.
        MissingExtraError: If torch is not installed.
        UnsupportedTorchError: If its version is not one the phantom GPU is tested with.
    """
    from whichgpu.capture.torch_versions import import_torch

    import_torch()
    from whichgpu.capture.record import record_job

    return record_job(
        step,
        name=name,
        samples_per_step=samples_per_step,
        samples_per_epoch=samples_per_epoch,
        precision=precision,
        layout=layout,
        sample=sample,
        notes=notes,
        options=options,
    )

"""A small training step with a known op list: does the phantom GPU work with the installed torch?

It runs at the first use in a process. The list is what a CUDA run launches for this step, casts of autocast included.
"""

from __future__ import annotations

from functools import cache

import torch

from whichgpu.capture.phantom import active_phantom
from whichgpu.capture.recorder import Recorder
from whichgpu.capture.torch_versions import supported_text
from whichgpu.errors import CaptureError

EXPECTED = (
    "memcpy.h2d",  # the batch
    *("aten._to_copy.default",) * 3,  # autocast: batch, weight, bias
    "aten.t.default",
    "aten.addmm.default",
    "aten.native_dropout.default",
    "aten._to_copy.default",  # autocast: pow in float32
    "aten.pow.Tensor_Scalar",
    "aten.sum.default",
    "aten.ones_like.default",
    "aten.expand.default",
    "aten.pow.Tensor_Scalar",
    "aten.mul.Scalar",
    "aten.mul.Tensor",
    "aten._to_copy.default",
    "aten.native_dropout_backward.default",
    "aten.t.default",
    "aten.mm.default",
    "aten.t.default",
    "aten.sum.dim_IntList",
    "aten.view.default",
    "aten.t.default",
    "aten._to_copy.default",
    "aten._to_copy.default",
    "aten._foreach_add_.List",
)


@cache
def run_self_test() -> None:
    """Run the step once in a process, on the phantom GPU that is switched on.

    Raises:
        CaptureError: Naming the version of torch and the first op that differs.
    """
    try:
        found = _op_names()
    except Exception as error:
        raise CaptureError(f"{_told()} {type(error).__name__}: {error}") from error
    for index, expected in enumerate(EXPECTED):
        name = found[index] if index < len(found) else "nothing"
        if name != expected:
            raise CaptureError(f"{_told()} Op {index} of its self-test is {name}; expected {expected}.")
    if len(found) > len(EXPECTED):
        raise CaptureError(f"{_told()} Its self-test ran {found[len(EXPECTED)]} after the last op expected.")


def _told() -> str:
    return (
        f"The phantom GPU does not work with this torch {torch.__version__}; "
        f"it is tested with the releases {supported_text()}."
    )


def _op_names() -> list[str]:
    phantom = active_phantom()
    assert phantom is not None
    device = phantom.device
    weight = torch.zeros(16, 8, device="cuda", requires_grad=True)
    bias = torch.zeros(16, device="cuda", requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=0.1)
    batch = torch.ones(4, 8)
    recorder = Recorder(device.storages)
    device.storages.start()
    device.recorder = recorder
    try:
        with torch.autocast("cuda", dtype=torch.float16):
            out = torch.nn.functional.linear(batch.to("cuda"), weight, bias)
            loss = torch.nn.functional.dropout(out, 0.5).pow(2).sum()
        loss.backward()
        optimizer.step()
    finally:
        device.recorder = None
        device.storages.stop()
    return [op.name for op in recorder.ops]

"""timm:NAME: timm's models as its benchmark.py runs them."""

from __future__ import annotations

from typing import Any

from whichgpu.errors import MissingExtraError
from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import images, placed, step_maker
from whichgpu.references.reference import Reference, Steps
from whichgpu.references.without_torchvision import names_of_torchvision

NAMES = ("timm:*",)


def steps(reference: Reference) -> Steps:
    """Return timm's benchmark of one model: random weights, one fixed batch of images on the device.

    Training: cross-entropy of random classes, SGD with momentum 0.9, no gradient scaler, under autocast where the
    precision says so. Inference: forward only, without gradients. Attention is fused where torch and the model can.
    Leaves out: loading data; clearing gradients, which stands outside of the step time.
    Source: huggingface/pytorch-image-models, benchmark.py.
    """
    import torch

    timm = import_timm()
    timm.layers.set_fused_attn(reference.torch_major >= 2)
    with without_drawing():
        plain = timm.create_model(reference.name.removeprefix("timm:"))
    model = placed(plain, reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        data = images(batch, reference)
        return (data,) if reference.task == "infer" else (data, torch.zeros(batch, dtype=torch.int64).cuda())

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        outputs = model(data[0])
        return outputs if reference.task == "infer" else torch.nn.functional.cross_entropy(outputs, data[1])

    make = step_maker(
        model, reference, inputs, forward, lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.9), clears_gradients=False
    )
    return Steps(make, chooses_attention=any(hasattr(m, "fused_attn") for m in model.modules()))


def import_timm() -> Any:
    """Return timm, also where torchvision is missing or does not fit the installed torch.

    Raises:
        MissingExtraError: If timm is not installed.
    """
    try:
        with names_of_torchvision():
            import timm
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "validate", "build timm's models") from None
    return timm

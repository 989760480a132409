"""nv:resnet50_v1.5 and its relatives: the image classifiers of NVIDIA's DeepLearningExamples."""

from __future__ import annotations

from typing import Any

from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import images, placed, step_maker
from whichgpu.references.reference import Reference, Steps
from whichgpu.references.timm_models import import_timm

_DLE = "nv-dle:PyTorch/ConvNets"
# What timm calls the same network; ResNet-50 is our own.
_OF_TIMM = {
    f"{_DLE}/resnext101-32x4d": "resnext101_32x4d",
    f"{_DLE}/se-resnext101-32x4d": "seresnext101_32x4d",
    f"{_DLE}/efficientnet:efficientnet-b0": "efficientnet_b0",
    f"{_DLE}/efficientnet:efficientnet-b4": "efficientnet_b4",
}
NAMES = ("nv:resnet50_v1.5", *_OF_TIMM)


def steps(reference: Reference) -> Steps:
    """Return training on ImageNet: cross-entropy, SGD with momentum (RMSprop for EfficientNet), a gradient scaler.

    Model: ResNet-50 v1.5 of transformers; the others from timm, where layers and widths are the same.
    Leaves out: label smoothing's few operations on (n, 1000), the loader.
    Source: NVIDIA DeepLearningExamples, PyTorch/Classification/ConvNets.
    """
    import torch

    with without_drawing():
        model = placed(_model(reference.name), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        return images(batch, reference), torch.zeros(batch, dtype=torch.int64).cuda()

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        outputs = model(data[0])
        return torch.nn.functional.cross_entropy(getattr(outputs, "logits", outputs), data[1])

    def optimizer(parameters: Any) -> Any:
        if "efficientnet" in reference.name:
            return torch.optim.RMSprop(parameters, lr=0.08, momentum=0.9, weight_decay=1e-5)
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.875, weight_decay=3e-5)

    return Steps(step_maker(model, reference, inputs, forward, optimizer), depends_on_torch=False)


def _model(name: str) -> Any:
    if name in _OF_TIMM:
        return import_timm().create_model(_OF_TIMM[name])
    from whichgpu.workloads import definition

    definition("resnet50").check_installed()
    return definition("resnet50").model()

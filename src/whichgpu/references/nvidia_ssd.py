"""nv:ssd300_resnet50: SSD at 300x300 with ResNet-50, as NVIDIA's DeepLearningExamples train it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import images, placed, step_maker
from whichgpu.references.reference import Reference, Steps
from whichgpu.references.timm_models import import_timm

if TYPE_CHECKING:
    import torch

NAMES = ("nv:ssd300_resnet50",)

_IMAGE = (3, 300, 300)
_CLASSES = 81
# Boxes a place, of the six maps: 8,732 boxes in all.
_BOXES = (4, 6, 6, 6, 4, 4)
_ALL_BOXES = 8732
# Channels of the maps, and between two of them.
_CHANNELS = (1024, 512, 512, 256, 256, 256)
_BETWEEN = (256, 256, 128, 128, 128)


def steps(reference: Reference) -> Steps:
    """Return training on COCO: smooth L1 of boxes, cross-entropy with hard negatives, SGD with momentum.

    Model: ResNet-50 up to its third stage, whose stride is 1; five further stages; heads for boxes and classes.
    Leaves out: DALI, which decodes and crops images on the same GPU; matching boxes.
    Source: NVIDIA DeepLearningExamples, PyTorch/Detection/SSD; arXiv 1512.02325.
    """
    import torch

    shaped = replace(reference, sample=_IMAGE)
    with without_drawing():
        model = placed(_model(), shaped)

    def inputs(batch: int) -> tuple[Any, ...]:
        boxes = torch.empty(batch, 4, _ALL_BOXES, device="cuda")
        labels = torch.empty(batch, _ALL_BOXES, dtype=torch.int64, device="cuda")
        return images(batch, shaped), boxes, labels, torch.empty(1, 4, _ALL_BOXES, device="cuda")

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        pictures, boxes, labels, defaults = data
        places, classes = model(pictures)
        return _loss(places.float(), classes.float(), boxes, labels, defaults)

    def optimizer(parameters: Any) -> Any:
        return torch.optim.SGD(parameters, lr=2.6e-3, momentum=0.9, weight_decay=5e-4)

    return Steps(step_maker(model, shaped, inputs, forward, optimizer), depends_on_torch=False)


def _model() -> torch.nn.Module:
    import torch
    from torch import nn

    resnet = import_timm().create_model("resnet50")
    first = resnet.layer3[0]
    for convolution in (first.conv1, first.conv2, first.downsample[0]):
        convolution.stride = (1, 1)

    class Ssd(nn.Module):  # type: ignore[misc]
        """Images (n, 3, 300, 300) -> boxes (n, 4, 8732) and classes (n, 81, 8732)."""

        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool, resnet.layer1, resnet.layer2, resnet.layer3
            )
            self.further = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(before, between, 1, bias=False),
                    nn.BatchNorm2d(between),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(between, after, 3, bias=False, **({"padding": 1, "stride": 2} if i < 3 else {})),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                )
                for i, (before, between, after) in enumerate(zip(_CHANNELS, _BETWEEN, _CHANNELS[1:], strict=False))
            )
            self.places = nn.ModuleList(
                nn.Conv2d(c, 4 * b, 3, padding=1) for c, b in zip(_CHANNELS, _BOXES, strict=True)
            )
            self.classes = nn.ModuleList(
                nn.Conv2d(c, _CLASSES * b, 3, padding=1) for c, b in zip(_CHANNELS, _BOXES, strict=True)
            )

        def forward(self, x: Any) -> tuple[Any, Any]:
            x = self.features(x)
            maps = [x]
            for stage in self.further:
                x = stage(x)
                maps.append(x)
            n = len(x)
            places = [head(m).reshape(n, 4, -1) for head, m in zip(self.places, maps, strict=True)]
            classes = [head(m).reshape(n, _CLASSES, -1) for head, m in zip(self.classes, maps, strict=True)]
            return torch.cat(places, 2).contiguous(), torch.cat(classes, 2).contiguous()

    return Ssd()


def _loss(places: Any, classes: Any, boxes: Any, labels: Any, defaults: Any) -> Any:
    """Return the loss of boxes (n, 4, 8732) and classes (n, 81, 8732); three negatives a positive, the hardest."""
    import torch
    from torch.nn import functional

    mask = labels > 0
    positives = mask.sum(dim=1)
    centres = 10 * (boxes[:, :2] - defaults[:, :2]) / defaults[:, 2:]
    sides = 5 * (boxes[:, 2:] / defaults[:, 2:]).log()
    wanted = torch.cat((centres, sides), dim=1).contiguous()
    box_loss = (mask.float() * functional.smooth_l1_loss(places, wanted, reduction="none").sum(dim=1)).sum(dim=1)
    each = functional.cross_entropy(classes, labels, reduction="none")
    _, hardest = each.detach().clone().masked_fill_(mask, 0).sort(dim=1, descending=True)
    _, rank = hardest.sort(dim=1)
    negatives = rank < (3 * positives).clamp(max=_ALL_BOXES).unsqueeze(-1)
    class_loss = (each * (mask.float() + negatives.float())).sum(dim=1)
    total = (box_loss + class_loss) * (positives > 0).float()
    return (total / positives.float().clamp(min=1e-6)).mean(dim=0)

"""resnet50: image classification, the benchmark every GPU is measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class ResNet50(Workload):
    """ResNet-50 v1.5 on ImageNet.

    Model: 25.6 million parameters, stride 2 in the 3x3 convolutions (v1.5), 4.09 GMACs forward at 224x224; the model of
    transformers with random weights.
    Training: batch 256, SGD (lr 0.1, momentum 0.9, weight decay 1e-4), cross-entropy over 1,000 classes, AMP in
    float16.
    Data: ImageNet-1k, 1,281,167 images cropped to 224x224.
    Leaves out: reading, decoding and augmenting the images; the validation pass.
    Source: arXiv 1512.03385; v1.5 after NVIDIA DeepLearningExamples, ConvNets.
    """

    name = "resnet50"
    title = "ResNet-50 v1.5 on ImageNet"
    batch = 256
    precision = "amp-fp16"
    layouts = ("nchw", "channels_last")
    samples_per_epoch = 1_281_167
    sample = "image of 224x224"
    requires = ("transformers.ResNetForImageClassification",)

    def model(self) -> torch.nn.Module:
        """Return the model, (n, 3, 224, 224) -> (n, 1000) logits."""
        from transformers import ResNetConfig, ResNetForImageClassification

        config = ResNetConfig(num_labels=1000)
        model: torch.nn.Module = ResNetForImageClassification(config)
        return model.train()

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return SGD with momentum."""
        import torch

        return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return images (n, 3, 224, 224) and labels (n,)."""
        import torch

        return torch.randn(batch, 3, 224, 224), torch.randint(0, 1000, (batch,))

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean cross-entropy."""
        from torch.nn import functional

        images, labels = inputs
        return functional.cross_entropy(model(images).logits, labels)


WORKLOAD = ResNet50()

"""vit-b16: image classification with a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class VitB16(Workload):
    """ViT-B/16 on ImageNet.

    Model: 12 layers, width 768, 12 heads, patches of 16x16, 86.6 million parameters; the model of transformers with
    random weights.
    Training: batch 128, AdamW (lr 1e-3, weight decay 0.1), cross-entropy over 1,000 classes, AMP in float16.
    Data: ImageNet-1k, 1,281,167 images cropped to 224x224.
    Leaves out: reading, decoding and augmenting the images; the validation pass.
    Source: arXiv 2010.11929.
    """

    name = "vit-b16"
    title = "ViT-B/16 on ImageNet"
    batch = 128
    precision = "amp-fp16"
    precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16", "bf16")
    samples_per_epoch = 1_281_167
    sample = "image of 224x224"
    requires = ("transformers.ViTForImageClassification",)

    def model(self) -> torch.nn.Module:
        """Return the model, (n, 3, 224, 224) -> (n, 1000) logits."""
        from transformers import ViTConfig, ViTForImageClassification

        model: torch.nn.Module = ViTForImageClassification(ViTConfig(num_labels=1000))
        return model.train()

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return AdamW."""
        import torch

        return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return images (n, 3, 224, 224) and labels (n,)."""
        import torch

        return torch.randn(batch, 3, 224, 224), torch.randint(0, 1000, (batch,))

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean cross-entropy."""
        from torch.nn import functional

        images, labels = inputs
        return functional.cross_entropy(model(images).logits, labels)


WORKLOAD = VitB16()

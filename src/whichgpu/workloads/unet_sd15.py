"""unet-sd15: fine-tuning the denoiser of a text-to-image model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class UnetSd15(Workload):
    """The U-Net of Stable Diffusion 1.5, fine-tuned at 512x512.

    Model: 860 million parameters, four levels of 320 to 1,280 channels, cross-attention to 77 text tokens of width 768;
    the model of diffusers with random weights.
    Training: batch 4 of latents of 4x64x64, AdamW (lr 1e-5, weight decay 1e-2), mean squared error of the noise, AMP in
    float16.
    Data: 833 captioned images, the size of the set in the diffusers example, their latents and text embeddings computed
    before training.
    Leaves out: the image encoder and the text encoder, which do not train; adding the noise.
    Source: arXiv 2112.10752; github.com/huggingface/diffusers, examples/text_to_image.
    """

    name = "unet-sd15"
    title = "Stable Diffusion 1.5 U-Net, 512x512"
    batch = 4
    precision = "amp-fp16"
    precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
    samples_per_epoch = 833
    sample = "latent of 4x64x64"
    requires = ("diffusers.UNet2DConditionModel",)

    def model(self) -> torch.nn.Module:
        """Return the model, (n, 4, 64, 64) latents, (n,) times and (n, 77, 768) texts -> (n, 4, 64, 64)."""
        from diffusers import UNet2DConditionModel

        model: torch.nn.Module = UNet2DConditionModel(
            sample_size=64,
            in_channels=4,
            out_channels=4,
            layers_per_block=2,
            block_out_channels=(320, 640, 1280, 1280),
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        return model.train()

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return AdamW."""
        import torch

        return torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=1e-2)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return noisy latents and noise (n, 4, 64, 64), times (n,) and text embeddings (n, 77, 768)."""
        import torch

        latents, noise = torch.randn(batch, 4, 64, 64), torch.randn(batch, 4, 64, 64)
        return latents, noise, torch.randint(0, 1000, (batch,)), torch.randn(batch, 77, 768)

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean squared error of the predicted noise."""
        from torch.nn import functional

        latents, noise, times, texts = inputs
        predicted = model(latents, times, texts).sample
        return functional.mse_loss(predicted.float(), noise.float())


WORKLOAD = UnetSd15()

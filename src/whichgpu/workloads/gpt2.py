"""gpt2: fine-tuning a small language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class Gpt2(Workload):
    """GPT-2 (124M) fine-tuned on WikiText-103.

    Model: 12 layers, width 768, 12 heads, 50,257 tokens, tied embeddings, 124 million parameters; the model of
    transformers with random weights, scaled-dot-product attention.
    Training: 8 sequences of 1,024 tokens a step, AdamW (lr 5e-5), AMP in float16, dropout 0.1.
    Data: WikiText-103, 117.9 million GPT-2 tokens: 115,137 sequences of 1,024.
    Leaves out: tokenizing, evaluation.
    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    """

    name = "gpt2"
    title = "GPT-2 124M on WikiText-103"
    batch = 8
    precision = "amp-fp16"
    precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16", "bf16")
    samples_per_epoch = 115_137
    sample = "sequence of 1,024 tokens"
    requires = ("transformers.GPT2LMHeadModel",)

    def model(self) -> torch.nn.Module:
        """Return the model, tokens (n, 1024) -> logits (n, 1024, 50257)."""
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(use_cache=False))
        model.loss_type = "ForCausalLM"  # what transformers falls back to, and says so, as the class is named otherwise
        return cast("torch.nn.Module", model.train())

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return AdamW as the Trainer sets it."""
        import torch

        return torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return tokens (n, 1024)."""
        import torch

        return (torch.randint(0, 50_257, (batch, 1024)),)

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean cross-entropy of the next token."""
        (tokens,) = inputs
        return cast("torch.Tensor", model(input_ids=tokens, labels=tokens).loss)


WORKLOAD = Gpt2()

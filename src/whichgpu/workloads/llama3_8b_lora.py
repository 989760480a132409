"""llama3-8b-lora: fine-tuning a large language model with low-rank adapters."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, cast

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class Llama3Lora(Workload):
    """Llama 3 8B fine-tuned on Alpaca with LoRA.

    Model: 32 layers, width 4,096, 32 heads with 8 key-value heads, 128,256 tokens, 8.03 billion frozen parameters in
    bfloat16; LoRA of rank 16 on all linear layers of the blocks, its weights in float32 as peft keeps them; the models
    of transformers and peft with random weights.
    Training: 4 sequences of 512 tokens a step, AdamW (lr 2e-4), activation checkpointing.
    Data: Stanford Alpaca, 52,002 instructions, each padded to 512 tokens.
    Leaves out: tokenizing, evaluation, packing.
    Source: arXiv 2407.21783 (Llama 3), arXiv 2106.09685 (LoRA), github.com/tatsu-lab/stanford_alpaca.
    """

    name = "llama3-8b-lora"
    title = "Llama 3 8B, LoRA on Alpaca"
    batch = 4
    precision = "bf16"
    precisions = ("bf16",)
    samples_per_epoch = 52_002
    sample = "sequence of 512 tokens"
    requires = ("transformers.LlamaForCausalLM", "peft.get_peft_model")
    sets_own_dtypes = True

    def model(self) -> torch.nn.Module:
        """Return the model with its adapters, tokens (n, 512) -> logits (n, 512, 128256)."""
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, LlamaConfig

        config = LlamaConfig(
            vocab_size=128_256,
            hidden_size=4096,
            intermediate_size=14_336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            max_position_embeddings=8192,
            rms_norm_eps=1e-5,
            use_cache=False,
        )
        base = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        adapters = LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        with warnings.catch_warnings():
            # Checkpointing is called otherwise from transformers 6 on; older releases, and peft, know this name alone.
            warnings.simplefilter("ignore", FutureWarning)
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model: torch.nn.Module = get_peft_model(base, adapters)
        return model.train()

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return AdamW over the adapters."""
        import torch

        return torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-4)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return tokens (n, 512)."""
        import torch

        return (torch.randint(0, 128_256, (batch, 512)),)

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean cross-entropy of the next token."""
        (tokens,) = inputs
        return cast("torch.Tensor", model(input_ids=tokens, labels=tokens).loss)


WORKLOAD = Llama3Lora()

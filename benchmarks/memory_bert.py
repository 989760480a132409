"""BERT large as the documentation of transformers trained it on one GPU, step by step with less memory.

Source: huggingface/transformers, docs "Efficient Training on a Single GPU" (2022): a V100 of 16 GB, 512 sequences of
512 tokens, sequence classification by Trainer; what NVML read at the end of each run. Of that time are AdamW of
transformers (one tensor after the other), gradients cleared to zero, attention as products and softmax, reentrant
checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.softmax_of_its_day import softmax_of_torch_1_10
from whichgpu.graph import Job

_TOKENS = 512


@dataclass(frozen=True)
class Case:
    """One of its runs.

    Attributes:
        batch: Sequences of a micro-batch.
        micro_batches: Of a step.
        checkpointed: Whether activations are checkpointed.
        half: Whether it trains under autocast in float16.
        optimizer: "adamw", "adafactor" or "adam8bit(bnb)".
    """

    batch: int
    micro_batches: int
    checkpointed: bool
    half: bool
    optimizer: str

    @property
    def label(self) -> str:
        """A name for files."""
        parts = (self.batch, self.micro_batches, "ckpt" * self.checkpointed, "fp16" * self.half, self.optimizer[:9])
        return "-".join(str(p) for p in parts if p)

    @property
    def words(self) -> str:
        """What a table calls it."""
        parts = [
            f"batch {self.batch}" + (f" x {self.micro_batches}" if self.micro_batches > 1 else ""),
            "amp-fp16" if self.half else "fp32",
            "checkpointing" * self.checkpointed,
            {"adamw": "AdamW", "adafactor": "Adafactor"}.get(self.optimizer, "8-bit Adam"),
        ]
        return ", ".join(filter(None, parts))


def captured(case: Case) -> Job:
    """Return one step of a run."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from whichgpu.capture import capture, phantom_gpu

    config = BertConfig(
        vocab_size=30_522,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        attn_implementation="eager",
    )
    with phantom_gpu():
        with torch.device("cuda"):
            model: Any = BertForSequenceClassification(config).train()
        if case.checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
            model.enable_input_require_grads()
        optimizer = _optimizer(case.optimizer, model)
        scaler = torch.amp.GradScaler("cuda", enabled=case.half)
        tokens = torch.randint(0, 30_000, (case.batch, _TOKENS)).cuda()
        labels = torch.randint(0, 2, (case.batch,)).cuda()

        def step() -> None:
            for _ in range(case.micro_batches):
                with torch.autocast("cuda", dtype=torch.float16, enabled=case.half):
                    loss = model(input_ids=tokens, labels=labels).loss / case.micro_batches
                scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=False)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=False)

        with softmax_of_torch_1_10():
            return capture(step, name="bert-large", samples_per_step=case.batch * case.micro_batches)


def _optimizer(name: str, model: Any) -> Any:
    import torch

    if name == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(model.parameters(), lr=1e-3, scale_parameter=False, relative_step=False)
    return torch.optim.AdamW(model.parameters(), lr=5e-5, foreach=False)

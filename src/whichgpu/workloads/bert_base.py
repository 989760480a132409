"""bert-base: fine-tuning an encoder to answer questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch


class BertBase(Workload):
    """BERT base fine-tuned on SQuAD v1.1.

    Model: 12 layers, width 768, 12 heads, 110 million parameters, a span head; the model of transformers with random
    weights.
    Training: 32 question-and-context pairs a step, padded to 384 tokens, AdamW (lr 3e-5), AMP in float16, dropout 0.1.
    Data: SQuAD v1.1, 87,599 training questions; about one in a hundred is split in two, which is left out.
    Leaves out: tokenizing, evaluation.
    Source: arXiv 1810.04805; SQuAD: arXiv 1606.05250.
    """

    name = "bert-base"
    title = "BERT base on SQuAD v1.1"
    batch = 32
    precision = "amp-fp16"
    precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16", "bf16")
    samples_per_epoch = 87_599
    sample = "question with context, 384 tokens"
    requires = ("transformers.BertForQuestionAnswering",)

    def model(self) -> torch.nn.Module:
        """Return the model, tokens (n, 384) -> start and end logits (n, 384)."""
        from transformers import BertConfig, BertForQuestionAnswering

        model: torch.nn.Module = BertForQuestionAnswering(BertConfig())
        return model.train()

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return AdamW."""
        import torch

        return torch.optim.AdamW(model.parameters(), lr=3e-5, weight_decay=0.01)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return tokens, attention mask and segment ids (n, 384), start and end positions (n,)."""
        import torch

        tokens = torch.randint(0, 30_522, (batch, 384))
        mask = torch.ones(batch, 384, dtype=torch.int64)
        mask[:, 320:] = 0  # real batches are padded, and padding decides which attention kernel runs
        segments = torch.zeros(batch, 384, dtype=torch.int64)
        return tokens, mask, segments, torch.randint(0, 320, (batch,)), torch.randint(0, 320, (batch,))

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean cross-entropy of the span's two ends."""
        tokens, mask, segments, starts, ends = inputs
        output = model(
            input_ids=tokens,
            attention_mask=mask,
            token_type_ids=segments,
            start_positions=starts,
            end_positions=ends,
        )
        return cast("torch.Tensor", output.loss)


WORKLOAD = BertBase()

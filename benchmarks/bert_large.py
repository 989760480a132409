"""BERT large on questions and contexts: the job NVIDIA's and Lambda's published BERT figures are of."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from whichgpu.graph import Job, job_from_document, job_to_document
from whichgpu.graph.affine import evaluate, merge
from whichgpu.workloads.workload import Workload

if TYPE_CHECKING:
    import torch

CACHE = Path(__file__).parent / ".cache"
# As when the shipped graphs are made: primes, so that no size equals a batch by chance.
_CAPTURE_BATCHES = (11, 13)


class BertLarge(Workload):
    """BERT large fine-tuned on SQuAD v1.1, as in NVIDIA DeepLearningExamples.

    Model: 24 layers, width 1024, 16 heads, 334 million parameters, a span head; attention as separate products and
    softmax, which is what those releases ran.
    Training: AdamW, dropout 0.1; padded to `length` tokens.
    Leaves out: tokenizing, evaluation, the clipping of gradients; the examples' fused GELU and layer norm.
    Source: arXiv 1810.04805.
    """

    name = "bert-large"
    title = "BERT large on SQuAD v1.1"
    batch = 32
    precision = "amp-fp16"
    precisions = (*Workload.precisions, "bf16")
    samples_per_epoch = 87_599
    sample = "question with context"
    requires = ("transformers.BertForQuestionAnswering",)

    def __init__(self, length: int) -> None:
        """Train on sequences of `length` tokens."""
        self.length = length

    def model(self) -> torch.nn.Module:
        """Return the model, tokens (n, length) -> start and end logits (n, length)."""
        from transformers import BertConfig, BertForQuestionAnswering

        config = BertConfig(
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            attn_implementation="eager",
        )
        model: torch.nn.Module = BertForQuestionAnswering(config)
        return model.train()

    def optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return AdamW."""
        import torch

        return torch.optim.AdamW(model.parameters(), lr=3e-5, weight_decay=0.01)

    def inputs(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Return tokens, attention mask and segment ids (n, length), start and end positions (n,)."""
        import torch

        shape = (batch, self.length)
        return (
            torch.randint(0, 30_522, shape),
            torch.ones(shape, dtype=torch.int64),
            torch.zeros(shape, dtype=torch.int64),
            torch.randint(0, self.length, (batch,)),
            torch.randint(0, self.length, (batch,)),
        )

    def loss(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the mean cross-entropy of the span's two ends."""
        tokens, mask, segments, starts, ends = inputs
        output = model(
            input_ids=tokens, attention_mask=mask, token_type_ids=segments, start_positions=starts, end_positions=ends
        )
        return cast("torch.Tensor", output.loss)


def bert_large(length: int, batch: int, precision: str) -> Job:
    """Return BERT large at `batch` sequences of `length` tokens; captured once and kept in benchmarks/.cache."""
    captured_in = "fp32" if precision == "tf32" else precision
    document = cast("dict[str, Any]", evaluate(_template(length, captured_in), batch))
    document["precision"] = precision
    return job_from_document(document)


@cache
def _template(length: int, precision: str) -> Any:
    file = CACHE / f"bert-large-{length}.{precision}.json.gz"
    if not file.exists():
        CACHE.mkdir(exist_ok=True)
        (CACHE / ".gitignore").write_text("*\n")
        first, second = _CAPTURE_BATCHES
        documents = {b: job_to_document(_capture(length, b, precision)) for b in _CAPTURE_BATCHES}
        merged = merge(documents[first], first, documents[second], second)
        file.write_bytes(gzip.compress(json.dumps(merged).encode()))
    return json.loads(gzip.decompress(file.read_bytes()))


def _capture(length: int, batch: int, precision: str) -> Job:
    from whichgpu.capture import capture, phantom_gpu

    with phantom_gpu():
        return capture(
            BertLarge(length).training_step(batch, "cuda", precision),
            name="bert-large",
            samples_per_step=batch,
            precision=precision,
            sample=f"sequence of {length} tokens",
        )

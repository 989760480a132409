"""nv:bert_*_squad: BERT on questions and contexts, as NVIDIA's DeepLearningExamples train it."""

from __future__ import annotations

from typing import Any

from whichgpu.errors import MissingExtraError
from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import placed, step_maker
from whichgpu.references.reference import Reference, Steps

# Layers, width, heads.
_SIZES = {"bert_base_squad": (12, 768, 12), "bert_large_squad": (24, 1024, 16)}
NAMES = tuple(f"nv:{name}" for name in _SIZES)
_TOKENS = 384
_WORDS = 30_522


def steps(reference: Reference) -> Steps:
    """Return training on SQuAD v1.1: span head, dropout 0.1, sequences padded to the reference's length (384).

    Model: that of transformers with random weights, attention as separate products and softmax.
    Training: AdamW over lists of tensors (apex's FusedAdam) in half precision; in float32 one tensor after the other.
    Leaves out: tokenizing, the host's loader, clipping; the examples' fused GELU and layer norm.
    Source: NVIDIA DeepLearningExamples, PyTorch/LanguageModeling/BERT; arXiv 1810.04805.
    """
    import torch

    length = reference.sample[0] if reference.sample else _TOKENS
    with without_drawing():
        model = placed(_model(reference.name.removeprefix("nv:"), length), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        ones = torch.ones(batch, length, dtype=torch.int64).cuda()
        places = torch.zeros(batch, dtype=torch.int64).cuda()
        return ones, ones, ones, places, places

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        tokens, mask, segments, starts, ends = data
        return model(
            input_ids=tokens, attention_mask=mask, token_type_ids=segments, start_positions=starts, end_positions=ends
        ).loss

    def optimizer(parameters: Any) -> Any:
        return torch.optim.AdamW(parameters, lr=3e-5, weight_decay=0.01, foreach=reference.precision != "fp32")

    return Steps(step_maker(model, reference, inputs, forward, optimizer), depends_on_torch=False)


def _model(name: str, length: int) -> Any:
    try:
        from transformers import BertConfig, BertForQuestionAnswering
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "jobs", f"build {name}") from None
    layers, width, heads = _SIZES[name]
    return BertForQuestionAnswering(
        BertConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            max_position_embeddings=max(512, length),
            attn_implementation="eager",
        )
    )

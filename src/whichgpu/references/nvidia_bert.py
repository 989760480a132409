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
    Training: AdamW over lists of tensors (apex's FusedAdam) in half precision; in float32 the example's BertAdam.
    Leaves out: tokenizing, the host's loader, clipping in half precision; the examples' fused GELU and layer norm.
    Source: NVIDIA DeepLearningExamples, PyTorch/LanguageModeling/BERT, run_squad.py and optimization.py; arXiv
        1810.04805.
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
        if reference.precision == "fp32":
            return _bert_adam(parameters)
        return torch.optim.AdamW(parameters, lr=3e-5, weight_decay=0.01, foreach=True)

    return Steps(step_maker(model, reference, inputs, forward, optimizer), depends_on_torch=False)


def _bert_adam(parameters: Any) -> Any:
    """Return an optimizer that launches what the example's BertAdam does, one tensor after the other.

    It first reads the norm of all weights back, so that the host starts on the update only when the device is idle; as
    that norm is beyond 1, every weight is then scaled.
    """
    import torch

    class BertAdam(torch.optim.Optimizer):  # type: ignore[misc]
        def __init__(self, weights: Any) -> None:
            super().__init__(weights, {"lr": 3e-5})

        @torch.no_grad()  # type: ignore[untyped-decorator]
        def step(self, closure: Any = None) -> None:
            weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
            norm = torch.stack(torch._foreach_norm(weights)).norm().item()
            for weight in weights:
                state = self.state[weight]
                if not state:
                    state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
                scaled = weight * 1.0 / norm
                mean = state["mean"].mul_(0.9).add_(weight.grad, alpha=0.1)
                square = state["square"].mul_(0.999).addcmul_(weight.grad, weight.grad, value=0.001)
                update = mean / (square.sqrt() + 1e-6)
                if weight.dim() > 1:
                    update += 0.01 * scaled
                scaled.add_(-(3e-5 * update))

    return BertAdam(parameters)


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

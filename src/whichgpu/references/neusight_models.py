"""hf:NAME: the transformers NeuSight timed, in float32 with unfused attention."""

from __future__ import annotations

from typing import Any

from whichgpu.errors import MissingExtraError, OptionError
from whichgpu.references.drawing import without_drawing
from whichgpu.references.loops import placed, step_maker
from whichgpu.references.reference import Reference, Steps

# Kind of model, layers, width, heads. Widths and heads of gpt3_* are those of the shapes in NeuSight's published per-op
# timings; opt and the smaller ones as published by their authors.
_MODELS: dict[str, tuple[str, int, int, int]] = {
    "bert_base": ("bert", 12, 768, 12),
    "bert_large": ("bert", 24, 1024, 16),
    "gpt2": ("gpt2", 12, 768, 12),
    "gpt2_medium": ("gpt2", 24, 1024, 16),
    "gpt2_large": ("gpt2", 36, 1280, 20),
    "gpt2_xl": ("gpt2", 48, 1600, 25),
    "gpt3_xl": ("gpt2", 24, 3072, 24),
    "gpt3_27": ("gpt2", 32, 2560, 32),
    "opt_13": ("opt", 24, 2048, 32),
    "opt_1.3b": ("opt", 24, 2048, 32),
    "opt-1.3b": ("opt", 24, 2048, 32),
    "opt_27": ("opt", 32, 2560, 32),
    "opt-2.7b": ("opt", 32, 2560, 32),
}
NAMES = tuple(f"hf:{name}" for name in _MODELS)

_ATTENTION = "whichgpu_4_38"


def steps(reference: Reference) -> Steps:
    """Return the forward pass of a model, or forward and backward with gradients that add up from step to step.

    Model: that of transformers with random weights; for training the pre-training heads of BERT, for inference its
    classification head; GPT-2 and OPT with their language-model head. Attention as transformers 4.38 ran it: product,
    division, mask, softmax, dropout, product.
    Leaves out: any update. The loss, which NeuSight leaves untimed, is in: 0.1 % of a step.
    Source: sitar-lab/NeuSight, neusight/Tracing/trace.py; ASPLOS 2025.
    """
    import torch

    if len(reference.sample) != 1:
        raise OptionError(f"{reference.name} needs the length of its sequences; it got the shape {reference.sample}.")
    (length,) = reference.sample
    trains = reference.task != "infer"
    with without_drawing():
        model = placed(_model(reference.name.removeprefix("hf:"), length, trains), reference)

    def inputs(batch: int) -> tuple[Any, ...]:
        return (torch.ones(batch, length, dtype=torch.int64).cuda(),)

    def forward(model: Any, data: tuple[Any, ...]) -> Any:
        (tokens,) = data
        output = model(tokens)
        if not trains:
            return output
        logits = output.prediction_logits if hasattr(output, "prediction_logits") else output.logits
        return torch.nn.functional.cross_entropy(logits.view(-1, logits.size(-1)), tokens.view(-1))

    return Steps(step_maker(model, reference, inputs, forward), depends_on_torch=False)


def _model(name: str, length: int, trains: bool) -> Any:
    try:
        import transformers
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "jobs", f"build {name}") from None
    kind, layers, width, heads = _MODELS[name]
    attention = {"bert": _bert_attention, "opt": _opt_attention, "gpt2": _gpt2_attention}[kind]
    ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, attention)
    if kind == "bert":
        config = transformers.BertConfig(
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            attn_implementation=_ATTENTION,
        )
        return (transformers.BertForPreTraining if trains else transformers.BertForSequenceClassification)(config)
    if kind == "opt":
        config = transformers.OPTConfig(
            num_hidden_layers=layers,
            hidden_size=width,
            word_embed_proj_dim=width,
            num_attention_heads=heads,
            ffn_dim=4 * width,
            max_position_embeddings=length,
            use_cache=False,
            attn_implementation=_ATTENTION,
        )
        return transformers.OPTForCausalLM(config)
    config = transformers.GPT2Config(
        n_layer=layers, n_embd=width, n_head=heads, n_positions=length, use_cache=False, attn_implementation=_ATTENTION
    )
    return transformers.GPT2LMHeadModel(config)


def _bert_attention(
    module: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float = 0.0, **kwargs: Any
) -> tuple[Any, None]:
    """Return attention (b, h, q, e), (b, h, k, e), (b, h, k, v) -> (b, q, h, v); the mask, all ones, is added."""
    import torch

    scores = torch.matmul(query, key.transpose(-1, -2)) / query.shape[-1] ** 0.5
    scores = scores + torch.zeros(query.shape[0], 1, 1, key.shape[-2], device=query.device, dtype=query.dtype)
    return _weighted(module, scores, value, dropout)


def _opt_attention(
    module: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float = 0.0, **kwargs: Any
) -> tuple[Any, None]:
    """Return attention (b, h, q, e), (b, h, k, e), (b, h, k, v) -> (b, q, h, v): the queries come scaled."""
    import torch

    scores = torch.matmul(query, key.transpose(-1, -2))
    lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype, device=scores.device)
    before = torch.empty(len(query), 1, *scores.shape[-2:], dtype=scores.dtype, device=scores.device)
    return _weighted(module, torch.max(scores + before, lowest), value, dropout)


def _gpt2_attention(
    module: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float = 0.0, **kwargs: Any
) -> tuple[Any, None]:
    """Return attention (b, h, q, e), (b, h, k, e), (b, h, k, v) -> (b, q, h, v) to what came before."""
    import torch

    scores = torch.matmul(query, key.transpose(-1, -2))
    scores = scores / torch.full([], value.shape[-1] ** 0.5, dtype=scores.dtype, device=scores.device)
    before = _triangle(query.shape[-2])
    lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype, device=scores.device)
    return _weighted(module, torch.where(before, scores, lowest), value, dropout)


def _weighted(module: Any, scores: Any, value: Any, dropout: float) -> tuple[Any, None]:
    import torch

    weights = torch.nn.functional.softmax(scores, dim=-1)
    weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def _triangle(length: int) -> Any:
    """Return the mask (1, 1, length, length) the model keeps from the beginning."""
    import torch

    return torch.empty(1, 1, length, length, dtype=torch.bool, device="cuda")

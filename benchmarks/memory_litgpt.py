"""LoRA fine-tuning of lit-gpt, as its table of resources measured it: max_memory_allocated on an A100 of 40 GB.

Where weights are quantized, all linear layers but the adapters are: NF4 in blocks of 64, with "dq" the scales in 8
bits, too. The checkpoints were in float16, which weights unpack to before they are turned to bfloat16. bitsandbytes was
0.41, which kept the input of each layer for the backward pass; later releases do not.

The models are written anew from its description: queries and values of the joint projection adapted with rank 8,
weights and math in bfloat16, logits and losses in chunks of 128 tokens. The longest sequence of Alpaca comes first, so
it decides.

Source: Lightning-AI/lit-gpt 8641822, tutorials/resource-tables.md, finetune/lora.py, lit_gpt/model.py, lit_gpt/lora.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whichgpu.graph import Job

_RANK, _ALPHA, _DROPOUT, _CHUNK = 8, 16, 0.05, 128


@dataclass(frozen=True)
class Shape:
    """A model of lit-gpt.

    Attributes:
        layers: Of it.
        width: Of its residual stream.
        heads: Of its attention, with keys and values of their own.
        inner: Width of its perceptron.
        words: Rows of its embedding, padded.
        rotated: Share of a head's width that is rotated.
        gated: Whether it is made like Llama: RMS norms, gated perceptron, no biases, one branch after the other.
        shared_norm: Whether both branches read one norm.
        longest: Tokens of Alpaca's longest sequence with its tokenizer.
    """

    layers: int
    width: int
    heads: int
    inner: int
    words: int
    rotated: float
    gated: bool
    shared_norm: bool
    longest: int


MODELS = {
    "phi-1.5 1.3B": Shape(24, 2048, 32, 8192, 51_200, 0.5, False, True, 1044),
    "StableLM Alpha 3B": Shape(16, 4096, 32, 16_384, 50_688, 0.25, False, False, 1034),
    "Llama 2 7B": Shape(32, 4096, 32, 11_008, 32_000, 1.0, True, False, 1304),
    "Llama 2 13B": Shape(40, 5120, 40, 13_824, 32_000, 1.0, True, False, 1304),
}


def captured(name: str, batch: int, quantization: str = "") -> Job:
    """Return one step over a micro-batch whose sequences are as long as the longest.

    Args:
        name: A key of `MODELS`.
        batch: Sequences.
        quantization: "", "nf4" or "nf4-dq".
    """
    import torch

    from whichgpu.capture import capture, phantom_gpu

    if quantization:
        # It compiles helpers of its own, which shall not make the step a compiled one.
        import bitsandbytes  # noqa: F401
    shape = MODELS[name]
    with phantom_gpu():
        with torch.device("cuda"):
            model = _model(shape).to(torch.bfloat16).train()
        if quantization:
            _quantize(model, quantization == "nf4-dq")
        for key, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in key)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=3e-4, weight_decay=0.01)
        tokens = torch.randint(0, 1000, (batch, shape.longest)).cuda()

        def step() -> None:
            # Fabric gives a model's output back in float32 (HalfPrecision.convert_output).
            chunks = [logits.float() for logits in model(tokens)]
            chunks[-1] = chunks[-1][:, :-1]
            loss = _chunked_loss(chunks, tokens[:, 1:])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return capture(step, name=f"lit-gpt {name}", samples_per_step=batch, precision="bf16")


def _quantize(model: Any, double: bool) -> None:
    """Replace the linear layers of a model on the GPU by packed ones."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    class Product(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, packed: Any, state: Any, bias: Any) -> Any:
            ctx.kept = (x, packed, state)
            return torch.nn.functional.linear(x, dequantize_4bit(packed, state).to(x.dtype), bias)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            _, packed, state = ctx.kept
            return torch.matmul(gradient, dequantize_4bit(packed, state).to(gradient.dtype)), None, None, None

    class Packed(torch.nn.Module):  # type: ignore[misc]
        """(..., inputs) -> (..., outputs)."""

        def __init__(self, linear: Any) -> None:
            super().__init__()
            weight = linear.weight.data.half()
            packed, self.state = quantize_4bit(weight, compress_statistics=double, quant_type="nf4")
            self.register_buffer("packed", packed)
            self.bias = linear.bias

        def forward(self, x: Any) -> Any:
            return Product.apply(x, self.packed, self.state, self.bias)

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(module, name, Packed(child))


def _chunked_loss(chunks: list[Any], targets: Any) -> Any:
    import torch

    parts = zip(chunks, targets.split(_CHUNK, dim=1), strict=True)
    losses = [
        torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.size(-1)), target.reshape(-1), ignore_index=-1, reduction="none"
        )
        for logits, target in parts
    ]
    return torch.cat(losses).mean()


def _model(shape: Shape) -> Any:
    import torch
    from torch import nn
    from torch.nn import functional

    head = shape.width // shape.heads
    rotated = int(head * shape.rotated)

    class RMSNorm(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(shape.width))

        def forward(self, x: Any) -> Any:
            wide = x.float()
            scale = torch.rsqrt(torch.mean(wide * wide, dim=-1, keepdim=True) + 1e-5)
            return (self.weight * (wide * scale)).to(x.dtype)

    def norm() -> Any:
        return RMSNorm() if shape.gated else nn.LayerNorm(shape.width)

    class Adapted(nn.Module):  # type: ignore[misc]
        """The joint projection, with adapters of its queries and values."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(shape.width, 3 * shape.width, bias=not shape.gated)
            self.lora_a = nn.Parameter(torch.zeros(2 * _RANK, shape.width))
            self.lora_b = nn.Parameter(torch.zeros(2 * shape.width, _RANK))
            columns = torch.arange(3 * shape.width).view(shape.heads, 3, head)
            self.register_buffer("places", columns[:, [0, 2]].reshape(-1), persistent=False)

        def forward(self, x: Any) -> Any:
            plain = self.linear(x)
            thin = functional.linear(functional.dropout(x, _DROPOUT), self.lora_a)
            wide = functional.conv1d(thin.transpose(-2, -1), self.lora_b.unsqueeze(-1), groups=2).transpose(-2, -1)
            padded = wide.new_zeros((*wide.shape[:-1], 3 * shape.width)).view(-1, 3 * shape.width)
            padded = padded.index_copy(1, self.places, wide.reshape(-1, 2 * shape.width))
            return plain + padded.view_as(plain) * (_ALPHA / _RANK)

    def rotate(x: Any, cos: Any, sin: Any) -> Any:
        part = x[..., :rotated]
        turned = torch.cat((-part[..., rotated // 2 :], part[..., : rotated // 2]), dim=-1)
        return torch.cat(((part * cos + turned * sin).to(x.dtype), x[..., rotated:]), dim=-1)

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.attn = Adapted()
            self.proj = nn.Linear(shape.width, shape.width, bias=not shape.gated)

        def forward(self, x: Any, cos: Any, sin: Any) -> Any:
            b, t, _ = x.shape
            joint = self.attn(x).view(b, t, shape.heads, 3, head).permute(0, 2, 3, 1, 4)
            q, k, v = (part.reshape(b, -1, t, head) for part in joint.split((1, 1, 1), dim=2))
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.proj(out.transpose(1, 2).reshape(b, t, shape.width))

    class Perceptron(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(shape.width, shape.inner, bias=not shape.gated)
            if shape.gated:
                self.gate = nn.Linear(shape.width, shape.inner, bias=False)
            self.proj = nn.Linear(shape.inner, shape.width, bias=not shape.gated)

        def forward(self, x: Any) -> Any:
            if shape.gated:
                return self.proj(functional.silu(self.fc(x)) * self.gate(x))
            return self.proj(functional.gelu(self.fc(x)))

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.attn, self.mlp = norm(), Attention(), Perceptron()
            self.norm_2 = None if shape.shared_norm else norm()

        def forward(self, x: Any, cos: Any, sin: Any) -> Any:
            first = self.norm_1(x)
            attended = self.attn(first, cos, sin)
            if shape.gated:
                x = attended + x
                return self.mlp(self.norm_2(x)) + x  # type: ignore[misc]
            second = first if self.norm_2 is None else self.norm_2(x)
            return self.mlp(second) + attended + x

    class GPT(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lm_head = nn.Linear(shape.width, shape.words, bias=shape.shared_norm)
            self.wte = nn.Embedding(shape.words, shape.width)
            self.h = nn.ModuleList(Block() for _ in range(shape.layers))
            self.ln_f = norm()
            self.register_buffer("cos", torch.zeros(shape.longest, rotated), persistent=False)
            self.register_buffer("sin", torch.zeros(shape.longest, rotated), persistent=False)

        def forward(self, tokens: Any) -> list[Any]:
            x = self.wte(tokens)
            for block in self.h:
                x = block(x, self.cos, self.sin)
            return [self.lm_head(part) for part in self.ln_f(x).split(_CHUNK, dim=1)]

    return GPT()

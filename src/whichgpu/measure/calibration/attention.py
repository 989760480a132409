"""Scaled dot-product attention by torch's backends, forward and backward, and as plain products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from whichgpu.graph import Attribute, Op, Tensor
from whichgpu.measure.calibration.ops import mm, placeholder, softmax
from whichgpu.measure.calibration.probe import FORMATS, KernelProbe, Scope


class Heads(NamedTuple):
    """Queries, keys and values of one size: batch, heads, tokens, width of a head, causal."""

    batch: int
    heads: int
    tokens: int
    width: int
    causal: bool


# GPT-2, BERT, ViT, Llama, Stable Diffusion; long and short; widths kernels exist for and one they do not.
SIZES = (
    Heads(8, 12, 1024, 64, True),
    Heads(32, 12, 384, 64, False),
    Heads(64, 12, 197, 64, False),
    Heads(2, 32, 2048, 128, True),
    Heads(4, 8, 4096, 40, False),
    Heads(1, 32, 8192, 128, True),
    Heads(2, 32, 2048, 128, False),
    Heads(256, 12, 64, 64, False),
    Heads(8, 8, 1024, 256, True),
    Heads(16, 16, 512, 96, False),
    Heads(1, 12, 1024, 64, True),
)
_QUICK = 2
_ON_CPU = (Heads(1, 12, 256, 64, False),)
# Position of what backward needs among the results of forward, and the arguments that say nothing of work.
# Source: aten/src/ATen/native/native_functions.yaml of torch 2.11 to 2.13.
_FLASH = (0, 1, None, None, None, None, 2, 3, None)
_EFFICIENT = (0, 1, 2, 3)


def probes(scope: Scope) -> Iterator[KernelProbe]:
    """Yield each size by flash, then memory-efficient, then cuDNN's kernels, then as plain products."""
    if scope.is_cpu:
        yield from (plain(size, "fp32") for size in _ON_CPU)
        return
    sizes = SIZES[:_QUICK] if scope.quick else SIZES
    for size in sizes:
        for name in scope.halves[:1]:
            yield from fused(size, name, "flash")
            yield from fused(size, name, "efficient")
    for size in sizes[:3]:
        yield from fused(size, "fp32", "efficient")
        for name in (*scope.halves[:1], "tf32", "fp32"):
            if name in scope.formats:
                yield plain(size, name)
        for name in scope.halves[1:]:
            yield from fused(size, name, "flash")
        for name in scope.halves[:1]:
            yield from fused(size, name, "cudnn")


def fused(size: Heads, name: str, backend: str) -> Iterator[KernelProbe]:
    """Yield forward and backward in one kernel each by "flash", "efficient" or "cudnn"."""
    form = FORMATS[name]
    inputs = {role: _heads(size, form.dtype) for role in ("query", "key", "value")}
    attributes: dict[str, Attribute] = {"dropout_p": 0.0, "is_causal": size.causal}
    title = f"{backend} {_title(size)}, {name}"
    full = f"aten._scaled_dot_product_{backend}_attention"
    asked: dict[str, Attribute] = {} if backend == "flash" else {"compute_log_sumexp": True}
    forward = Op(f"{full}.default", inputs, (), asked | attributes)
    yield KernelProbe(f"{title}, forward", (forward,), tf32=form.tf32)
    places = _EFFICIENT if backend == "efficient" else _FLASH
    results = tuple(None if place is None else placeholder(place) for place in places)
    out, logsumexp, seed, offset = (placeholder(n) for n in range(4))
    grad = "grad_out_" if backend == "efficient" else "grad_out"
    needed = {grad: out, **inputs, "out": out, "logsumexp": logsumexp, "philox_seed": seed, "philox_offset": offset}
    if backend == "efficient":
        attributes = attributes | {"grad_input_mask": (True, True, True, False)}
    else:
        attributes = attributes | {"max_q": size.tokens, "max_k": size.tokens}
    backward = Op(f"{full}_backward.default", needed, (), attributes)
    setup = Op(forward.name, forward.inputs, results, forward.attributes)
    yield KernelProbe(f"{title}, backward", (backward,), (setup,), tf32=form.tf32)


def plain(size: Heads, name: str) -> KernelProbe:
    """Return attention as two products with a softmax between, as torch runs it without fused kernels."""
    form = FORMATS[name]
    batch = size.batch * size.heads
    rows = Tensor((batch, size.tokens, size.width), form.dtype)
    keys = Tensor((batch, size.width, size.tokens), form.dtype)
    scores, weights = placeholder(0), placeholder(1)
    first, between = mm(rows, keys), softmax(scores)
    ops = (
        Op(first.name, first.inputs, (scores,)),
        Op(between.name, between.inputs, (weights,), between.attributes),
        Op("aten.bmm.default", {"self": weights, "mat2": rows}, ()),
    )
    return KernelProbe(f"plain {_title(size)}, {name}", ops, tf32=form.tf32)


def _heads(size: Heads, dtype: str) -> Tensor:
    """Return (batch, heads, tokens, width) lying as a layer leaves it: (batch, tokens, heads, width)."""
    shape = (size.batch, size.heads, size.tokens, size.width)
    row = size.heads * size.width
    return Tensor(shape, dtype, (size.tokens * row, size.width, row, 1))


def _title(size: Heads) -> str:
    causal = ", causal" if size.causal else ""
    return f"{size.batch} x {size.heads} heads, {size.tokens} tokens, width {size.width}{causal}"

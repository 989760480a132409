"""Matrix products: the rates of large ones under the power limit, then shapes of all sorts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration.ops import linear, mm, scaled_mm, transposed
from whichgpu.measure.calibration.probe import FORMATS, KernelProbe, Scope

SUSTAIN_S = 2.2
# Larger than any single tile or wave matters, smaller than the memory of the smallest GPU people train on.
LARGE = (8192, 4096)
LARGE_ON_CPU = (2048,)
# (m, n, k): squares; layers of transformers; heads and vocabularies; rows of few samples; short and deep sums; sizes no
# tile divides.
_SHAPES = (
    (2048, 2048, 2048),
    (1024, 1024, 1024),
    (512, 512, 512),
    (8192, 3072, 768),
    (8192, 768, 3072),
    (8192, 50257, 768),
    (16384, 4096, 4096),
    (4096, 11008, 4096),
    (16, 4096, 4096),
    (1, 4096, 4096),
    (128, 4096, 4096),
    (65536, 64, 64),
    (65536, 256, 64),
    (100352, 512, 256),
    (4096, 4096, 32),
    (4096, 4096, 128),
    (256, 256, 65536),
    (64, 576, 200704),
    (768, 3072, 8192),
    (1000, 1000, 1000),
    (3000, 3000, 3000),
    (2047, 2047, 2047),
    (8192, 1000, 2048),
    (12288, 12288, 1024),
)
# (batch, m, n, k): scores and values of attention heads, and many small ones.
_BATCHES = (
    (96, 1024, 1024, 64),
    (96, 1024, 64, 1024),
    (256, 512, 512, 64),
    (256, 512, 64, 512),
    (768, 197, 197, 64),
    (32, 2048, 2048, 128),
    (1024, 64, 64, 64),
    (4096, 16, 16, 64),
    (12, 384, 384, 64),
)
_RANDOM_SHAPES = 40
_LEAST_FLOPS, _MOST_FLOPS = 1e8, 4e11
# On a CPU a call may take half a second.
_MOST_FLOPS_ON_CPU = 2e10
# Side and depth of a product in fp8 are multiples of this. Source: ATen/native/cuda/ScaledBlas.cpp.
_FP8_ALIGNMENT = 16


def probes(scope: Scope) -> Iterator[KernelProbe]:
    """Yield what is asked of a device, large products of each format first."""
    for side in LARGE_ON_CPU if scope.is_cpu else LARGE[: 1 if scope.quick else None]:
        for name in scope.formats:
            yield product(name, side, side, side, sustain_s=0.5 if scope.quick else SUSTAIN_S)
    shapes = _SHAPES[: 8 if scope.quick else None]
    batches = _BATCHES[: 2 if scope.quick else None]
    most = _MOST_FLOPS_ON_CPU if scope.is_cpu else math.inf
    for m, n, k in shapes:
        for name in scope.formats:
            if 2 * m * n * k <= most:
                yield product(name, m, n, k)
    for name in scope.formats:
        if name != "fp8":
            yield from (batched(name, *shape) for shape in batches if 2 * math.prod(shape) <= most)
    for name in scope.formats:
        if name != "fp8":
            yield from _backward(name, 8192 if not scope.is_cpu else 512, 768, 3072)
    if not scope.quick:
        yield from _random(scope, most)


def product(name: str, m: int, n: int, k: int, sustain_s: float = 0.0) -> KernelProbe:
    """Return (m, k) @ (k, n) in a number format, both factors lying by rows where the format allows it."""
    form = FORMATS[name]
    if name == "fp8":
        m, n, k = (_FP8_ALIGNMENT * math.ceil(side / _FP8_ALIGNMENT) for side in (m, n, k))
        op = scaled_mm(m, n, k, form.dtype)
    else:
        op = mm(Tensor((m, k), form.dtype), Tensor((k, n), form.dtype))
    return KernelProbe(f"{m} x {n} x {k}, {name}", (op,), tf32=form.tf32, sustain_s=sustain_s)


def batched(name: str, batch: int, m: int, n: int, k: int) -> KernelProbe:
    """Return `batch` times (m, k) @ (k, n)."""
    form = FORMATS[name]
    op = mm(Tensor((batch, m, k), form.dtype), Tensor((batch, k, n), form.dtype))
    return KernelProbe(f"{batch} times {m} x {n} x {k}, {name}", (op,), tf32=form.tf32)


def _backward(name: str, rows: int, inputs: int, outputs: int) -> Iterator[KernelProbe]:
    """Yield a linear layer with its bias and its two gradients, whose factors lie by columns."""
    form = FORMATS[name]
    by_weight = mm(transposed((outputs, rows), form.dtype), Tensor((rows, inputs), form.dtype))
    by_input = mm(Tensor((rows, outputs), form.dtype), Tensor((outputs, inputs), form.dtype))
    ops: dict[str, Op] = {
        "linear": linear(rows, inputs, outputs, form.dtype),
        "its gradient by the weight": by_weight,
        "its gradient by the input": by_input,
    }
    for what, op in ops.items():
        yield KernelProbe(f"{what}, {rows} x {outputs} x {inputs}, {name}", (op,), tf32=form.tf32)


def _random(scope: Scope, most: float) -> Iterator[KernelProbe]:
    """Yield shapes drawn evenly in the logarithm, the same on every machine, most of them multiples of 8."""
    random = Random(0)
    left = _RANDOM_SHAPES
    while left:
        m, n, k = (round(2 ** random.uniform(4, 14)) for _ in range(3))
        if random.random() < 0.8:
            m, n, k = (8 * math.ceil(side / 8) for side in (m, n, k))
        if _LEAST_FLOPS <= 2 * m * n * k <= min(most, _MOST_FLOPS):
            left -= 1
            for name in scope.formats:
                yield product(name, m, n, k)

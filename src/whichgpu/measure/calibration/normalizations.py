"""Normalization and softmax, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.graph import Op, Tensor
from whichgpu.measure.calibration.ops import (
    batch_norm,
    batch_norm_backward,
    channels_last,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
    softmax,
    softmax_backward,
)
from whichgpu.measure.calibration.probe import FORMATS, KernelProbe, Scope

# (n, c, h, w) of ResNet-50 at 224 x 224; (rows, width) of transformers; (rows, classes).
IMAGES = ((64, 64, 112, 112), (64, 256, 56, 56), (64, 512, 28, 28), (64, 2048, 7, 7))
ROWS = ((8192, 768), (16384, 4096), (65536, 384), (1024, 768))
CLASSES = ((98304, 1024), (8192, 50257), (49152, 384), (64, 1000))
GROUPS = 32
_ON_CPU = 64


def probes(scope: Scope) -> Iterator[KernelProbe]:
    """Yield the kinds in turns, large tensors first, in half precision, then in float32."""
    names = (*scope.halves[:1], "fp32") if not scope.is_cpu else ("fp32",)
    for index in range(1 if scope.quick else len(IMAGES)):
        for name in names:
            yield from _of_size(index, name, scope)


def _of_size(index: int, name: str, scope: Scope) -> Iterator[KernelProbe]:
    dtype = FORMATS[name].dtype
    less = _ON_CPU if scope.is_cpu else 1
    n, c, h, w = IMAGES[index]
    image = (max(1, n // less), c, h, w)
    for layout in ("channels_last", "nchw"):
        data = channels_last(image, dtype) if layout == "channels_last" else Tensor(image, dtype)
        for kernel in ("native",) if scope.is_cpu else ("cudnn", "native"):
            forward = batch_norm(data, kernel)
            yield from _pair(f"batch norm of {kernel}, {layout}", image, name, forward, batch_norm_backward(forward))
        forward = group_norm(data, GROUPS, dtype)
        yield from _pair(f"group norm, {layout}", image, name, forward, group_norm_backward(forward))
    rows = (max(1, ROWS[index][0] // less), ROWS[index][1])
    forward = layer_norm(Tensor(rows, dtype), dtype)
    yield from _pair("layer norm", rows, name, forward, layer_norm_backward(forward))
    classes = (max(1, CLASSES[index][0] // less), CLASSES[index][1])
    for log in (False, True):
        forward = softmax(Tensor(classes, dtype), log)
        yield from _pair("log-softmax" if log else "softmax", classes, name, forward, softmax_backward(forward, dtype))


def _pair(what: str, shape: tuple[int, ...], name: str, forward: Op, backward: tuple[Op, Op]) -> Iterator[KernelProbe]:
    title = f"{what}, {' x '.join(map(str, shape))}, {name}"
    yield KernelProbe(f"{title}, forward", (forward,))
    setup, op = backward
    yield KernelProbe(f"{title}, backward", (op,), (setup,))

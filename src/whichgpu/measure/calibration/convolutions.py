"""Convolutions of nets people train, forward and both gradients, in both memory formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from whichgpu.graph import Tensor
from whichgpu.measure.calibration.ops import channels_last, convolution, convolution_backward
from whichgpu.measure.calibration.probe import FORMATS, KernelProbe, Scope

BATCH, BATCH_ON_CPU = 64, 2


class Layer(NamedTuple):
    """A convolution: channels, size of its image, filters, window, stride, padding, groups."""

    net: str
    channels: int
    size: int
    filters: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1


# ResNet-50 (arXiv 1512.03385), EfficientNet-B0 (1905.11946), ConvNeXt-T (2201.03545), ResNeXt-50 (1611.05431),
# RegNetX (2003.13678), ReXNet (2007.00992), ViT-B/16 (2010.11929) at 224 x 224; Stable Diffusion's U-Net (2112.10752).
LAYERS = (
    Layer("resnet", 64, 56, 64, 3, padding=1),
    Layer("resnet", 256, 14, 1024, 1),
    Layer("efficientnet", 144, 56, 144, 3, padding=1, groups=144),
    Layer("resnet", 64, 56, 256, 1),
    Layer("convnext", 96, 56, 96, 7, padding=3, groups=96),
    Layer("resnet", 256, 14, 256, 3, padding=1),
    Layer("resnext", 128, 56, 128, 3, padding=1, groups=32),
    Layer("resnet", 3, 224, 64, 7, 2, 3),
    Layer("resnet", 128, 28, 128, 3, padding=1),
    Layer("resnet", 512, 7, 512, 3, padding=1),
    Layer("resnet", 2048, 7, 512, 1),
    Layer("resnet", 128, 56, 128, 3, 2, 1),
    Layer("resnet", 512, 28, 1024, 1, 2),
    Layer("efficientnet", 672, 14, 672, 5, padding=2, groups=672),
    Layer("efficientnet", 144, 56, 144, 3, 2, 1, 144),
    Layer("efficientnet", 24, 56, 144, 1),
    Layer("rexnet", 27, 112, 162, 1),
    Layer("efficientnet", 320, 7, 1280, 1),
    Layer("convnext", 768, 7, 768, 7, padding=3, groups=768),
    Layer("convnext", 3, 224, 96, 4, 4),
    Layer("convnext", 192, 28, 384, 2, 2),
    Layer("vit", 3, 224, 768, 16, 16),
    Layer("regnet", 432, 14, 432, 3, padding=1, groups=9),
    Layer("resnet", 1024, 14, 256, 1),
    Layer("unet", 320, 64, 320, 3, padding=1),
    Layer("efficientnet", 1152, 7, 1152, 5, padding=2, groups=1152),
)
_QUICK = 5
# Filters of a U-Net are many and its batch small.
_SMALL_BATCH = 4
_DIRECTIONS = ("forward", "input", "weight")


def probes(scope: Scope) -> Iterator[KernelProbe]:
    """Yield each layer in the first half format and in float32 with TF32, then in the formats that matter less."""
    layers = LAYERS[:_QUICK] if scope.quick else LAYERS
    first = ["fp32"] if scope.is_cpu else [f for f in (*scope.halves[:1], "tf32", "fp32") if f in scope.formats][:2]
    later = [f for f in scope.formats if f not in (*first, "fp8")]
    for names, some in ((first, layers), (later, layers[: len(layers) // 3])):
        for layer in some:
            for name in names:
                yield from _layer(layer, name, scope)


def _layer(layer: Layer, name: str, scope: Scope) -> Iterator[KernelProbe]:
    form = FORMATS[name]
    batch = BATCH_ON_CPU if scope.is_cpu else _SMALL_BATCH if layer.net == "unet" else BATCH
    shape = (batch, layer.channels, layer.size, layer.size)
    weight_shape = (layer.filters, layer.channels // layer.groups, layer.window, layer.window)
    for layout in ("channels_last", "nchw"):
        if layout == "channels_last":
            data, weight = channels_last(shape, form.dtype), channels_last(weight_shape, form.dtype)
        else:
            data, weight = Tensor(shape, form.dtype), Tensor(weight_shape, form.dtype)
        forward = convolution(data, weight, layer.stride, layer.padding, layer.groups)
        for by in _DIRECTIONS:
            title = f"{layer.net} {'x'.join(map(str, shape))}, {layer.filters} of {layer.window}x{layer.window}"
            what = "forward" if by == "forward" else f"by {by}"
            full = f"{title}, stride {layer.stride}, groups {layer.groups}, {what}, {layout}, {name}"
            if by == "forward":
                yield KernelProbe(full, (forward,), tf32=form.tf32)
            elif not (by == "input" and layer.channels == 3):  # nobody asks for the gradient by an image
                setup, backward = convolution_backward(forward, by)
                yield KernelProbe(full, (backward,), (setup,), tf32=form.tf32)

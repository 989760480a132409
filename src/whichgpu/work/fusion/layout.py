"""How images lie in a compiled step: a compiler may turn a whole network of convolutions to channels_last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from whichgpu.graph import Op, Tensor
from whichgpu.graph.tensor import contiguous_stride
from whichgpu.work.count import count_op

# Ops of the compiler's own graph for each convolution, from which on turning its operands is not worth it.
_MOST_OPS_A_CONVOLUTION = 300
# A call of eager PyTorch is this many ops of the compiler's graph: norms, activations and the like are taken apart.
_OPS_A_CALL = 3
# Time of a convolution in channels_last against that in NCHW, by class, as the compiler has it.
_TIMES = {"grouped": 1.358, "default": 0.823, "in_out": 0.725, "small": 0.783}
_SMALL_CHANNELS = 64


def turns_channels_last(ops: Sequence[Op], *, is_inference: bool) -> bool:
    """Return whether a compiler has the convolutions among `ops` run channels_last.

    Source: torch 2.13, torch/_inductor/graph.py (GraphLowering.decide_layout_opt).
    """
    convolutions = [op for op in ops if op.base_name == "aten.convolution"]
    if not convolutions or len(ops) * _OPS_A_CALL >= _MOST_OPS_A_CONVOLUTION * len(convolutions):
        return False
    if is_inference:
        flops = dict.fromkeys(_TIMES, 0.0)
        for op in convolutions:
            flops[_class(op)] += count_op(op).flops
        return sum(flops[name] * times for name, times in _TIMES.items()) <= sum(flops.values())
    if any(_is_grouped(op) or _is_in_out(op) for op in convolutions):
        return False
    return not all(_is_small(op) for op in convolutions)


def _class(op: Op) -> str:
    if _is_grouped(op):
        return "grouped"
    if _is_small(op):
        return "small"
    return "in_out" if _is_in_out(op) else "default"


def _is_grouped(op: Op) -> bool:
    """Return whether groups have more than one channel each: depthwise convolutions gain, those lose."""
    return cast("int", op.attributes.get("groups", 1)) > 1 and op.tensor("weight").shape[1] > 1


def _is_in_out(op: Op) -> bool:
    filters, channels, first = op.tensor("weight").shape[:3]
    return filters * 2 <= channels and first > 1


def _is_small(op: Op) -> bool:
    filters, channels = op.tensor("weight").shape[:2]
    return filters <= _SMALL_CHANNELS and channels <= _SMALL_CHANNELS


class Layout:
    """Where the elements of images lie, where a compiler has turned them.

    Attributes:
        is_turned: Whether convolutions run channels_last that were captured otherwise.
    """

    def __init__(self, is_turned: bool) -> None:
        self.is_turned = is_turned
        self._images: dict[int, tuple[int, int]] = {}

    def turn(self, tensor: Tensor) -> None:
        """Note that `tensor`, an image in row-major order, lies channels_last in truth."""
        if self.is_turned and tensor.storage is not None and len(tensor.shape) >= 4 and tensor.is_contiguous:
            pixels = tensor.numel // max(tensor.shape[0] * tensor.shape[1], 1)
            self._images[tensor.storage] = (tensor.shape[1], pixels)

    def is_image(self, tensor: Tensor) -> bool:
        """Return whether the storage of `tensor` is an image that has been turned."""
        return tensor.storage in self._images

    def strides(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the strides of `tensor`, a view of a turned image included."""
        strides = contiguous_stride(tensor.shape) if tensor.stride is None else tensor.stride
        if tensor.storage not in self._images:
            return strides
        channels, pixels = self._images[tensor.storage]
        return tuple(_turned(s, channels, pixels) for s in strides)

    def placed(self, tensor: Tensor) -> Tensor:
        """Return `tensor` with the strides it has in truth."""
        if tensor.storage not in self._images:
            return tensor
        return Tensor(tensor.shape, tensor.dtype, self.strides(tensor), tensor.storage)

    def follow(self, source: Tensor, result: Tensor) -> None:
        """Note that `result` lies like `source`, if that is a turned image."""
        if self.is_image(source) and len(result.shape) == len(source.shape):
            self.turn(result)


def _turned(stride: int, channels: int, pixels: int) -> int:
    """Return what a stride within (n, c, pixels) is within (n, pixels, c)."""
    if stride >= channels * pixels:
        return stride
    if stride >= pixels > 1:
        return stride // pixels
    return stride * channels

"""Convolutions on the phantom GPU: how their result lies in memory, which torch's meta kernel leaves open.

Source: cudnn_conv_suggest_memory_format in ATen/native/ConvUtils.h of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._prims_common import suggest_memory_format

from whichgpu.capture.op_traits import traits_of
from whichgpu.capture.phantom_tensor import KernelCall, wrap
from whichgpu.capture.special_ops import Handler, handler_table

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

aten = torch.ops.aten
HANDLERS: dict[Any, Handler] = {}
handles = handler_table(HANDLERS)


@handles(aten.convolution.default)
def _convolution(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """(n, c, ...), (k, c / groups, ...) -> (n, k, ...), channels innermost if either argument has them so."""
    source, weight = args[:2]
    if source.dtype == torch.float64:  # which cuDNN computes with channels outermost only
        return NotImplemented
    with KernelCall():
        formats = (suggest_memory_format(source), suggest_memory_format(weight))
        packed = next((f for f in formats if f != torch.contiguous_format), None)
        if packed is None:
            return NotImplemented
        out = wrap(func(*args, **kwargs).to(memory_format=packed))
    device.storages.note(out)
    return device.recorded(traits_of(func), args, kwargs, out)

"""What cuDNN's recurrent operators and packed sequences return on the phantom GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.op_traits import traits_of
from whichgpu.capture.phantom_tensor import PhantomTensor
from whichgpu.capture.special_ops import Handler, handler_table

if TYPE_CHECKING:
    from whichgpu.capture.fake_device import FakeDevice

aten = torch.ops.aten
HANDLERS: dict[Any, Handler] = {}
handles = handler_table(HANDLERS)


@handles(aten._cudnn_rnn.default)
def _cudnn_rnn(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = dict(zip(traits_of(func).arguments, args, strict=False)) | kwargs
    data, hx, cx, batch_sizes = given["input"], given["hx"], given["cx"], given["batch_sizes"]
    directions = 2 if given["bidirectional"] else 1
    width = given["proj_size"] or given["hidden_size"]
    rows = data.shape[0] if batch_sizes else data.shape[0] * data.shape[1]
    # What training must keep of every step, layer and direction: the gates, and an LSTM's cell (its tanh is redone).
    gates = _KEPT_PER_STEP[given["mode"]] * given["hidden_size"]
    reserve_bytes = rows * directions * given["num_layers"] * gates * data.element_size() if given["train"] else 0

    new = device.new
    out = (
        new((*data.shape[:-1], width * directions), data.dtype),
        new(hx.shape, hx.dtype),
        new(cx.shape if cx is not None else (0,), hx.dtype),
        new((reserve_bytes,), torch.uint8),
        new((sum(w.numel() for w in given["weight"]),), data.dtype),
    )
    return device.recorded(traits_of(func), args, kwargs, out)


# By cuDNN's mode: plain (relu, tanh) keep their output, an LSTM four gates and its cell, a GRU three gates and the
# product inside the candidate.
_KEPT_PER_STEP = (1, 1, 5, 4)


@handles(aten._cudnn_rnn_backward.default)
def _cudnn_rnn_backward(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = dict(zip(traits_of(func).arguments, args, strict=False)) | kwargs
    data, weights, hx, cx = given["input"], given["weight"], given["hx"], given["cx"]
    wanted = given["output_mask"]

    def like(tensor: torch.Tensor | None, is_wanted: bool = True) -> PhantomTensor | None:
        return device.new(tensor.shape, tensor.dtype) if tensor is not None and is_wanted else None

    grad_weights = [like(w) for w in weights] if wanted[3] else []
    out = (like(data, wanted[0]), like(hx, wanted[1]), like(cx, wanted[2]), grad_weights)
    return device.recorded(traits_of(func), args, kwargs, out)


@handles(aten._pack_padded_sequence.default)
def _pack_padded_sequence(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # The lengths lie on the CPU, on CUDA too: they decide the shape of the result.
    padded, lengths, _batch_first = args
    steps = lengths.tolist()
    batch_sizes = torch.tensor([sum(length > step for length in steps) for step in range(max(steps))])
    data = device.new((sum(steps), *padded.shape[2:]), padded.dtype)
    return device.recorded(traits_of(func), args, kwargs, (data, batch_sizes))


@handles(aten._thnn_fused_gru_cell.default)
def _gru_cell(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    hidden = args[2]
    batch, width = hidden.shape
    out = (device.new((batch, width), hidden.dtype), device.new((batch, _GRU_WORKSPACE * width), hidden.dtype))
    return device.recorded(traits_of(func), args, kwargs, out)


@handles(aten._thnn_fused_gru_cell_backward.default)
def _gru_cell_backward(device: FakeDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    grad, _, has_bias = args
    batch, width = grad.shape
    gates = [device.new((batch, 3 * width), grad.dtype) for _ in range(2)]
    biases = [device.new((3 * width,), grad.dtype) if has_bias else None for _ in range(2)]
    out = (*gates, device.new((batch, width), grad.dtype), *biases)
    return device.recorded(traits_of(func), args, kwargs, out)


# Reset and update gate, candidate, its hidden part and the old state (ATen/native/cuda/RNN.cu).
_GRU_WORKSPACE = 5

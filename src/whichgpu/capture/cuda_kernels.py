"""Composite operators that choose their kernels by device: on the phantom GPU they choose as on CUDA.

torch decides in C++ (`input.is_cuda()`) whether dropout is fused, batch norm and recurrent layers go to cuDNN and half
precision softmax converts on the fly. Each such operator gets a kernel for CUDA's autograd key that decides the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from whichgpu.capture.attention import scaled_dot_product_attention
from whichgpu.capture.phantom_tensor import CUDA

aten = torch.ops.aten
Tensor = torch.Tensor

_RNN_RELU, _RNN_TANH, _LSTM, _GRU = range(4)


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Return dropout as one fused kernel, as ATen/native/Dropout.cpp does for CUDA."""
    if train and 0 < p < 1 and input.numel() > 0:
        fused: Tensor = aten.native_dropout(input, p, train)[0]
        return fused
    plain: Tensor = aten.dropout.default.decompose(input, p, train)
    return plain


def softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return softmax, half to float in one kernel, as ATen/native/SoftMax.cpp does for CUDA."""
    return _softmax(aten._softmax, input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return log-softmax, half to float in one kernel, as ATen/native/SoftMax.cpp does for CUDA."""
    return _softmax(aten._log_softmax, input, dim, dtype)


def _softmax(op: Any, input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
    half_to_float = input.dtype == torch.float16 and dtype == torch.float32
    if dtype is not None and not half_to_float:
        input = input.to(dtype)
    out: Tensor = op(input, dim, half_to_float)
    return out


def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Return batch norm by cuDNN where ATen/native/Normalization.cpp would use it, else by torch's own kernel."""
    by_cudnn = (
        cudnn_enabled
        and torch.backends.cudnn.enabled
        and input.dtype in (torch.float16, torch.float32)
        and weight is not None
        and bias is not None
        and weight.dtype == torch.float32
        and (running_mean is not None) == (running_var is not None)
        and (running_mean is not None or training)
        and (input.dim() > 2 if training else True)
        and input.numel() > 0
        and (not training or input.shape[0] <= _CUDNN_TRAINING_BATCH)
        and eps >= _CUDNN_SMALLEST_EPSILON
    )
    if by_cudnn:
        normed: Tensor = aten.cudnn_batch_norm(
            input.contiguous(memory_format=torch.channels_last) if _is_channels_last(input) else input.contiguous(),
            weight,
            bias,
            running_mean,
            running_var,
            training,
            momentum,
            eps,
        )[0]
        return normed
    plain: Tensor = aten.native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]
    return plain


_CUDNN_TRAINING_BATCH = 880801
_CUDNN_SMALLEST_EPSILON = 1e-5


def _is_channels_last(input: Tensor) -> bool:
    return input.dim() == 4 and not input.is_contiguous() and input.is_contiguous(memory_format=torch.channels_last)


def lstm(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return output, hidden and cell state of an LSTM run by cuDNN."""
    return _rnn(
        _LSTM, input, hx[0], hx[1], params, has_biases, num_layers, dropout, train, bidirectional, batch_first, ()
    )


def lstm_packed(
    data: Tensor,
    batch_sizes: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return output, hidden and cell state of an LSTM over packed sequences, run by cuDNN."""
    sizes = tuple(batch_sizes.tolist())
    return _rnn(_LSTM, data, hx[0], hx[1], params, has_biases, num_layers, dropout, train, bidirectional, False, sizes)


def _single_state(mode: int) -> Callable[..., tuple[Tensor, Tensor]]:
    def rnn(
        input: Tensor,
        hx: Tensor,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, Tensor]:
        return _rnn(
            mode, input, hx, None, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, ()
        )[:2]

    return rnn


def _single_state_packed(mode: int) -> Callable[..., tuple[Tensor, Tensor]]:
    def rnn(
        data: Tensor,
        batch_sizes: Tensor,
        hx: Tensor,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
    ) -> tuple[Tensor, Tensor]:
        sizes = tuple(batch_sizes.tolist())
        return _rnn(mode, data, hx, None, params, has_biases, num_layers, dropout, train, bidirectional, False, sizes)[
            :2
        ]

    return rnn


def _rnn(
    mode: int,
    data: Tensor,
    hx: Tensor,
    cx: Tensor | None,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    batch_sizes: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    directions = 2 if bidirectional else 1
    per_cell = len(params) // (num_layers * directions)
    hidden_size = hx.shape[2] if cx is None else cx.shape[2]
    projection = 0 if cx is None or cx.shape[2] == hx.shape[2] else hx.shape[2]
    if torch.is_autocast_enabled("cuda"):
        low = torch.get_autocast_dtype("cuda")
        data, hx, params = data.to(low), hx.to(low), [p.to(low) for p in params]
        cx = cx.to(low) if cx is not None else None
    # cuDNN draws its own random numbers for dropout between layers.
    state = torch.empty(0, dtype=torch.uint8, device=CUDA) if dropout > 0 and train else None
    out, hidden, cell, _, _ = aten._cudnn_rnn(
        data,
        params,
        per_cell,
        None,
        hx,
        cx,
        mode,
        hidden_size,
        projection,
        num_layers,
        batch_first,
        dropout,
        train,
        bidirectional,
        batch_sizes,
        state,
    )
    return out, hidden, cell


KERNELS: dict[Any, Callable[..., Any]] = {
    aten.dropout.default: dropout,
    aten.softmax.int: softmax,
    aten.log_softmax.int: log_softmax,
    aten.batch_norm.default: batch_norm,
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    aten.lstm.input: lstm,
    aten.lstm.data: lstm_packed,
    aten.gru.input: _single_state(_GRU),
    aten.gru.data: _single_state_packed(_GRU),
    aten.rnn_tanh.input: _single_state(_RNN_TANH),
    aten.rnn_tanh.data: _single_state_packed(_RNN_TANH),
    aten.rnn_relu.input: _single_state(_RNN_RELU),
    aten.rnn_relu.data: _single_state_packed(_RNN_RELU),
}


def install(library: torch.library.Library) -> None:
    """Register the kernels with `library`, which takes them away when it is destroyed."""
    for op, kernel in KERNELS.items():
        library.impl(op.name(), kernel, "AutogradCUDA", allow_override=True)

"""Recurrent layers on CUDA: one cuDNN call for all layers, steps and directions.

Source: ATen/native/RNN.cpp and cudnn/RNN.cpp of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from whichgpu.capture.autocast import AUTOCAST_KEY
from whichgpu.capture.phantom_tensor import META

aten = torch.ops.aten

# cuDNN's numbers for the kinds of layer.
_RNN_RELU, _RNN_TANH, _LSTM, _GRU = range(4)


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
    state = torch.empty(0, dtype=torch.uint8, device=META) if dropout > 0 and train else None
    sizes = (hidden_size, projection, num_layers)
    # A CUDA build of torch casts inside of this operator, too.
    with torch._C._ExcludeDispatchKeyGuard(AUTOCAST_KEY):
        out, hidden, cell, _, _ = aten._cudnn_rnn(
            *(data, params, per_cell, None, hx, cx, mode, *sizes),
            *(batch_first, dropout, train, bidirectional, batch_sizes, state),
        )
    return out, hidden, cell


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return hidden and cell state of one step: two products and one fused kernel."""
    hidden, cell, _ = aten._thnn_fused_lstm_cell(input.matmul(w_ih.t()), hx[0].matmul(w_hh.t()), hx[1], b_ih, b_hh)
    return hidden, cell


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """Return the hidden state of one step: two products and one fused kernel."""
    hidden: Tensor = aten._thnn_fused_gru_cell(input.matmul(w_ih.t()), hx.matmul(w_hh.t()), hx, b_ih, b_hh)[0]
    return hidden


RECURRENT_KERNELS: dict[Any, Callable[..., Any]] = {
    aten.lstm.input: lstm,
    aten.lstm.data: lstm_packed,
    aten.lstm_cell.default: lstm_cell,
    aten.gru_cell.default: gru_cell,
    aten.gru.input: _single_state(_GRU),
    aten.gru.data: _single_state_packed(_GRU),
    aten.rnn_tanh.input: _single_state(_RNN_TANH),
    aten.rnn_tanh.data: _single_state_packed(_RNN_TANH),
    aten.rnn_relu.input: _single_state(_RNN_RELU),
    aten.rnn_relu.data: _single_state_packed(_RNN_RELU),
}

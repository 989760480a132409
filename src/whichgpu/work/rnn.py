"""Recurrent layers as cuDNN runs them."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.graph import Op
from whichgpu.work.kernel import Gemm, Kernel, Work
from whichgpu.work.registry import counts

# Gates by cuDNN's mode: RNN with ReLU, RNN with tanh, LSTM, GRU.
_GATES = {0: 1, 1: 1, 2: 4, 3: 3}


def _whole(op: Op, name: str, default: int) -> int:
    value = op.attributes.get(name, default)
    assert isinstance(value, int)
    return value


def _layers(op: Op) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (steps, batch, gate rows, input width, hidden width) of each layer and direction."""
    shape = op.tensor("input").shape
    steps, batch = (shape[1], shape[0]) if op.attributes.get("batch_first") else (shape[0], shape[1])
    hidden = _whole(op, "hidden_size", 1)
    out = _whole(op, "proj_size", 0) or hidden
    directions = 2 if op.attributes.get("bidirectional") else 1
    gates = _GATES[_whole(op, "mode", 2)]
    for layer in range(_whole(op, "num_layers", 1)):
        width = shape[2] if layer == 0 else out * directions
        for _ in range(directions):
            yield steps, batch, gates * hidden, width, out


@counts("aten._cudnn_rnn")
def cudnn_rnn(op: Op) -> Work:
    """(t, b, i) -> (t, b, h), through layers and directions.

    Counts: a layer's input product for all steps at once, 2 * t * b * gates*h * i FLOPs, then one product and one
    pointwise kernel a step, 2 * b * gates*h * h FLOPs each, the recurrent weights read every step.
    Leaves out: the pointwise FLOPs, overlap of layers, persistent kernels that keep weights in registers.
    Source: arXiv 1604.01946 (how cuDNN runs recurrent layers).
    """
    dtype, size = op.tensor("input").dtype, op.tensor("input").itemsize
    kernels = []
    for steps, batch, rows, width, hidden in _layers(op):
        kernels.append(_input_product(dtype, size, steps * batch, rows, width, "forward"))
        kernels.append(_recurrence(dtype, size, steps, batch, rows, hidden))
    return Work(tuple(kernels))


@counts("aten._cudnn_rnn_backward")
def cudnn_rnn_backward(op: Op) -> Work:
    """Gradients of the input (t, b, i), the first state and the weights.

    Counts: back through the steps as forward, then the products for the input's and the weights' gradients, each over
    all steps at once: three times forward's FLOPs less what is not asked for.
    Leaves out: as forward.
    Source: arXiv 1604.01946.
    """
    dtype, size = op.tensor("input").dtype, op.tensor("input").itemsize
    kernels = []
    for steps, batch, rows, width, hidden in _layers(op):
        kernels.append(_recurrence(dtype, size, steps, batch, rows, hidden))
        kernels.append(_input_product(dtype, size, steps * batch, rows, width, "dgrad"))
        kernels.append(_input_product(dtype, size, steps * batch, rows, width + hidden, "wgrad"))
    return Work(tuple(kernels))


def _input_product(dtype: str, size: int, positions: int, rows: int, width: int, direction: str) -> Kernel:
    shapes = {
        "forward": Gemm(1, positions, rows, width),
        "dgrad": Gemm(1, positions, width, rows),
        "wgrad": Gemm(1, rows, width, positions),
    }
    gemm = shapes[direction]
    read = float(size * (gemm.m * gemm.k + gemm.k * gemm.n))
    return Kernel("matmul", dtype, 2.0 * positions * rows * width, read, float(size * gemm.m * gemm.n), gemm)


def _recurrence(dtype: str, size: int, steps: int, batch: int, rows: int, hidden: int) -> Kernel:
    gemm = Gemm(1, batch, rows, hidden)
    read = steps * size * (rows * hidden + batch * hidden + 2 * batch * rows)
    written = steps * size * (batch * rows + 2 * batch * hidden)
    flops = 2.0 * steps * batch * rows * hidden
    return Kernel("rnn", dtype, flops, float(read), float(written), gemm, launches=2 * steps)

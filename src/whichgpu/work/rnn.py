"""Recurrent layers as cuDNN runs them, and the pointwise part of single cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from whichgpu.graph import Op
from whichgpu.work.kernel import Gemm, Kernel, Work
from whichgpu.work.registry import counts
from whichgpu.work.traffic import SPECIAL, fill, over

# By cuDNN's mode (plain relu, plain tanh, LSTM, GRU): gates, and FLOPs of the pointwise part of a step by hidden unit.
_GATES = (1, 1, 4, 3)
_POINTWISE_FLOPS = (3, 2 + SPECIAL, 12 + 5 * SPECIAL, 13 + 3 * SPECIAL)


@counts("aten._cudnn_rnn")
def cudnn_rnn(op: Op) -> Work:
    """(t, b, i) -> (t, b, d h) through l layers of d directions.

    Counts: of each layer and direction, with g gates (LSTM 4, GRU 3, plain 1), 2 t b g h i FLOPs to project the inputs
        of all steps at once, and for every step a product, 2 b g h h FLOPs, and the gates' pointwise part; a projected
        output adds 2 b h p. A step reads the recurrent weight, its gates and its state, and writes them. Dropout
        between layers is a kernel of its own.
    Leaves out: kernels that keep the recurrent weight on the chip, and layers or directions that run at the same time:
        cuDNN's choices, which depend on the device. Biases are counted in the pointwise part.
    Source: Appleyard et al., arXiv 1604.01946; cuDNN developer guide, cudnnRNNForward.
    """
    return Work(tuple(_Recurrence.of(op).forward()))


@counts("aten._cudnn_rnn_backward")
def cudnn_rnn_backward(op: Op) -> Work:
    """Gradients of (t, b, i) -> (t, b, d h) by its input, its first state and, if asked for, its weights.

    Counts: the FLOPs of `cudnn_rnn` for the gradients of inputs and states, step by step and backwards, and once more
        for those of the weights, which are one product a weight over all steps.
    Leaves out: as `cudnn_rnn`.
    Source: as `cudnn_rnn`; ATen/native/cudnn/RNN.cpp (inputs always, weights by `output_mask[3]`).
    """
    return Work(tuple(_Recurrence.of(op).backward(op)))


@counts(
    "aten._thnn_fused_lstm_cell",
    "aten._thnn_fused_lstm_cell_backward_impl",
    "aten._thnn_fused_gru_cell",
    "aten._thnn_fused_gru_cell_backward",
)
def fused_cell(op: Op) -> Work:
    """Gates (b, g h) and state (b, h) -> new state (b, h): the pointwise part of one cell, forward or backward.

    Counts: what the pointwise part of an LSTM or GRU takes by hidden unit, forward as backward; all tensors once.
    Source: ATen/native/cuda/RNN.cu.
    """
    hidden = min(t.numel for t in op.output_tensors())
    return Work((over(op, "elementwise", _POINTWISE_FLOPS[2 if "lstm" in op.name else 3] * hidden),))


@counts("aten._cudnn_rnn_flatten_weight")
def flatten_weight(op: Op) -> Work:
    """Weights and biases -> one buffer that holds them all: a fill and a copy of each.

    Source: ATen/native/cudnn/RNN.cpp, copy_weights_to_flat_buf_views.
    """
    weights = op.tensors("weight_arr")
    copies = (over(op, "elementwise", 0, read=(w,), written=(w,)) for w in weights)
    return Work((fill(op.output()), *copies))


@dataclass(frozen=True)
class _Recurrence:
    """What cuDNN is told of a stack of layers.

    Attributes:
        dtype: Number format.
        itemsize: Bytes of one element.
        mode: Index into the tables above.
        steps: How many steps have how many rows.
        sizes: Input size of each layer.
        hidden: Hidden units.
        width: Size of a step's output in one direction: `hidden`, or what it is projected to.
        directions: 1 or 2.
        keeps: Whether gates are kept for a backward pass.
        dropout: Whether there is dropout between layers.
    """

    dtype: str
    itemsize: int
    mode: int
    steps: Counter[int]
    sizes: tuple[int, ...]
    hidden: int
    width: int
    directions: int
    keeps: bool
    dropout: bool

    @classmethod
    def of(cls, op: Op) -> _Recurrence:
        data = op.tensor("input")
        given = op.attributes
        hidden, projected = cast("int", given["hidden_size"]), cast("int", given.get("proj_size", 0))
        packed = cast("tuple[int, ...]", given.get("batch_sizes", ()))
        rows = (1, 0) if given.get("batch_first") else (0, 1)
        steps = Counter(packed) if packed else Counter({data.shape[rows[1]]: data.shape[rows[0]]})
        directions = 2 if given.get("bidirectional") else 1
        width = projected or hidden
        layers = cast("int", given["num_layers"])
        train = bool(given.get("train"))
        return cls(
            data.dtype,
            data.itemsize,
            cast("int", given["mode"]),
            steps,
            (data.shape[-1], *(width * directions,) * (layers - 1)),
            hidden,
            width,
            directions,
            train,
            train and bool(given.get("dropout")),
        )

    @property
    def rows(self) -> int:
        """Rows of all steps together."""
        return sum(rows * count for rows, count in self.steps.items())

    @property
    def gates(self) -> int:
        """Gate units of one step and row."""
        return _GATES[self.mode] * self.hidden

    def forward(self) -> Iterator[Kernel]:
        for layer, size in enumerate(self.sizes):
            if layer:
                yield from self._between_layers()
            for _ in range(self.directions):
                yield self._product(Gemm(1, self.rows, self.gates, size))
                for rows, count in self.steps.items():
                    step = self._step(rows)
                    yield from (step,) * count

    def backward(self, op: Op) -> Iterator[Kernel]:
        by_weight = cast("tuple[bool, ...]", op.attributes["output_mask"])[3]
        for layer, size in reversed(list(enumerate(self.sizes))):
            for _ in range(self.directions):
                for rows, count in self.steps.items():
                    step = self._step_backward(rows)
                    yield from (step,) * count
                yield self._product(Gemm(1, self.rows, size, self.gates))
                if by_weight:
                    yield self._product(Gemm(1, self.gates, size, self.rows))
                    yield self._product(Gemm(1, self.gates, self.width, self.rows))
                    if self.width != self.hidden:
                        yield self._product(Gemm(1, self.width, self.hidden, self.rows))
            if layer:
                yield from self._between_layers()

    def _product(self, gemm: Gemm) -> Kernel:
        return Kernel(
            "rnn",
            self.dtype,
            flops=2.0 * gemm.m * gemm.n * gemm.k,
            bytes_read=float(self.itemsize * (gemm.m * gemm.k + gemm.k * gemm.n)),
            bytes_written=float(self.itemsize * gemm.m * gemm.n),
            gemm=gemm,
        )

    def _step(self, rows: int) -> Kernel:
        """Return a step forward: the recurrent product, added to the gates, and their pointwise part."""
        weight = self.gates * self.width + (self.hidden * self.width if self.width != self.hidden else 0)
        state = 2 * rows * self.hidden
        projection = 2 * rows * self.hidden * self.width if self.width != self.hidden else 0
        kept = rows * (self.gates + self.hidden) if self.keeps else 0
        return Kernel(
            "rnn",
            self.dtype,
            flops=2.0 * rows * self.gates * self.width + projection + rows * self.hidden * _POINTWISE_FLOPS[self.mode],
            bytes_read=float(self.itemsize * (weight + 2 * rows * self.gates + state)),
            bytes_written=float(self.itemsize * (rows * self.gates + state + kept)),
            gemm=Gemm(1, rows, self.gates, self.width),
            launches=3 if projection else 2,
        )

    def _step_backward(self, rows: int) -> Kernel:
        """Return a step backward: the gates' gradients from those of the state, then the product back to the state."""
        weight = self.gates * self.width + (self.hidden * self.width if self.width != self.hidden else 0)
        state = 2 * rows * self.hidden
        projection = 2 * rows * self.hidden * self.width if self.width != self.hidden else 0
        return Kernel(
            "rnn",
            self.dtype,
            flops=2.0 * rows * self.gates * self.width + projection + rows * self.hidden * _POINTWISE_FLOPS[self.mode],
            bytes_read=float(self.itemsize * (weight + 2 * rows * self.gates + 2 * state)),
            bytes_written=float(self.itemsize * (rows * self.gates + state)),
            gemm=Gemm(1, rows, self.width, self.gates),
            direction="dgrad",
            launches=3 if projection else 2,
        )

    def _between_layers(self) -> Iterator[Kernel]:
        if self.dropout:
            elements = float(self.rows * self.width * self.directions)
            nbytes = elements * self.itemsize
            yield Kernel("elementwise", self.dtype, 2 * elements, bytes_read=nbytes, bytes_written=nbytes)

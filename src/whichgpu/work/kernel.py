"""What an op costs on any device: kernels with FLOPs, bytes and launches. Knows no device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whichgpu.graph.tensor import dtype_bytes
from whichgpu.units import KIB

KernelKind = Literal[
    "matmul",  # dense and batched matrix products
    "convolution",  # dense convolution, implicit GEMM
    "depthwise_convolution",  # grouped so far that tensor cores idle
    "attention",  # fused attention, flash or memory-efficient
    "rnn",  # cuDNN recurrent layers: a chain of small matrix products
    "elementwise",  # reads and writes in order; casts, activations, dropout
    "copy",  # reorders: a permuting or strided copy, cat, transposes
    "normalization",  # batch, layer, group and RMS norm
    "softmax",  # softmax, log-softmax and cross-entropy over rows
    "reduction",  # sums, means, norms
    "pooling",  # windows, resampling
    "gather",  # embeddings, indexing, scatter, sort: addresses decide
    "optimizer",  # foreach and fused updates over many tensors
    "transfer",  # between host and device
    "fused",  # a compiler's loop over elements, many operators in one
    "fused_reduction",  # a compiler's reduction, with what comes before and after it
]
# What a thread loads at once; products want rows that begin at multiples of it.
WIDE_LOAD_BYTES = 16
# Products go through rows that lie along the sum side by side: rows longer than this are each far from the next, on a
# page of their own. NeuSight's products slow down from there: a P100's to half, an A100's by a tenth.
DEEP_ROW_BYTES = 32 * KIB
Direction = Literal["forward", "dgrad", "wgrad", "backward"]
MATRIX_KINDS: tuple[KernelKind, ...] = ("matmul", "convolution", "attention", "rnn")


@dataclass(frozen=True, slots=True)
class Gemm:
    """The matrix product inside a kernel: `batch` times (m, k) @ (k, n) -> (m, n)."""

    batch: int
    m: int
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kind of kernel launch.

    Attributes:
        kind: Its class, which decides how efficiently it runs.
        dtype: Number format of its arithmetic, a tensor dtype ("float32" may run as TF32: cost decides).
        flops: Floating-point operations, a multiply-add being two.
        bytes_read: Bytes it must read at least once.
        bytes_written: Bytes it writes.
        gemm: Its matrix product, where it is one.
        direction: Which of a convolution's three products it is; of other kinds "backward" for what makes gradients.
        channels_last: Whether image tensors lie with their channels innermost.
        window: Taps of a convolution's or pooling's window; its product sums over `window` times its channels.
        launches: Kernel launches this stands for; flops and bytes are those of all of them together.
        variant: Which of several implementations runs, where it matters: "efficient" and "cudnn" of attention (else
            flash), "native" of batch norm (else cuDNN's, of which "evaluation" takes no statistics), "planar" of a
            pointwise convolution that is a product as its channels lie.
        aligned: Of a product, whether rows of its operands begin at multiples of 16 bytes.
        deep: Of a product, whether both factors lie along the sum, in rows of more than 32 KiB.
        items: What it goes through one by one; None for the elements it reads and writes. Of attention, pairs of a
            query and a key in whole blocks.
        blocks: Into how many parts it can be cut at most, where that may be fewer than there are multiprocessors.
    """

    kind: KernelKind
    dtype: str
    flops: float
    bytes_read: float
    bytes_written: float
    gemm: Gemm | None = None
    direction: Direction = "forward"
    channels_last: bool = False
    window: int = 1
    launches: int = 1
    variant: str = ""
    aligned: bool = True
    deep: bool = False
    items: float | None = None
    blocks: int | None = None

    @property
    def elements(self) -> float:
        """What it goes through one by one."""
        return self.bytes_moved / dtype_bytes(self.dtype) if self.items is None else self.items

    @property
    def bytes_moved(self) -> float:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def arithmetic_intensity(self) -> float:
        """FLOP per byte moved; 0 where nothing moves."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one op: the kernels it launches, and whether the host must wait for the device.

    Attributes:
        kernels: Empty for an op that only changes metadata (a view): it still costs host time.
        synchronizes: Whether the host waits for the device's answer (`.item()`, copies to the host).
        bounded: Whether there was no rule and the work is a lower bound made of the op's inputs and outputs.
    """

    kernels: tuple[Kernel, ...] = ()
    synchronizes: bool = False
    bounded: bool = False

    @property
    def flops(self) -> float:
        """FLOPs of all kernels."""
        return sum(k.flops for k in self.kernels)

    @property
    def bytes_moved(self) -> float:
        """Bytes read and written by all kernels."""
        return sum(k.bytes_moved for k in self.kernels)

    @property
    def launches(self) -> int:
        """Kernel launches."""
        return sum(k.launches for k in self.kernels)

    def __add__(self, other: Work) -> Work:
        """Return the work of both, one after the other."""
        return Work(
            self.kernels + other.kernels,
            self.synchronizes or other.synchronizes,
            self.bounded or other.bounded,
        )

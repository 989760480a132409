"""Groups of kernels that reach the same rates on a device: their kind, and what else decides how well they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from whichgpu.work.kernel import Kernel, KernelKind

# cuDNN and cuBLAS feed matrix units 16 bytes at a time: 8 channels of a 16-bit format.
ALIGNED_CHANNELS = 8
HALVES = ("float16", "bfloat16")
# Windows of 3 x 3: in exact float32 cuDNN computes them by Winograd's algorithm, with fewer products.
_WINOGRAD = 9
_LARGE_WINDOW = 9
_HUGE_WINDOW = 25
_NARROW = 8
# Widths of groups of which cuDNN's kernels for channels innermost compute 64 channels together.
_PACKED_WIDTHS, _PACKED = (4, 8, 16, 32), 64
_FEW = 4
_THIN = 16


class Group(NamedTuple):
    """Kernels that reach the same rates.

    Attributes:
        kind: Their kind.
        dtype: Number format of their arithmetic, a tensor dtype.
        qualifiers: What else holds for them, the names by which `Coefficients` knows it. The direction: "dgrad",
            "wgrad", "backward". The layout: "channels_last". The implementation (`Kernel.variant`): "efficient",
            "cudnn", "native", "evaluation", "planar". Of products "batched", "ragged" (rows that do not begin at
            multiples of 16 bytes), and "deep" (rows along the sum of more than 32 KiB). Of convolutions "pointwise" (a
            window of one), "nine_taps" (3 x 3, not in groups), "large_window" (more than 9 taps), "huge_window" (more
            than 25, and large as well), "grouped", with "narrow" for groups of up to 8 channels and "packed" for those
            of 4, 8, 16 or 32 that fill 64 channels, "few_channels" (up to 4, as in images), and "ragged" (16-bit
            channels that are no multiple of 8). On a host processor everything is "cpu" as well, on a GPU what
            `Family.qualifier` says.
    """

    kind: KernelKind
    dtype: str
    qualifiers: frozenset[str]


def group_of(kernel: Kernel) -> Group:
    """Return the group of `kernel`."""
    found: list[str] = []
    if kernel.direction != "forward":
        found.append(kernel.direction)
    if kernel.channels_last:
        found.append("channels_last")
    if kernel.variant:
        found.append(kernel.variant)
    if not kernel.aligned and not _is_thin(kernel):
        found.append("ragged")
    if kernel.deep:
        found.append("deep")
    if kernel.kind == "convolution":
        found += _of_convolution(kernel)
    elif kernel.gemm is not None and kernel.gemm.batch > 1:
        found.append("batched")
    if kernel.window > _LARGE_WINDOW:
        found.append("large_window")
    if kernel.window > _HUGE_WINDOW:
        found.append("huge_window")
    return Group(kernel.kind, kernel.dtype, frozenset(found))


def _is_thin(kernel: Kernel) -> bool:
    """Return whether a product has so few rows, columns or terms that loading the rest of it decides."""
    return kernel.gemm is not None and min(kernel.gemm.m, kernel.gemm.n, kernel.gemm.k) < _THIN


def _of_convolution(kernel: Kernel) -> Iterator[str]:
    if kernel.gemm is None:
        return
    inner, outer = channels(kernel), filters(kernel)
    if kernel.window == 1:
        yield "pointwise"
    if kernel.window == _WINOGRAD and kernel.gemm.batch == 1:
        yield "nine_taps"
    if kernel.gemm.batch > 1:
        yield "grouped"
        if min(inner, outer) <= _NARROW:
            yield "narrow"
        if inner == outer and inner in _PACKED_WIDTHS and not kernel.gemm.batch * inner % _PACKED:
            yield "packed"
    elif min(inner, outer) <= _FEW:
        yield "few_channels"
    elif kernel.dtype in HALVES and (inner % ALIGNED_CHANNELS or outer % ALIGNED_CHANNELS):
        yield "ragged"


def channels(kernel: Kernel) -> int:
    """Return the channels a group of a convolution's product sums over, of wgrad those of its input."""
    assert kernel.gemm is not None
    return (kernel.gemm.n if kernel.direction == "wgrad" else kernel.gemm.k) // max(1, kernel.window)


def filters(kernel: Kernel) -> int:
    """Return the channels of a group that a convolution's product makes."""
    assert kernel.gemm is not None
    return kernel.gemm.m if kernel.direction == "wgrad" else kernel.gemm.n

"""Matrix products in tiles: how many there are, how deep, and how long their waves over the multiprocessors take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whichgpu.cost.group import ALIGNED_CHANNELS, HALVES
from whichgpu.cost.tile_names import TILE_NAMES
from whichgpu.graph.tensor import dtype_bytes
from whichgpu.work.kernel import Kernel

Floats = NDArray[np.float64]

# Rows and columns of each tile, and into how many parts the sum over k may be split.
TILES = np.array([[int(side) for side in name.split("x")] for name in TILE_NAMES], dtype=np.float64)
SPLITS = np.array([1, 4, 16, 64], dtype=np.float64)
# What one multiprocessor's share of a wave touches in a kernel that is no product: 2,048 threads of 16 bytes.
STREAM_BYTES = 2048 * 16
_SLAB_ROWS = 128
_SMALLEST_ON_MATRIX_UNITS = 64 * 32
# A part of a split sum shorter than this does not pay.
SHORTEST_SPLIT = 128


def matrix_unit_shares(edge: float) -> tuple[float, ...]:
    """Return what each tile reaches on matrix units, 1 / (1 + c (1/rows + 1/columns)): small ones load more."""
    rows, columns = TILES.T
    shares = np.where(rows * columns < _SMALLEST_ON_MATRIX_UNITS, 0.0, 1 / (1 + edge * (1 / rows + 1 / columns)))
    return tuple(shares.tolist())


def cut(kernels: Sequence[Kernel]) -> tuple[Floats, Floats]:
    """Return how many tiles each product has and how deep they are, (tiles, splits, g) each.

    A tile is infinitely deep where the sum may not be split so far. Convolutions on 16-bit channels sum over channels
    filled up to a multiple of 8.
    """
    shapes = [(g.batch, g.m, g.n, _depth(k)) for k in kernels if (g := k.gemm) is not None]
    batch, m, n, k = np.array(shapes, dtype=np.float64).reshape(-1, 4).T
    rows, columns = TILES[:, 0, None, None], TILES[:, 1, None, None]
    splits = SPLITS[None, :, None]
    count = batch * np.ceil(m / rows) * np.ceil(n / columns) * splits
    depth = np.broadcast_to(k / splits, count.shape)
    return count, np.where((splits > 1) & (depth < SHORTEST_SPLIT), np.inf, depth)


def slab_bytes(kernel: Kernel) -> int:
    """Return the bytes that one multiprocessor's share of a wave reads, and its neighbours read again.

    Of a product that is the rows of a tile over the whole sum, a window's taps counted once.
    """
    if kernel.gemm is None:
        return STREAM_BYTES
    return _SLAB_ROWS * (kernel.gemm.k // max(1, kernel.window)) * dtype_bytes(kernel.dtype)


def _depth(kernel: Kernel) -> int:
    assert kernel.gemm is not None
    depth = kernel.gemm.k
    if kernel.kind != "convolution" or kernel.direction == "wgrad" or kernel.dtype not in HALVES:
        return depth
    channels = depth // max(1, kernel.window)
    return -(-channels // ALIGNED_CHANNELS) * ALIGNED_CHANNELS * kernel.window


def product_s(
    count: Floats,
    depth: Floats,
    flops_per_s: Floats,
    shares: Floats,
    *,
    multiprocessors: int | None,
    prologue: float,
    tail: float,
    split_k_s: float,
) -> Floats:
    """Return the time of each product by its best tile and split, (g,).

    The output is cut into tiles, each the work of one multiprocessor; a wave is as many tiles as there are
    multiprocessors, and the last wave is paid for in part even where it is not full.

    Args:
        count: Tiles, (tiles, splits, g).
        depth: Length of the sum in each, (tiles, splits, g).
        flops_per_s: What a product of perfect tiles would reach on the whole device, (g,).
        shares: What each tile reaches of that, (tiles, g); 0 for one the library does not have.
        multiprocessors: Of the device; None if unknown: as if all were always busy.
        prologue: Steps along k that a tile's start and end cost.
        tail: How much of the last partial wave is paid: 0 none, 1 all.
        split_k_s: Cost of adding up the parts of a split sum.
    """
    rows, columns = TILES[:, 0, None, None], TILES[:, 1, None, None]
    if multiprocessors is None:
        busy = count
    else:
        waves = count / multiprocessors
        busy = np.maximum(1, waves + tail * (np.ceil(waves) - waves)) * multiprocessors
    with np.errstate(divide="ignore"):
        per_flop_s = 1 / (flops_per_s * shares)
    seconds = busy * (2 * rows * columns * (depth + prologue)) * per_flop_s[:, None, :]
    seconds[:, 1:] += split_k_s
    best: Floats = seconds.min(axis=(0, 1))
    return best

"""Reductions, and into how many parts a compiler cuts one that has too few results to keep a GPU busy.

Source: torch 2.13, torch/_inductor/ir.py (Reduction.create, num_splits) and choices.py (reduction_split_factor).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from whichgpu.work.fusion.program import Expression, Node, Read

if TYPE_CHECKING:
    from whichgpu.work.fusion.lowering import Lowering

# A compiler asks the device; a count of work knows none. These are those of an A100, and others differ by a few parts
# more or less, which changes kernels that read and write next to nothing.
MULTIPROCESSORS = 108
_THREADS = 2048
_WARP = 32
_BLOCK = 256
_LONGEST = 512
# Results that are enough for every multiprocessor, each being that many warps of results.
_ENOUGH = MULTIPROCESSORS * 64
# Shorter sums along memory are not split.
_SHORT_INNER = 8192
# Sums of fewer terms than this are written out. Source: config.unroll_reductions_threshold.
_UNROLLED = 8


def reduce(
    build: Lowering,
    source: Expression,
    outer: int,
    inner: int,
    *,
    nbytes: float,
    flops: float,
    is_contiguous: bool,
    is_welford: bool = False,
    is_scattered: bool = False,
    results: int = 1,
) -> Expression:
    """Return the results of reducing `inner` terms each to `outer` results of `nbytes` bytes together.

    Args:
        build: What is being lowered.
        source: The terms.
        outer: Number of results.
        inner: Terms of each.
        nbytes: Bytes of the results.
        flops: FLOPs of the reduction itself.
        is_contiguous: Whether the terms of a result lie next to each other.
        is_welford: Whether mean and variance are found together, which is split again and again.
        is_scattered: Whether a loop over the terms would meet those of a result in between those of others.
        results: Buffers the results are spread over, such as means and variances.
    """
    if inner < _UNROLLED:
        reads = tuple(r._replace(whole=False) for r in source.reads)
        length = (source.length + 1) * inner
        return replace(source, numel=outer, reads=reads, flops=source.flops + flops, length=length)
    whole, reads, done = (outer, inner), source.reads, source.flops + flops
    while True:
        is_first = whole != (0, 0)
        split = parts(outer, inner, is_contiguous=is_contiguous) if is_first or is_welford else 1
        each = nbytes * split / results
        buffers = tuple(build.program.new_buffer(outer * split, each) for _ in range(results))
        build.program.add(
            Node(
                "reduction",
                outer * split,
                -(-inner // split),
                reads,
                buffers,
                done,
                source.dtype,
                build.op,
                is_split=split > 1,
                whole=whole,
                is_contiguous=is_contiguous,
                takes_loops=split == 1 and not is_scattered,
            )
        )
        reads = tuple(Read(buffer, each, True) for buffer in buffers)
        if split == 1:
            return Expression(outer, source.dtype, reads)
        inner, done, whole = split, float(outer * split), (0, 0)


def parts(outer: int, inner: int, *, is_contiguous: bool) -> int:
    """Return how many parts the `inner` terms of each of `outer` results are summed up in; 1 where all at once.

    Args:
        outer: Results.
        inner: Terms of each.
        is_contiguous: Whether the terms of a result lie next to each other.
    """
    if outer > 1 and (inner <= _WARP or outer >= _ENOUGH):
        return 1
    total, few = inner * outer, _WARP * MULTIPROCESSORS * _THREADS
    many = _LONGEST * MULTIPROCESSORS * _THREADS
    if is_contiguous:
        if outer >= 2 * MULTIPROCESSORS or inner <= _SHORT_INNER:
            return 1
        blocks = -(-(MULTIPROCESSORS * _THREADS // (2 * _BLOCK)) // outer)
        threads, fitting = _BLOCK, -(-inner // (_BLOCK * blocks))
    else:
        blocks = -(-(MULTIPROCESSORS * _THREADS // _BLOCK) // -(-outer // 128))
        threads, fitting = 4, -(-inner // (4 * blocks))
    if total <= few:
        size = _WARP
    elif total < many:
        size = max(fitting, 1)
    else:
        size = _LONGEST
    return -(-inner // (size * threads))

"""The kernel a group of nodes is: what it reads from memory, what it has to write, and of which kind it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from whichgpu.graph import Op
from whichgpu.work.fusion.program import Program, Walk
from whichgpu.work.fusion.schedule import Group
from whichgpu.work.kernel import Kernel, KernelKind

# A kernel is priced by how it walks if this share of what it reads is walked through so.
_MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class Launch:
    """What a compiled region launches at one place.

    Attributes:
        op: The first operator that is part of it.
        kernels: One, or those of a library's call.
        nodes: How many loops and reductions it was made of; 0 for a library's call.
    """

    op: Op
    kernels: tuple[Kernel, ...]
    nodes: int


def launches_of(program: Program, groups: Iterable[Group]) -> list[Launch]:
    """Return what each group launches; groups that only name memory launch nothing."""
    found = list(groups)
    readers: dict[int, list[Group]] = {}
    for group in found:
        for buffer in {r.buffer for r in group.reads}:
            readers.setdefault(buffer, []).append(group)
    launches = []
    for group in found:
        first = program.nodes[group.nodes[0]]
        kernels = first.kernels if first.kind == "library" else (_kernel(program, group, readers),)
        if kernels:
            launches.append(Launch(first.op, kernels, 0 if first.kind == "library" else len(group.nodes)))
    return launches


def _kernel(program: Program, group: Group, readers: dict[int, list[Group]]) -> Kernel:
    nodes = [program.nodes[i] for i in group.nodes]
    by_walk = _bytes_read(program, group)
    written = sum(
        nodes[0].changed or program.buffers[b].nbytes
        for b in group.writes
        if program.buffers[b].escapes or any(g is not group for g in readers.get(b, ()))
    )
    largest = max(nodes, key=lambda n: n.outer * n.inner)
    return Kernel(
        _kind(group, by_walk),
        largest.dtype,
        flops=float(sum(n.flops for n in nodes)),
        bytes_read=float(sum(by_walk.values())),
        bytes_written=float(written),
    )


def _bytes_read(program: Program, group: Group) -> dict[Walk, float]:
    """Return the bytes read by how they are walked through; parts of a buffer are at most the whole of it."""
    by_walk: dict[Walk, float] = {}
    by_buffer: dict[int, tuple[float, Walk]] = {}
    for read in group.reads:
        if read.buffer in group.writes:
            continue
        before, _ = by_buffer.get(read.buffer, (0.0, ""))
        nbytes = max(before, read.nbytes) if read.whole else before + read.nbytes
        by_buffer[read.buffer] = (min(nbytes, program.buffers[read.buffer].nbytes), read.walk)
    for nbytes, walk in by_buffer.values():
        by_walk[walk] = by_walk.get(walk, 0.0) + nbytes
    return by_walk


def _kind(group: Group, by_walk: dict[Walk, float]) -> KernelKind:
    if group.kind != "pointwise":
        return "gather" if group.kind == "scatter" else "fused_reduction"
    total = sum(by_walk.values())
    kinds: tuple[tuple[Walk, KernelKind], ...] = (("gather", "gather"), ("pooling", "pooling"), ("copy", "copy"))
    for walk, kind in kinds:
        if by_walk.get(walk, 0.0) > _MOSTLY * total:
            return kind
    return "fused"

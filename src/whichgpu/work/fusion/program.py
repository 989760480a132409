"""What a compiler makes of a region of a graph, before it groups it: buffers, and nodes that write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from whichgpu.graph import Op
from whichgpu.work.kernel import Kernel

# How a kernel walks through what it reads, where that is not in the order it writes.
Walk = Literal["", "copy", "gather", "pooling"]
NodeKind = Literal["pointwise", "reduction", "scatter", "library"]


class Read(NamedTuple):
    """Elements of a buffer that an expression needs.

    Attributes:
        buffer: Index of the buffer.
        nbytes: Bytes of the distinct elements.
        whole: Whether it is every element of the buffer, each where the reader needs it.
        part: Tells parts of one buffer from each other; 0 for the whole.
        walk: How the elements lie.
    """

    buffer: int
    nbytes: float
    whole: bool
    part: int = 0
    walk: Walk = ""


@dataclass(frozen=True, slots=True)
class Expression:
    """How elements are computed that nobody has written to memory yet.

    Attributes:
        numel: How many elements.
        dtype: Their number format.
        reads: What they are computed from, each once.
        flops: FLOPs of all elements together.
        length: Operations in the code of one element, about.
        is_random: Whether computing it again would give something else.
    """

    numel: int
    dtype: str
    reads: tuple[Read, ...] = ()
    flops: float = 0.0
    length: int = 0
    is_random: bool = False


# What a storage holds: an expression, or the index of the buffer it was written to.
Value = Expression | int


@dataclass(slots=True)
class Buffer:
    """Memory: what a region finds, or what one of its nodes writes.

    Attributes:
        numel: Elements.
        nbytes: Bytes.
        region: Number of the region that writes it; None for what was there before all.
        writer: Index of the node that writes it, in its region.
        escapes: Whether it is needed after the region, so that it has to be written.
        recipe: How its elements could be computed again, of what a loop has written.
    """

    numel: int
    nbytes: float
    region: int | None = None
    writer: int | None = None
    escapes: bool = False
    recipe: Expression | None = None


@dataclass(slots=True)
class Node:
    """Something that writes buffers: a loop over elements, a reduction, a scatter, or a call into a library.

    Attributes:
        kind: Which of these.
        outer: Elements a loop runs over; results of a reduction.
        inner: Elements reduced to one result; 1 for a loop.
        reads: What it reads.
        writes: Indices of the buffers it writes.
        flops: FLOPs.
        dtype: Number format of what it works on.
        op: The operator it comes from.
        kernels: Of a library call.
        is_split: Whether it is the first step of a reduction made in two.
        whole: (outer, inner) of the reduction it is a step of.
        is_contiguous: Whether a reduction runs along memory.
        takes_loops: Whether a loop over all its elements may run in the kernel of a reduction.
        changed: Bytes of the buffer that a scatter writes to; the rest is as it was.
    """

    kind: NodeKind
    outer: int
    inner: int
    reads: tuple[Read, ...]
    writes: tuple[int, ...]
    flops: float
    dtype: str
    op: Op
    kernels: tuple[Kernel, ...] = ()
    is_split: bool = False
    whole: tuple[int, int] = (0, 0)
    is_contiguous: bool = False
    takes_loops: bool = False
    changed: float = 0.0


@dataclass(slots=True)
class Program:
    """The nodes of one region in an order that works, and all buffers.

    Attributes:
        region: Its number.
        buffers: Shared by all regions of a graph.
        nodes: In the order they were made: each after what it needs.
    """

    region: int
    buffers: list[Buffer]
    nodes: list[Node] = field(default_factory=list)

    def new_buffer(self, numel: int, nbytes: float) -> int:
        """Return a new buffer of this region, which nothing writes yet."""
        self.buffers.append(Buffer(numel, float(nbytes), self.region))
        return len(self.buffers) - 1

    def add(self, node: Node) -> None:
        """Append a node, which writes its buffers."""
        for index in node.writes:
            self.buffers[index].writer = len(self.nodes)
        for read in node.reads:
            buffer = self.buffers[read.buffer]
            if buffer.region is not None and buffer.region != self.region:
                buffer.escapes = True
        self.nodes.append(node)

    def writer(self, buffer: int) -> Node | None:
        """Return the node of this region that writes `buffer`."""
        found = self.buffers[buffer]
        return None if found.writer is None or found.region != self.region else self.nodes[found.writer]

    def found(self, buffer: int) -> Expression:
        """Return what reading all of `buffer` takes."""
        memory = self.buffers[buffer]
        return Expression(memory.numel, "float32", (Read(buffer, memory.nbytes, True),))


def merged(parts: Iterable[Expression], numel: int, dtype: str, flops: float = 0.0, length: int = 1) -> Expression:
    """Return an expression of `numel` elements over `parts`, whose code it takes in."""
    found = tuple(parts)
    reads = dict.fromkeys(read for part in found for read in part.reads)
    return Expression(
        numel,
        dtype,
        tuple(reads),
        flops + sum(part.flops for part in found),
        length + sum(part.length for part in found),
        any(part.is_random for part in found),
    )


def walked(value: Expression, walk: Walk) -> Expression:
    """Return `value` with what it reads walked through as `walk` says."""
    if not walk:
        return value
    reads = tuple(r._replace(walk=walk, whole=False) for r in value.reads)
    return Expression(value.numel, value.dtype, reads, value.flops, value.length, value.is_random)


def picked(value: Expression, numel: int, part: int, walk: Walk = "") -> Expression:
    """Return the `numel` elements of `value` that make up one part of it."""
    share = min(1.0, numel / max(value.numel, 1))
    reads = tuple(
        Read(r.buffer, r.nbytes * share, False, part, walk or r.walk) if r.nbytes > numel else r for r in value.reads
    )
    return Expression(numel, value.dtype, reads, value.flops * share, value.length, value.is_random)

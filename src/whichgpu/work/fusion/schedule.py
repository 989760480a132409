"""Grouping nodes into kernels: those that share data and run over the same elements become one.

Follows torch 2.13, torch/_inductor/scheduler.py (Scheduler.fuse_nodes, MixOrderReduction), choices.py and
codegen/simd.py (SIMDScheduling.can_fuse): round after round, of all pairs that may be fused the ones that share most
first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from whichgpu.work.fusion.program import Program, Read

# Source: torch/_inductor/config.py, max_fusion_size, max_fusion_buffer_group_pairwise_attempts,
# score_fusion_memory_threshold; choices.py (are_long_distant_nodes); scheduler.py (fuse_nodes).
_MOST_NODES = 64
_PAIRS_A_NODE = 64
_LEAST_SHARED_BYTES = 10
_FARTHEST = 64
_ROUNDS = 10
# Where sums along rows and along columns of one matrix share a kernel. Source: MixOrderReduction.can_fuse.
_MIXED_ELEMENTS = 5_242_880
_MIXED_ROWS = 4096
_MIXED_COLUMNS = 16384
_MIXED_READS = 10


@dataclass(slots=True, eq=False)
class Group:
    """Nodes that run as one kernel.

    Attributes:
        nodes: Their indices, in order.
        mask: The same as bits.
        before: Nodes that must have run before it, as bits.
        kind: "reduction" if one of them is.
        outer: See `Node`; of the reduction, if there is one.
        inner: Likewise.
        reads: What they read.
        writes: What they write.
        is_mixed: Whether it sums along both sides of a matrix.
    """

    nodes: list[int]
    mask: int
    before: int
    kind: str
    outer: int
    inner: int
    reads: dict[Read, None] = field(default_factory=dict)
    writes: set[int] = field(default_factory=set)
    is_mixed: bool = False


def group_nodes(program: Program) -> list[Group]:
    """Return the kernels of a region, each node in one of them; nodes nobody needs are left out."""
    alive = _alive(program)
    schedule = _Schedule(program, alive)
    for _ in range(_ROUNDS):
        if not schedule.fuse_once():
            break
    return schedule.groups()


def _alive(program: Program) -> list[bool]:
    """Return for every node whether something it writes is needed."""
    wanted: set[int] = set()
    alive = [False] * len(program.nodes)
    for index in range(len(program.nodes) - 1, -1, -1):
        node = program.nodes[index]
        if any(b in wanted or program.buffers[b].escapes for b in node.writes) or not node.writes:
            alive[index] = True
            wanted.update(r.buffer for r in node.reads)
    return alive


class _Schedule:
    def __init__(self, program: Program, alive: list[bool]) -> None:
        self._program = program
        self._group: dict[int, Group] = {}
        for index, node in enumerate(program.nodes):
            if not alive[index]:
                continue
            before = 0
            for read in node.reads:
                writer = self._writer(read.buffer)
                if writer is not None and writer in self._group:
                    source = self._group[writer]
                    before |= source.mask | source.before
            self._group[index] = Group(
                [index],
                1 << index,
                before,
                node.kind,
                node.outer,
                node.inner,
                dict.fromkeys(node.reads),
                set(node.writes),
            )

    def groups(self) -> list[Group]:
        return list({id(g): g for g in self._group.values()}.values())

    def fuse_once(self) -> bool:
        """Fuse what may be fused, and return whether anything was."""
        pairs = sorted(self._pairs(), key=lambda pair: pair[0], reverse=True)
        fused = False
        for _, first, second in pairs:
            one, other = self._group[first], self._group[second]
            if one is not other and self._score(one, other) is not None:
                self._fuse(one, other)
                fused = True
        return fused

    def _pairs(self) -> Iterator[tuple[tuple[int, float, int], int, int]]:
        """Yield pairs that may be fused, with how much that gains."""
        users: dict[int, list[Group]] = {}
        for group in self.groups():
            if self._stays_alone(group):
                continue
            for buffer in dict.fromkeys([*(r.buffer for r in group.reads), *group.writes]):
                users.setdefault(buffer, []).append(group)
        seen: set[tuple[int, int]] = set()
        for groups in users.values():
            for place, one in enumerate(groups):
                for other in groups[place + 1 : place + 1 + _PAIRS_A_NODE]:
                    key = (one.nodes[0], other.nodes[0])
                    if key not in seen:
                        seen.add(key)
                        score = self._score(one, other)
                        if score is not None:
                            yield score, one.nodes[0], other.nodes[0]

    def _stays_alone(self, group: Group) -> bool:
        return group.kind in ("library", "scatter")

    def _score(self, one: Group, other: Group) -> tuple[int, float, int] | None:
        """Return what fusing two groups gains, to be compared, or None if it may not be done."""
        if len(one.nodes) + len(other.nodes) > _MOST_NODES:
            return None
        is_mixed = self._is_mixed(one, other)
        if not is_mixed and not self._runs_alike(one, other):
            return None
        shared = self._shared_bytes(one, other)
        if shared is None:
            return None
        depends = bool(one.mask & other.before or other.mask & one.before)
        distance = max(abs(one.nodes[0] - other.nodes[-1]), abs(other.nodes[0] - one.nodes[-1]))
        if is_mixed:
            if depends:
                return None
            shared = float(max(one.outer * one.inner, other.outer * other.inner))
        elif not shared or (not depends and (shared < _LEAST_SHARED_BYTES or distance > _FARTHEST)):
            return None
        if self._makes_a_cycle(one, other):
            return None
        return int(one.kind == other.kind), shared, -distance

    def _runs_alike(self, one: Group, other: Group) -> bool:
        """Return whether two groups fit one loop."""
        if (one.is_mixed or other.is_mixed) and not self._fits_mixed(one, other):
            return False
        if one.kind == other.kind:
            return (one.outer, one.inner) == (other.outer, other.inner)
        loop, reduction = (other, one) if one.kind == "reduction" else (one, other)
        if loop.outer == reduction.outer:
            return True
        nodes = [self._program.nodes[i] for i in reduction.nodes]
        whole = all(n.takes_loops for n in nodes if n.kind == "reduction")
        return (whole or reduction.is_mixed) and loop.outer == reduction.outer * reduction.inner

    def _fits_mixed(self, one: Group, other: Group) -> bool:
        """Return whether a loop may join sums along both sides, which a kernel with more reads would make too big."""
        if one.kind == other.kind:
            return False
        return len({r.buffer for r in (*one.reads, *other.reads)}) <= _MIXED_READS

    def _is_mixed(self, one: Group, other: Group) -> bool:
        """Return whether one sums along the rows and the other along the columns of a large matrix."""
        if one.kind != "reduction" or other.kind != "reduction":
            return False
        rows, columns = (one, other) if one.is_mixed or self._sums_rows(one) else (other, one)
        if columns.is_mixed or not (rows.is_mixed or self._sums_rows(rows)):
            return False
        if rows.is_mixed and len({r.buffer for r in (*one.reads, *other.reads)}) > _MIXED_READS:
            return False
        turned = (rows.inner, rows.outer)
        summed = [self._program.nodes[i] for i in columns.nodes]
        if any(n.kind != "reduction" or n.whole != turned or n.is_contiguous for n in summed):
            return False
        large = [r for r in columns.reads if r.whole and self._numel(r) == rows.outer * rows.inner]
        return any(r in rows.reads or r.buffer in rows.writes for r in large)

    def _sums_rows(self, group: Group) -> bool:
        nodes = [n for n in (self._program.nodes[i] for i in group.nodes) if n.kind == "reduction"]
        return (
            all(n.is_contiguous and not n.is_split for n in nodes)
            and group.outer * group.inner >= _MIXED_ELEMENTS
            and group.outer >= max(2 * group.inner, _MIXED_ROWS)
            and group.inner <= _MIXED_COLUMNS
        )

    def _numel(self, read: Read) -> int:
        return self._program.buffers[read.buffer].numel

    def _shared_bytes(self, one: Group, other: Group) -> float | None:
        """Return the bytes that need not be moved twice; None if one needs other elements than the other makes."""
        few, many = (one, other) if len(one.reads) < len(other.reads) else (other, one)
        shared = sum(r.nbytes for r in few.reads if r in many.reads)
        for writer, reader in ((one, other), (other, one)):
            for read in reader.reads:
                if read.buffer in writer.writes:
                    if not read.whole:
                        return None
                    shared += read.nbytes
        if not shared and one.kind == other.kind == "pointwise":
            parts = {r.buffer: r.nbytes for r in few.reads if not r.whole}
            shared = sum(min(r.nbytes, parts[r.buffer]) for r in many.reads if not r.whole and r.buffer in parts)
        return shared

    def _makes_a_cycle(self, one: Group, other: Group) -> bool:
        """Return whether a third group stands between two."""
        for first, second in ((one, other), (other, one)):
            if not first.mask & second.before:
                continue
            for read in second.reads:
                writer = self._writer(read.buffer)
                source = self._group.get(writer) if writer is not None else None
                if source is None or source is first or source is second:
                    continue
                if source.before & first.mask:
                    return True
        return False

    def _fuse(self, one: Group, other: Group) -> None:
        reduction = other if other.kind == "reduction" and one.kind != "reduction" else one
        is_mixed = one.is_mixed or other.is_mixed or self._is_mixed(one, other)
        if is_mixed and not (one.is_mixed or self._sums_rows(one)):
            reduction = other
        nodes = sorted(one.nodes + other.nodes)
        mask = one.mask | other.mask
        before = (one.before | other.before) & ~mask
        fused = Group(
            nodes,
            mask,
            before,
            reduction.kind,
            reduction.outer,
            reduction.inner,
            one.reads | other.reads,
            one.writes | other.writes,
            is_mixed,
        )
        for index in nodes:
            self._group[index] = fused
        for group in self._group.values():
            if group.before & mask:
                group.before |= before | mask

    def _writer(self, buffer: int) -> int | None:
        found = self._program.buffers[buffer]
        return found.writer if found.region == self._program.region else None

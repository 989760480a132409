"""Activation checkpointing: a block keeps its input alone and runs forward once more when its gradient is due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from whichgpu.graph import Graph, Op, Storage
from whichgpu.graph.rewrite import Insertions, uses, with_storages
from whichgpu.memory.blocks import Block


def checkpointed(graph: Graph, blocks: Sequence[Block]) -> Graph:
    """Return the step in which each of `blocks` drops its activations and makes them again in the backward pass.

    As torch.utils.checkpoint does without reentrance: the second run ends at the last tensor that is needed.

    Args:
        graph: One step.
        blocks: Runs of ops of its forward pass that do not overlap.
    """
    plans = [plan for plan in (_plan(graph, block) for block in blocks) if plan is not None]
    # Blocks whose gradients are due at the same op run again in the order of that op's needs: the last block first.
    moves = Insertions(len(graph.ops), _sizes(plans))
    storages = [moves.moved(storage) for storage in graph.storages]
    ops: dict[int, list[Op]] = defaultdict(list)
    renamed: dict[int, tuple[int, int]] = {}
    taken: defaultdict[int, int] = defaultdict(int)
    for plan in plans:
        start = moves.start(plan.due) + taken[plan.due]
        taken[plan.due] += plan.ends - plan.begins
        ops[plan.due] += _again(graph, plan, start, moves, storages, renamed)
    new: list[Op] = []
    for index, op in enumerate(graph.ops):
        new += ops.get(index, ())
        place = moves.op(index)
        new.append(with_storages(op, partial(_current, place=place, renamed=renamed)))
    return replace(graph, ops=tuple(new), storages=tuple(storages))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of one block: of [begins, left), ops [begins, ends) run again before op `due`.

    The storages `saved` are dropped in between.
    """

    begins: int
    ends: int
    left: int
    due: int
    saved: frozenset[int]


def _plan(graph: Graph, block: Block) -> _Plan | None:
    inside = range(block.begins, block.ends)
    made = {
        t.storage
        for index in inside
        for t in graph.ops[index].output_tensors()
        if t.storage is not None and graph.storages[t.storage].allocated_at in inside
    }
    later: set[int] = set()
    due = None
    for index in range(block.ends, len(graph.ops)):
        op = graph.ops[index]
        if op.phase == "forward":
            later |= uses(op)
        elif due is None and uses(op) & (made - later):
            due = index
    if due is None:
        return None
    saved = frozenset(n for n in made - later if _is_kept(graph.storages[n], due))
    if not saved:
        return None
    last = max(index for index in inside if {t.storage for t in graph.ops[index].output_tensors()} & saved)
    return _Plan(block.begins, last + 1, block.ends, due, saved)


def _is_kept(storage: Storage, after: int) -> bool:
    return (
        storage.nbytes > 0 and storage.kind == "activation" and (storage.freed_at is None or storage.freed_at > after)
    )


def _sizes(plans: Sequence[_Plan]) -> dict[int, int]:
    sizes: defaultdict[int, int] = defaultdict(int)
    for plan in plans:
        sizes[plan.due] += plan.ends - plan.begins
    return dict(sizes)


def _again(
    graph: Graph,
    plan: _Plan,
    start: int,
    moves: Insertions,
    storages: list[Storage],
    renamed: dict[int, tuple[int, int]],
) -> list[Op]:
    """Return the block's ops as they run again from op `start` on; adapt and add storages."""
    length = plan.ends - plan.begins
    copies: dict[int, int] = {}
    last_use: dict[int, int] = {}
    first_run: dict[int, int] = {}
    for index in range(plan.begins, plan.left):
        for number in uses(graph.ops[index]):
            first_run[number] = index
            if index < plan.ends:
                last_use[number] = index
    for number in sorted(last_use):
        storage = graph.storages[number]
        begins, ends = storage.allocated_at, storage.freed_at
        again = start + last_use[number] - plan.begins + 1
        if begins is None or begins < plan.begins:
            # From outside: it has to be there when the block runs again.
            freed = storages[number].freed_at
            if freed is not None and freed < again:
                storages[number] = replace(storages[number], freed_at=again)
            continue
        copies[number] = len(storages)
        made = start + begins - plan.begins
        if number in plan.saved:
            storages.append(replace(storages[number], allocated_at=made))
            storages[number] = replace(storages[number], freed_at=moves.op(first_run[number]) + 1)
            renamed[number] = (made, copies[number])
        else:
            # Of the second run only: what the block handed on, or dropped at once.
            dropped = again
            if ends is not None and ends <= plan.ends:
                dropped = max(start + ends - plan.begins, again)
            dropped = min(max(dropped, made + 1), start + length + 1)
            storages.append(replace(storage, allocated_at=made, freed_at=dropped))
    return [
        replace(with_storages(graph.ops[index], lambda n: copies.get(n, n)), phase="backward")
        for index in range(plan.begins, plan.ends)
    ]


def _current(number: int, *, place: int, renamed: dict[int, tuple[int, int]]) -> int:
    """Return where what was in a storage lies when the op at `place` runs."""
    found = renamed.get(number)
    return number if found is None or place < found[0] else found[1]

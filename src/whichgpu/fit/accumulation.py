"""Several micro-batches in one step: each pass is as large as the micro-batch, and gradients add up."""

from __future__ import annotations

from dataclasses import replace

from whichgpu.errors import OptionError
from whichgpu.graph import Graph, Op, Storage, Tensor
from whichgpu.graph.rewrite import update_begins, uses, with_storages

_ADD = "aten.add_.Tensor"


def accumulated(graph: Graph, micro_batches: int) -> Graph:
    """Return the step that runs the passes of `graph` over so many micro-batches before one update.

    Memory follows the first two: the second finds the gradients of the first, and each new gradient lives until it is
    added to the old one. The time of the others is that of the second.

    Args:
        graph: One step over one micro-batch.
        micro_batches: 2 or more.

    Raises:
        OptionError: If the step has no forward or backward pass before its update.
    """
    end = update_begins(graph)
    if end == 0:
        raise OptionError("This step cannot be split into micro-batches: it has no passes before its update.")
    last_use = {number: index for index, op in enumerate(graph.ops[:end]) for number in uses(op)}
    first: list[Storage] = []
    twins: list[Storage] = []
    twin_of: dict[int, int] = {}
    grown: list[int] = []
    for number, storage in enumerate(graph.storages):
        begins, ends = storage.allocated_at, storage.freed_at
        first.append(storage)
        if begins is None or begins >= end:
            continue
        twin_of[number] = len(graph.storages) + len(twins)
        if storage.kind == "gradient" and (ends is None or ends > end):
            grown.append(number)
            used = end + last_use.get(number, begins)
            twins.append(Storage(storage.nbytes, "activation", begins + end, used + 1))
        else:
            # What a variable still holds after the passes is dropped when the next ones give it a new value.
            held = ends is None or ends > end
            first[-1] = replace(storage, freed_at=end + begins + 1 if held else ends)
            twins.append(replace(storage, allocated_at=begins + end))
    # The sums of gradients stand together at the end of the second pass; each is priced as often as it is done.
    shift = end + len(grown)
    sums = [_sum(number, graph.storages[number].nbytes, micro_batches - 1) for number in grown]
    storages = [_moved(s, end, shift) if n not in twin_of or n in grown else s for n, s in enumerate(first)]
    for number, place in twin_of.items():
        twin = twins[place - len(graph.storages)]
        if number not in grown and twin.freed_at is not None:
            twin = replace(twin, freed_at=twin.freed_at + (end if twin.freed_at <= end else shift))
        storages.append(twin)

    def second(index: int, op: Op) -> Op:
        def storage(number: int) -> int | None:
            mapped = twin_of.get(number, number)
            freed = storages[mapped].freed_at
            return mapped if freed is None or freed > index + end else None

        return replace(with_storages(op, storage), repeat=op.repeat * (micro_batches - 1))

    kept = set(grown)
    update = (with_storages(op, lambda n: n if n in kept else twin_of.get(n, n)) for op in graph.ops[end:])
    passes = graph.ops[:end]
    ops = (*passes, *(second(index, op) for index, op in enumerate(passes)), *sums, *update)
    return replace(graph, ops=ops, storages=tuple(storages))


def _sum(number: int, nbytes: int, times: int) -> Op:
    total = Tensor((max(nbytes // 4, 1),), "float32", None, number)
    return Op(_ADD, {"self": total, "other": replace(total, storage=None)}, (total,), {}, "backward", "", times)


def _moved(storage: Storage, end: int, shift: int) -> Storage:
    """Return a storage of the first micro-batch, of the update or of neither, in new indices."""
    begins, ends = storage.allocated_at, storage.freed_at
    if begins is not None and begins >= end:
        begins += shift
    if ends is not None and ends > end:
        ends += shift
    return replace(storage, allocated_at=begins, freed_at=ends)

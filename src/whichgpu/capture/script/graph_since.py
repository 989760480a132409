"""The end of a graph, as a graph of its own."""

from __future__ import annotations

from dataclasses import replace

from whichgpu.graph import Graph, Op, Storage, Tensor


def graph_since(graph: Graph, begin: int) -> Graph:
    """Return what runs from op `begin` on; what was made before and lives then is there from the start.

    Args:
        graph: A graph.
        begin: Index of its first op to keep.
    """
    if begin == 0:
        return graph
    numbers: dict[int, int] = {}
    storages: list[Storage] = []
    for number, storage in enumerate(graph.storages):
        if storage.freed_at is not None and storage.freed_at <= begin:
            continue
        numbers[number] = len(storages)
        storages.append(_later(storage, begin))
    ops = tuple(_renumbered(op, numbers) for op in graph.ops[begin:])
    return replace(graph, ops=ops, storages=tuple(storages))


def _later(storage: Storage, begin: int) -> Storage:
    freed_at = None if storage.freed_at is None else storage.freed_at - begin
    if storage.allocated_at is not None and storage.allocated_at >= begin:
        return replace(storage, allocated_at=storage.allocated_at - begin, freed_at=freed_at)
    kind = "buffer" if storage.kind == "activation" else storage.kind
    return replace(storage, kind=kind, allocated_at=None, freed_at=freed_at)


def _renumbered(op: Op, numbers: dict[int, int]) -> Op:
    def one(found: Tensor) -> Tensor:
        return found if found.storage is None else replace(found, storage=numbers[found.storage])

    def all_of(found: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        return tuple(None if tensor is None else one(tensor) for tensor in found)

    inputs = {name: one(value) if isinstance(value, Tensor) else all_of(value) for name, value in op.inputs.items()}
    return replace(op, inputs=inputs, outputs=all_of(op.outputs))

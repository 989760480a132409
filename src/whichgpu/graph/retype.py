"""A graph in another number format, the casts that become pointless taken out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from whichgpu.graph.graph import Graph, Storage
from whichgpu.graph.op import Input, Op
from whichgpu.graph.tensor import Tensor, dtype_bytes

_CAST = "aten._to_copy"


def retyped(graph: Graph, old: str, new: str, keep: Collection[int] = ()) -> Graph:
    """Return `graph` with every tensor of the number format `old` in the format `new`.

    Casts between the two vanish, storages change their size, and a storage that a vanished cast read lives as long as
    what the cast made of it.

    Args:
        graph: One step.
        old: A dtype, such as "float32".
        new: Another.
        keep: Storages that stay as they are.
    """
    changed = tuple(retyped_op(op, old, new, keep) for op in graph.ops)
    vanishes = [_is_cast(before) and not _is_cast(after) for before, after in zip(graph.ops, changed, strict=True)]
    ops = tuple(op for op, gone in zip(changed, vanishes, strict=True) if not gone)
    if not graph.storages or not ops:
        return replace(graph, ops=ops)
    holders = {t.storage for op in graph.ops for t in _tensors(op) if t.dtype == old} - set(keep)
    sources = _sources(op for op, gone in zip(graph.ops, vanishes, strict=True) if gone)
    freed = _freed(graph.storages, sources, len(graph.ops))
    index = [0, *accumulate(not gone for gone in vanishes)]
    storages = []
    for number, storage in enumerate(graph.storages):
        nbytes = 0 if number in sources else _resized(storage.nbytes, old, new) if number in holders else storage.nbytes
        lived = replace(storage, freed_at=freed.get(number, storage.freed_at))
        storages.append(_moved(lived, nbytes, index, len(ops)))
    return replace(graph, ops=ops, storages=tuple(storages))


def retyped_op(op: Op, old: str, new: str, keep: Collection[int] = ()) -> Op:
    """Return `op` with its tensors in the format `new`; see `retyped`."""

    def changed(t: Tensor | None) -> Tensor | None:
        if t is None or t.dtype != old or t.storage in keep:
            return t
        return Tensor(t.shape, new, t.stride, t.storage)

    def changed_input(value: Input) -> Input:
        if isinstance(value, tuple):
            return tuple(map(changed, value))
        return changed(value) or value

    # Not by replace, which takes most of the time of thousands of ops.
    return Op(
        op.name,
        {name: changed_input(value) for name, value in op.inputs.items()},
        tuple(map(changed, op.outputs)),
        op.attributes,
        op.phase,
        op.module,
        op.repeat,
    )


def _resized(nbytes: int, old: str, new: str) -> int:
    return -(-nbytes * dtype_bytes(new) // dtype_bytes(old))


def _sources(casts: Iterable[Op]) -> dict[int, int]:
    """Return, for each storage that a cast made, the storage that stands for it once the cast is gone."""
    sources: dict[int, int] = {}
    for op in casts:
        made, source = op.output().storage, op.tensor("self").storage
        if made is not None and source is not None and made != source:
            sources[made] = sources.get(source, source)
    return sources


def _freed(storages: Sequence[Storage], sources: Mapping[int, int], ops: int) -> dict[int, int | None]:
    """Return when each storage that stands for others is freed: not before the last of them."""
    freed: dict[int, int | None] = {}
    for made, source in sources.items():
        ends = (freed.get(source, storages[source].freed_at), storages[made].freed_at)
        freed[source] = None if storages[source].freed_at is None else max(ops if e is None else e for e in ends)
    return freed


def _moved(storage: Storage, nbytes: int, index: list[int], ops: int) -> Storage:
    """Return `storage` with its lifetime counted in the ops that are left."""
    start = storage.allocated_at if storage.allocated_at is None else min(index[storage.allocated_at], ops - 1)
    end = storage.freed_at if storage.freed_at is None else index[storage.freed_at]
    if start is not None and end is not None:
        end = max(end, start + 1)
    return replace(storage, nbytes=nbytes, allocated_at=start, freed_at=end)


def _is_cast(op: Op) -> bool:
    """Whether `op` does nothing but change the number format."""
    if op.base_name != _CAST:
        return False
    return op.tensor("self").dtype != op.output().dtype


def _tensors(op: Op) -> tuple[Tensor, ...]:
    return (*op.input_tensors(), *op.output_tensors())

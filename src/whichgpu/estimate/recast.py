"""A step captured in one precision, as it would be in another: what a fallback runs.

Exact where only the name of the format differs; where float16 or bfloat16 becomes float32 the casts between them
vanish and tensors double. The other way cannot be derived: which ops autocast would turn is known only when capturing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from whichgpu.errors import PrecisionError
from whichgpu.graph import Graph, Job, Op, Precision, Storage, Tensor
from whichgpu.graph import precision as precision_named
from whichgpu.graph.op import Input

_HALVES = ("float16", "bfloat16")
_CAST = "aten._to_copy"


def recast(job: Job, to: Precision) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of `job` as it would be in the precision `to`, and what is only approximate about it.

    Raises:
        PrecisionError: If it cannot be derived from the graph that was captured.
    """
    captured = precision_named(job.precision)
    if to.name == captured.name or (to.autocast, to.weights) == (captured.autocast, captured.weights):
        return job.graph, ()
    half = captured.autocast or captured.weights
    if half in _HALVES and to.matrix_format in ("fp32", "tf32"):
        return _retype(job.graph, half, "float32"), (f"Derived from the {captured.name} step.",)
    if half in _HALVES and to.autocast is not None:
        graph = _retype(job.graph, half, to.autocast)
        if captured.autocast is not None:
            return graph, ()
        return graph, (
            f"Priced as if weights were {to.autocast}: {to.name} keeps them in {to.weights}, which takes more memory "
            "and somewhat more time.",
        )
    raise PrecisionError(
        f"{job.name} was captured in {captured.name}; what it would run in {to.name} cannot be derived from that. "
        f"Capture it in {to.name}, or build the job with precision={to.name!r}."
    )


def _retype(graph: Graph, old: str, new: str) -> Graph:
    def tensor(t: Tensor) -> Tensor:
        return replace(t, dtype=new) if t.dtype == old else t

    retyped = tuple(_map_tensors(op, tensor) for op in graph.ops)
    vanishes = [_is_cast(before) and not _is_cast(after) for before, after in zip(graph.ops, retyped, strict=True)]
    ops = tuple(op for op, gone in zip(retyped, vanishes, strict=True) if not gone)
    if not graph.storages or not ops:
        return replace(graph, ops=ops)
    factor = 2 if new == "float32" else 1
    holders = {t.storage for op in graph.ops for t in _tensors(op) if t.dtype == old}
    sources = _sources(op for op, gone in zip(graph.ops, vanishes, strict=True) if gone)
    freed = _freed(graph.storages, sources, len(graph.ops))
    index = [0, *accumulate(not gone for gone in vanishes)]
    storages = []
    for number, storage in enumerate(graph.storages):
        nbytes = 0 if number in sources else storage.nbytes * (factor if number in holders else 1)
        lived = replace(storage, freed_at=freed.get(number, storage.freed_at))
        storages.append(_moved(lived, nbytes, index, len(ops)))
    return replace(graph, ops=ops, storages=tuple(storages))


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


def _map_tensors(op: Op, change: Callable[[Tensor], Tensor]) -> Op:
    def changed(value: Input) -> Input:
        if isinstance(value, Tensor):
            return change(value)
        return tuple(t if t is None else change(t) for t in value)

    return replace(
        op,
        inputs={name: changed(value) for name, value in op.inputs.items()},
        outputs=tuple(t if t is None else change(t) for t in op.outputs),
    )


def _is_cast(op: Op) -> bool:
    """Whether `op` does nothing but change the number format."""
    if op.base_name != _CAST:
        return False
    return op.tensor("self").dtype != op.output().dtype


def _tensors(op: Op) -> tuple[Tensor, ...]:
    return (*op.input_tensors(), *op.output_tensors())

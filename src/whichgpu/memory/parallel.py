"""What each of several processes holds that train one model together, each on a device of its own.

A capture sees one process with the whole model. Data parallelism adds buckets in which gradients travel; fully sharded
data parallelism (FSDP, ZeRO-3) keeps a share of parameters, gradients and optimizer state, and gathers the parameters
of a block when it runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from whichgpu.graph import Graph, Job, Storage
from whichgpu.graph.rewrite import update_begins, with_storages
from whichgpu.memory.blocks import Block, blocks_of

_SHARDING = frozenset({"FullyShardedDataParallel", "fully_shard"})
# Without gradients as views of its buckets.
_BUCKETED = "DistributedDataParallel"
# Shards are padded to this many bytes: parameters of a block are laid end to end and cut into equal parts.
_SHARD_PADDING_BYTES = 16


def per_process(job: Job) -> tuple[Graph, int]:
    """Return the step of `job` as one of the processes it was started for runs it, and how many these are.

    Wrappers and processes are those the capture remembered: options "parallel_wrappers" and "world_size".
    """
    wrappers = job.options.get("parallel_wrappers", ())
    size = job.options.get("world_size", 1)
    if not isinstance(wrappers, tuple) or not isinstance(size, int) or not job.graph.storages:
        return job.graph, 1
    if size > 1 and _SHARDING & set(wrappers):
        return sharded(job.graph, size), size
    if _BUCKETED in wrappers:  # in a group of one, too
        return bucketed(job.graph), size
    return job.graph, size


def bucketed(graph: Graph) -> Graph:
    """Return `graph` with the buckets of DistributedDataParallel: as many bytes as gradients, there for good.

    Source: torch/csrc/distributed/c10d/reducer.cpp of torch 2.13; with gradient_as_bucket_view=True gradients lie in
    the buckets and there are none beside them.
    """
    made = sum(s.nbytes for s in graph.storages if s.kind == "gradient" and _stays(s))
    return replace(graph, storages=(*graph.storages, Storage(made, "buffer"))) if made else graph


def sharded(graph: Graph, world_size: int) -> Graph:
    """Return the step as one of `world_size` processes under FSDP runs it, each block of the model a unit.

    A unit's parameters are gathered when it runs, forward and backward, and while the one before it runs; what belongs
    to no block is gathered for the whole step. Gradients are whole until their unit has run backward. The update works
    on shards.
    """
    units = _units(graph)
    update = update_begins(graph)
    owner = {number: place for place, unit in enumerate(units) for number in unit.parameters}
    leaves = {number: unit.backward[1] for unit in units for number in unit.gradients}
    storages: list[Storage] = []
    gathered: defaultdict[int, int] = defaultdict(int)
    kept: list[Storage] = []
    shards: dict[int, int] = {}
    for number, storage in enumerate(graph.storages):
        share = _share(storage.nbytes, world_size)
        if storage.kind == "parameter":
            gathered[owner.get(number, -1)] += storage.nbytes
            storages.append(replace(storage, nbytes=share))
        elif storage.kind == "optimizer_state" or (storage.kind == "gradient" and storage.allocated_at is None):
            storages.append(replace(storage, nbytes=share))
        elif storage.kind == "gradient" and _stays(storage):
            made = storage.allocated_at or 0
            whole = min(max(leaves.get(number, update), made + 1), len(graph.ops))
            storages.append(Storage(storage.nbytes, "activation", made, whole))
            shards[number] = len(graph.storages) + len(kept)
            kept.append(Storage(share, "gradient", min(whole, len(graph.ops) - 1), storage.freed_at))
        elif storage.allocated_at is not None and storage.allocated_at >= update:
            storages.append(replace(storage, nbytes=share))
        else:
            storages.append(storage)
    buffers = [Storage(gathered[-1], "buffer")] if gathered[-1] else []
    for place, unit in enumerate(units):
        if not gathered[place]:
            continue
        before = units[place - 1].forward[0] if place else unit.forward[0]
        after = units[place + 1].backward[0] if place + 1 < len(units) else unit.backward[0]
        buffers.append(Storage(gathered[place], "activation", before, unit.forward[1]))
        buffers.append(Storage(gathered[place], "activation", min(after, unit.backward[0]), unit.backward[1]))
    update_ops = (with_storages(op, lambda n: shards.get(n, n)) for op in graph.ops[update:])
    return replace(graph, ops=(*graph.ops[:update], *update_ops), storages=(*storages, *kept, *buffers))


@dataclass(frozen=True, slots=True)
class _Unit:
    """A block with the storages of its parameters and gradients, and the ops [begins, ends) of its passes."""

    parameters: frozenset[int]
    gradients: frozenset[int]
    forward: tuple[int, int]
    backward: tuple[int, int]


def _units(graph: Graph) -> list[_Unit]:
    ways = blocks_of(graph)
    if not ways:
        return []
    read = [frozenset(t.storage for t in op.input_tensors() if t.storage is not None) for op in graph.ops]
    found = [_unit(graph, block, read) for block in max(ways, key=lambda way: _parameter_bytes(graph, way, read))]
    return [unit for unit in found if unit is not None]


def _unit(graph: Graph, block: Block, read: Sequence[frozenset[int]]) -> _Unit | None:
    parameters: set[int] = set()
    made: set[int] = set()
    for op in graph.ops[block.begins : block.ends]:
        for tensor in (*op.input_tensors(), *op.output_tensors()):
            number = tensor.storage
            if number is None:
                continue
            if graph.storages[number].kind == "parameter":
                parameters.add(number)
            elif (graph.storages[number].allocated_at or -1) >= block.begins:
                made.add(number)
    gradients: set[int] = set()
    first = last = None
    own = frozenset(made | parameters)
    for index in range(block.ends, len(graph.ops)):
        op = graph.ops[index]
        if op.phase == "backward" and not own.isdisjoint(read[index]):
            first = index if first is None else first
            last = index
            gradients |= {
                t.storage
                for t in op.output_tensors()
                if t.storage is not None and graph.storages[t.storage].kind == "gradient"
            }
    if first is None or last is None:
        return None
    return _Unit(frozenset(parameters), frozenset(gradients), (block.begins, block.ends), (first, last + 1))


def _parameter_bytes(graph: Graph, way: Sequence[Block], read: Sequence[frozenset[int]]) -> tuple[int, int]:
    """Return the parameters inside of a way's blocks, and, among ways with as many, prefer fewer blocks."""
    inside: set[int] = set()
    for block in way:
        inside.update(*read[block.begins : block.ends])
    return sum(graph.storages[n].nbytes for n in inside if graph.storages[n].kind == "parameter"), -len(way)


def _stays(storage: Storage) -> bool:
    return storage.freed_at is None


def _share(nbytes: int, world_size: int) -> int:
    return -(-nbytes // (world_size * _SHARD_PADDING_BYTES)) * _SHARD_PADDING_BYTES

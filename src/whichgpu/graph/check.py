"""The checker: what must hold of every job, wherever it came from."""

from __future__ import annotations

from collections.abc import Iterator

from whichgpu.errors import GraphError
from whichgpu.graph.graph import STORAGE_KINDS, Graph, Storage
from whichgpu.graph.job import Job
from whichgpu.graph.op import PHASES, Op
from whichgpu.graph.precision import precision
from whichgpu.graph.tensor import DTYPE_BYTES, Tensor

_MOST_BYTES = 2**63 - 1


def check(job: Job) -> None:
    """Raise if `job` breaks a rule of the IR; return nothing if it is sound.

    Checks: counts are positive; every dtype is known; shapes and strides agree in rank and are not negative; every
    storage index exists; no op touches a storage before it is allocated or after it is freed; phases, kinds and the
    precision are known.

    Raises:
        GraphError: Naming the first op and tensor at fault.
        UnknownNameError: If the precision is not known.
    """
    precision(job.precision)
    if job.samples_per_step < 1:
        raise GraphError(f"Job {job.name!r}: samples_per_step is {job.samples_per_step}; expected 1 or more.")
    if job.samples_per_epoch is not None and job.samples_per_epoch < 1:
        raise GraphError(f"Job {job.name!r}: samples_per_epoch is {job.samples_per_epoch}; expected 1 or more.")
    _check_graph(job.graph)


def _check_graph(graph: Graph) -> None:
    if graph.mode not in ("eager", "fused"):
        raise GraphError(f"Graph mode is {graph.mode!r}; expected 'eager' or 'fused'.")
    if not graph.ops:
        raise GraphError("The graph has no ops; capture a step that does some work on the device.")
    for index, storage in enumerate(graph.storages):
        _check_storage(index, storage, len(graph.ops))
    for index, op in enumerate(graph.ops):
        where = f"op {index} ({op.name})"
        if not op.name or op.name.startswith(".") or "." not in op.name:
            raise GraphError(f"{where}: expected a name such as 'aten.mm.default'.")
        if op.phase not in PHASES:
            raise GraphError(f"{where}: phase is {op.phase!r}; expected one of {', '.join(PHASES)}.")
        if op.repeat < 1:
            raise GraphError(f"{where}: repeat is {op.repeat}; expected 1 or more.")
        for label, tensor in _labelled(op):
            _check_tensor(f"{where}, {label}", tensor)
            _check_lifetime(f"{where}, {label}", index, tensor, graph.storages)


def _labelled(op: Op) -> Iterator[tuple[str, Tensor]]:
    for name, value in op.inputs.items():
        for tensor in (value,) if isinstance(value, Tensor) else value:
            if tensor is not None:
                yield f"input {name!r}", tensor
    for index, output in enumerate(op.outputs):
        if output is not None:
            yield f"output {index}", output


def _check_storage(index: int, storage: Storage, ops: int) -> None:
    where = f"storage {index}"
    if storage.nbytes < 0:
        raise GraphError(f"{where}: {storage.nbytes} bytes; expected 0 or more.")
    if storage.kind not in STORAGE_KINDS:
        raise GraphError(f"{where}: kind is {storage.kind!r}; expected one of {', '.join(STORAGE_KINDS)}.")
    start = -1 if storage.allocated_at is None else storage.allocated_at
    end = ops if storage.freed_at is None else storage.freed_at
    if not (-1 <= start < ops and start < end <= ops) and not (start == -1 and end == 0):
        raise GraphError(f"{where}: allocated at op {start}, freed at op {end}, of {ops} ops.")


def _check_tensor(where: str, tensor: Tensor) -> None:
    if tensor.dtype not in DTYPE_BYTES:
        raise GraphError(f"{where}: unknown dtype {tensor.dtype!r}; expected one of {', '.join(DTYPE_BYTES)}.")
    if any(n < 0 for n in tensor.shape):
        raise GraphError(f"{where}: shape {list(tensor.shape)} has a negative size.")
    if tensor.numel * tensor.itemsize > _MOST_BYTES:
        raise GraphError(f"{where}: shape {list(tensor.shape)} has more bytes than there are addresses.")
    if tensor.stride is not None and any(n < 0 for n in tensor.stride):
        raise GraphError(f"{where}: stride {list(tensor.stride)} is negative in places.")
    if tensor.stride is not None and len(tensor.stride) != len(tensor.shape):
        raise GraphError(f"{where}: {len(tensor.stride)} strides for {len(tensor.shape)} dimensions.")


def _check_lifetime(where: str, index: int, tensor: Tensor, storages: tuple[Storage, ...]) -> None:
    if tensor.storage is None:
        return
    if not 0 <= tensor.storage < len(storages):
        raise GraphError(f"{where}: storage {tensor.storage} does not exist; the graph has {len(storages)}.")
    storage = storages[tensor.storage]
    if storage.allocated_at is not None and index < storage.allocated_at:
        raise GraphError(f"{where}: storage {tensor.storage} is used before op {storage.allocated_at} allocates it.")
    if storage.freed_at is not None and index >= storage.freed_at:
        raise GraphError(f"{where}: storage {tensor.storage} is used after it was freed at op {storage.freed_at}.")

"""The JSON form of a job: plain data, nothing in it is executed.

A document is ``{"schema": "whichgpu.job/1", ...}``. Tensors and calls are written once and referred to by index
(a model repeats few kinds of calls many times):

- ``tensors``: ``[dtype, shape]`` or ``[dtype, shape, stride]``;
- ``calls``: ``[name, inputs, outputs, attributes]``, where an input is an index into ``tensors`` or a list of such;
- ``ops``: ``[call, phase, module, repeat, storages]``, where phase and module are indices into ``phases`` and
  ``modules`` and ``storages`` lists the storage of every tensor of the call, inputs first, in order;
- ``storages``: ``[nbytes, kind, allocated_at, freed_at]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from whichgpu.errors import GraphError, SchemaError
from whichgpu.graph.check import check
from whichgpu.graph.graph import STORAGE_KINDS, Graph, Mode, Storage, StorageKind
from whichgpu.graph.job import Job
from whichgpu.graph.op import PHASES, Attribute, Input, Op, Phase
from whichgpu.graph.tensor import Tensor

SCHEMA = "whichgpu.job"
SCHEMA_VERSION = 1

Document = dict[str, Any]


def check_schema(document: object, kind: str, version: int) -> Document:
    """Return `document` if it is a `kind` document of at most `version`.

    Raises:
        SchemaError: If it is something else, or newer; the message names both schemas.
    """
    if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
        raise SchemaError(f'Not a {kind} document: expected a JSON object with "schema": "{kind}/{version}".')
    name, _, number = document["schema"].partition("/")
    if name != kind or not number.isdecimal():
        raise SchemaError(f"Schema is {document['schema']!r}; expected '{kind}/{version}'.")
    if int(number) > version:
        raise SchemaError(
            f"Schema is {document['schema']!r}, "
            f"newer than '{kind}/{version}', which is what this version reads. Upgrade whichgpu."
        )
    return document


def job_to_document(job: Job, beside: Job | None = None) -> Document:
    """Return the JSON form of `job`, made of dicts, lists, strings and numbers only.

    Args:
        job: The job.
        beside: The same job at another batch, if the two documents are to differ in numbers alone: tensors and calls
            that are alike in this one, by chance, and not in that one, are then written apart.

    Raises:
        GraphError: If the ops of `beside` are others.
    """
    tensors: dict[tuple[Tensor, Tensor], int] = {}
    calls: dict[tuple[object, ...], int] = {}
    call_forms: list[list[Any]] = []
    modules: dict[str, int] = {}

    def tensor_index(tensor: Tensor | None, other: Tensor | None) -> int | None:
        if tensor is None or other is None:
            return None
        return tensors.setdefault((tensor, other), len(tensors))

    ops = []
    for op, twin in _side_by_side(job, job if beside is None else beside):
        key = op.signature if twin is op else (op.signature, twin.signature)
        if key not in calls:
            calls[key] = len(calls)
            inputs = {
                name: tensor_index(v, w)
                if isinstance(v, Tensor) and isinstance(w, Tensor)
                else [tensor_index(t, u) for t, u in zip(_listed(v), _listed(w), strict=True)]
                for (name, v), w in zip(op.inputs.items(), twin.inputs.values(), strict=True)
            }
            outputs = [tensor_index(t, u) for t, u in zip(op.outputs, twin.outputs, strict=True)]
            call_forms.append([op.name, inputs, outputs, {k: to_plain(v) for k, v in op.attributes.items()}])
        storages = [t.storage for t in (*op.input_tensors(), *op.output_tensors())]
        module = modules.setdefault(op.module, len(modules))
        ops.append([calls[key], PHASES.index(op.phase), module, op.repeat, storages])
    return {
        "schema": f"{SCHEMA}/{SCHEMA_VERSION}",
        "name": job.name,
        "samples_per_step": job.samples_per_step,
        "samples_per_epoch": job.samples_per_epoch,
        "precision": job.precision,
        "layout": job.layout,
        "sample": job.sample,
        "source": job.source,
        "notes": list(job.notes),
        "options": {k: to_plain(v) for k, v in job.options.items()},
        "mode": job.graph.mode,
        "phases": list(PHASES),
        "modules": list(modules),
        "tensors": [
            [t.dtype, list(t.shape)] if t.stride is None else [t.dtype, list(t.shape), list(t.stride)]
            for t, _ in tensors
        ],
        "calls": call_forms,
        "ops": ops,
        "storages": [[s.nbytes, STORAGE_KINDS.index(s.kind), s.allocated_at, s.freed_at] for s in job.graph.storages],
        "storage_kinds": list(STORAGE_KINDS),
    }


def _side_by_side(job: Job, beside: Job) -> Iterator[tuple[Op, Op]]:
    """Yield each op with that of the same job at another batch."""
    if beside is job:
        yield from ((op, op) for op in job.graph.ops)
        return
    here, there = job.graph.ops, beside.graph.ops
    for index, (op, twin) in enumerate(zip(here, there, strict=False)):
        if _frame(op) != _frame(twin):
            raise GraphError(f"Op {index} is {op.name} at the one batch and {twin.name} at the other, or takes others.")
        yield op, twin
    if len(here) != len(there):
        raise GraphError(f"The step has {len(here):,} ops at the one batch and {len(there):,} at the other.")


def _frame(op: Op) -> tuple[object, ...]:
    """Return what is the same of an op at every batch."""
    inputs = [(name, [t is None for t in _listed(value)]) for name, value in op.inputs.items()]
    return op.name, inputs, [t is None for t in op.outputs]


def _listed(value: Input) -> tuple[Tensor | None, ...]:
    return (value,) if isinstance(value, Tensor) else value


def job_from_document(document: object) -> Job:
    """Return the checked job of its JSON form.

    Raises:
        SchemaError: If the document is of another kind or newer.
        GraphError: If it is broken; the message names what is missing or wrong.
    """
    form = check_schema(document, SCHEMA, SCHEMA_VERSION)
    try:
        job = _read(form)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise GraphError(
            f"Broken {form['schema']} document: {fault(error)}. "
            "Save the job once more: whichgpu capture SCRIPT.py -o FILE"
        ) from error
    check(job)
    return job


def fault(error: Exception) -> str:
    """Return what was wrong in a document, of the error that reading it ended in."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, IndexError):
        return "a number points at nothing in its list"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return f"a value is not what stands there in such a document ({error})"


def _read(form: Document) -> Job:
    tensors = [read_tensor(t) for t in form["tensors"]]
    calls = [
        (
            read_text(name),
            {k: _indexed(v, tensors) for k, v in inputs.items()},
            [None if i is None else tensors[_index(i)] for i in outputs],
            {k: from_plain(v) for k, v in attributes.items()},
        )
        for name, inputs, outputs, attributes in form["calls"]
    ]
    modules = [read_text(name) for name in form["modules"]]
    phases = cast("list[Phase]", [read_text(name) for name in form["phases"]])
    kinds = cast("list[StorageKind]", [read_text(name) for name in form["storage_kinds"]])
    ops: list[Op] = []
    for call, phase, module, repeat, storages in form["ops"]:
        name, inputs, outputs, attributes = calls[_index(call)]
        left = iter(storages)
        placed: dict[str, Input] = {k: _placed_input(v, left) for k, v in inputs.items()}
        results = tuple(None if t is None else _placed(t, left) for t in outputs)
        if next(left, left) is not left:
            raise ValueError(f"op {len(ops)} ({name}) has more storages than tensors")
        ops.append(
            Op(name, placed, results, attributes, phases[_index(phase)], modules[_index(module)], _count(repeat))
        )
    graph = Graph(
        tuple(ops),
        tuple(Storage(_count(n), kinds[_index(k)], _maybe(a), _maybe(f)) for n, k, a, f in form["storages"]),
        cast(Mode, form["mode"]),
    )
    return Job(
        name=read_text(form["name"]),
        graph=graph,
        samples_per_step=_count(form["samples_per_step"]),
        samples_per_epoch=_maybe(form["samples_per_epoch"]),
        precision=read_text(form["precision"]),
        layout=read_text(form["layout"]),
        sample=read_text(form["sample"]),
        source=read_text(form["source"]),
        notes=tuple(read_text(n) for n in form["notes"]),
        options=cast(Mapping[str, Attribute], {k: from_plain(v) for k, v in form["options"].items()}),
    )


def read_tensor(form: Any) -> Tensor:
    """Return the tensor of ``[dtype, shape]`` or ``[dtype, shape, stride]``."""
    dtype, shape, *stride = form
    return Tensor(_counts(shape), read_text(dtype), _counts(stride[0]) if stride else None)


def _indexed(value: Any, tensors: list[Tensor]) -> Input:
    if isinstance(value, list):
        return tuple(None if i is None else tensors[_index(i)] for i in value)
    return tensors[_index(value)]


def _placed(tensor: Tensor, left: Iterator[Any]) -> Tensor:
    try:
        storage = next(left)
    except StopIteration:
        raise ValueError("an op has fewer storages than tensors") from None
    return Tensor(tensor.shape, tensor.dtype, tensor.stride, _maybe(storage))


def _placed_input(value: Input, left: Iterator[Any]) -> Input:
    if isinstance(value, Tensor):
        return _placed(value, left)
    return tuple(None if t is None else _placed(t, left) for t in value)


def to_plain(value: Attribute) -> Any:
    """Return an attribute as JSON has it: tuples as lists."""
    return [to_plain(v) for v in value] if isinstance(value, tuple) else value


def from_plain(value: Any, depth: int = 0) -> Attribute:
    """Return the attribute that `to_plain` made `value` of; `depth` is how many lists it lies in.

    Raises:
        TypeError: If it is nothing an attribute may be.
        RecursionError: If lists lie in lists deeper than any attribute's, wherever Python itself would give up.
    """
    if isinstance(value, list):
        if depth == _DEEPEST:
            raise RecursionError
        return tuple(from_plain(v, depth + 1) for v in value)
    if isinstance(value, str):
        return read_text(value)
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return _count(value)
    raise TypeError(f"attribute {value!r}; expected a number, a string or a list of them")


_LARGEST = 2**63 - 1
_DEEPEST = 16


def read_text(value: Any) -> str:
    """Return `value` if it is text a file and a terminal take.

    Raises:
        TypeError: If it is no text.
        ValueError: If it holds half a character.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r}; expected text")
    if not value.isascii():
        value.encode()  # JSON may hold half a character, which no file and no terminal takes
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r}; expected a whole number")
    if abs(value) > _LARGEST:
        raise ValueError("a number beyond 64 bits")
    return value


def _index(value: Any) -> int:
    if _count(value) < 0:
        raise IndexError(f"index {value}")
    return cast(int, value)


def _maybe(value: Any) -> int | None:
    return None if value is None else _count(value)


def _counts(values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(_count(v) for v in values)

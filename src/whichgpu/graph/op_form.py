"""The JSON form of a single op, written out in full: for files that hold calls of their own, not a step.

``{"name": ..., "inputs": {name: tensor or list of tensors}, "outputs": [tensor or null], "attributes": {...}}``. A
tensor is ``[dtype, shape]`` or ``[dtype, shape, stride]``. Phase, module, repeat and storages are left out: they say
where in a step an op stands.
"""

from __future__ import annotations

from typing import Any

from whichgpu.errors import GraphError
from whichgpu.graph.json_form import Document, fault, from_plain, read_tensor, read_text, to_plain
from whichgpu.graph.op import Input, Op
from whichgpu.graph.tensor import Tensor, dtype_bytes


def op_to_form(op: Op) -> Document:
    """Return the JSON form of `op`, made of dicts, lists, strings and numbers only."""
    return {
        "name": op.name,
        "inputs": {
            name: _tensor_form(value) if isinstance(value, Tensor) else [_tensor_form(t) for t in value]
            for name, value in op.inputs.items()
        },
        "outputs": [_tensor_form(t) for t in op.outputs],
        "attributes": {name: to_plain(value) for name, value in op.attributes.items()},
    }


def op_from_form(form: Any) -> Op:
    """Return the op of its JSON form.

    Raises:
        GraphError: If it is broken, or a number format is unknown; the message says what is wrong.
    """
    try:
        inputs = {read_text(name): _input(value) for name, value in form["inputs"].items()}
        outputs = tuple(None if t is None else _known(t) for t in form["outputs"])
        attributes = {read_text(name): from_plain(value) for name, value in form["attributes"].items()}
        return Op(read_text(form["name"]), inputs, outputs, attributes)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise GraphError(f"Broken op: {fault(error)}.") from error


def _tensor_form(tensor: Tensor | None) -> list[Any] | None:
    if tensor is None:
        return None
    return [tensor.dtype, list(tensor.shape), *([] if tensor.stride is None else [list(tensor.stride)])]


def _input(value: Any) -> Input:
    if value and isinstance(value[0], str):
        return _known(value)
    return tuple(None if t is None else _known(t) for t in value)


def _known(form: Any) -> Tensor:
    tensor = read_tensor(form)
    dtype_bytes(tensor.dtype)
    if any(n < 0 for n in tensor.shape):
        raise ValueError(f"a negative size in {list(tensor.shape)}")
    if tensor.stride is not None and len(tensor.stride) != len(tensor.shape):
        raise ValueError(f"{len(tensor.stride)} strides for {len(tensor.shape)} dimensions")
    return tensor

"""Ops of the IR: one call into a framework's operator library, with its tensors and attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, TypeAlias

from whichgpu.errors import GraphError
from whichgpu.graph.tensor import Tensor

Phase = Literal["forward", "backward", "optimizer"]
PHASES: tuple[Phase, ...] = ("forward", "backward", "optimizer")

# What starting a CUDA graph is called; the ops it runs follow it, each with the attribute `REPLAYED`.
GRAPH_LAUNCH = "cuda.graph_launch"
REPLAYED = "replayed"

Attribute: TypeAlias = "bool | int | float | str | tuple[Attribute, ...] | None"
Input: TypeAlias = "Tensor | tuple[Tensor | None, ...]"


@dataclass(frozen=True, slots=True)
class Op:
    """One operator call.

    Attributes:
        name: The framework's own full name: "aten.addmm.default", "aten.mul.Tensor", "aten._foreach_add_.List".
            Copies between host and device are "memcpy.h2d" and "memcpy.d2h"; a cuDNN RNN is "aten._cudnn_rnn.default";
            the start of a CUDA graph is "cuda.graph_launch".
        inputs: Tensor arguments by the name the operator's schema gives them; a list of tensors is a tuple.
        outputs: Results in order; None where an operator returns nothing (a gradient nobody asked for).
        attributes: All other arguments that were given, by schema name, as plain JSON values.
        phase: Which part of a training step called it.
        module: Dotted path of the innermost module that called it, or "" if unknown.
        repeat: How often the very same call happens in a row; counted once here, multiplied once in estimate.
    """

    name: str
    inputs: Mapping[str, Input]
    outputs: tuple[Tensor | None, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    phase: Phase = "forward"
    module: str = ""
    repeat: int = 1

    @property
    def base_name(self) -> str:
        """The name without its overload: "aten.mul.Tensor" -> "aten.mul"."""
        return _base_name(self.name)

    @property
    def signature(self) -> tuple[object, ...]:
        """A hashable key of all that decides how much work the call is; phase, module and storages are left out."""
        return (self.name, tuple(self.inputs.items()), self.outputs, tuple(self.attributes.items()))

    def tensor(self, name: str) -> Tensor:
        """Return the tensor argument `name`.

        Raises:
            GraphError: If there is none, or it is a list of tensors.
        """
        found = self.inputs.get(name)
        if not isinstance(found, Tensor):
            raise GraphError(f"{self.name} has no tensor argument {name!r}; it has {', '.join(self.inputs) or 'none'}.")
        return found

    def output(self, index: int = 0) -> Tensor:
        """Return result `index`.

        Raises:
            GraphError: If there is none.
        """
        found = self.outputs[index] if index < len(self.outputs) else None
        if found is None:
            raise GraphError(f"{self.name} has no output {index}.")
        return found

    def tensors(self, name: str) -> tuple[Tensor, ...]:
        """Return the tensors of the list argument `name`, without its missing ones; empty if it was not given."""
        found = self.inputs.get(name, ())
        return (found,) if isinstance(found, Tensor) else tuple(t for t in found if t is not None)

    def input_tensors(self) -> Iterator[Tensor]:
        """Yield every input tensor, lists flattened."""
        for value in self.inputs.values():
            if isinstance(value, Tensor):
                yield value
            else:
                yield from (t for t in value if t is not None)

    def output_tensors(self) -> Iterator[Tensor]:
        """Yield every result that exists."""
        yield from (t for t in self.outputs if t is not None)


@cache
def _base_name(name: str) -> str:
    head, _, tail = name.partition(".")
    return f"{head}.{tail.split('.')[0]}"


def is_replayed(op: Op) -> bool:
    """Return whether a CUDA graph runs `op`, rather than the host."""
    return bool(op.attributes.get(REPLAYED, False))

"""Writing down the operators of one step as ops of the IR."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from whichgpu.capture.accumulation import GradientSums
from whichgpu.capture.op_traits import OpTraits
from whichgpu.capture.phantom_tensor import PhantomTensor
from whichgpu.graph import Op, Tensor

if TYPE_CHECKING:
    from whichgpu.capture.storages import Storages
    from whichgpu.graph import Attribute, Phase

# Arguments that say where a result lies or where random numbers come from, not what is computed.
_PLACEMENT = frozenset({"device", "pin_memory", "layout", "generator", "non_blocking"})


class Recorder:
    """The ops of one step.

    Attributes:
        ops: What has been recorded so far.
        phase: The part of the step that runs now, as far as hooks know.
        module: Path of the module that runs now.
        was_backward: Whether a backward pass has ended.
        sums: The ops in which autograd added gradients that met.
    """

    def __init__(self, storages: Storages) -> None:
        self.ops: list[Op] = []
        self.phase: Phase = "forward"
        self.was_backward = False
        self.module = ""
        self.sums = GradientSums()
        self._storages = storages
        self._dtypes: dict[torch.dtype, str] = {}

    def record(self, traits: OpTraits, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> None:
        """Append one call of an operator."""
        if traits.name.startswith("c10d."):
            # Between the processes of a group, which is a group of one here.
            return
        inputs: dict[str, Any] = {}
        attributes: dict[str, Attribute] = {}
        for name, value in (*zip(traits.arguments, args, strict=False), *kwargs.items()):
            if isinstance(value, torch.Tensor):
                inputs[name] = self._tensor(value)
                if getattr(value, "_is_param", False):
                    self._storages.mark(value, "parameter")
            elif isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
                inputs[name] = tuple(None if v is None else self._tensor(v) for v in value)
            elif value is not None and name not in _PLACEMENT and value != traits.defaults.get(name, _NO_DEFAULT):
                attributes[name] = _plain(value)
        op = Op(traits.name, inputs, self._outputs(out), attributes, self._phase(), self.module)
        if self.phase == "backward":
            self.sums.note(len(self.ops), op)
        self.append(op)

    def record_transfer(
        self, name: str, inputs: dict[str, torch.Tensor], out: torch.Tensor, *, non_blocking: bool = False
    ) -> None:
        """Append a copy between host and device."""
        if isinstance(out, PhantomTensor) and "src" not in inputs:
            self._storages.mark(out, "input")
        given = {k: self._tensor(v) for k, v in inputs.items()}
        attributes: dict[str, Attribute] = {"non_blocking": True} if non_blocking else {}
        self.append(Op(name, given, (self._tensor(out),), attributes, self._phase(), self.module))

    def _phase(self) -> Phase:
        # Clipping gradients and the like belongs to the update, and no hook tells of it.
        if self.phase == "forward" and self.was_backward and not self.module and not torch.is_grad_enabled():
            return "optimizer"
        return self.phase

    def append(self, op: Op) -> None:
        """Append one op."""
        self.ops.append(op)
        self._storages.clock = len(self.ops)

    def _outputs(self, out: Any) -> tuple[Tensor | None, ...]:
        if isinstance(out, torch.Tensor):
            return (self._tensor(out),)
        if not isinstance(out, (tuple, list)):
            return ()
        return tuple(self._tensor(o) if isinstance(o, torch.Tensor) else None for o in _flat(out))

    def _tensor(self, tensor: torch.Tensor) -> Tensor:
        dtype = self._dtypes.get(tensor.dtype)
        if dtype is None:
            dtype = self._dtypes[tensor.dtype] = str(tensor.dtype).removeprefix("torch.")
        return Tensor(
            tuple(tensor.shape),
            dtype,
            None if tensor.is_contiguous() else tensor.stride(),
            self._storages.index(tensor, self.phase) if isinstance(tensor, PhantomTensor) else None,
        )


_NO_DEFAULT = object()


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from value
        else:
            yield value


def _plain(value: Any) -> Attribute:
    """Return an argument as a plain JSON value."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        # JSON knows neither infinity nor NaN.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    return str(value).removeprefix("torch.")

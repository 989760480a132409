"""Ops of the IR really called: tensors made as they say, operators looked up by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whichgpu.graph import Attribute, Op, Tensor
from whichgpu.graph.op import Input

if TYPE_CHECKING:
    import torch

# What stands for a variance or a scale must be positive, and a mean near 0.
_ONES = ("var", "rstd", "invstd", "scale", "exp_avg_sqs")
_FEW_INTEGERS = 2


@dataclass(slots=True)
class Called:
    """A sequence of ops with tensors of its own, ready to be called.

    Attributes:
        calls: What to call, each with its arguments; those made by an earlier op are filled in when it has run.
        names: Of the operators.
        results: What each op of the last run returned, in order; kept only until the next run.
        nbytes: Of all tensors made.
    """

    calls: list[_Call]
    nbytes: int
    results: list[Any] = field(default_factory=list)

    def __call__(self) -> None:
        """Run the ops once."""
        made: dict[int, torch.Tensor] = {}
        self.results.clear()
        for call in self.calls:
            result = call.run(made)
            self.results.append(result)
            for place, storage in call.results:
                made[storage] = _flat(result)[place]

    def run_fast(self) -> Callable[[], object]:
        """Return what runs the ops with as little Python as there can be; a single op with fixed arguments is bare."""
        if len(self.calls) == 1 and not self.calls[0].filled:
            function, args, kwargs = self.calls[0].function, self.calls[0].args, self.calls[0].kwargs
            if not kwargs:
                return lambda: function(*args)
            return lambda: function(*args, **kwargs)
        return self

    def ops(self) -> tuple[Op, ...]:
        """Return the ops as they were called, with what they returned; call once before."""
        return tuple(call.op(result) for call, result in zip(self.calls, self.results, strict=True))


@dataclass(slots=True)
class _Call:
    name: str
    function: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    attributes: Mapping[str, Attribute]
    given: dict[str, Any]
    filled: list[tuple[str, int]]
    positions: Mapping[str, int]
    results: list[tuple[int, int]]

    def run(self, made: Mapping[int, torch.Tensor]) -> Any:
        for name, storage in self.filled:
            self.given[name] = made[storage]
            if name in self.positions:
                self.args[self.positions[name]] = made[storage]
            else:
                self.kwargs[name] = made[storage]
        return self.function(*self.args, **self.kwargs)

    def op(self, result: Any) -> Op:
        inputs: dict[str, Input] = {
            name: tuple(None if t is None else described(t) for t in value)
            if isinstance(value, (list, tuple))
            else described(value)
            for name, value in self.given.items()
        }
        outputs = tuple(described(r) if _is_tensor(r) else None for r in _flat(result)) if result is not None else ()
        return Op(self.name, inputs, outputs, dict(self.attributes))


class Operands:
    """Makes tensors on a device, and calls of them.

    Args:
        device: What torch calls it.
        below: Exclusive bound of the integers in an input, by its name.
    """

    def __init__(self, device: str, below: Mapping[str, int]) -> None:
        self._device = device
        self._below = below
        self._shared: dict[int, torch.Tensor] = {}
        self._nbytes = 0

    def prepare(self, setup: Sequence[Op], ops: Sequence[Op]) -> Called:
        """Return `ops` ready to be called, `setup` having run."""
        if setup:
            made: dict[int, torch.Tensor] = {}
            for op in setup:
                call = self._call(op, frozenset(made))
                result = call.run(made)
                made |= {storage: _flat(result)[place] for place, storage in call.results}
            self._shared |= made
        pending: set[int] = set()
        calls = []
        for op in ops:
            calls.append(self._call(op, frozenset(pending)))
            pending |= {storage for _, storage in calls[-1].results}
        return Called(calls, self._nbytes)

    def _call(self, op: Op, pending: frozenset[int]) -> _Call:
        import torch

        namespace, name, overload = op.name.split(".")
        function = getattr(getattr(getattr(torch.ops, namespace), name), overload)
        schema = [a for a in function._schema.arguments if not a.kwarg_only]
        positions = {a.name: index for index, a in enumerate(schema)}
        given: dict[str, Any] = {}
        filled = []
        for role, value in op.inputs.items():
            if not isinstance(value, Tensor):
                given[role] = [None if t is None else self._tensor(role, t) for t in value]
            elif value.storage in pending:
                assert value.storage is not None
                filled.append((role, value.storage))
                given[role] = None
            else:
                given[role] = self._tensor(role, value)
        values = {**given, **{role: _argument(value) for role, value in op.attributes.items()}}
        last = max((positions[n] for n in values if n in positions), default=-1)
        args = [values.get(a.name, _default(a)) for a in schema[: last + 1]]
        kwargs = {n: v for n, v in values.items() if n not in positions}
        results = [(i, t.storage) for i, t in enumerate(op.outputs) if t is not None and t.storage is not None]
        return _Call(op.name, function, args, kwargs, op.attributes, given, filled, positions, results)

    def _tensor(self, role: str, spec: Tensor) -> torch.Tensor:
        if spec.storage is not None and spec.storage in self._shared:
            return self._shared[spec.storage]
        tensor = self._filled(role, spec)
        self._nbytes += spec.nbytes
        if spec.storage is not None:
            self._shared[spec.storage] = tensor
        return tensor

    def _filled(self, role: str, spec: Tensor) -> torch.Tensor:
        """Return a tensor of random values: zeros would run faster than data does."""
        import torch

        dtype = getattr(torch, spec.dtype)
        stride = _contiguous(spec.shape) if spec.stride is None else spec.stride
        tensor = torch.empty_strided(spec.shape, stride, dtype=dtype, device=self._device)
        if not dtype.is_floating_point:
            bound = self._below.get(role, _FEW_INTEGERS)
            return tensor.copy_(torch.randint(0, bound, spec.shape, device=self._device))
        if any(word in role for word in _ONES):
            return tensor.fill_(1.0)
        if dtype.itemsize == 1:  # what 8-bit formats have no random numbers of
            return tensor.copy_(torch.randn(spec.shape, dtype=torch.float16, device=self._device))
        return tensor.normal_()


def described(tensor: torch.Tensor) -> Tensor:
    """Return what the IR says of a tensor."""
    shape = tuple(tensor.shape)
    stride = None if tensor.is_contiguous() else tuple(tensor.stride())
    return Tensor(shape, str(tensor.dtype).removeprefix("torch."), stride)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    from whichgpu.graph.tensor import contiguous_stride

    return contiguous_stride(shape)


def _default(argument: Any) -> Any:
    """Return the default of an argument that was not given; what has none and is a tensor is left undefined."""
    return argument.default_value if argument.has_default_value() else None


def _argument(value: Attribute) -> Any:
    """Return an attribute as torch takes it: names of number formats and memory formats as what they name."""
    import torch

    if isinstance(value, str):
        return getattr(torch, value)
    return list(value) if isinstance(value, tuple) else value


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]

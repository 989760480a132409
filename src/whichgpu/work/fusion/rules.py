"""Which rule lowers which op; what has none is a loop over elements if its work is one, else a call into a library."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from whichgpu.graph import Op, Tensor
from whichgpu.work.count import count_op
from whichgpu.work.fusion.program import Expression, Walk, merged
from whichgpu.work.traffic import lies_like

if TYPE_CHECKING:
    from whichgpu.work.fusion.lowering import Lowering

Rule = Callable[["Lowering", Op], None]
_RULES: dict[str, Rule] = {}
_FROM_MEMORY: set[str] = set()
# FLOPs that one more operation in the code of an element stands for, and how many an op stands for at most.
_FLOPS_AN_OPERATION = 8
_MOST_OPERATIONS = 12
# Operators whose formula names their input more than once; a long one is written to memory first, in float32.
_TWICE = frozenset(
    f"aten.{name}"
    for name in ("silu", "gelu", "mish", "hardswish", "elu", "celu", "leaky_relu", "softplus", "log_sigmoid_forward")
) | frozenset(
    f"aten.{name}_backward" for name in ("silu", "gelu", "mish", "hardswish", "elu", "leaky_relu", "softplus")
)
# Operators whose gradient asks for no more than a comparison of what they return, and that gradient.
_SIGNS = {"aten.relu": "aten.threshold_backward", "aten.hardtanh": "aten.hardtanh_backward"}


def lowers(*names: str, from_memory: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule for ops by base name.

    Args:
        names: Such as "aten.native_layer_norm".
        from_memory: Whether it takes its inputs from memory only: it is, or begins with, a call into a library.

    Raises:
        ValueError: If one of `names` has a rule already.
    """

    def register(rule: Rule) -> Rule:
        for name in names:
            if name in _RULES:
                raise ValueError(f"{name} has two rules of fusion: {_RULES[name].__module__} and {rule.__module__}.")
            _RULES[name] = rule
            if from_memory:
                _FROM_MEMORY.add(name)
        return rule

    return register


@cache
def _load_rules() -> None:
    import whichgpu.work.fusion as room

    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")


def rule_of(op: Op) -> Rule:
    """Return the rule that lowers `op`."""
    _load_rules()
    return _RULES.get(op.base_name) or (pointwise if is_pointwise(op) else library)


def needs_memory(op: Op) -> bool:
    """Return whether `op` takes its inputs from memory only."""
    return rule_of(op) is library or op.base_name in _FROM_MEMORY


def is_pointwise(op: Op) -> bool:
    """Return whether `op` computes every element alone, all its work being one pass."""
    if op.base_name in _RULES:
        return _RULES[op.base_name] is pointwise
    work = count_op(op, "bound")
    return not work.bounded and bool(work.kernels) and all(k.kind in ("elementwise", "copy") for k in work.kernels)


def pointwise(build: Lowering, op: Op) -> None:
    """(...), broadcast, -> (...): an expression its readers take in."""
    outs = tuple(op.output_tensors()) or op.tensors("self")
    inputs = [t for name in op.inputs if name != "out" for t in op.tensors(name)]
    mask = build.saving.masks.get(op.tensor("self").storage or -1) if op.base_name in _SIGNS.values() else None
    if mask is not None:
        out = op.output()
        build.layout.follow(op.tensor("grad_output"), out)
        parts = (build.expression(op.tensor("grad_output")), build.program.found(mask))
        build.bind(out, merged(parts, out.numel, out.dtype, count_op(op).flops, 2))
        return
    compute(build, op, inputs, outs)


def compute(build: Lowering, op: Op, inputs: list[Tensor], outs: tuple[Tensor, ...], walk: Walk = "") -> None:
    """Bind `outs` to what is computed from `inputs`, element by element.

    Args:
        build: What is being lowered.
        op: The op, whose FLOPs these are.
        inputs: What is read.
        outs: Results of one shape.
        walk: How the inputs are walked through where they are not of the results' shape.
    """
    if not outs or build.reuse(op, outs):
        return
    out = outs[0]
    for source in inputs:
        build.layout.follow(source, out)
    flops = count_op(op, "bound").flops
    length = 1 + min(int(flops / max(out.numel, 1)) // _FLOPS_AN_OPERATION, _MOST_OPERATIONS)
    twice = op.tensors("self") if op.base_name.removesuffix("_") in _TWICE else ()
    parts = [build.shared(t) if t in twice else build.expression(t, walk or walk_of(build, t, out)) for t in inputs]
    value = merged(parts, out.numel, out.dtype, flops, length)
    _keep_signs(build, op, out, value)
    for tensor in outs:
        build.bind(tensor, value)


def _keep_signs(build: Lowering, op: Op, out: Tensor, value: Expression) -> None:
    """Write a byte an element, if backward asks for no more of `out`."""
    gradient = _SIGNS.get(op.base_name.removesuffix("_"))
    later = build.later_readers(out)
    if gradient is not None and out.storage is not None and later and all(r.base_name == gradient for r in later):
        mask = build.saving.masks[out.storage] = build.write(value, value.numel)
        build.saving.keep(mask)


def walk_of(build: Lowering, source: Tensor, result: Tensor) -> Walk:
    """Return how a loop in the order of `result` walks through `source`."""
    return "" if lies_like(build.layout.placed(source), build.layout.placed(result)) else "copy"


def library(build: Lowering, op: Op) -> None:
    """Anything -> anything, by a kernel somebody else has written: inputs and results in memory."""
    reads = [build.memory(t) for t in op.input_tensors()]
    outs = tuple(op.output_tensors()) or op.tensors("self")
    for out in outs:
        for source in op.input_tensors():
            build.layout.follow(source, out)
    build.library(count_op(op, "bound").kernels, reads, outs)


def constant(build: Lowering, op: Op) -> None:
    """() -> (...): numbers made from their place, by whoever reads them."""
    for out in tuple(op.output_tensors()) or op.tensors("self"):
        build.bind(out, Expression(out.numel, out.dtype, flops=count_op(op, "bound").flops, length=1))

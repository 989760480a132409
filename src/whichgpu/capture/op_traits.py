"""What the schema of an operator says about it, looked up once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from whichgpu.capture.cuda_kernels import composite


@dataclass(frozen=True, slots=True)
class OpTraits:
    """The schema of one operator.

    Attributes:
        name: Its full name, "aten.addmm.default".
        arguments: Names of its arguments in order.
        defaults: Their default values, for those that have one.
        written: Names of the arguments it writes to.
        is_view: Whether its result shares storage with an argument it does not write.
        returns_nothing: Whether all it does is write to its arguments.
        is_random: Whether its result depends on random numbers.
        has_dynamic_shape: Whether the shape of its result depends on values.
        is_arithmetic: Whether it is a view, a copy or computes each element or a sum alone.
        composite: What it does by calling other operators, if it has no kernel of its own.
    """

    name: str
    arguments: tuple[str, ...]
    defaults: dict[str, Any]
    written: frozenset[str]
    is_view: bool
    returns_nothing: bool
    is_random: bool
    has_dynamic_shape: bool
    is_arithmetic: bool
    composite: Callable[..., Any] | None

    @property
    def is_fresh(self) -> bool:
        """Whether all it does is make new tensors."""
        return not self.written and not self.is_view


# Arithmetic that torch does not tag as pointwise, and masks; the last is what a gradient scaler does to its scale.
_PLAIN = frozenset({"clone", "_to_copy", "copy_", "fill_", "zero_", "sum", "amax", "amin", "max", "min", "any", "all"})
_PLAIN |= {"cat", "stack", "tril", "triu", "fill_diagonal_", "_amp_update_scale_"}


@cache
def traits_of(func: Any) -> OpTraits:
    """Return the traits of an operator overload."""
    schema = func._schema
    name = schema.name.removeprefix("aten::")
    written = frozenset(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    aliased = any(a.alias_info is not None and not a.alias_info.is_write for a in schema.arguments)
    # _unsafe_view does not say in its schema that it returns its argument's storage.
    is_view = aliased or name == "_unsafe_view"
    return OpTraits(
        name=str(func),
        arguments=tuple(a.name for a in schema.arguments),
        defaults={a.name: a.default_value for a in schema.arguments if a.has_default_value()},
        written=written,
        is_view=is_view,
        returns_nothing=bool(written) and not schema.returns,
        is_random=torch.Tag.nondeterministic_seeded in func.tags,
        has_dynamic_shape=torch.Tag.dynamic_output_shape in func.tags,
        is_arithmetic=is_view or torch.Tag.pointwise in func.tags or name in _PLAIN,
        composite=composite(func),
    )

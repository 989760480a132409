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
    composite: Callable[..., Any] | None

    @property
    def is_fresh(self) -> bool:
        """Whether all it does is make new tensors."""
        return not self.written and not self.is_view


@cache
def traits_of(func: Any) -> OpTraits:
    """Return the traits of an operator overload."""
    schema = func._schema
    written = frozenset(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    aliased = any(a.alias_info is not None and not a.alias_info.is_write for a in schema.arguments)
    return OpTraits(
        name=str(func),
        arguments=tuple(a.name for a in schema.arguments),
        defaults={a.name: a.default_value for a in schema.arguments if a.has_default_value()},
        written=written,
        # Not annotated in its schema, though it returns its argument's storage in another shape.
        is_view=aliased or str(func).startswith("aten._unsafe_view"),
        returns_nothing=bool(written) and not schema.returns,
        is_random=torch.Tag.nondeterministic_seeded in func.tags,
        has_dynamic_shape=torch.Tag.dynamic_output_shape in func.tags,
        composite=composite(func),
    )

"""Which rule counts which op. Rules register themselves; a second rule for one op raises."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from whichgpu.graph import Op
from whichgpu.work.kernel import Work

Rule = Callable[[Op], Work]
_RULES: dict[str, Rule] = {}


def counts(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for ops, by base name ("aten.mm") or full name ("aten.sum.dim_IntList"); the full name wins.

    Raises:
        ValueError: If one of `names` has a rule already.
    """

    def register(rule: Rule) -> Rule:
        for name in names:
            if name in _RULES:
                raise ValueError(f"{name} has two work rules: {_RULES[name].__module__} and {rule.__module__}.")
            _RULES[name] = rule
        return rule

    return register


@cache
def _load_rules() -> None:
    import whichgpu.work as room

    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")


@cache
def _rule_named(name: str, base_name: str) -> Rule | None:
    _load_rules()
    return _RULES.get(name) or _RULES.get(base_name)


def rule_for(op: Op) -> Rule | None:
    """Return the rule that counts `op`, or None if there is none."""
    return _rule_named(op.name, op.base_name)


def known_ops() -> frozenset[str]:
    """Return the names of all ops that have a rule."""
    _load_rules()
    return frozenset(_RULES)

"""Changing a library when a script imports it: those it does not import are not loaded for it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from whichgpu.capture.patches import Patches

Action = Callable[[ModuleType], None]


def install(patches: Patches, actions: Mapping[str, Action]) -> None:
    """Call each action with its module once that has been imported; at once if it has been already.

    Args:
        patches: What is replaced, to be put back.
        actions: By the module's full name.
    """
    waiting = {}
    for name, action in actions.items():
        module = sys.modules.get(name)
        if module is None:
            waiting[name] = action
        else:
            action(module)
    patches.set(sys, "meta_path", [_Finder(waiting), *sys.meta_path])


class _Finder(MetaPathFinder):
    """Finds what the others find, and adds an action to the loading of some modules."""

    def __init__(self, actions: dict[str, Action]) -> None:
        self._actions = actions
        self._sought: set[str] = set()

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module that an action waits for; None for all others."""
        action = self._actions.get(fullname)
        if action is None or fullname in self._sought:
            return None
        self._sought.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._sought.discard(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        plain = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # Whoever reads the module's loader later finds it as it was.
            loader.__dict__.pop("exec_module", None)
            plain(module)
            # Only now: many a library asks whether a module could be imported, and never imports it.
            if self._actions.pop(fullname, None) is not None:
                action(module)

        loader.exec_module = exec_module
        return spec

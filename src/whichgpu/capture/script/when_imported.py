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

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module that an action waits for; None for all others."""
        action = self._actions.pop(fullname, None)
        if action is None:
            return None
        # No longer waited for, so this comes back here and goes on to the other finders.
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        plain = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # Whoever reads the module's loader later finds it as it was.
            loader.__dict__.pop("exec_module", None)
            plain(module)
            action(module)

        loader.exec_module = exec_module
        return spec

"""Ending a step where a function the user named returns: the function gets a decorator before it is compiled."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.machinery
import types
from collections.abc import Callable
from typing import Any

from whichgpu.capture.patches import Patches
from whichgpu.errors import OptionError

_DECORATOR = "__whichgpu_step__"


def install(patches: Patches, marker: str, on_return: Callable[[], None]) -> None:
    """Call `on_return` whenever the function `marker` ("module:function", "module:Class.method") returns."""
    module = marker.partition(":")[0]

    def decorate(plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = plain(*args, **kwargs)
            on_return()
            return result

        return wrapped

    patches.set(builtins, _DECORATOR, decorate)
    if module == "__main__":
        return
    loader = importlib.machinery.SourceFileLoader
    plain_code = loader.get_code

    def find_code(self: Any, fullname: str) -> Any:
        if fullname != module:
            return plain_code(self, fullname)
        path = self.get_filename(fullname)
        return mark_function(self.get_data(path), path, marker)

    patches.set(loader, "get_code", find_code)


def mark_function(source: bytes, path: str, marker: str) -> types.CodeType:
    """Return the code of a module in which the function of `marker` tells when it returns.

    Raises:
        OptionError: If the module defines no such function.
    """
    tree = ast.parse(source, path)
    name = marker.partition(":")[2]
    body: Any = tree
    for part in name.split("."):
        found = [
            node for node in ast.walk(body) if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part
        ]
        if not found:
            raise OptionError(f"--step-marker {marker}: {path} defines no function {name}.")
        body = found[-1]
    if not isinstance(body, ast.FunctionDef):
        raise OptionError(f"--step-marker {marker}: {name} in {path} is no function.")
    decorator = ast.Name(_DECORATOR, ast.Load())
    body.decorator_list.append(ast.copy_location(decorator, body))
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

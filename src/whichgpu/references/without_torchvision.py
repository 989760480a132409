"""Importing a library that names torchvision at its top, where torchvision is missing or does not fit torch.

timm runs nothing of torchvision to build a model: it names transforms, data sets and a norm it may meet. Beside a CPU
build of torch the wheel of the package index does not load, and as long as it is installed transformers does neither.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_NAME = "torchvision"


@contextmanager
def names_of_torchvision() -> Iterator[None]:
    """Let `import torchvision` succeed: the real one where it loads, else empty classes of any name asked for.

    On leaving, nothing empty is left for others to import.
    """
    if _loads():
        yield
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget()


def _loads() -> bool:
    try:
        __import__(_NAME)
    except (ImportError, RuntimeError, OSError):
        # What was loaded before it failed.
        _forget()
        return False
    return True


def _forget() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == _NAME]:
        del sys.modules[name]


class _Names(type):
    """Classes that have an attribute of any name: members of enumerations, mostly."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _Module(ModuleType):
    __path__: list[str] = []  # noqa: RUF012  # a package: it has modules of any name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = _Names(name, (), {})
        setattr(self, name, found)
        return found


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision and every module of it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != _NAME:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as empty as it is."""

"""Sizes, names and docstrings of files; which file may spell what."""

import ast
import importlib
import inspect
import re
import sys

import pytest

from tests.architecture.source import PACKAGE, TESTS, files, module_name, names, room, tree

MAX_LINES = 600
P95_LINES = 400
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base", "core", "types", "constants"}
# Prefixes and clock units are turned in one file.
SPELLED_IN_UNITS = {1e9, 1e12, 1e15, 1024**2, 1024**3, 1024**4, 3600, 86400}
POWERS = {(1024, 2), (1024, 3), (10, 9), (10, 12), (2, 20), (2, 30), (1, 20), (1, 30)}

ALL = [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in files()]


def lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_small():
    for group in (files(), sorted(TESTS.rglob("*.py"))):
        sizes = sorted((lines_of(path), path) for path in group)
        assert sizes[-1][0] <= MAX_LINES, sizes[-1]
        assert sizes[int(0.95 * (len(sizes) - 1))][0] <= P95_LINES


def test_no_file_has_a_name_that_says_nothing():
    for path in (*files(), *TESTS.rglob("*.py")):
        assert not {path.stem.removeprefix("test_"), path.parent.name} & FORBIDDEN, path


@pytest.mark.parametrize("path", ALL)
def test_only_units_spells_prefixes(path):
    if path.name == "units.py":
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            where = f"{path}:{node.lineno}: {node.value}; take it from whichgpu.units"
            assert node.value not in SPELLED_IN_UNITS, where
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.LShift):
            left, right = (n.value if isinstance(n, ast.Constant) else None for n in (node.left, node.right))
            assert (left, right) not in POWERS, f"{path}:{node.lineno}: {left} to the {right}; take it from units"


def public(node, inside=""):
    """Yield every public function, class and method below `node`, with its dotted name."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            overload = any("overload" in ast.dump(d) or "setter" in ast.dump(d) for d in child.decorator_list)
            if not overload:
                yield f"{inside}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{inside}{child.name}.")


@pytest.mark.parametrize("path", ALL)
def test_every_public_name_is_documented(path):
    assert ast.get_docstring(tree(path)), f"{path}: no docstring"
    for name, node in public(tree(path)):
        text = ast.get_docstring(node)
        assert text, f"{path}:{node.lineno}: {name} has no docstring"
        assert re.match(r"[A-Z`0-9\"(]|whichgpu|[a-z0-9-]+:", text), f"{path}:{node.lineno}: {name}"


def test_every_exported_name_is_there_and_no_module_of_the_same_name_hides_it():
    for name in sorted(names()):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:  # of capture, where torch is not installed
            assert (error.name, room(name)) == ("torch", "capture")
    for path in files():
        if path.name == "__init__.py":
            package = sys.modules[module_name(path)]
            for name in getattr(package, "__all__", ()):
                assert not inspect.ismodule(getattr(package, name)), f"{package.__name__}.{name}"

"""The package's source files, parsed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "whichgpu"
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Import:
    """One imported module; `late` if loading the file does not run it: in a function, or under TYPE_CHECKING."""

    module: str
    line: int
    late: bool
    typing_only: bool


@cache
def files() -> tuple[Path, ...]:
    """Return every Python file of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    """Return the dotted name of a file: src/whichgpu/cli/main.py -> whichgpu.cli.main."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """Return the room a module stands in: whichgpu.cli.main -> cli; "" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Return all imports of a file; those of names are resolved to modules where they are modules."""
    return tuple(_walk(tree(path), path, late=False, typing_only=False))


def _walk(node: ast.AST, path: Path, late: bool, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, late, typing_only)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"{path}:{child.lineno}: relative import"
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                yield Import(full if full in names() else str(child.module), child.lineno, late, typing_only)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _walk(child, path, True, typing_only)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for part in child.body:
                yield from _walk(ast.Module([part], []), path, True, True)
            for part in child.orelse:
                yield from _walk(ast.Module([part], []), path, late, typing_only)
        else:
            yield from _walk(child, path, late, typing_only)


@cache
def names() -> frozenset[str]:
    """Return the dotted names of all modules of the package."""
    return frozenset(map(module_name, files()))

"""Jobs that others published timings of, by the names measurements give them: "timm:resnet50", "hf:bert_large".

Adding one touches one file: a module here with ``NAMES``, the references it defines ("timm:*" for a whole library), and
``steps(reference)``. Only what is asked for imports a framework.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType

from whichgpu.errors import UnknownNameError
from whichgpu.references.reference import Reference, Step, Steps

__all__ = ["Reference", "Step", "Steps", "build", "is_known", "source_sum"]


@cache
def _modules() -> dict[str, ModuleType]:
    found = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return {name: module for module in found for name in getattr(module, "NAMES", ())}


def _module(name: str) -> ModuleType | None:
    return _modules().get(name) or _modules().get(f"{name.partition(':')[0]}:*")


def is_known(name: str) -> bool:
    """Return whether a definition answers to `name`; whether a library has such a model shows when it is built."""
    return _module(name) is not None


def build(reference: Reference) -> Steps:
    """Return the job's model on the "cuda" device of the phantom GPU, and what makes steps of it at any batch.

    Raises:
        UnknownNameError: If nothing here defines it.
        MissingExtraError: If the library it is built with is not installed.
    """
    module = _module(reference.name)
    if module is None:
        raise UnknownNameError("published job", reference.name, _modules())
    found: Steps = module.steps(reference)
    return found


def source_sum(reference: Reference) -> str:
    """Return a checksum of the code a job is defined in: what is kept of it is stale when that changes."""
    from whichgpu.references import loops

    module = _module(reference.name)
    return "".join(_code_sum(str(m.__file__)) for m in (module, loops) if m is not None)


@cache
def _code_sum(path: str) -> str:
    """Return a checksum of the code in a file, without its comments, docstrings and line breaks."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()

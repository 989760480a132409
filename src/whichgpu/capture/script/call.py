"""What a person would type after `python`: a script or a module, and its arguments; or the cells of a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One call of a training script.

    Attributes:
        target: Path of the script, or name of the module.
        arguments: What follows it, verbatim.
        is_module: Whether `target` is a module's name (`python -m`).
        folder: Folder it is called in, absolute.
        cells: Cells of a notebook in the order they ran, the one that trains last; then there is no script.
    """

    target: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False
    folder: str = ""
    cells: tuple[str, ...] = ()

    @classmethod
    def of_cells(cls, cells: Sequence[str]) -> ScriptCall:
        """Return the call of a notebook's cells, in the current folder."""
        return cls("", folder=str(Path.cwd()), cells=tuple(cells))

    @classmethod
    def here(cls, target: str, arguments: Sequence[str] = (), *, is_module: bool = False) -> ScriptCall:
        """Return the call as made in the current folder."""
        return cls(target, tuple(arguments), is_module, str(Path.cwd()))

    @property
    def name(self) -> str:
        """What to call the job: "train.py", "package.train", "this cell"."""
        if self.cells:
            return "this cell"
        return self.target if self.is_module else Path(self.target).name

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "target": self.target,
            "arguments": list(self.arguments),
            "is_module": self.is_module,
            "folder": self.folder,
            "cells": list(self.cells),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ScriptCall:
        """Return what `to_document` described."""
        arguments, cells = tuple(document["arguments"]), tuple(document["cells"])
        return cls(document["target"], arguments, document["is_module"], document["folder"], cells)

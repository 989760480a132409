"""What a person would type after `python`: a script or a module, and its arguments."""

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
    """

    target: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False
    folder: str = ""

    @classmethod
    def here(cls, target: str, arguments: Sequence[str] = (), *, is_module: bool = False) -> ScriptCall:
        """Return the call as made in the current folder."""
        return cls(target, tuple(arguments), is_module, str(Path.cwd()))

    @property
    def name(self) -> str:
        """What to call the job: "train.py", "package.train"."""
        return self.target if self.is_module else Path(self.target).name

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "target": self.target,
            "arguments": list(self.arguments),
            "is_module": self.is_module,
            "folder": self.folder,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ScriptCall:
        """Return what `to_document` described."""
        return cls(document["target"], tuple(document["arguments"]), document["is_module"], document["folder"])

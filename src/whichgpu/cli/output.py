"""Where a command's result goes: stdout or a file; and what stderr may be told beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from whichgpu.errors import OutputError

if TYPE_CHECKING:
    from whichgpu.report import Page

_FORMAT_BY_SUFFIX = {".json": "json", ".csv": "csv", ".md": "md"}


class Output:
    """The place a result is written to; whether that will work is found out before any long work.

    Args:
        path: A file, or None for stdout.
        option: The option that named it, for what is said where it cannot be written to.

    Raises:
        OutputError: If nothing can be written there.
    """

    def __init__(self, path: Path | None, option: str = "-o") -> None:
        self.path = path
        self._option = option
        if path is not None:
            _check_writable(path, option)
        elif sys.stdout is None:
            raise OutputError("There is no stdout to write to: it is closed. Name a file with -o.")

    @property
    def default_format(self) -> str:
        """The format a file's name speaks of; a table otherwise."""
        return _FORMAT_BY_SUFFIX.get(self.path.suffix.lower(), "table") if self.path else "table"

    def page(self) -> Page:
        """Return how wide the place is and whether it is coloured: a file is neither."""
        from shutil import get_terminal_size

        from whichgpu.report import Page

        if self.path is not None:
            return Page()
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        return Page(width=get_terminal_size().columns, color=sys.stdout.isatty() and not plain)

    def write(self, text: str) -> None:
        """Write the result, whole or not at all where the file system allows it.

        Raises:
            OutputError: If that failed.
        """
        if self.path is None:
            _print(text)
            return
        try:
            if self.path.exists() and not self.path.is_file():
                self.path.write_text(text, encoding="utf-8")
                return
            part = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            try:
                part.write_text(text, encoding="utf-8")
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot(self.path, error, self._option) from error
        tell(f"Wrote {self.path}")


def tell(message: str) -> None:
    """Print a note on stderr where a person sits in front of it."""
    if sys.stderr.isatty():
        typer.echo(message, err=True)


def _print(text: str) -> None:
    try:
        typer.echo(text, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever read has what they wanted
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        raise OutputError(f"Cannot write to stdout: {error.strerror}. Name a file with -o.") from error


def _check_writable(path: Path, option: str) -> None:
    try:
        if path.is_dir():
            raise OutputError(f"Cannot write to {path}: it is a folder. Give the name of a file.")
        if not path.parent.is_dir():
            raise OutputError(f"Cannot write to {path}: there is no folder {path.parent}. Make it first.")
        if path.exists() and not path.is_file():
            return  # a pipe or a device: opening it may already do something
        # Asking for permission is not enough (a read-only file system, root): try it, and leave nothing behind.
        if path.exists():
            with path.open("ab"):
                pass
        probe = path.with_name(f".{path.name}.{os.getpid()}")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _cannot(path, error, option) from error


def _cannot(path: Path, error: OSError, option: str) -> OutputError:
    return OutputError(f"Cannot write to {path}: {error.strerror or error}. Choose another place with {option}.")

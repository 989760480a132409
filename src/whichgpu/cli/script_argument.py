"""A training script on the command line: what stands before it is ours, all that stands after it is the script's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.core

from whichgpu.errors import OptionError

if TYPE_CHECKING:
    from whichgpu.capture.script import ScriptCall

_KEY = "whichgpu.script"
_MODULE = "-m"
# What people write before a script; this Python runs it all the same.
_INTERPRETER = re.compile(r"python(3(\.\d+)?)?(\.exe)?")
_LAUNCHERS = frozenset({"torchrun", "accelerate"})


class ScriptCommand(typer.core.TyperCommand):
    """A command that takes a script, or `-m` and a module, with arguments of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Cut the script and all that follows it off, and parse the rest."""
        ours, script = split(args, self._options_with_values())
        ctx.meta[_KEY] = script
        parsed: list[str] = super().parse_args(ctx, ours)
        return parsed

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the pieces of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[SCRIPT.py | -m MODULE] [ITS ARGUMENTS]"]

    def _options_with_values(self) -> frozenset[str]:
        return frozenset(
            name
            for parameter in self.params
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
            for name in (*parameter.opts, *parameter.secondary_opts)
        )


def split(arguments: Sequence[str], with_values: frozenset[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return our arguments, and the script's call: ("train.py", ...), ("-m", "module", ...) or ().

    Args:
        arguments: All of them.
        with_values: Names of our options whose value may be the next argument.
    """
    takes_value = False
    for index, argument in enumerate(arguments):
        if takes_value:
            takes_value = False
        elif _INTERPRETER.fullmatch(Path(argument).name) and (called := _of_interpreter(arguments[index + 1 :])):
            return list(arguments[:index]), called
        elif argument == _MODULE or (not argument.startswith("-") and is_script(argument)):
            return list(arguments[:index]), tuple(arguments[index:])
        else:
            takes_value = argument in with_values
    return list(arguments), ()


def _of_interpreter(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return what an interpreter is told to run, without its own switches; () if that is no script."""
    left = list(arguments)
    while left and left[0].startswith("-") and left[0] != _MODULE:
        del left[: 2 if left[0] in ("-W", "-X") else 1]
    return tuple(left) if left and (left[0] == _MODULE or is_script(left[0])) else ()


def is_script(argument: str) -> bool:
    """Return whether `argument` is a program rather than a job: a file for Python, a package's folder, a launcher."""
    path = Path(argument)
    return path.suffix in (".py", ".pyw") or path.name in _LAUNCHERS or is_package(argument) or _is_program(path)


def _is_program(path: Path) -> bool:
    """Return whether a file says by its first line that Python runs it, as installed commands do."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            first = file.readline(256)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first


def is_package(folder: str) -> bool:
    """Return whether `folder` is one that Python can run."""
    try:
        return (Path(folder) / "__main__.py").is_file()
    except OSError:  # a name no file can have, or a folder that may not be read
        return False


def script_call(context: typer.Context) -> ScriptCall | None:
    """Return the script the user named, or None.

    Raises:
        OptionError: If there is no such file, or `-m` has no module.
    """
    from whichgpu.capture.script import ScriptCall

    given: tuple[str, ...] = context.meta.get(_KEY, ())
    if not given:
        return None
    if given[0] == _MODULE:
        if len(given) == 1:
            raise OptionError("-m needs the name of a module, such as: whichgpu compare -m package.train")
        return ScriptCall.here(given[1], given[2:], is_module=True)
    is_launcher = Path(given[0]).name in _LAUNCHERS
    try:
        is_there = is_launcher or Path(given[0]).exists()
    except OSError as error:
        raise OptionError(f"Cannot read {given[0]}: {error.strerror}.") from None
    if not is_there:
        raise OptionError(f"There is no file {given[0]}.")
    if not is_launcher and Path(given[0]).is_dir() and not is_package(given[0]):
        raise OptionError(f"{given[0]} is a folder without a __main__.py. Give a script, such as {given[0]}/train.py.")
    return ScriptCall.here(given[0], given[1:])

"""The `whichgpu` command: its sub-commands, and what becomes of errors.

Every command imports the rooms it needs inside its function, so that ``whichgpu --help`` is there at once.
"""

from __future__ import annotations

import errno
import gc
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from whichgpu import __version__
from whichgpu.cli.cache import cache
from whichgpu.cli.calibrate import calibrate
from whichgpu.cli.capture import capture
from whichgpu.cli.compare import compare
from whichgpu.cli.devices import devices
from whichgpu.cli.fit import fit
from whichgpu.cli.jobs import jobs
from whichgpu.cli.measure import measure
from whichgpu.cli.offers import offers
from whichgpu.cli.script_argument import ScriptCommand
from whichgpu.cli.validate import validate
from whichgpu.errors import ScriptError, WhichGpuError

BAD_INPUT = 2

app = typer.Typer(
    name="whichgpu",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (devices, offers, measure, calibrate, jobs, validate):
    app.command()(command)
app.command(cls=ScriptCommand)(compare)
app.command(cls=ScriptCommand)(capture)
app.command(cls=ScriptCommand)(fit)
app.add_typer(cache)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"whichgpu {__version__}")
        raise typer.Exit


@app.callback()
def whichgpu(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Would a GPU help my training job, which one, how long, how much money, and why?

    Measured on this CPU, predicted on every GPU. Start with: whichgpu compare
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code.

    0 done, 1 a bug (the traceback is saved and its place printed), 2 bad input, 130 interrupted by Ctrl-C. A training
    script that fails: its own.

    Args:
        arguments: Without the program's name; those of the process by default.

    Raises:
        SystemExit: Always.
    """
    # A graph is many thousands of small objects that hold no cycles; looking for some takes a tenth of the time.
    gc.set_threshold(20_000)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a sign shows a question mark; a result must not end in a traceback for it.
            stream.reconfigure(errors="replace")
    try:
        app(args=None if arguments is None else list(arguments), prog_name="whichgpu")
    except ScriptError as error:
        if error.details:
            typer.echo(error.details, err=True)
        _complain(str(error))
        sys.exit(error.exit_code or BAD_INPUT)
    except WhichGpuError as error:
        _complain(str(error))
        sys.exit(BAD_INPUT)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):
            _complain(f"cannot write: {error.strerror}.")
            sys.exit(BAD_INPUT)
        _report(error)
        sys.exit(1)


def _complain(message: str) -> None:
    typer.echo(f"whichgpu: {message}", err=True)


def _report(error: Exception) -> None:
    """Save the traceback, and tell the user where it is and what to do with it."""
    import platform
    import tempfile
    import traceback

    lines = [
        f"whichgpu {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"arguments: {sys.argv[1:]}",
        "",
        "".join(traceback.format_exception(error)),
    ]
    _complain(f"this is a bug in whichgpu: {type(error).__name__}: {error}")
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="whichgpu-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write("\n".join(lines))
    except OSError:
        typer.echo("\n".join(lines), err=True)
        typer.echo("Please open an issue with the text above and what you expected.", err=True)
        return
    typer.echo(f"Please open an issue with what you expected and the file {file.name}", err=True)

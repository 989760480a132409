"""`%load_ext whichgpu` in a notebook: `%%whichgpu` compares what its cell trains."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whichgpu.capture.script import ScriptCall
    from whichgpu.comparison import Comparison

NAME = "whichgpu"


def load(shell: Any) -> None:
    """Give an IPython shell the magic `%%whichgpu`; in cells that run again for a pass, it does nothing.

    Args:
        shell: The running `InteractiveShell`.
    """
    from whichgpu.capture.script.as_notebook import RUNNING

    if RUNNING not in os.environ:
        shell.register_magic_function(lambda line, cell: compare_cell(shell, line, cell), "cell", NAME)


def compare_cell(shell: Any, line: str, cell: str) -> None:
    """Run the cells of a notebook, and `cell` after them, in two passes; show the comparison.

    The notebook itself is left as it is: its cells run again in processes of their own, `cell` only there.

    Args:
        shell: The running `InteractiveShell`.
        line: Options of `whichgpu compare`.
        cell: The code that trains.

    Raises:
        UsageError: Of IPython, which shows its message alone, if an option is wrong or no step was seen.
    """
    import click
    from IPython.core.error import UsageError

    from whichgpu.capture.script import ScriptCall
    from whichgpu.errors import ScriptError, WhichGpuError

    try:
        found = compare_call(line, ScriptCall.of_cells([*cells_before(shell), cell]))
    except ScriptError as error:
        sys.stderr.write(f"{error.details}\n")
        raise UsageError(str(error)) from None
    except (WhichGpuError, ValueError) as error:
        raise UsageError(str(error)) from None
    except click.exceptions.Exit:
        return
    except click.ClickException as error:
        raise UsageError(error.format_message()) from None
    show(found)


def cells_before(shell: Any) -> list[str]:
    """Return the cells a notebook has run, in order, the one that runs now left out."""
    *before, _ = shell.history_manager.input_hist_raw
    return [cell for cell in before if cell.strip()]


def compare_call(line: str, call: ScriptCall) -> Comparison:
    """Return the comparison of `call` with options of `whichgpu compare`.

    Raises:
        OptionError: If an option makes no sense for a cell.
        ScriptError: If no step was seen.
    """
    from typer.main import get_command

    from whichgpu.capture.script import ScriptOptions
    from whichgpu.cli.compare import Request, devices_asked
    from whichgpu.cli.main import app
    from whichgpu.errors import OptionError

    command: Any = get_command(app)
    context = command.commands["compare"].make_context(f"%%{NAME}", shlex.split(line))
    given = context.params
    for name in ("jobs", "output", "form"):
        if given[name]:
            raise OptionError(f"%%{NAME} compares its cell alone and shows a table: leave out {given[name]}.")
    request = Request(
        devices_asked(given["device"] or [], given["device_file"] or []),
        *(given[name] for name in ("batch", "precision", "layout", "epochs", "allow_fallback")),
        *(given[name] for name in ("no_own_measurements", "ignore_memory")),
    )
    options = ScriptOptions(
        steps_per_epoch=given["steps_per_epoch"],
        samples_per_step=given["samples_per_step"],
        step_marker=given["step_marker"],
        timeout_s=given["timeout"],
        allow_writes=given["allow_writes"],
        phantom_only=given["phantom_only"] or given["no_measure"],
        seconds=given["measure_seconds"],
    )
    return request.script(call, options, not given["no_cache"], _say)


def show(found: Comparison) -> None:
    """Show a comparison: as HTML where there is a browser, as text elsewhere."""
    from IPython import display

    from whichgpu.report import Page, render

    text = render([found], "table", Page())
    publish: Any = display.publish_display_data
    publish({"text/plain": text, "text/html": found._repr_html_()})


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")

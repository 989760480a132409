"""`%load_ext whichgpu` in a notebook: `%%whichgpu` compares what its cell trains."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whichgpu.capture.script import ScriptOptions
    from whichgpu.cli.compare import Request
    from whichgpu.comparison import Comparison

NAME = "whichgpu"


def load(shell: Any) -> None:
    """Give an IPython shell the magic `%%whichgpu`; in cells that run again for a pass, it does nothing.

    Args:
        shell: The running `InteractiveShell`.
    """
    from whichgpu.capture.script.child import RUNNING

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
    import typer
    from IPython.core.error import UsageError

    from whichgpu.capture.script import ScriptCall
    from whichgpu.errors import ScriptError, WhichGpuError

    try:
        wanted = asked(line)
        call = ScriptCall.of_cells([*cells_before(shell), cell])
        found = wanted.request.script(call, wanted.options, wanted.use_cache, say)
    except ScriptError as error:
        say(error.details)
        raise UsageError(str(error)) from None
    except WhichGpuError as error:
        raise UsageError(str(error)) from None
    except typer.Exit:
        # It was asked for help, and gave it.
        return
    show(found)


def cells_before(shell: Any) -> list[str]:
    """Return the cells a notebook has run, in order, the one that runs now left out."""
    *before, _ = shell.history_manager.input_hist_raw
    return [cell for cell in before if cell.strip()]


@dataclass(frozen=True, slots=True)
class Asked:
    """What options of `whichgpu compare` ask for.

    Attributes:
        request: What is compared.
        options: What they say about the program.
        use_cache: Whether what was kept of it will do.
    """

    request: Request
    options: ScriptOptions
    use_cache: bool

    def check_in_place(self) -> None:
        """Raise `OptionError` if an option makes no sense for a program that already runs."""
        from whichgpu.cli.script_job import check_options
        from whichgpu.errors import OptionError

        self.request.check_script()
        check_options(self.options)
        if self.options.step_marker:
            raise OptionError("--step-marker is of `whichgpu compare SCRIPT`: a program that runs cannot be marked.")


def asked(line: str) -> Asked:
    """Return what options of `whichgpu compare` ask for.

    Raises:
        OptionError: If one is not known, has no such value or makes no sense where a table is shown of what runs here.
    """
    import typer
    from typer.main import get_command

    from whichgpu.capture.script import ScriptOptions
    from whichgpu.cli.compare import Request, devices_asked
    from whichgpu.cli.main import app
    from whichgpu.errors import OptionError

    # Typer brings click, in newer releases one of its own.
    bad_usage: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    command: Any = get_command(app)
    try:
        given = command.commands["compare"].make_context(f"%%{NAME}", shlex.split(line)).params
    except bad_usage as error:
        raise OptionError(error.format_message()) from None
    except ValueError as error:
        raise OptionError(f"{line}: {error}.") from None
    for name in ("jobs", "output", "form"):
        if given[name]:
            raise OptionError(f"%%{NAME} compares one job and shows a table: leave out {given[name]}.")
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
    return Asked(request, options, not given["no_cache"])


def show(found: Comparison) -> None:
    """Show a comparison: as HTML where there is a browser, as text elsewhere."""
    from IPython import display

    from whichgpu.report import Page, render

    text = render([found], "table", Page())
    publish: Any = display.publish_display_data
    publish({"text/plain": text, "text/html": found._repr_html_()})


def say(line: str) -> None:
    """Tell a person who sits before a notebook what is going on."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201

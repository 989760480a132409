"""`whichgpu.install()`: the program that calls it is watched while it trains, and compared."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichgpu.cli.notebook import Asked, asked, cells_before, say, show
from whichgpu.errors import OptionError, ScriptError, WhichGpuError

if TYPE_CHECKING:
    from whichgpu.capture.script import ScriptCall
    from whichgpu.capture.script.in_place import InPlace
    from whichgpu.capture.script.outcome import PassOutcome


def install(line: str) -> None:
    """Watch the training of this program; `whichgpu.install` describes it.

    Args:
        line: Options of `whichgpu compare`.

    Raises:
        OptionError: If an option makes no sense here, or there is nothing that could run once more.
        MissingExtraError: If torch is not installed.
    """
    from whichgpu.capture.patches import Patches
    from whichgpu.capture.script import when_imported
    from whichgpu.capture.script.child import RUNNING
    from whichgpu.capture.torch_versions import require_torch

    if RUNNING in os.environ or multiprocessing.parent_process() is not None or os.environ.get("RANK", "0") != "0":
        return
    require_torch()
    try:
        wanted = asked(line)
        wanted.check_in_place()
    except OptionError as error:
        raise OptionError(f"whichgpu.install({line!r}): {error}") from None
    shell = _shell()
    installed = _Installed(wanted, shell, None if shell is not None else _this_program())
    # Kept for as long as the program runs: torch may be imported at any time.
    when_imported.install(Patches(), {"torch": installed.watch})


class _Installed:
    """One call of `install`, until its comparison is shown.

    Args:
        wanted: What its options ask for.
        shell: The notebook's, or None in a program.
        call: The program, or None in a notebook.
    """

    # In a notebook the cell that installs may run again: what it asked for before is forgotten.
    _timing: InPlace | None = None

    def __init__(self, wanted: Asked, shell: Any, call: ScriptCall | None) -> None:
        self._wanted = wanted
        self._shell = shell
        self._call = call

    def watch(self, torch: Any) -> None:
        """Begin to time steps; torch has just been imported, or was before."""
        from whichgpu.capture.script.in_place import InPlace

        if _Installed._timing is not None:
            _Installed._timing.stop()
        timing = _Installed._timing = InPlace(self._wanted.options.seconds, self._compare)
        if self._shell is None:
            atexit.register(self._at_exit, timing)
        else:
            self._shell.events.register("post_run_cell", lambda result: self._after_cell(timing))

    @staticmethod
    def _after_cell(timing: InPlace) -> None:
        # What a notebook trains ends with a cell.
        if timing.watch.seen.intervals:
            timing.finish()

    @staticmethod
    def _at_exit(timing: InPlace) -> None:
        # Nobody who presses Ctrl-C wants to wait for more.
        if not isinstance(getattr(sys, "last_value", None), KeyboardInterrupt):
            timing.finish()

    def _compare(self, real: PassOutcome) -> None:
        from whichgpu.capture.script.passes import run_beside
        from whichgpu.cli.own import keep_measured
        from whichgpu.cli.script_job import free_bytes, measurements

        if not real.seen.intervals:
            say("whichgpu: no training step was seen.")
            return
        request = self._wanted.request
        try:
            found = run_beside(self._call or _cells(self._shell), self._wanted.options, free_bytes(), real, say)
            measured = measurements(found)
            for measurement in measured:
                keep_measured(measurement, found.job, request.no_own_measurements)
            comparison = request.compare(found.job, measured)
        except ScriptError as error:
            say(f"{error.details}\nwhichgpu: {error}")
            return
        except WhichGpuError as error:
            say(f"whichgpu: {error}")
            return
        if self._shell is not None:
            show(comparison)
            return
        from whichgpu.report import Page, render

        sys.stdout.write(f"\n{render([comparison], 'table', Page())}\n")
        sys.stdout.flush()


def _shell() -> Any:
    """Return the notebook's shell, or None where there is none."""
    module = sys.modules.get("IPython.core.getipython")
    return module.get_ipython() if module is not None else None


def _cells(shell: Any) -> ScriptCall:
    """Return the cells of a notebook, the one that runs now, or ran last, included."""
    from whichgpu.capture.script import ScriptCall

    history = shell.history_manager.input_hist_raw
    return ScriptCall.of_cells([*cells_before(shell), history[-1]])


def _this_program() -> ScriptCall:
    from whichgpu.capture.script import ScriptCall

    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return ScriptCall.here(spec.name.removesuffix(".__main__"), sys.argv[1:], is_module=True)
    if file is None or not Path(file).is_file():
        raise OptionError(
            "whichgpu.install() needs a program that can run once more: a script, a module or a notebook, "
            "not an interpreter's prompt."
        )
    return ScriptCall.here(str(Path(file)), sys.argv[1:])

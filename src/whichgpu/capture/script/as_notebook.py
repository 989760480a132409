"""Running the cells of a notebook once more, in a process of their own, as IPython runs them.

Cells before the last only prepare it: one that trains is left at its first step, one that fails did so before.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from whichgpu.capture.script.call import ScriptCall
from whichgpu.capture.script.stopped import Stopped
from whichgpu.capture.script.watch import ScriptWatch

# Magics that change the installation, or that are ours.
_LEFT_OUT = {"line": ("pip", "conda", "mamba", "uv"), "cell": ("whichgpu",)}


def run_cells(call: ScriptCall, watch: ScriptWatch) -> None:
    """Run the cells of `call` and raise what the last one raises.

    Args:
        call: What to run.
        watch: Watches the last cell.
    """
    from IPython.core.interactiveshell import InteractiveShell

    sys.argv = ["notebook"]
    sys.path[0:0] = [str(Path.cwd())]
    shell: Any = InteractiveShell.instance()
    for kind, names in _LEFT_OUT.items():
        for name in names:
            shell.register_magic_function(lambda *given: None, kind, name)
    watch.is_armed = False
    for cell in call.cells[:-1]:
        shell.run_cell(cell, store_history=True)
    watch.arm()
    # An error is told once, with the others of the pass.
    shell.showtraceback = shell.showsyntaxerror = lambda *given, **named: None
    result = shell.run_cell(call.cells[-1], store_history=True)
    error = result.error_before_exec or result.error_in_exec
    if error is not None and not isinstance(error, Stopped):
        raise error

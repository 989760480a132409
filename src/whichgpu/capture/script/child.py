"""The child process of one pass: ``python -P -m whichgpu.capture.script.child REQUEST``.

The outcome is written when the steps needed were seen, before the script is stopped: what it does while it ends can
neither spoil nor delay the result.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whichgpu.capture.script.outcome import PassOutcome
from whichgpu.capture.script.request import PassRequest
from whichgpu.errors import WhichGpuError

# Set in a pass: a program that asks to be watched is watched already.
RUNNING = "WHICHGPU_PASS"
RESULT = "result.json"
# Frames of what runs a notebook's cells.
_OF_IPYTHON = f"{os.sep}IPython{os.sep}core{os.sep}"
# What a script may take to end once it was told to.
_SEED = 0
_GRACE_S = 5.0


def main() -> None:
    """Run the pass that the file named on the command line asks for."""
    begin = time.perf_counter()
    request = PassRequest.from_document(json.loads(Path(sys.argv[1]).read_bytes()))
    place = _Place(Path(request.scratch) / RESULT, begin)
    try:
        _run(request, place)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads and exit handlers of the script have nothing left to do.
        os._exit(0)


class _Place:
    """Where the outcome goes, once."""

    def __init__(self, path: Path, begin: float) -> None:
        self._path = path
        self._begin = begin
        self._process = os.getpid()
        self.is_written = False
        # The script's writing is redirected, ours is not.
        self._open, self._replace = os.open, os.replace

    def write(self, outcome: PassOutcome) -> None:
        """Write it whole or not at all."""
        if self.is_written or os.getpid() != self._process:
            return
        self.is_written = True
        from whichgpu.capture.script.local_files import local_files
        from whichgpu.capture.script.trackers import note_trackers

        outcome.seen.files = local_files()
        outcome.seen.notes += [note for note in note_trackers() if note not in outcome.seen.notes]
        outcome.seconds = time.perf_counter() - self._begin
        part = f"{self._path}.part"
        number = self._open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(outcome.to_document(), file)
        self._replace(part, self._path)

    def write_and_leave_soon(self, outcome: PassOutcome) -> None:
        """Write it, and see to it that the process ends although the script may catch everything."""
        self.write(outcome)
        timer = threading.Timer(_GRACE_S, os._exit, (0,))
        timer.daemon = True
        timer.start()


def _run(request: PassRequest, place: _Place) -> None:
    from whichgpu.capture.script.stopped import Stopped

    try:
        os.environ[RUNNING] = "1"
        os.chdir(request.call.folder)
        made = _pass(request, place)
        _seed()
        from whichgpu.capture.script.as_main import run_as_main
        from whichgpu.capture.script.as_notebook import run_cells

        with made.installed(), _writes_kept_away(request):
            try:
                if request.call.cells:
                    run_cells(request.call, made.watch)
                else:
                    run_as_main(request.call, request.step_marker)
            except Stopped:
                pass
            except BaseException as error:
                place.write(_failed(made.outcome(), error))
            else:
                place.write(made.outcome())
    except BaseException as error:
        # Not the script's doing.
        place.write(PassOutcome("crashed", error=_last_line(error), traceback=traceback.format_exc()))


def _seed() -> None:
    """Let what a script draws before it sets a seed of its own, such as a model's size, be the same in both passes."""
    import numpy
    import torch

    random.seed(_SEED)
    numpy.random.seed(_SEED)
    torch.manual_seed(_SEED)


@contextmanager
def _writes_kept_away(request: PassRequest) -> Iterator[None]:
    """Let the script write nowhere but below its scratch folder, unless it may."""
    if request.allow_writes:
        yield
        return
    from whichgpu.capture.patches import Patches
    from whichgpu.capture.script import writes
    from whichgpu.capture.script.landlock import forbid_writing_outside

    patches = Patches()
    scratch = Path(request.scratch)
    forbid_writing_outside([scratch, *writes.cache_folders()])
    writes.install(patches, scratch)
    try:
        yield
    finally:
        patches.undo()


def _pass(request: PassRequest, place: _Place) -> Any:
    if request.kind == "phantom":
        from whichgpu.capture.script.phantom_pass import PhantomPass

        return PhantomPass(request, place.write_and_leave_soon)
    from whichgpu.capture.script.real_pass import RealPass

    return RealPass(request, place.write_and_leave_soon)


def _failed(outcome: PassOutcome, error: BaseException) -> PassOutcome:
    """Return `outcome` with how the script ended; one that had ended well enough stays so."""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return outcome
    if outcome.status == "done":
        # Too few steps for a good figure, but steps.
        outcome.seen.tell(f"The script failed after the steps that were seen: {_last_line(error)}")
        return outcome
    outcome.status = "failed"
    if isinstance(error, WhichGpuError):
        # Nothing is wrong with the script.
        outcome.status, outcome.error, outcome.traceback = "refused", str(error), own_traceback(error)
        return outcome
    outcome.exit_code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    outcome.error = outcome.error or _last_line(error)
    outcome.traceback = "" if isinstance(error, SystemExit) else own_traceback(error)
    return outcome


def _last_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it left with exit code {error.code}" if isinstance(error.code, int) else str(error.code)
    told = traceback.format_exception_only(error)[-1].strip()
    first, _, more = told.partition("\n")
    # Where the first line only announces what went wrong, that stands in the next one.
    return f"{first} {more.strip().partition(chr(10))[0]}" if first.endswith(":") and more else told


def own_traceback(error: BaseException) -> str:
    """Return the traceback as Python prints it, without the frames of this package."""
    here = str(Path(__file__).parents[2]) + os.sep
    report = traceback.TracebackException.from_exception(error)
    waiting: list[traceback.TracebackException | None] = [report]
    while waiting:
        part = waiting.pop()
        if part is not None:
            own = [f for f in part.stack if not f.filename.startswith(here) and _OF_IPYTHON not in f.filename]
            part.stack = traceback.StackSummary.from_list(own)
            waiting += [part.__cause__, part.__context__, *(part.exceptions or ())]
    return "".join(report.format())


if __name__ == "__main__":
    main()

"""The measuring process as its owner sees it: started when needed, asked, killed when it hangs."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from whichgpu.errors import MeasureError
from whichgpu.measure.calibration.probe import Probe
from whichgpu.measure.calibration.record import FailedRecord, Record
from whichgpu.measure.calibration.worker import Done, Ready, Refused, work

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Loading torch from a cold disk and opening a GPU.
_START_S = 120.0
_END_S = 5.0
_LAST_LINES = 3
# So many processes in a row that died of their first probe: nothing works here any more.
_MOST_DEATHS = 4


class MeasuringProcess:
    """A process that measures, and its successors.

    Args:
        device: What torch calls the device.
        quick: Whether to do with less.
    """

    def __init__(self, device: str, quick: bool) -> None:
        self._device = device
        self._quick = quick
        self._folder = tempfile.TemporaryDirectory(prefix="whichgpu-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "output.txt"
        self._process: Any = None
        self._pipe: Connection | None = None
        self._ready: Ready | None = None
        self._deaths = 0

    def __enter__(self) -> MeasuringProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._folder.cleanup()

    def ready(self) -> Ready:
        """Return what the machine is, as the first process found it.

        Raises:
            WhichGpuError: If it cannot measure on the device; as `Target.find`.
            MeasureError: If it did not start.
        """
        self._begin()
        assert self._ready is not None
        return self._ready

    def run(self, section: str, probe: Probe, longest_s: float) -> Iterator[Record]:
        """Yield the records of a probe, the last one saying so if it took too long or its process died.

        Raises:
            MeasureError: If one process after the other dies.
        """
        self._begin()
        assert self._pipe is not None
        deadline = time.monotonic() + longest_s
        try:
            self._pipe.send((section, probe))
            while True:
                if not self._pipe.poll(max(0.0, deadline - time.monotonic())):
                    yield FailedRecord(section, probe.name, f"took longer than {longest_s:.0f} s and was ended")
                    self._end(at_once=True)
                    return
                message = self._pipe.recv()
                if isinstance(message, Done):
                    self._deaths = 0
                    if not message.healthy:
                        self._end()
                    return
                yield message
        except (EOFError, OSError):
            self._deaths += 1
            self._end()
            yield FailedRecord(section, probe.name, f"its process died: {self._last_words()}")
            if self._deaths >= _MOST_DEATHS:
                raise MeasureError(
                    f"{self._deaths} measuring processes in a row died, the last while it measured {probe.name}: "
                    f"{self._last_words()}. What was measured before is kept; start the machine anew."
                ) from None

    def _begin(self) -> None:
        if self._process is not None:
            return
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._device, self._quick, str(self._log))
        self._process = context.Process(target=work, args=arguments, name="whichgpu-calibrate")
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()
        self._pipe = ours
        try:
            first = ours.recv() if ours.poll(_START_S) else None
        except EOFError:
            first = None
        if isinstance(first, Refused):
            self._end()
            raise first.error
        if not isinstance(first, Ready):
            self._end(at_once=True)
            raise MeasureError(f"The measuring process did not start: {self._last_words()}.")
        if self._ready is None:
            self._ready = first

    def _end(self, *, at_once: bool = False) -> None:
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if process is None or pipe is None:
            return
        try:
            if not at_once:
                pipe.send("end")
        except OSError:
            pass  # it is gone already
        pipe.close()
        process.join(0.0 if at_once else _END_S)
        if process.is_alive():
            process.kill()
            process.join(_END_S)

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            lines = []
        said = [line.strip() for line in lines if line.strip()][-_LAST_LINES:]
        return " / ".join(said)[-300:] or "it said nothing"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let a process that is started ignore Ctrl-C from its first moment: its owner hears it."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not on the main thread, where no signal arrives either
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

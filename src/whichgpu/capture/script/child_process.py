"""Starting the child process of a pass, keeping it within its limits, and ending it with all it has started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from whichgpu.capture.script import launcher
from whichgpu.capture.script.outcome import PassOutcome, Status
from whichgpu.capture.script.request import PassRequest
from whichgpu.capture.script.trackers import OFFLINE
from whichgpu.units import binary_bytes, duration

_POLL_S = 0.05
_LOOK_AT_MEMORY_S = 0.25
_OUTPUT_LINES = 30
# What ends this process from outside: a Ctrl-C, `kill` and `timeout`, a terminal that is closed.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PACKAGES = str(Path(__file__).parents[3])


def run_pass(request: PassRequest, timeout_s: float, memory_bytes: float | None) -> PassOutcome:
    """Run one pass over the script in a process of its own and return how it ended.

    Args:
        request: What to run; its scratch folder is made here.
        timeout_s: After these seconds the process is ended.
        memory_bytes: Above these resident bytes it is ended; None for no limit.
    """
    begin = time.perf_counter()
    with _in_order(), tempfile.TemporaryDirectory(prefix="whichgpu-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder).resolve()
        (scratch / "tmp").mkdir()
        asked = replace(request, scratch=str(scratch))
        place = scratch / "request.json"
        place.write_text(json.dumps(asked.to_document()))
        log = scratch / "output.txt"
        with log.open("wb") as output, _started(asked, place, output) as child:
            limit = _wait(child, begin + timeout_s, memory_bytes)
        found = _read(scratch / "result.json")
        if found is None:
            # Shells tell a signal so; one that we sent is none of the script's.
            code = 0 if limit else child.returncode if child.returncode >= 0 else 128 - child.returncode
            found = PassOutcome(limit or "crashed", exit_code=code, error=_how_it_died(child.returncode))
            if limit == "timeout":
                found.error = f"it was still running after {duration(timeout_s)}"
            elif limit == "memory" and memory_bytes is not None:
                found.error = f"it needs more than the {binary_bytes(memory_bytes)} of memory that are free"
        found.output = _last_lines(log)
        found.seconds = time.perf_counter() - begin
        return found


@contextmanager
def _in_order() -> Iterator[None]:
    """Let signals that end this process raise, so that what a pass has started and written goes with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _finish_undisturbed() -> None:
    """Ignore signals from now on until the pass is over: a second Ctrl-C must not leave half of it behind."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _started(request: PassRequest, place: Path, output: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-P", "-m", "whichgpu.capture.script.child", str(place)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        env=_environment(request),
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _finish_undisturbed()
        _end(child)
        _end_strays(request.scratch)


def _environment(request: PassRequest) -> dict[str, str]:
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return {
        **os.environ,
        **OFFLINE,
        **(request.variables or (launcher.ENVIRONMENT if "WORLD_SIZE" in os.environ else {})),
        "PYTHONPATH": os.pathsep.join([*paths, _PACKAGES]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(Path(request.scratch) / "tmp"),
        # TorchScript compiles source code, and what is replaced has none; its functions run as the Python they are.
        "PYTORCH_JIT": "0",
        # A GPU of this machine would be neither the phantom nor this CPU.
        "CUDA_VISIBLE_DEVICES": "",
    }


def _wait(child: subprocess.Popen[bytes], until: float, memory_bytes: float | None) -> Status | None:
    """Wait for the child's end; return which limit it ran into, or None."""
    looked = 0.0
    while True:
        try:
            child.wait(timeout=_POLL_S)
            return None
        except subprocess.TimeoutExpired:
            now = time.perf_counter()
        if now > until:
            return "timeout"
        if memory_bytes is not None and now - looked > _LOOK_AT_MEMORY_S:
            looked = now
            if _resident_bytes(child.pid) > memory_bytes:
                return "memory"


def _resident_bytes(group: int) -> int:
    """Return the resident bytes of all processes of a session; 0 where the system does not tell."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # Session and resident pages are fields 6 and 24 of proc(5), the third being the first after the name.
        if int(fields[3]) == group:
            total += int(fields[21]) * page_bytes
    return total


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and everything in its process group."""
    for number in (signal.SIGKILL,) if child.poll() is not None else (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        if number == signal.SIGTERM:
            try:
                child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
    child.wait()


def _end_strays(scratch: str) -> None:
    """End what the script has started in sessions of their own: their environment names its scratch folder."""
    mark = f"TMPDIR={scratch}/".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        # Other users' processes, and those that have ended meanwhile.
        with suppress(OSError):
            if mark in place.read_bytes():
                os.kill(int(place.parent.name), signal.SIGKILL)


def _read(result: Path) -> PassOutcome | None:
    try:
        return PassOutcome.from_document(json.loads(result.read_bytes()))
    except (OSError, ValueError):
        return None


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_OUTPUT_LINES:])


def _how_it_died(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code} and no word"

"""Passes forked from a process that has imported, once, what the child of every pass imports before the script runs.

Importing torch is most of what a pass over a small script takes. Nothing else differs from a child that is started:
the request, the environment, the session of its own, the output, the limits, and the code it runs.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from whichgpu.capture.script import ScriptCall, child_process
from whichgpu.capture.script.request import PassRequest


class Forks:
    """The process that forks, and the way passes are started through it."""

    def __init__(self):
        environment = child_process._environment(PassRequest(ScriptCall(""), "real", ""))
        # NumPy's OpenBLAS starts its threads when it is imported; no other library does.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        command = [sys.executable, "-P", __file__]
        self._server = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )

    @contextmanager
    def started(self, request, place, output):
        """Do what `child_process._started` does."""
        order = {"request": str(place), "output": output.name, "environment": child_process._environment(request)}
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        child = _Forked(self._server.stdout)
        try:
            yield child
        finally:
            child_process._end(child)

    def close(self):
        """End the process."""
        self._server.stdin.close()
        self._server.wait(10)


class _Forked:
    """What `subprocess.Popen` would be for the child of a fork."""

    def __init__(self, told):
        self._told = told
        self.pid = json.loads(told.readline())
        self.returncode = None

    def poll(self):
        return self.wait(0, or_raise=False)

    def wait(self, timeout=None, or_raise=True):
        if self.returncode is None:
            if select.select([self._told], [], [], timeout)[0]:
                self.returncode = json.loads(self._told.readline())
            elif or_raise:
                raise subprocess.TimeoutExpired("a pass", timeout)
        return self.returncode


def serve():
    """Fork a child for every line read, tell its number and then how it ended."""
    from whichgpu.capture.script import as_main, as_notebook, child, phantom_pass, real_pass  # noqa: F401

    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads: only the one that forks would live on."
    for line in sys.stdin:
        order = json.loads(line)
        number = os.fork()
        if not number:
            os.setsid()
            _tell(os.getpid())
            _become(order)
            child.main()
        _tell(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]))


def _tell(number):
    os.write(1, f"{number}\n".encode())


def _become(order):
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(order["output"], os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.argv = [str(Path(child_process.__file__).with_name("child.py")), order["request"]]


if __name__ == "__main__":
    serve()

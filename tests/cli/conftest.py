import subprocess
import sys

import pytest

from whichgpu.cli import main


class Outcome:
    """What a command left behind."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys):
    """Run the command in this process; return its exit code and what it printed."""

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Outcome(left.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def spawn():
    """Run the command in a process of its own, nothing of it a terminal."""

    def call(*arguments, before="", **more):
        program = f"{before}\nfrom whichgpu.cli import main\nmain()"
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=120, **more
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


def assert_refused(outcome, *words):
    """Exit code 2, nothing on stdout, and one message that has all of `words`."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    message = " ".join(outcome.err.split())
    for word in words:
        assert word in message

import re
from pathlib import Path

import pytest

import whichgpu

COMMANDS = ("compare", "devices", "offers", "measure", "jobs")


def test_version(run):
    assert run("--version").out == f"whichgpu {whichgpu.__version__}\n"


def test_help_names_every_command(run):
    out = run("--help").out
    for command in COMMANDS:
        assert re.search(rf"^\s+{command} ", out, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(run, command):
    outcome = run(command, "--help")
    assert outcome.code == 0
    options = re.findall(r"^  (?:-\w, )?--[\w-]+(?: \S+)*?  +(\S.*)$|^  (--\S+)$", outcome.out, re.MULTILINE)
    assert options
    assert all(text for text, _ in options)


def test_an_unexpected_error_is_saved_and_the_user_told_what_to_do(spawn):
    before = "import whichgpu.workloads as w\ndef fail(*a, **k): raise RuntimeError('boom <x>')\nw.workload = fail"
    outcome = spawn("compare", "mnist", before=before)
    assert outcome.code == 1
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert "this is a bug in whichgpu: RuntimeError: boom <x>" in outcome.err
    file = Path(re.search(r"open an issue .* the file (\S+)", outcome.err).group(1))
    text = file.read_text()
    file.unlink()
    assert "Traceback" in text
    assert "compare" in text
    assert whichgpu.__version__ in text


def test_help_imports_nothing_heavy(spawn):
    before = (
        "import atexit, sys\n"
        "late = ('numpy', 'torch', 'rich.table', 'whichgpu.report', 'whichgpu.offers', 'whichgpu.measure')\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(m for m in late if m in sys.modules)))"
    )
    outcome = spawn("--help", before=before)
    assert (outcome.code, outcome.err) == (0, "")

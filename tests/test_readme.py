"""What the README says is so: its Python runs, its counts are right, its commands are understood."""

import re
import shlex
from pathlib import Path

import pytest

import whichgpu
from whichgpu.cli.main import app
from whichgpu.cli.script_argument import ScriptCommand, split
from whichgpu.offers import offers

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (whichgpu .*?)(?:  +#.*)?$", README, re.MULTILINE)


def test_the_python_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    step_s, _, document = capsys.readouterr().out.partition("\n")
    assert float(step_s) > 0
    assert '"whichgpu.comparison/1"' in document


def test_its_counts_are_those_of_the_data():
    assert f"{len(whichgpu.devices())} GPUs" in README
    assert f"{len(offers())} rental offers" in README


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_exist_with_their_options(command):
    from typer.main import get_command

    _, name, *arguments = shlex.split(command)
    found = get_command(app).commands[name]
    if isinstance(found, ScriptCommand):  # what follows a script is the script's
        arguments, _ = split(arguments, found._options_with_values())
    context = found.make_context(name, arguments, resilient_parsing=True)
    assert context.args == []
    assert not [a for a in arguments if a.startswith("--") and not any(a in p.opts for p in found.params)]

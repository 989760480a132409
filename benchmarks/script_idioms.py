"""What becomes of the ways people write training scripts: the table in docs/scripts.md, made by running each of them.

``python -m benchmarks.script_idioms`` prints the rows, with --write puts them into the document; names after it run
only these. The suite runs every script too and compares its row with the one in the document.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sections import replace_section
from whichgpu.capture.script import ScriptCall, ScriptOptions, ScriptRun, run_script
from whichgpu.capture.script.job_of import FIRST_ALONE
from whichgpu.errors import ScriptError
from whichgpu.graph import Job
from whichgpu.units import GIB

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "capture" / "script" / "idioms"
DOCUMENT = ROOT / "docs" / "scripts.md"
SECTION = "idioms"
# Folders of scripts, in the order of the document, under their headings.
TOPICS = {
    "plain": "Plain PyTorch",
    "devices": "Naming the device",
    "frameworks": "Frameworks",
    "arguments": "Arguments",
    "large": "Models larger than this machine",
    "layers": "Layers of every kind",
    "processes": "Several processes",
    "steps": "Where a step ends, how long an epoch is",
    "around": "Trackers",
    "refused": "Refused",
}
_HEAD = ("| script | outcome | what was seen, what is said |", "|---|---|---|")
# Notes every script brings, which the column of what was seen tells in its own words.
_USUAL = (
    *("Seen: ", "Steps per epoch: ", "Samples per step: ", "Loading data ", "No DataLoader ", "Between steps "),
    "Numbers the step reads back",
)
# Notes that depend on how fast this machine is at the moment.
_OF_THE_MOMENT = (
    FIRST_ALONE,
    "How long a step waits ",
    "Before the first step models ",
    "A step takes long here: ",
    "Other programs kept ",
)


@dataclass
class Idiom:
    """A script and how to run it, as the comments above its docstring say.

    Attributes:
        path: The script.
        title: First line of its docstring.
        needs: Packages it imports that may be missing.
        arguments: Its arguments.
        launcher: What starts it, if not Python.
        options: Arguments of `ScriptOptions`.
        memory_bytes: Memory a pass may take; None for no limit.
        files: Files beside it, by name.
    """

    path: Path
    title: str
    needs: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    launcher: list[str] = field(default_factory=list)
    options: dict[str, object] = field(default_factory=dict)
    memory_bytes: float | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def idioms() -> list[Idiom]:
    """Return all scripts, by name."""
    return [read(path) for topic in TOPICS for path in sorted((FOLDER / topic).glob("*.py"))]


def read(path: Path) -> Idiom:
    """Return the script in a file."""
    text = path.read_text(encoding="utf-8")
    idiom = Idiom(path, (ast.get_docstring(ast.parse(text)) or path.stem).splitlines()[0])
    for line in text.splitlines():
        if not line.startswith("# "):
            break
        key, _, value = line.removeprefix("# ").partition(": ")
        if key == "needs":
            idiom.needs = value.split(", ")
        elif key in ("arguments", "launcher"):
            setattr(idiom, key, shlex.split(value))
        elif key == "options":
            given = dict(part.split("=", 1) for part in value.split(", "))
            if "memory_gib" in given:
                idiom.memory_bytes = float(given.pop("memory_gib")) * GIB
            idiom.options = {k: int(v) if v.isdecimal() else v for k, v in given.items()}
        elif key.startswith("file "):
            idiom.files[key.removeprefix("file ")] = value
        else:
            raise ValueError(f"{path}: {line}")
    return idiom


def run(idiom: Idiom, folder: Path, seconds: float = 0.2) -> ScriptRun:
    """Run both passes of a script, copied to `folder` with all its siblings.

    Raises:
        ScriptError: If it is refused.
    """
    for sibling in idiom.path.parent.glob("*.py"):
        (folder / sibling.name).write_text(sibling.read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in idiom.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    words = [*idiom.launcher, idiom.path.name, *idiom.arguments]
    options = ScriptOptions(seconds=seconds, timeout_s=300, **idiom.options)  # type: ignore[arg-type]
    return run_script(ScriptCall(words[0], tuple(words[1:]), folder=str(folder)), options, idiom.memory_bytes)


def row(idiom: Idiom) -> str:
    """Return the row of a script: what it is, what became of it, what was seen or said."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = run(idiom, Path(folder))
        except ScriptError as error:
            cells = ["refused", str(error).replace(folder, "…")]
        else:
            job = found.job
            said = [note for note in job.notes if not note.startswith(_USUAL)]
            if idiom.path.parent.name != "around":
                # Libraries import the trackers that happen to be installed.
                said = [note for note in said if not note.endswith("was switched off.")]
            if found.timed is not None:
                said += [note for note in found.timed.notes if note not in said]
            said = [note for note in said if not note.startswith(_OF_THE_MOMENT)]
            cells = ["works, with a note" if said else "works", " ".join([seen(job), *said])]
    link = f"[{idiom.title.rstrip('.')}](../{idiom.path.relative_to(ROOT)})"
    # Shares of time differ from run to run, and where Python lies from machine to machine.
    told = re.sub(r"\d[\d.]* %", "… %", cells[1]).replace(sys.executable, "python")
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in (link, cells[0], told)) + " |"


def seen(job: Job) -> str:
    """Return what a job is in a sentence."""
    epoch = f", {job.steps_per_epoch:,} an epoch" if job.steps_per_epoch else ""
    samples = f"{job.samples_per_step:,} samples" if job.samples_per_step > 1 else "1 sample"
    told = next((note.removeprefix("Seen: ") for note in job.notes if note.startswith("Seen: ")), "")
    return f"Steps of {samples}{epoch}; {told}"


def rows_written() -> dict[str, str]:
    """Return the rows of docs/scripts.md, by the path of their script."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    return {m[1]: line for line in lines if (m := re.match(r"\| \[.*?\]\(\.\./(.*?)\) \|", line))}


def main() -> None:
    """Print the rows, or those of the scripts named; with --write put them into docs/scripts.md."""
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    rows = rows_written()
    for idiom in idioms():
        if names and idiom.path.stem not in names:
            continue
        if idiom.missing:
            print(f"{idiom.path.stem}: left as it was, {', '.join(idiom.missing)} missing", file=sys.stderr)
            continue
        rows[str(idiom.path.relative_to(ROOT))] = row(idiom)
        print(rows[str(idiom.path.relative_to(ROOT))], flush=True)
    if "--write" in sys.argv[1:]:
        body = []
        found = [(i.path.parent.name, rows.get(str(i.path.relative_to(ROOT)))) for i in idioms()]
        for topic, heading in TOPICS.items():
            told = [line for place, line in found if place == topic and line]
            body += [f"### {heading}", "", *_HEAD, *told, ""]
        replace_section(DOCUMENT, SECTION, "\n".join(body))


if __name__ == "__main__":
    main()

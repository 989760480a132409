"""Captured scripts kept for the next time: a script that has not changed is not run again.

An entry is found by the call, the options and the versions of all packages installed; it is good as long as every local
file the script was made of, and every file among its arguments, still holds what it held.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichgpu.capture.script.call import ScriptCall
from whichgpu.capture.script.passes import ScriptOptions
from whichgpu.capture.script.script_run import ScriptRun, TimedSteps
from whichgpu.errors import GraphError
from whichgpu.graph import job_from_document, job_to_document

SCHEMA = "whichgpu.script-cache/1"
# What launchers and shells say to a script beside its arguments.
_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "PYTHONPATH", "OMP_NUM_THREADS")


class ScriptCache:
    """Captured scripts in a folder.

    Args:
        folder: Where they are; made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, call: ScriptCall, options: ScriptOptions) -> ScriptRun | None:
        """Return what was kept of this call, or None if there is nothing or something of it has changed."""
        try:
            document = json.loads(self._path(call, options).read_bytes())
            if document["schema"] != SCHEMA or any(_sum(Path(f)) != s for f, s in document["files"].items()):
                return None
            timed = document["timed"]
            if timed is not None:
                timed = TimedSteps(**{**timed, "step_s": tuple(timed["step_s"]), "notes": tuple(timed["notes"])})
            return ScriptRun(job_from_document(document["job"]), timed, tuple(document["files"]))
        except (OSError, ValueError, KeyError, TypeError, GraphError):
            return None

    def keep(self, call: ScriptCall, options: ScriptOptions, run: ScriptRun) -> None:
        """Keep what running a script brought; a cache that cannot be written is none."""
        files = {f for f in (*run.files, *_argument_files(call)) if Path(f).is_file()}
        document = {
            "schema": SCHEMA,
            "files": {f: _sum(Path(f)) for f in sorted(files)},
            "job": job_to_document(run.job),
            "timed": None if run.timed is None else asdict(run.timed),
        }
        path = self._path(call, options)
        part = path.with_suffix(f".{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(document), encoding="utf-8")
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink()

    def clear(self) -> int:
        """Remove everything kept and return how many scripts that was."""
        kept = list(self.folder.glob("*.json")) if self.folder.is_dir() else []
        for path in kept:
            path.unlink(missing_ok=True)
        return len(kept)

    def _path(self, call: ScriptCall, options: ScriptOptions) -> Path:
        key = {
            "call": call.to_document(),
            "options": {k: v for k, v in asdict(options).items() if k != "timeout_s"},
            "python": [sys.executable, sys.version],
            "packages": _packages(),
            "variables": {name: os.environ.get(name) for name in _VARIABLES},
        }
        text = json.dumps(key, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _packages() -> list[str]:
    """Return what is installed, by the names of the folders that say so: "torch-2.13.0.dist-info"."""
    found: set[str] = set()
    for folder in sys.path:
        if folder.endswith("-packages"):
            try:
                found.update(p.name for p in Path(folder).iterdir() if p.suffix in (".dist-info", ".egg-info"))
            except OSError:
                continue
    return sorted(found)


def _argument_files(call: ScriptCall) -> list[str]:
    """Return the files among the arguments of a call, "--config=run.yaml" included, and the script."""
    named: list[Any] = [a.rpartition("=")[2] for a in call.arguments]
    if not call.is_module:
        named.append(call.target)
    return [str(Path(call.folder) / name) for name in named if name]


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""

"""Measurements kept on this machine: one JSON object a line, in the user's data directory.

A line of ``measurements.jsonl`` is ``{"schema": "whichgpu.kept/1", ...}`` with the fields of `Kept`. The job of each,
in its JSON form, lies beside it in ``jobs/<hash>.json.gz``, so that it can be predicted anew when the cost model
changes. Deleting the folder forgets everything.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from whichgpu.errors import GraphError
from whichgpu.graph import Job, job_from_document, job_to_document

SCHEMA = "whichgpu.kept/1"
FILE_NAME = "measurements.jsonl"
# More than anybody measures; an endless file would slow every command down.
MOST_LINES = 2000


@dataclass(frozen=True, slots=True)
class Kept:
    """A measured step, and what was predicted of it.

    Attributes:
        device: Full name of the device.
        is_cpu: Whether it is the host's processor.
        job: The job's name.
        job_key: What tells it from other jobs at any batch.
        graph: Name of the file that holds the job.
        precision: What it ran in.
        batch: Samples of one step as it was measured.
        step_s: Measured seconds of one step.
        predicted_s: Predicted ones, by the cost model of `model`.
        host_weight: How much the host decided the predicted step, 0 to 1.
        model: What made the prediction: version and fingerprint of the coefficients.
        date: When it was measured, ISO.
    """

    device: str
    is_cpu: bool
    job: str
    job_key: str
    graph: str
    precision: str
    batch: int
    step_s: float
    predicted_s: float
    host_weight: float
    model: str
    date: str

    @property
    def subject(self) -> tuple[object, ...]:
        """What was measured: a later measurement of the same takes its place."""
        return (self.device, self.job_key, self.batch)


def data_directory() -> Path:
    """Return the directory for what the user has made, which may not exist yet.

    ``WHICHGPU_DATA`` if set; else the platform's: ``$XDG_DATA_HOME/whichgpu`` or ``~/.local/share/whichgpu``,
    ``~/Library/Application Support/whichgpu`` on macOS, ``whichgpu`` in ``%LOCALAPPDATA%`` on Windows.
    """
    own = os.environ.get("WHICHGPU_DATA")
    if own:
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_DATA_HOME")
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "whichgpu"
    try:
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "whichgpu"
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "whichgpu"
        return Path.home() / ".local" / "share" / "whichgpu"
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir()) / "whichgpu-data"


class KeptMeasurements:
    """The measurements kept in a directory.

    Args:
        folder: The directory; the user's own by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = data_directory() if folder is None else folder
        self.file = self.folder / FILE_NAME

    def read(self) -> tuple[Kept, ...]:
        """Return the latest measurement of each subject, oldest first; lines that are broken are passed over."""
        try:
            lines = self.file.read_text(encoding="utf-8").splitlines()[-MOST_LINES:]
        except (OSError, UnicodeDecodeError):
            return ()
        latest: dict[tuple[object, ...], Kept] = {}
        for line in lines:
            kept = _read(line)
            if kept is not None:
                latest.pop(kept.subject, None)
                latest[kept.subject] = kept
        return tuple(latest.values())

    def add(self, found: Sequence[Kept]) -> bool:
        """Write measurements down behind those there are; return whether that worked."""
        text = "".join(json.dumps({"schema": SCHEMA, **asdict(kept)}) + "\n" for kept in found)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            return False
        return True

    def keep_job(self, job: Job) -> str | None:
        """Write down a job unless it is there; return the name of its file, None if that failed."""
        from hashlib import sha256

        text = json.dumps(job_to_document(job), separators=(",", ":")).encode()
        name = f"{sha256(text).hexdigest()[:16]}.json.gz"
        file = self.folder / "jobs" / name
        try:
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_name(f".{name}.{os.getpid()}")
                part.write_bytes(gzip.compress(text, 6, mtime=0))
                part.replace(file)
        except OSError:
            return None
        return name

    def job(self, name: str) -> Job | None:
        """Return the job of a file that `keep_job` wrote; None if it is gone or broken."""
        try:
            return job_from_document(json.loads(gzip.decompress((self.folder / "jobs" / name).read_bytes())))
        except (OSError, EOFError, ValueError, GraphError):
            return None


def today() -> str:
    """Return the date, ISO."""
    return date.today().isoformat()


def _read(line: str) -> Kept | None:
    try:
        form: dict[str, Any] = json.loads(line)
        if form.pop("schema") != SCHEMA:
            return None
        kept = Kept(**{f.name: form[f.name] for f in fields(Kept)})
        return kept if kept.step_s > 0 and kept.predicted_s > 0 and "/" not in kept.graph else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None

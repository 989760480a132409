"""Is what is predicted what a GPU does? The two compared op by op, kernel by kernel, byte by byte.

For built-in jobs and example scripts, on a machine with a CUDA GPU: first everything is predicted and written down,
with nothing run; then each runs on the GPU in a process of its own, its ops, kernels, memory and time are noted, and
the differences told. All goes to a JSON file, which `benchmarks.gpu_section` puts into docs/accuracy.md.
`benchmarks.borrowed_gpu` is the command.
"""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_cases import (
    CASES,
    Case,
    Found,
    Prediction,
    found_from_form,
    prediction_from_form,
    to_form,
)

SCHEMA = "whichgpu.gpu-check/1"
CASE_S = 180.0
NO_GPU = "torch finds no CUDA GPU here. Run it where there is one (docs/calibration.md says how to borrow one)."


def difference(predicted: Sequence[str], real: Sequence[str]) -> tuple[str, ...]:
    """Return where two op lists differ, as lines of a diff without context: "-" only predicted, "+" only on the GPU."""
    lines = difflib.unified_diff(predicted, real, "predicted", "GPU", lineterm="", n=0)
    return tuple(line for line in lines if not line.startswith(("---", "+++")))


@dataclass(frozen=True)
class Checked:
    """A case, predicted and run.

    Attributes:
        predicted: What was predicted, its list of ops left out.
        found: What it did, likewise.
        differences: Lines of a diff of the two lists; None where one of them is missing.
    """

    predicted: Prediction
    found: Found
    differences: tuple[str, ...] | None

    @classmethod
    def of(cls, predicted: Prediction, found: Found) -> Checked:
        """Return both with where their op lists differ; the lists themselves need not be kept then."""
        known = bool(predicted.ops and found.ops)
        differences = difference(predicted.ops, found.ops) if known else None
        return cls(replace(predicted, ops=()), replace(found, ops=()), differences)


def gpu_machine() -> dict[str, Any] | None:
    """Return the description of this machine and its first GPU; None if torch finds no GPU.

    Found out by a process of its own: whoever opens a GPU takes some of its memory until it ends.
    """
    command = [sys.executable, "-m", "benchmarks.gpu_machine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] | None = json.loads(done.stdout)
    return found


def file_stem(machine: dict[str, Any]) -> str:
    """Return what files of a machine are called after: its GPU."""
    return "-".join(str(machine["device"]["name"]).casefold().split())


def write_predictions(machine: dict[str, Any], folder: Path, longest_s: float) -> Path:
    """Predict all cases in a process of its own, before anything runs, and return the file they are in."""
    file = folder / f"gpu-predictions.{file_stem(machine)}.json"
    command = [sys.executable, "-m", "benchmarks.gpu_predictions", machine["device"]["name"], str(file)]
    try:
        subprocess.run(command, timeout=longest_s, check=False)
    except subprocess.TimeoutExpired:
        print(f"predictions ended after {longest_s:.0f} s; those written count", flush=True)
    return file


def read_predictions(file: Path) -> dict[str, Prediction]:
    """Return predictions by the name of their case; none if the file is not there."""
    if not file.is_file():
        return {}
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return {row["name"]: prediction_from_form(row) for row in rows}


def run_cases(
    machine: dict[str, Any], predictions: dict[str, Prediction], folder: Path, until: float, device: str = "cuda"
) -> list[Checked]:
    """Run cases one after the other until the time is over, and write all after each.

    Args:
        machine: Description of the machine.
        predictions: By the name of their case.
        folder: Where the results go.
        until: Of `time.monotonic`.
        device: "cuda"; "cpu" to try the way through.
    """
    checked: list[Checked] = []
    for number, case in enumerate(CASES):
        left_s = until - time.monotonic()
        if left_s < 10:
            print(f"no time left for {len(CASES) - number} cases", flush=True)
            break
        found = run_case(number, case, min(CASE_S, left_s), device)
        predicted = predictions.get(case.name, Prediction(case.name, error="not predicted"))
        checked.append(Checked.of(predicted, found))
        _tell(checked[-1])
        save(machine, checked, folder)
    return checked


def run_case(number: int, case: Case, longest_s: float, device: str) -> Found:
    """Return what a case did in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu_run", str(number), str(file), device]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=longest_s, check=False)
        except subprocess.TimeoutExpired:
            return Found(case.name, error=f"took longer than {longest_s:.0f} s and was ended")
        if not file.is_file():
            return Found(case.name, error=f"died: {' '.join(done.stderr.split())[-300:]}")
        return found_from_form(json.loads(file.read_text(encoding="utf-8")))


def _tell(checked: Checked) -> None:
    p, f = checked.predicted, checked.found
    step = f"step {_ms(p.step_s)} predicted, {_ms(f.step_s)} found"
    lines = checked.differences or ()
    print(f"{p.name}: {step}; {len(lines)} lines of ops differ; {p.error or f.error}", flush=True)
    print("\n".join(lines[:20]), flush=True)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.2f} ms"


def save(machine: dict[str, Any], checked: Sequence[Checked], folder: Path) -> Path:
    """Write a document of all that was checked, and return its file."""
    file = folder / f"gpu-check.{file_stem(machine)}.json"
    rows = [
        {"predicted": to_form(c.predicted), "found": to_form(c.found), "differences": c.differences} for c in checked
    ]
    document = {"schema": SCHEMA, "machine": machine, "rows": rows}
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return file


def read_checked(file: Path) -> tuple[dict[str, Any], list[Checked]]:
    """Return the machine and the cases of a file that `save` wrote.

    Raises:
        ValueError: If it is another kind of file.
    """
    document = json.loads(file.read_text(encoding="utf-8"))
    if document.get("schema") != SCHEMA:
        raise ValueError(f"{file}: schema is {document.get('schema')!r}; expected {SCHEMA!r}.")
    rows = document["rows"]
    return document["machine"], [
        Checked(
            prediction_from_form(r["predicted"]),
            found_from_form(r["found"]),
            None if r["differences"] is None else tuple(r["differences"]),
        )
        for r in rows
    ]

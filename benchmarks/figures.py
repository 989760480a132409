"""A figure of speed or size beside its bar, and how it is taken: in a process of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Figure:
    """One measured figure and the bar it is held against."""

    name: str
    value: float
    unit: str
    bar: float
    detail: str = ""


def python(code: str) -> dict[str, float]:
    """Run `code` in a fresh interpreter and return the JSON object it prints last."""
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    values: dict[str, float] = json.loads(result.stdout.strip().splitlines()[-1])
    return values


def median_s(run: Callable[[], object], runs: int = 7) -> float:
    """Return the median wall time of `run`, after one run that does not count."""
    run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def shell(*arguments: str, environment: Mapping[str, str] | None = None) -> Callable[[], object]:
    """Return a function that runs `whichgpu` with `arguments`, in this process's environment or the one given."""
    command = [str(Path(sys.executable).with_name("whichgpu")), *arguments]
    return lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)

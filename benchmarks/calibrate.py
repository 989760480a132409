"""Fitting the cost model: ``python -m benchmarks.calibrate`` writes ``src/whichgpu/cost/data/efficiencies.toml``.

Data, from ``../shared/measurements``: published step times on one GPU (Lambda, NVIDIA, NeuSight, timm), NeuSight's
float32 kernels; rates of large products (`benchmarks.gemm_rates`); what `whichgpu calibrate` found on real machines
(``benchmarks/results/``, docs/calibration.md). The jobs of the steps are captured on the phantom
GPU once and kept (``python -m benchmarks.capture_traces`` does it ahead of time); those not captured are left out, and
the sources say how many were used. The fit begins at the coefficients there are.
"""

from __future__ import annotations

import math
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration_rows import SOURCE as CALIBRATIONS
from benchmarks.calibration_rows import measured as calibrated
from benchmarks.data import load_kernels, load_products, load_steps
from benchmarks.efficiencies_file import FILE, write
from benchmarks.fit import Fit, fit
from benchmarks.leave_out import Check, LeaveOut, check
from benchmarks.measured import Measured, batched
from benchmarks.parameters import read
from benchmarks.tables import kept_table
from whichgpu.validation import kept_traces

MEASUREMENTS = Path(__file__).parents[2] / "shared" / "measurements"
# Evaluations of the Jacobian: from priors alone some thirty change the last per mille.
STEPS = 20
# 80 % of a normal distribution lies within this many standard deviations.
_Z80 = 1.2816


def load(measurements: Path = MEASUREMENTS) -> list[Measured]:
    """Return what is fitted to.

    Raises:
        FileNotFoundError: If the measurements are not there.
    """
    steps = load_steps(measurements, kept_traces(), lambda case: not case.compiled, kept_table)
    return [*steps, *load_kernels(measurements), *load_products(), *calibrated()]


def read_structure() -> dict[str, Any]:
    """Return the coefficients as they are: families, and what is not fitted."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def main() -> None:
    """Fit, predict every GPU without itself, and write the coefficients with their spreads."""
    rows = load()
    for source, count in sorted(Counter(r.source for r in rows).items()):
        say(f"{count} rows of {source}")
    structure = read_structure()
    full = fit(batched(rows), structure, read(structure), STEPS)
    for name, value in full.values.items():
        if name.startswith(("extra_s.", "call_s.", "host.")):
            say(f"  {name}: {value:.3g}")
    out = LeaveOut(rows, full, structure)
    document = _with_sources(full, rows)
    document["spread"] |= spreads(rows, full, out)
    write(document)
    for name, row in document["spread"].items():
        say(f"  {name}: sigma {row['sigma']:.3f}")


def say(text: str) -> None:
    """Tell the person waiting."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _with_sources(full: Fit, rows: Sequence[Measured]) -> dict[str, Any]:
    """Return the document of a fit with what each row rests on."""
    document, efficiencies = dict(full.document), full.efficiencies
    today = date.today().isoformat()
    by_source = Counter(r.source for r in rows)
    models = len({r.job for r in rows if r.source == "timm"})
    what = (
        f"Fit of {today}: {by_source['timm']} step times of {models} models of timm's, {by_source['lambda']} of "
        f"Lambda's, {by_source['nvidia-dle']} of NVIDIA's, {by_source['neusight']} of NeuSight's (ASPLOS 2025), "
        f"{by_source['neusight kernels']} float32 kernels of NeuSight's, {by_source['rates of products']} rates of "
        f"large products (benchmarks/gemm_rates.py){_own(by_source)}; kinds without data: estimation prototypes"
    )
    for name in ("model", "compute", "memory", "elements_per_clock", "reorder", "reread"):
        document[name]["source"] = what
    for row in document["software"]:
        row["source"] = what.partition(",")[0]
    steps: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    measured: dict[str, set[str]] = {}
    for row in rows:
        family = efficiencies.family_of(row.device).name
        if row.task == "kernel":
            kernels[family] += 1
        else:
            steps[family] += 1
            measured.setdefault(family, set()).add(row.device.name)
    for row in document["family"]:
        if row.get("stated", False):
            continue
        name = row["name"]
        if steps[name] or kernels[name]:
            row["measured_devices"] = sorted(measured.get(name, ()))
            own = f"{steps[name]} step times, {kernels[name]} kernels of its own"
            row["source"] = f"Fit of {today}: {own}"
        else:
            row.pop("measured_devices", None)
            like = f"those of {row['like']}" if row.get("like") else "the common values"
            row["source"] = f"Fit of {today}: nothing of its own, {like}"
        row["source"] = row.pop("source")  # last in the table
    return document


def _own(by_source: Counter[str]) -> str:
    """Return what the project's own measurements add to a source; nothing where there are none."""
    count = by_source[CALIBRATIONS]
    return f", {count} calls and steps of calibrations (benchmarks/results/)" if count else ""


def spreads(rows: Sequence[Measured], full: Fit, out: LeaveOut) -> dict[str, dict[str, Any]]:
    """Return how far predictions were off: of a device that was measured, of others, of a family never measured.

    In each, a new job on the device: what is added is how much farther off timm's models are where no model of their
    kind was fitted to.
    """
    efficiencies = full.efficiencies
    steps = [r for r in rows if r.task != "kernel"]
    by_job = out.predict(lambda r: (r.source, r.family) if r.source == "timm" else None)
    seen = check(steps, efficiencies, full.values)
    by_gpu = out.predict(lambda r: r.device.name if r.task != "kernel" else None)
    by_family = out.predict(lambda r: efficiencies.family_of(r.device).name if r.task != "kernel" else None)
    new, known = (spread(some, "")["sigma"] for some in (by_job, [c for c in seen if c.row.source == "timm"]))
    novelty = math.sqrt(max(0.0, new**2 - known**2))
    words = "published step times of {jobs} jobs over {gpus} GPUs"
    found = {
        "device": spread(seen, words),
        "family": spread(by_gpu, words + ", leave-one-GPU-out"),
        "vendor": spread(by_family, words + ", leave-one-family-out"),
    }
    for row in found.values():
        row["sigma"] = math.hypot(row["sigma"], novelty) * one_more(row["gpus"])
        row["basis"] += f", and {novelty:.3f} for a job of a kind never seen"
    # Chance may have it otherwise, but what is less known is not surer.
    for surer, name in (("device", "family"), ("family", "vendor")):
        found[name]["sigma"] = max(found[name]["sigma"], found[surer]["sigma"])
    return found


def one_more(count: int) -> float:
    """Return by how much the interval of one more GPU is wider than the spread of `count`: Student's prediction."""
    from scipy.stats import t

    return float(t.ppf(0.9, count - 1)) / _Z80 * math.sqrt(1 + 1 / count)


def spread(checks: Sequence[Check], words: str) -> dict[str, Any]:
    """Return the spread of some predictions: in all, and what all jobs on one device share.

    Each GPU counts alike, however many rows it has; sigma is such that 1.28 of it hold 80 % of the errors.
    """
    by_gpu: dict[str, list[float]] = {}
    for found in checks:
        by_gpu.setdefault(found.row.device.name, []).append(found.log_error)
    errors = np.concatenate([np.array(e) for e in by_gpu.values()])
    weights = np.concatenate([np.full(len(e), 1 / len(e)) for e in by_gpu.values()])
    order = np.argsort(np.abs(errors))
    reached = np.cumsum(weights[order]) / weights.sum()
    sigma = float(np.abs(errors)[order][np.searchsorted(reached, 0.8)]) / _Z80
    several = [np.array(e) for e in by_gpu.values() if len(e) >= 3]
    device = float(np.std([np.mean(e) for e in several])) if len(several) > 2 else sigma / 2
    jobs = len({found.row.job for found in checks})
    basis = "spread of " + f"{len(errors)} " + words.format(jobs=jobs, gpus=len(by_gpu))
    return {
        "sigma": sigma,
        "rows": len(errors),
        "gpus": len(by_gpu),
        "basis": basis,
        "device_sigma": min(device, sigma),
    }


if __name__ == "__main__":
    main()

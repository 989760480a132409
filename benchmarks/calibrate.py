"""Fitting the cost model: ``python -m benchmarks.calibrate`` writes ``src/whichgpu/cost/data/efficiencies.toml``.

Data: NeuSight's float32 kernels; Lambda's, NVIDIA's and timm's published step times of training on one GPU, from
``../shared/measurements``; rates of large products (`benchmarks.gemm_rates`). The graphs of the steps are the shipped
ResNet-50 and captures of BERT large and of timm's models, which need torch, transformers and timm; the first time takes
some minutes. ``make calibrate`` installs timm and does it all.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.efficiencies_file import FILE, write
from benchmarks.fit import Data, Fit, fit
from benchmarks.gemm_rates import load_gemm_rates
from benchmarks.gpu_names import device_of
from benchmarks.kernel_rows import load_kernel_rows
from benchmarks.leave_out import Check, check_steps, leave_one_family_out, leave_one_gpu_out
from benchmarks.step_rows import TIMM_MODELS, load_step_rows, load_timm_rows

MEASUREMENTS = Path(__file__).parents[2] / "shared" / "measurements"
# Kernels of each operation on each GPU; more change no coefficient by a per cent.
KERNELS_PER_OP = 150
# 80 % of a normal distribution lies within this many standard deviations.
_Z80 = 1.2816


def load_data(measurements: Path = MEASUREMENTS) -> tuple[Data, Data]:
    """Return what is fitted to, and what is only predicted.

    Raises:
        FileNotFoundError: If the measurements are not there.
    """
    steps = [*load_step_rows(measurements), *load_timm_rows(measurements)]
    kernels = load_kernel_rows(measurements, KERNELS_PER_OP)
    fitted = Data([r for r in steps if r.calibrates], kernels, tuple(load_gemm_rates()))
    return fitted, Data([r for r in steps if not r.calibrates], [])


def read_structure() -> dict[str, Any]:
    """Return the coefficients as they are: families, and what is not fitted."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def main() -> None:
    """Fit, predict every GPU without itself, and write the coefficients with their spreads."""
    data, unseen = load_data()
    say(f"{len(data.steps)} steps, {sum(len(r.seconds) for r in data.kernels)} kernels on {len(data.gpus)} GPUs")
    full = fit(data, read_structure(), steps=25)
    for name, value in full.values.items():
        if name.startswith(("software.", "extra_s.", "call_s.")):
            say(f"  {name}: {value:.3g}")
    # How far off predictions are is asked of models the fit has not seen too.
    by_gpu, _ = leave_one_gpu_out(data, unseen.steps, full, lambda gpu: say(f"without {gpu}"))
    by_family = leave_one_family_out(data, full, lambda name: say(f"without {name}"))
    document = _with_sources(full, data)
    seen = check_steps([*data.steps, *unseen.steps], full.efficiencies)
    document["spread"] |= _spreads(seen, by_gpu, by_family)
    write(document)
    for name, row in document["spread"].items():
        say(f"  {name}: sigma {row['sigma']:.3f}")


def say(text: str) -> None:
    """Tell the person waiting."""
    sys.stderr.write(text + "\n")


def _with_sources(full: Fit, data: Data) -> dict[str, Any]:
    """Return the document of a fit with what each row rests on."""
    document = full.document
    efficiencies = full.efficiencies
    today = date.today().isoformat()
    kernels = sum(len(r.seconds) for r in data.kernels)
    what = (
        f"Fit of {today}: {len(data.steps)} step times of ResNet-50, BERT large and {TIMM_MODELS} models of timm's "
        f"(Lambda 2020-2024, NVIDIA DeepLearningExamples, timm), {kernels} float32 kernels (NeuSight, ASPLOS 2025), "
        f"{len(data.products)} rates of large products (benchmarks/gemm_rates.py)"
    )
    for name in ("model", "compute", "memory"):
        document[name]["source"] = f"{what}; kinds without data: estimation prototypes"
    steps: Counter[str] = Counter()
    measured: dict[str, set[str]] = {}
    timed: Counter[str] = Counter()
    for row in data.steps:
        family = efficiencies.family_of(row.device).name
        steps[family] += 1
        measured.setdefault(family, set()).add(row.device.name)
    for rows in data.kernels:
        device = device_of(rows.gpu)
        assert device is not None
        timed[efficiencies.family_of(device).name] += len(rows.seconds)
    products = Counter(efficiencies.family_of(product.device).name for product in data.products)
    for row in document["family"]:
        if row.get("stated", False):
            continue
        name = row["name"]
        row["measured_devices"] = sorted(measured.get(name, ()))
        if steps[name] or timed[name] or products[name]:
            own = f"{steps[name]} step times, {timed[name]} kernels, {products[name]} rates of products of its own"
            row["source"] = f"Fit of {today}: {own}"
        else:
            row["source"] = f"Fit of {today}: nothing of its own, the common values"
            row.pop("measured_devices")
        row["source"] = row.pop("source")  # last in the table
    return document


def _spreads(seen: Sequence[Check], by_gpu: Sequence[Check], by_family: Sequence[Check]) -> dict[str, dict[str, Any]]:
    """Return how far predictions were off: of a device that was measured, of others, of a family never measured."""
    words = "published step times of ResNet-50, BERT and models of timm's over {gpus} GPUs"
    found = {
        "device": _spread(seen, words),
        "family": _spread(by_gpu, words + ", leave-one-GPU-out"),
        "vendor": _spread(by_family, words + ", leave-one-family-out"),
    }
    # Chance may have it otherwise, but what is less known is not surer.
    widest = 0.0
    for spread in found.values():
        widest = spread["sigma"] = max(widest, spread["sigma"])
    return found


def _spread(checks: Sequence[Check], words: str) -> dict[str, Any]:
    gpus = len({c.row.gpu for c in checks})
    sigma = float(np.quantile(np.abs([c.log_error for c in checks]), 0.8)) / _Z80
    basis = f"spread of {len(checks)} {words.format(gpus=gpus)}"
    return {"sigma": sigma, "rows": len(checks), "gpus": gpus, "basis": basis}


if __name__ == "__main__":
    main()

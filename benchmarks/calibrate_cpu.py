"""Fitting the cost model of host processors: ``python -m benchmarks.calibrate_cpu``.

Data: timm's inference in float32, compiled, on a Core i9-10940X (torch 2.2 and 2.4), as far as its jobs are captured.
What GPUs and CPUs share stays as it is; fitted are the general family of CPUs and factors qualified by "cpu".
Prints how far off models of kinds never seen are, and writes the coefficients with that as the spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.calibrate import MEASUREMENTS, read_structure, say, spread
from benchmarks.data import family_of
from benchmarks.efficiencies_file import write
from benchmarks.leave_out import Check
from benchmarks.measured import Batch, Floats, Measured, batched
from benchmarks.parameters import Document
from benchmarks.tables import kept_table
from whichgpu.cost.family import efficiencies_from_document
from whichgpu.errors import CaptureError
from whichgpu.validation import Case, Traces, kept_traces, load_rows

SOFT = 0.15
FOLDS = 5
# Stated: two cores of an EPYC came out 89 % above and 42 % below what was measured, on two jobs.
OTHER_CPUS = 0.3
# Start values and how far each may wander, in log.
PARAMETERS: dict[str, tuple[float, float]] = {
    "family.matrix": (0.5, 0.5),
    "family.memory": (0.5, 0.15),
    "family.kernel_start_us": (5.0, 0.5),
    "compute.convolution.cpu": (1.0, 0.3),
    "compute.convolution.pointwise.cpu": (1.0, 0.3),
    "compute.convolution.grouped.cpu": (1.0, 0.3),
    "compute.convolution.few_channels.cpu": (1.0, 0.3),
    "compute.depthwise_convolution.cpu": (1.0, 0.5),
    "compute.matmul.batched.cpu": (1.0, 0.3),
    "compute.attention.cpu": (1.0, 0.5),
    "memory.convolution.cpu": (1.0, 0.3),
    "memory.depthwise_convolution.cpu": (1.0, 0.5),
    "memory.matmul.cpu": (1.0, 0.3),
    "memory.fused.cpu": (1.0, 0.5),
    "memory.fused_reduction.cpu": (1.0, 0.5),
    "memory.pooling.cpu": (1.0, 0.5),
}


def load(measurements: Path, traces: Traces) -> list[Measured]:
    """Return the published steps on CPUs whose job has been captured."""
    found = []
    for case in load_rows([measurements / "timm.csv.gz"]):
        if not isinstance(case, Case) or case.job is None or not case.device.is_cpu:
            continue
        try:
            table = kept_table(case, traces)
        except CaptureError:
            continue
        version = "" if case.torch is None else ".".join(map(str, case.torch))
        found.append(
            Measured(
                source=case.row.source,
                device=case.device,
                job=case.name,
                family=family_of(case.name),
                task=case.row.task,
                precision=case.precision,
                layout=case.row.layout,
                software=version,
                table=table,
                seconds=case.measured_s,
                compiled=case.compiled,
                case=case,
            )
        )
    return found


def fill(structure: Document, values: Mapping[str, float]) -> Document:
    """Return the coefficients with those of CPUs put in."""
    filled = deepcopy(structure)
    cpu = next(row for row in filled["family"] if row.get("cpu", False))
    for name, value in values.items():
        room, _, rest = name.partition(".")
        if room != "family":
            filled[room]["kinds"][rest] = value
        elif rest == "matrix":
            cpu["matrix"] = {"fp16": value, "fp32": value}
        else:
            cpu[rest] = value
    return filled


def fit(batches: Sequence[Batch], structure: Document) -> dict[str, float]:
    """Return the fitted parameters by name."""
    from scipy.optimize import least_squares

    names = list(PARAMETERS)
    prior = np.log([start for start, _ in PARAMETERS.values()])
    sigma = np.array([sigma for _, sigma in PARAMETERS.values()])

    def residuals(theta: Floats) -> Floats:
        values = dict(zip(names, np.exp(theta).tolist(), strict=True))
        found = efficiencies_from_document(fill(structure, values))
        errors = [np.log(_predict(b, found) / b.seconds) for b in batches]
        return np.concatenate([*errors, SOFT * (theta - prior) / sigma])

    result = least_squares(residuals, prior, loss="soft_l1", f_scale=SOFT, diff_step=1e-2, max_nfev=12, x_scale=sigma)
    return dict(zip(names, np.exp(result.x).tolist(), strict=True))


def _predict(batch: Batch, efficiencies: object) -> Floats:
    from whichgpu.cost.family import Efficiencies
    from whichgpu.cost.host import host_s

    assert isinstance(efficiencies, Efficiencies)
    family = efficiencies.family_of(batch.device)
    device_s = np.bincount(batch.row, weights=batch.kernels_s(efficiencies), minlength=len(batch.rows))
    # On a CPU host and device are the same: times add up.
    found: Floats = device_s + np.array([host_s(r.table, family, efficiencies.host) for r in batch.rows])
    return found


def check_kinds(rows: Sequence[Measured], structure: Document) -> list[Check]:
    """Return every row as predicted by a fit to kinds of models other than its own; in folds of several kinds."""
    families = sorted({r.family for r in rows})
    fold = {name: number % FOLDS for number, name in enumerate(families)}
    checks: list[Check] = []
    for number in range(FOLDS):
        values = fit(batched(r for r in rows if fold[r.family] != number), structure)
        found = efficiencies_from_document(fill(structure, values))
        for batch in batched(r for r in rows if fold[r.family] == number):
            checks += [Check(r, float(s)) for r, s in zip(batch.rows, _predict(batch, found), strict=True)]
    return checks


def main() -> None:
    """Fit, predict every kind of model without itself, and write the coefficients."""
    rows = load(MEASUREMENTS, kept_traces())
    structure = read_structure()
    say(f"{len(rows)} rows of {len({r.job for r in rows})} models")
    checks = check_kinds(rows, structure)
    errors = np.array([c.log_error for c in checks])
    say(f"kinds never seen: {np.mean(np.abs(np.expm1(errors))):.1%}, bias {np.expm1(errors.mean()):+.1%}")
    values = fit(batched(rows), structure)
    for name, value in values.items():
        say(f"  {name}: {value:.3g}")
    document = fill(structure, values)
    cpu = next(row for row in document["family"] if row.get("cpu", False))
    cpu["source"] = (
        f"Fit of {date.today().isoformat()}: {len(rows)} times of timm's inference, float32, compiled, of "
        f"{len({r.job for r in rows})} models on a Core i9-10940X; half-precision units stated"
    )
    found_spread = spread(checks, "published times of {jobs} jobs on {gpus} CPU, kinds of models never seen")
    # One processor was measured. Others differ by as much again: in cache, in clocks under vector load.
    found_spread["sigma"] = float(np.hypot(found_spread["sigma"], OTHER_CPUS))
    found_spread["device_sigma"] = OTHER_CPUS
    found_spread["basis"] += f", and {OTHER_CPUS} for other processors than the one measured"
    document["spread"]["cpu"] = found_spread
    write(document)


if __name__ == "__main__":
    main()

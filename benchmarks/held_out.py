"""Published measurements predicted by coefficients that have not seen the GPU, or the kind of model, they are of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import calibrate_cpu
from benchmarks.bars import Fold, either
from benchmarks.calibrate import MEASUREMENTS, read_structure
from benchmarks.calibration_rows import measured as calibrated
from benchmarks.data import FILES, is_step_of_gpu, load_kernels, load_products, load_steps
from benchmarks.fit import fit
from benchmarks.leave_out import Check, LeaveOut, check
from benchmarks.measured import Measured, batched
from benchmarks.parameters import read
from benchmarks.tables import keep_tables, kept_table
from whichgpu.cost import efficiencies
from whichgpu.cost.roofline import price_table
from whichgpu.estimate.interval import LEVEL
from whichgpu.validation import Case, kept_traces, load_rows
from whichgpu.validation.predict import Prediction

# Evaluations of the Jacobian, from the shipped coefficients: what is asked here is what changes without some rows.
FIT_STEPS = 10
# Quantile of the normal distribution that leaves half of what is beyond the interval above it.
_Z80 = 1.2816

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Predictions:
    """Every published measurement, predicted three ways.

    Attributes:
        held: By what was left out of the fit; see `benchmarks.bars.Fold`.
        shipped: By the shipped coefficients, which have seen both.
    """

    held: dict[Fold, list[Prediction]]
    shipped: list[Prediction]


def predict_published(processes: int, tell: Tell) -> Predictions:
    """Return the predictions of all steps whose job has been captured, and of a sample of NeuSight's kernels.

    Raises:
        FileNotFoundError: If the measurements are not there.
    """
    assert LEVEL == 0.8
    cases = [c for c in load_rows([MEASUREMENTS / name for name in FILES]) if isinstance(c, Case)]
    keep_tables([c for c in cases if c.device.is_cpu or is_step_of_gpu(c)], processes, tell)
    steps = list(load_steps(MEASUREMENTS, kept_traces(), lambda _: True, kept_table))
    compiled = [row for row in steps if row.compiled]
    rows = [*(row for row in steps if not row.compiled), *load_kernels(MEASUREMENTS), *load_products(), *calibrated()]
    tell(f"fitting to {len(rows)} measurements")
    structure = read_structure()
    full = fit(batched(rows), structure, read(structure), FIT_STEPS)
    out = LeaveOut(rows, full, structure)
    by_gpu = out.predict(lambda r: r.device.name, tell, compiled)
    by_family = out.predict(lambda r: r.family if r.source == "timm" else None, tell, compiled)
    shipped = check([*rows, *compiled], efficiencies(), full.values)
    unseen_on_cpu, seen_on_cpu = _on_cpu()
    new_gpu, new_family = _predictions(by_gpu, _sigma_of_new_gpu), _predictions(by_family, _sigma_of_known)
    return Predictions(
        {"gpu": new_gpu, "family": [*new_family, *unseen_on_cpu], "either": either(new_gpu, new_family)},
        [*_predictions(shipped, _sigma_of_known), *seen_on_cpu],
    )


def _sigma_of_known(_: Measured) -> float:
    return efficiencies().spreads["device"].sigma


def _sigma_of_new_gpu(row: Measured) -> float:
    """Return what the product would state if the row's GPU had never been measured."""
    shipped = efficiencies()
    others = set(shipped.family_of(row.device).measured_devices) - {row.device.name}
    if row.device.vendor != "NVIDIA":
        return shipped.spreads["none"].sigma
    return shipped.spreads["family" if others else "vendor"].sigma


def _predictions(checks: Sequence[Check], sigma_of: Callable[[Measured], float]) -> list[Prediction]:
    found = []
    for one in checks:
        if one.row.case is not None:
            found.append(_prediction(one.row.case, one.predicted_s, sigma_of(one.row)))
    return found


def _prediction(case: Case, predicted_s: float, sigma: float) -> Prediction:
    factor = math.exp(_Z80 * sigma)
    return Prediction(case, predicted_s, predicted_s / factor, predicted_s * factor)


def _on_cpu() -> tuple[list[Prediction], list[Prediction]]:
    """Return the steps on CPUs, kinds of models unseen, and by the shipped coefficients."""
    rows = calibrate_cpu.load(MEASUREMENTS, kept_traces())
    if not rows:
        return [], []
    sigma, shipped = efficiencies().spreads["cpu"].sigma, efficiencies()
    unseen = _predictions(calibrate_cpu.check_kinds(rows, read_structure()), lambda _: sigma)
    seen = []
    for row in rows:
        priced = price_table(row.table, row.device, row.precision, shipped, shipped.software_of(row.software))
        assert row.case is not None
        seen.append(_prediction(row.case, priced.step_s, sigma))
    return unseen, seen

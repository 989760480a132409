"""Folds of the fit: what is predicted for a GPU that was left out knows nothing of what was measured on it."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.calibrate import read_structure
from benchmarks.fit import fit
from benchmarks.leave_out import LARGE_FOLD, LeaveOut, check
from benchmarks.measured import Measured, batched
from benchmarks.parameters import read

from whichgpu.cost import efficiencies
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.devices import find_device
from whichgpu.graph import precision
from whichgpu.work.kernel import Gemm, Kernel

AMP = precision("amp-fp16")
ODD = "RTX 3090"
GPUS = (ODD, "A100 80GB SXM", "RTX A6000", "RTX 3080 10GB", "T4")
STEPS = 5


def kernels():
    for size in (1024, 2048, 4096):
        numel = float(size * size)
        yield Kernel("elementwise", "float16", numel, 4 * numel, 2 * numel)
        yield Kernel("copy", "float16", 0.0, 2 * numel, 2 * numel)
        yield Kernel("matmul", "float16", 2.0 * size**3, 4 * numel, 2 * numel, Gemm(1, size, size, size))


def rows(odd_factor, weight=1.0):
    """Return kernels that take what the shipped coefficients say, on `ODD` `odd_factor` times as long."""
    shipped = efficiencies()
    found = []
    for name in GPUS:
        for kernel in kernels():
            row = Measured(
                "made",
                find_device(name),
                kernel.kind,
                "made",
                "kernel",
                AMP,
                "",
                "",
                KernelTable.of_kernels([(kernel, 1)]),
                1.0,
            )
            seconds = float(batched([row])[0].predict(shipped)[0])
            if name == ODD:
                row = replace(row, seconds=seconds * odd_factor, weight=weight)
            else:
                row = replace(row, seconds=seconds)
            found.append(row)
    return found


def fitted(measured):
    document = read_structure()
    return fit(batched(measured), document, read(document), STEPS)


def is_odd(row):
    """Name the fold of the odd GPU; all others stay in."""
    return True if row.device == find_device(ODD) else None


@pytest.fixture(scope="module", params=[1.0, 0.2], ids=["a large fold, refitted", "a small fold, a step away"])
def weight(request):
    return request.param


@pytest.fixture(scope="module")
def left_out(weight):
    """Predictions of a GPU left out that takes 1.5 times as long as it should, and as long as it should."""
    found = {}
    for factor in (1.5, 1.0):
        measured = rows(factor, weight)
        full = fitted(measured)
        found[factor] = full, LeaveOut(measured, full, read_structure()), measured
    return found


def test_the_folds_are_large_and_small(left_out, weight):
    _, folds, measured = left_out[1.5]
    share = sum(r.weight for r in measured if is_odd(r)) / sum(r.weight for r in measured)
    assert (share > LARGE_FOLD) == (weight == 1.0)
    assert len(folds.order) == len(measured)


def test_what_was_measured_on_a_gpu_moves_its_prediction_only_where_it_is_not_left_out(left_out, weight):
    predicted = {}
    for factor, (full, folds, measured) in left_out.items():
        seen = [c.predicted_s for c in check(measured, full.efficiencies, full.values) if is_odd(c.row)]
        unseen = [c.predicted_s for c in folds.predict(is_odd)]
        predicted[factor] = sum(seen), sum(unseen)
    seen, unseen = (predicted[1.5][i] / predicted[1.0][i] for i in (0, 1))
    assert seen > 1.05
    # A linear step leaves two fifths of it where the fold is as large as a fold may be that is not refitted.
    assert abs(unseen - 1) < (0.1 if weight == 1.0 else 0.45) * (seen - 1)


def test_a_fold_that_leaves_nothing_out_is_the_fit():
    measured = [
        replace(row, seconds=row.seconds * (3.0 if row.job == "copy" else 1.0), weight=5.0) for row in rows(1.0)
    ]
    document = read_structure()
    full = fit(batched(measured), document, read(document), 30)
    again = LeaveOut(measured, full, document).values_without(np.zeros(len(measured), dtype=bool))
    # Copies three times as long draw coefficients far from their priors; the fold must leave them there.
    assert again == pytest.approx(full.values, rel=1e-3)

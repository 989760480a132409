"""Predicting every published step by coefficients that have seen nothing of its GPU, or of its whole family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.fit import Data, Fit, fit, predict_kernels
from benchmarks.kernel_rows import KernelRows
from benchmarks.step_rows import StepRow
from whichgpu.cost.family import Efficiencies
from whichgpu.cost.roofline import price_table
from whichgpu.devices.device import Device


@dataclass(frozen=True)
class Check:
    """A published step and its prediction.

    Attributes:
        row: What was published.
        predicted_s: What was predicted, as the product predicts it: nothing added for old software or loaders.
    """

    row: StepRow
    predicted_s: float

    @property
    def log_error(self) -> float:
        """log(predicted / published)."""
        return float(np.log(self.predicted_s / self.row.seconds))


@dataclass(frozen=True)
class KernelCheck:
    """Kernels of one kind on one GPU: log(predicted / measured) of each, the Python call around them included."""

    gpu: str
    op: str
    log_errors: tuple[float, ...]


def check_steps(rows: Sequence[StepRow], efficiencies: Efficiencies) -> list[Check]:
    """Return the predictions of `rows` by `efficiencies`."""
    return [Check(r, price_table(r.table, r.device, r.math, efficiencies).step_s) for r in rows]


def check_kernels(rows: KernelRows, efficiencies: Efficiencies, call_s: float) -> list[KernelCheck]:
    """Return the errors of `rows` by kind of kernel."""
    errors = np.log(predict_kernels(rows, efficiencies, call_s) / rows.seconds)
    return [KernelCheck(rows.gpu, op, tuple(errors[rows.op == op].tolist())) for op in sorted(set(rows.op.tolist()))]


def leave_one_gpu_out(
    data: Data, extra: Sequence[StepRow], full: Fit, tell: Callable[[str], None]
) -> tuple[list[Check], list[KernelCheck]]:
    """Return each GPU's steps and kernels as predicted without any measurement of that GPU.

    Args:
        data: What coefficients are fitted to.
        extra: Steps to predict that are never fitted to.
        full: The fit to everything, to start from.
        tell: Called with the name of each GPU before it is left out.
    """
    steps: list[Check] = []
    kernels: list[KernelCheck] = []
    everything = [*data.steps, *extra]
    for gpu in sorted(set(data.gpus) | {r.gpu for r in extra}):
        tell(gpu)
        without = fit(data.without(gpu), full.document, full.values, steps=6)
        steps += check_steps([r for r in everything if r.gpu == gpu], without.efficiencies)
        for rows in data.kernels:
            if rows.gpu == gpu:
                kernels += check_kernels(rows, without.efficiencies, full.values[f"call_s.{gpu}"])
    return steps, kernels


def leave_one_family_out(data: Data, full: Fit, tell: Callable[[str], None]) -> list[Check]:
    """Return each family's steps as predicted without any measurement of that family."""
    found: list[Check] = []
    efficiencies = full.efficiencies

    def family(device: Device | None) -> str:
        assert device is not None
        return efficiencies.family_of(device).name

    for name in sorted({family(r.device) for r in data.steps}):
        tell(name)
        kept = data.kept(lambda device, name=name: family(device) != name)  # type: ignore[misc]
        without = fit(kept, full.document, full.values, steps=6)
        found += check_steps([r for r in data.steps if family(r.device) == name], without.efficiencies)
    return found

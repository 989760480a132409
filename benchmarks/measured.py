"""Measurements by device, precision and software: many steps or kernels priced in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.parameters import Parameter
from whichgpu.cost.coefficients import Coefficients
from whichgpu.cost.family import Efficiencies
from whichgpu.cost.kernel_table import KernelTable
from whichgpu.cost.rates import Rates
from whichgpu.cost.roofline import price_table
from whichgpu.devices.device import Device
from whichgpu.graph import Precision
from whichgpu.validation import Case
from whichgpu.work.kernel import MATRIX_KINDS

Floats = NDArray[np.float64]
# The eager call around a single kernel and the kernel itself, one of which hides the other.
CALL_NORM = 3.0
STEP_NORM = 6.0


@dataclass(frozen=True)
class Measured:
    """One measured time of a step or of a single kernel.

    Attributes:
        source: Who measured it, and in which way: rows of one source are alike.
        device: Where.
        job: Of what.
        family: Of what kind of job, for folds: "resnet", "bert".
        task: "train", "infer" or "kernel".
        precision: What float32 matrix math may be rounded to.
        layout: "nchw", "nhwc" or "".
        software: Version of PyTorch; "" for today's.
        table: Its kernels.
        seconds: The time.
        weight: In the fit.
        extra: Name of a time of its own that its measurement contains, if any; of a single kernel the eager call.
        factor: Name of a factor of its own that its measurement has, if any.
        host: Name of a factor on host times of the machine it was measured on, if any.
        compiled: Whether a compiler fused the step.
        case: The published row it is, if it is one.
    """

    source: str
    device: Device
    job: str
    family: str
    task: str
    precision: Precision
    layout: str
    software: str
    table: KernelTable
    seconds: float
    weight: float = 1.0
    extra: Parameter | None = None
    factor: Parameter | None = None
    host: Parameter | None = None
    compiled: bool = False
    case: Case | None = None


@dataclass(frozen=True)
class Batch:
    """Measurements of one device, precision and software generation.

    Attributes:
        device: Where.
        precision: In which.
        software: Version of PyTorch.
        rows: The n measurements.
    """

    device: Device
    precision: Precision
    software: str
    rows: Sequence[Measured] = field(repr=False)

    @cached_property
    def table(self) -> KernelTable:
        """The kernels of all rows."""
        return KernelTable.of_kernels(
            (pair for r in self.rows for pair in zip(r.table.kernels, r.table.calls.tolist(), strict=True)),
        )

    @cached_property
    def row(self) -> NDArray[np.intp]:
        """Which row each kernel belongs to."""
        return np.repeat(np.arange(len(self.rows)), [len(r.table.kernels) for r in self.rows])

    @cached_property
    def seconds(self) -> Floats:
        """Measured times, (n,)."""
        return np.array([r.seconds for r in self.rows])

    @cached_property
    def weight(self) -> Floats:
        """Weights, (n,)."""
        return np.array([r.weight for r in self.rows])

    @property
    def nuisances(self) -> list[Parameter]:
        """What belongs to the measurements and not to the device."""
        return [p for r in self.rows for p in (r.extra, r.factor, r.host) if p is not None]

    def predict(self, efficiencies: Efficiencies, values: Mapping[str, float] | None = None) -> Floats:
        """Return the predicted times, (n,), with the measurements' own circumstances where `values` are given."""
        return self.times(self.kernels_s(efficiencies), values)[0]

    def times(self, kernels_s: Floats, values: Mapping[str, float] | None) -> tuple[Floats, Floats]:
        """Return the rows' times, and d log(time) / d (device seconds), how they depend on the device, (n,) each.

        Args:
            kernels_s: What `kernels_s` returned.
            values: Of the measurements' own circumstances; None for the product's view, which knows none of them.
        """
        known = values or {}
        device_s = np.bincount(self.row, weights=kernels_s, minlength=len(self.rows))
        host_s = self._host_s(known)
        slower = np.array([1.0 if r.factor is None else known.get(r.factor.name, 1.0) for r in self.rows])
        extra_s = np.array([0.0 if r.extra is None else known.get(r.extra.name, 0.0) for r in self.rows])
        single = np.array([r.task == "kernel" for r in self.rows])
        norm = np.where(single, CALL_NORM, STEP_NORM)
        beside = np.where(single, extra_s, host_s)
        longest = np.maximum(device_s, beside)
        both = longest * ((device_s / longest) ** norm + (beside / longest) ** norm) ** (1 / norm)
        total = both * slower + np.where(single, 0.0, extra_s) + self._waits_s
        slope: Floats = (device_s / both) ** (norm - 1) * slower / total
        return total, slope

    def kernels_s(self, efficiencies: Efficiencies) -> Floats:
        """Return what each kernel takes in its step, (kernels,)."""
        software = efficiencies.software_of(self.software)
        priced = price_table(self.table, self.device, self.precision, efficiencies, software)
        found: Floats = priced.seconds * priced.calls
        return found

    @cached_property
    def _host_alone_s(self) -> Floats:
        """What the host of the shipped coefficients takes, (n,)."""
        from whichgpu.cost.family import efficiencies
        from whichgpu.cost.host import host_s

        shipped = efficiencies()
        family, software = shipped.family_of(self.device), shipped.software_of(self.software)
        slower = float(np.prod([s.host for s in software]))
        return np.array([host_s(r.table, family, shipped.host, slower) for r in self.rows])

    @cached_property
    def _waits_s(self) -> Floats:
        """What waits of the host inside of a step add to it, by the shipped coefficients, (n,)."""
        from whichgpu.cost.family import efficiencies

        shipped, added = efficiencies(), np.zeros(len(self.rows))
        for i, row in enumerate(self.rows):
            if row.table.timeline is not None:
                software = shipped.software_of(self.software)
                priced = price_table(row.table, self.device, self.precision, shipped, software)
                added[i] = priced.step_s - replace(priced, timeline_s=None).step_s
        return added

    def _host_s(self, values: Mapping[str, float]) -> Floats:
        factors = [1.0 if r.host is None else values.get(r.host.name, 1.0) for r in self.rows]
        found: Floats = self._host_alone_s * np.array(factors)
        return found

    @cached_property
    def is_tiled(self) -> bool:
        """Whether any product runs on FP32 units."""
        return bool(self.groups_running("fp32").any())

    def sensitivity(self, moved_s: Floats, before_s: Floats, slope: Floats) -> Floats:
        """Return what each kernel adds to d log(time) of its row, (kernels,), when its time changes so."""
        found: Floats = (moved_s - before_s) * slope[self.row]
        return found

    def share_out(self, found: Floats, groups: NDArray[np.bool_] | bool) -> Floats:
        """Return d log(time) of each row by a parameter that acts on `groups`, (n,)."""
        if isinstance(groups, bool):
            if not groups:
                return np.zeros(len(self.rows))
            groups = np.ones(len(self.table.groups), dtype=np.bool_)
        acted = np.bincount(self.row, weights=found * groups[self.table.group], minlength=len(self.rows))
        return acted.astype(np.float64)

    @cached_property
    def _formats(self) -> tuple[str, ...]:
        """The number format each group runs in, "" outside matrix units."""
        from whichgpu.cost.family import efficiencies

        rates = Rates.of(self.device, self.precision, efficiencies())
        return tuple(rates.runs_in(group) if group.kind in MATRIX_KINDS else "" for group in self.table.groups)

    @cached_property
    def _own_qualifiers(self) -> frozenset[str]:
        from whichgpu.cost.family import efficiencies

        return Rates.of(self.device, self.precision, efficiencies()).own_qualifiers

    def groups_running(self, number_format: str) -> NDArray[np.bool_]:
        """Return which groups run in a number format."""
        return np.array([f == number_format for f in self._formats], dtype=np.bool_)

    def groups_tiled(self, how: str) -> NDArray[np.bool_]:
        """Return which groups are "single" or "batched" products on FP32 units."""
        batched = np.array(["batched" in g.qualifiers for g in self.table.groups], dtype=np.bool_)
        return self.groups_running("fp32") & (batched if how == "batched" else ~batched)

    def groups_named(self, name: str) -> NDArray[np.bool_]:
        """Return which groups a coefficient of this name acts on."""
        if name == "vector":
            return np.array([g.kind not in MATRIX_KINDS for g in self.table.groups], dtype=np.bool_)
        one, own = Coefficients({name: 2.0}), self._own_qualifiers
        pairs = zip(self.table.groups, self._formats, strict=True)
        return np.array([one.of(g.kind, g.qualifiers | own | {f}) > 1 for g, f in pairs], dtype=np.bool_)


def batched(rows: Iterable[Measured]) -> list[Batch]:
    """Return the rows by device, precision and software."""
    found: defaultdict[tuple[str, Precision, str], list[Measured]] = defaultdict(list)
    for row in rows:
        found[row.device.name, row.precision, row.software].append(row)
    return [Batch(of[0].device, of[0].precision, of[0].software, tuple(of)) for of in found.values()]

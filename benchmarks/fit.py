"""The fit: coefficients that predict measured kernels and published steps, robustly, with priors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.measured import Batch
from benchmarks.parameters import (
    COMMON,
    Document,
    Parameter,
    fill,
    kind_parameters,
    lineage,
    own_parameters,
    software_parameters,
    tile_parameters,
)
from whichgpu.cost.coefficients import Coefficients
from whichgpu.cost.family import Efficiencies, efficiencies_from_document
from whichgpu.cost.tile_names import TILE_NAMES
from whichgpu.devices import devices
from whichgpu.work.kernel import KernelKind

Floats = NDArray[np.float64]

# Residuals beyond this (in log time) count linearly: a broken run must not bend the fit.
SOFT = 0.1
# A step that lowers the cost by less than this share is the last.
ENOUGH = 1e-5
# How far all coefficients of one way of acting are moved together to see how much a kernel's time depends on them.
STEP = 1e-3


@dataclass(frozen=True)
class Fit:
    """Fitted values by parameter name, those of the measurements' own circumstances included."""

    values: Mapping[str, float]
    document: Document

    @property
    def efficiencies(self) -> Efficiencies:
        """The coefficients as the product reads them."""
        return efficiencies_from_document(self.document)


def process_nodes(efficiencies: Efficiencies) -> dict[str, float]:
    """Return the middle manufacturing node of each GPU family's devices."""
    nodes: dict[str, list[float]] = {}
    for device in devices():
        if device.process_nm is not None and not device.is_cpu:
            nodes.setdefault(efficiencies.family_of(device).name, []).append(device.process_nm)
    return {family: median(found) for family, found in nodes.items()}


def fit(
    batches: Sequence[Batch], structure: Document, start: Mapping[str, float] | None = None, steps: int = 12
) -> Fit:
    """Return the fitted coefficients.

    Args:
        batches: Measurements.
        structure: A document of the form of efficiencies.toml: families, and all that is not fitted.
        start: Values to begin from; the priors' medians where not given.
        steps: Evaluations of the Jacobian at most.
    """
    from scipy.optimize import least_squares

    problem = Problem(batches, structure)
    begin = np.log([(start or {}).get(p.name, p.start) for p in problem.parameters])
    result = least_squares(
        problem.residuals,
        np.minimum(begin, problem.high - 1e-6),
        jac=problem.jacobian,
        bounds=(-np.inf, problem.high),
        loss="soft_l1",
        f_scale=SOFT,
        max_nfev=steps,
        ftol=ENOUGH,
        x_scale=problem.sigma,
    )
    found = problem.values(result.x)
    return Fit(found, fill(structure, found, problem.nodes))


class Problem:
    """Measurements, and the parameters that predict them."""

    def __init__(self, batches: Sequence[Batch], structure: Document) -> None:
        """Collect what there is to fit."""
        self.batches, self.structure = batches, structure
        plain = efficiencies_from_document(structure)
        self.nodes = process_nodes(plain)
        self.family = [plain.family_of(b.device).name for b in batches]
        self.lacks = [["-".join(map(str, s.until)) for s in plain.software_of(b.software)] for b in batches]
        self.matured = [
            {"-".join(map(str, s.until)) for s in plain.software if plain.is_mature(plain.family_of(b.device), s)}
            for b in batches
        ]
        self.lineage = {f: lineage(structure, f) for f in self.family}
        self.parameters = [
            *COMMON,
            *kind_parameters(),
            *tile_parameters(structure),
            *(p for f in sorted({f for line in self.lineage.values() for f in line}) for p in own_parameters(f)),
            *(p for s in sorted({s for lacks in self.lacks for s in lacks}) for p in software_parameters(s)),
            *nuisances(batches),
        ]
        self.prior = np.log([p.start for p in self.parameters])
        self.sigma = np.array([p.sigma for p in self.parameters])
        self.high = np.log([p.high for p in self.parameters])
        self.weights = np.concatenate([b.weight for b in batches]) ** 0.5
        self.measured = np.log(np.concatenate([b.seconds for b in batches]))

    def values(self, theta: Floats) -> dict[str, float]:
        """Return the parameters by name."""
        return dict(zip((p.name for p in self.parameters), np.exp(theta).tolist(), strict=True))

    def residuals(self, theta: Floats) -> Floats:
        """Return the weighted errors in log time, then how far each parameter is from its prior."""
        values = self.values(theta)
        predicted = self._predict(self._efficiencies(values), values)
        return np.concatenate([(predicted - self.measured) * self.weights, SOFT * (theta - self.prior) / self.sigma])

    def _predict(self, efficiencies: Efficiencies, values: Mapping[str, float]) -> Floats:
        found: Floats = np.log(np.concatenate([b.predict(efficiencies, values) for b in self.batches]))
        return found

    def jacobian(self, theta: Floats) -> Floats:
        """Return the derivatives of the residuals.

        A coefficient is a factor on some kernels' arithmetic, bandwidth or reordering. So all of one way of acting are
        moved together once, which gives every kernel's sensitivity, and shared out by which kernels each acts on.
        """
        values = self.values(theta)
        base = self._efficiencies(values)
        kernels_s = [b.kernels_s(base) for b in self.batches]
        times, slopes = zip(*(b.times(k, values) for b, k in zip(self.batches, kernels_s, strict=True)), strict=True)
        before = np.log(np.concatenate(times))
        moved = {
            how: self._moved(how, change(base, float(np.exp(STEP))), kernels_s, slopes)
            for how, change in CHANGES.items()
        }
        jacobian = np.zeros((len(before) + len(theta), len(theta)))
        jacobian[len(before) :] = np.diag(SOFT / self.sigma)
        for j, parameter in enumerate(self.parameters):
            acts = parameter.acts
            if acts == "else":
                column = (self._with(parameter, values, kernels_s) - before) / STEP
            else:
                how = f"tile.{parameter.name.split('.')[-1]}" if acts == "tile" else acts
                column = np.concatenate(
                    [
                        b.share_out(found, self._touches(parameter, b, i)) * self._share(parameter, i, values)
                        for i, (b, found) in enumerate(zip(self.batches, moved[how], strict=True))
                    ]
                )
            jacobian[: len(before), j] = column * self.weights
        return jacobian

    def _efficiencies(self, values: Mapping[str, float]) -> Efficiencies:
        return efficiencies_from_document(fill(self.structure, values, self.nodes))

    def _moved(
        self, how: str, changed: Efficiencies, before_s: Sequence[Floats], slopes: Sequence[Floats]
    ) -> list[Floats]:
        """Return each batch's sensitivities to all coefficients that act in one way."""
        found = []
        for batch, kernels_s, slope in zip(self.batches, before_s, slopes, strict=True):
            if how.startswith("tile") and not batch.is_tiled:
                found.append(np.zeros_like(kernels_s))
            else:
                found.append(batch.sensitivity(batch.kernels_s(changed), kernels_s, slope) / STEP)
        return found

    def _with(self, parameter: Parameter, values: Mapping[str, float], kernels_s: Sequence[Floats]) -> Floats:
        """Return the logarithm of the times with one parameter a step larger."""
        changed = dict(values) | {parameter.name: values[parameter.name] * float(np.exp(STEP))}
        if parameter.name.startswith(("model.", "scale.")):
            return self._predict(self._efficiencies(changed), changed)
        # A circumstance of the measurements: no kernel takes longer for it.
        times = [b.times(k, changed)[0] for b, k in zip(self.batches, kernels_s, strict=True)]
        return np.log(np.concatenate(times))

    def _share(self, parameter: Parameter, index: int, values: Mapping[str, float]) -> float:
        """Return the exponent with which a parameter acts on a batch."""
        room, _, rest = parameter.name.partition(".")
        is_less = room == "software" and rest.partition(".")[0] in self.matured[index]
        return values["model.mature_gain"] if is_less else 1.0

    def _touches(self, parameter: Parameter, batch: Batch, index: int) -> NDArray[np.bool_] | bool:
        """Return which groups of a batch's table a parameter acts on, (groups,), or all or none."""
        room, _, rest = parameter.name.partition(".")
        if room == "software":
            until, _, kind = rest.split(".", 2)
            return until in self.lacks[index] and batch.groups_named(kind)
        if room == "family":
            family, _, what = rest.partition(".")
            if family not in self.lineage[self.family[index]]:
                return False
            return what in ("memory", "energy") or batch.groups_running(what.removeprefix("matrix."))
        if room == "scale":
            return batch.groups_running(rest.split(".")[-1])
        if room == "tiles":
            library, how, _ = rest.split(".")
            used = next(
                row.get("tiles", "Ampere") for row in self.structure["family"] if row["name"] == self.family[index]
            )
            return library == used and batch.groups_tiled(how)
        return batch.groups_named(rest.removeprefix("kinds."))


def nuisances(batches: Iterable[Batch]) -> list[Parameter]:
    """Return what belongs to the measurements and not to the devices: times added to a step, slower software."""
    found: dict[str, Parameter] = {}
    for batch in batches:
        for parameter in batch.nuisances:
            found.setdefault(parameter.name, parameter)
    return list(found.values())


def _scaled(what: str) -> Callable[[Efficiencies, float], Efficiencies]:
    """Return how to multiply all coefficients of one way of acting."""

    def change(efficiencies: Efficiencies, factor: float) -> Efficiencies:
        old: Coefficients = getattr(efficiencies, what)
        # Every kind has one entry without qualifiers after this, whose factor all kernels of the kind share.
        entries = dict(old.entries)
        for kind in KINDS:
            if old.has(kind) or what not in UNBOUNDED:
                entries[kind] = entries.get(kind, 1.0) * factor
        return replace(efficiencies, **{what: Coefficients(entries)})  # type: ignore[arg-type]

    return change


def _energy(efficiencies: Efficiencies, factor: float) -> Efficiencies:
    families = tuple(
        replace(f, picojoules_per_flop={k: v * factor for k, v in f.picojoules_per_flop.items()})
        for f in efficiencies.families
    )
    return replace(efficiencies, families=families)


def _tile(name: str) -> Callable[[Efficiencies, float], Efficiencies]:
    def change(efficiencies: Efficiencies, factor: float) -> Efficiencies:
        at = TILE_NAMES.index(name)
        tiles = {
            library: {how: tuple(s * factor if i == at else s for i, s in enumerate(row)) for how, row in rows.items()}
            for library, rows in efficiencies.tiles.items()
        }
        return replace(efficiencies, tiles=tiles)

    return change


KINDS: tuple[str, ...] = get_args(KernelKind)
# Where a kind without a coefficient has no bound at all.
UNBOUNDED = ("elements_per_clock",)
CHANGES: dict[str, Callable[[Efficiencies, float], Efficiencies]] = {
    "compute": _scaled("compute"),
    "memory": _scaled("memory"),
    "reorder": _scaled("reorder"),
    "elements_per_clock": _scaled("elements_per_clock"),
    "reread": _scaled("reread"),
    "energy": _energy,
    **{f"tile.{name}": _tile(name) for name in TILE_NAMES},
}

"""The fit: coefficients that predict measured kernels and published steps, robustly, with priors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gemm_rates import GemmRate
from benchmarks.gpu_names import device_of
from benchmarks.kernel_rows import KernelRows
from benchmarks.parameters import COMMON, Document, Parameter, fill, own_parameters
from benchmarks.step_rows import NEWEST, StepRow
from whichgpu.cost.family import Efficiencies, efficiencies_from_document
from whichgpu.cost.roofline import price_table
from whichgpu.devices import devices
from whichgpu.devices.device import Device
from whichgpu.graph import precision

Floats = NDArray[np.float64]

# NeuSight ran with TF32 off everywhere.
STRICT_FP32 = replace(precision("fp32"), convolution_tf32=False)
# Residuals beyond this (in log time) count linearly: a broken run must not bend the fit.
SOFT = 0.1
# All kernels of one kind on one GPU together weigh as much as this many steps.
KERNEL_WEIGHT = 4.0
# And one measured rate of large products as much as this many.
PRODUCT_WEIGHT = 4.0
# Many models on one GPU: each tells less than the same model on many.
TIMM_WEIGHT = 0.5
# The eager call around a kernel and the kernel itself, one of which hides the other.
CALL_NORM = 3.0


@dataclass(frozen=True)
class Data:
    """What is fitted to."""

    steps: Sequence[StepRow]
    kernels: Sequence[KernelRows]
    products: Sequence[GemmRate] = ()

    def without(self, gpu: str) -> Data:
        """Return the data without anything measured on one GPU."""
        device = device_of(gpu)
        return self.kept(lambda d: d is not device)

    def kept(self, keep: Callable[[Device | None], bool]) -> Data:
        """Return what was measured on devices that `keep` says yes to."""
        return Data(
            [r for r in self.steps if keep(r.device)],
            [r for r in self.kernels if keep(device_of(r.gpu))],
            [r for r in self.products if keep(r.device)],
        )

    @property
    def gpus(self) -> list[str]:
        """The GPUs there are measurements of, in order of their names."""
        return sorted({r.gpu for r in self.steps} | {r.gpu for r in self.kernels})


@dataclass(frozen=True)
class Fit:
    """Fitted values by parameter name, those of the measurements' own circumstances included."""

    values: Mapping[str, float]
    document: Document

    @property
    def efficiencies(self) -> Efficiencies:
        """The coefficients as the product reads them."""
        return efficiencies_from_document(self.document)


def nuisances(data: Data) -> list[Parameter]:
    """Return what belongs to the measurements and not to the devices.

    Older software is slower by a factor. Lambda's and NVIDIA's BERT times contain the host's loader and, in float32, an
    optimizer that updates each tensor by itself: a time of its own a step. Each GPU's kernels were called from Python.
    """
    found = [
        Parameter(f"software.{job}.{software}", 1.0, 0.15)
        for job, software in sorted({(r.job, r.software) for r in data.steps})
        if software != NEWEST
    ]
    found += [Parameter(f"extra_s.{name}", 0.02, 0.7) for name in ("amp-fp16", "float32")]
    return found + [Parameter(f"call_s.{r.gpu}", 1e-4, 0.5) for r in data.kernels]


def extra_name(row: StepRow) -> str | None:
    """Return which time of its own a step has, if any."""
    if not row.job.startswith("bert-large-384"):
        return None
    return "extra_s.amp-fp16" if row.precision == "amp-fp16" else "extra_s.float32"


def predict_kernels(rows: KernelRows, efficiencies: Efficiencies, call_s: float = 0.0) -> Floats:
    """Return the predicted times of the kernels, in seconds, (n,), the eager call around them included."""
    device = device_of(rows.gpu)
    assert device is not None
    seconds = price_table(rows.table, device, STRICT_FP32, efficiencies).seconds
    called: Floats = (seconds**CALL_NORM + call_s**CALL_NORM) ** (1 / CALL_NORM)
    return called


def process_nodes(efficiencies: Efficiencies) -> dict[str, float]:
    """Return the middle manufacturing node of each GPU family's devices."""
    nodes: dict[str, list[float]] = {}
    for device in devices():
        if device.process_nm is not None and not device.is_cpu:
            nodes.setdefault(efficiencies.family_of(device).name, []).append(device.process_nm)
    return {family: median(found) for family, found in nodes.items()}


def fit(data: Data, structure: Document, start: Mapping[str, float] | None = None, steps: int = 12) -> Fit:
    """Return the fitted coefficients.

    Args:
        data: Measurements.
        structure: A document of the form of efficiencies.toml: families, and all that is not fitted.
        start: Values to begin from; the priors' medians where not given.
        steps: Evaluations of the Jacobian at most.
    """
    from scipy.optimize import least_squares

    plain = efficiencies_from_document(structure)
    nodes = process_nodes(plain)
    families = sorted({plain.family_of(d).name for d in _devices(data)})
    parameters = [*COMMON, *(p for f in families for p in own_parameters(f)), *nuisances(data)]
    prior = np.log([p.start for p in parameters])
    sigma = np.array([p.sigma for p in parameters])
    begin = np.log([(start or {}).get(p.name, p.start) for p in parameters])
    high = np.log([p.high for p in parameters])

    def values(theta: Floats) -> dict[str, float]:
        return dict(zip((p.name for p in parameters), np.exp(theta).tolist(), strict=True))

    def residuals(theta: Floats) -> Floats:
        found = values(theta)
        efficiencies = efficiencies_from_document(fill(structure, found, nodes))
        return np.concatenate([_residuals(data, efficiencies, found), SOFT * (theta - prior) / sigma])

    result = least_squares(
        residuals,
        np.minimum(begin, high - 1e-6),
        bounds=(-np.inf, high),
        jac_sparsity=_sparsity(parameters, data, plain),
        loss="soft_l1",
        f_scale=SOFT,
        max_nfev=steps,
        diff_step=1e-3,
        x_scale=sigma,
    )
    found = values(result.x)
    return Fit(found, fill(structure, found, nodes))


def _residuals(data: Data, efficiencies: Efficiencies, values: Mapping[str, float]) -> Floats:
    parts = []
    for row in data.steps:
        seconds = price_table(row.table, row.device, row.math, efficiencies).step_s
        seconds *= values.get(f"software.{row.job}.{row.software}", 1.0)
        name = extra_name(row)
        seconds += 0.0 if name is None else values[name]
        weight = TIMM_WEIGHT if row.job.startswith("timm:") else 1.0
        parts.append(np.array([np.log(seconds / row.seconds) * weight**0.5]))
    for rows in data.kernels:
        log = np.log(predict_kernels(rows, efficiencies, values[f"call_s.{rows.gpu}"]) / rows.seconds)
        parts.append(log * _kernel_weights(rows))
    for product in data.products:
        seconds = price_table(product.table, product.device, product.math, efficiencies).device_s
        parts.append(np.array([np.log(seconds / product.seconds) * PRODUCT_WEIGHT**0.5]))
    return np.concatenate(parts)


def _kernel_weights(rows: KernelRows) -> Floats:
    count = Counter(rows.op.tolist())
    return np.sqrt(KERNEL_WEIGHT / np.array([count[op] for op in rows.op.tolist()], dtype=np.float64))


def _devices(data: Data) -> list[Device]:
    found = [r.device for r in data.steps] + [r.device for r in data.products]
    return found + [d for r in data.kernels if (d := device_of(r.gpu)) is not None]


def _sparsity(parameters: Sequence[Parameter], data: Data, efficiencies: Efficiencies) -> Any:
    """Return which residuals depend on which parameters: a family's own touch only its devices."""
    from scipy.sparse import lil_matrix

    labels: list[tuple[str, str, str]] = []  # of each residual: family, GPU, software
    for row in data.steps:
        labels.append((efficiencies.family_of(row.device).name, "", f"{row.job}.{row.software}"))
    for rows in data.kernels:
        device = device_of(rows.gpu)
        assert device is not None
        labels += [(efficiencies.family_of(device).name, rows.gpu, "")] * len(rows.seconds)
    labels += [(efficiencies.family_of(product.device).name, "", "") for product in data.products]
    matrix = lil_matrix((len(labels) + len(parameters), len(parameters)), dtype=np.int8)
    family, gpu, software = (np.array(column) for column in zip(*labels, strict=True))
    everywhere = np.ones(len(labels), dtype=np.bool_)
    for j, parameter in enumerate(parameters):
        kind, _, rest = parameter.name.partition(".")
        touched = everywhere
        if kind == "family":
            touched = family == next(name for name in set(family) if rest.startswith(f"{name}."))
        elif kind == "call_s":
            touched = gpu == rest
        elif kind == "software":
            touched = software == rest
        matrix[np.flatnonzero(touched), j] = 1
        matrix[len(labels) + j, j] = 1
    return matrix.tocsr()

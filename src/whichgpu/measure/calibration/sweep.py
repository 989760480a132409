"""The whole sweep: sections in order of value, each with its part of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from whichgpu.measure.calibration import (
    anchors,
    attention,
    bandwidth,
    convolutions,
    launches,
    normalizations,
    other_kernels,
    products,
    transfers,
)
from whichgpu.measure.calibration.probe import HostProbe, Probe, Scope, Section

# What the host costs, by name in `whichgpu.measure.calibration.host_calls`.
HOST_CALLS = (
    "add",
    "view",
    "synchronize",
    "read a number",
    "backward of a product",
    "add with gradients",
    "linear layer",
    "foreach add of 100",
    "allocate",
    "AdamW step of 100",
)
_HOST_ONLY_ON_GPU = ("synchronize",)


def _host(scope: Scope) -> Iterable[Probe]:
    return (HostProbe(name) for name in HOST_CALLS if not (scope.is_cpu and name in _HOST_ONLY_ON_GPU))


# Name, part of the time, what is measured.
_SECTIONS: tuple[tuple[str, float, Callable[[Scope], Iterable[Probe]]], ...] = (
    ("host", 0.03, _host),
    ("products", 0.24, products.probes),
    ("bandwidth", 0.09, bandwidth.probes),
    ("anchors", 0.30, anchors.probes),
    ("convolutions", 0.14, convolutions.probes),
    ("attention", 0.07, attention.probes),
    ("normalizations", 0.05, normalizations.probes),
    ("other", 0.03, other_kernels.probes),
    ("launches", 0.02, launches.probes),
    ("transfers", 0.03, transfers.probes),
)
SECTIONS = tuple(name for name, _, _ in _SECTIONS)


def sweep(scope: Scope, only: str | None = None) -> tuple[Section, ...]:
    """Return what is measured of a device, or the one section called `only`."""
    return tuple(
        Section(name, share if only is None else 1.0, _each_once(probes(scope)))
        for name, share, probes in _SECTIONS
        if only in (None, name)
    )


def _each_once(probes: Iterable[Probe]) -> tuple[Probe, ...]:
    """Return probes without those that come a second time, as sizes rounded up or drawn at random may."""
    first: dict[str, Probe] = {}
    for probe in probes:
        first.setdefault(probe.name, probe)
    return tuple(first.values())

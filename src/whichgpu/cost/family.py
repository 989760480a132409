"""Efficiencies by device family: data with a source, read from ``data/efficiencies.toml``."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from whichgpu.cost.coefficients import Coefficients
from whichgpu.cost.tile_names import TILE_NAMES
from whichgpu.devices.device import Device, NumberFormat
from whichgpu.units import MICRO, MILLI, TERA


@dataclass(frozen=True, slots=True)
class Spread:
    """How far predictions were from measurements.

    Attributes:
        sigma: Standard deviation of log(predicted / measured), dimensionless.
        rows: Measurements compared.
        gpus: Devices they were taken on.
        basis: In words.
        device_sigma: The part of `sigma` that all jobs on one device share; half of the variance where not known.
    """

    sigma: float
    rows: int
    gpus: int
    basis: str
    device_sigma: float | None = None

    @property
    def device_part(self) -> float:
        """Standard deviation of the error that all jobs on one device share."""
        return self.sigma * math.sqrt(0.5) if self.device_sigma is None else min(self.device_sigma, self.sigma)

    @property
    def job_part(self) -> float:
        """Standard deviation of the error that is the job's own."""
        return math.sqrt(self.sigma**2 - self.device_part**2)


@dataclass(frozen=True, slots=True)
class Family:
    """Devices that reach the same shares of their datasheets.

    Attributes:
        name: "Ampere GA10x".
        vendor: As in `Device.vendor`; "" stands for any.
        architectures: Values of `Device.architecture` it covers; empty means all of the vendor's that no other covers.
        compute_capabilities: NVIDIA's version numbers it covers, which go before architectures.
        cpu: Whether it covers host processors.
        matrix: Share of the power-capped matrix peak a large product reaches, by number format.
        memory: Factor on the memory efficiencies of `Efficiencies.memory`.
        picojoules_per_flop: Energy of a matrix FLOP at full clock, by number format, for the power cap.
        like: The family whose own factors it shares where nothing was measured of it, or beside its own.
        qualifier: What its kernels are qualified by beside what they are, where a generation differs in more than its
            rates: "hopper" (libraries run many kernels written for the generation before), "pascal" (long rows cost
            it more); "" for none.
        tiles: Name in `Efficiencies.tiles` of the FP32 kernels its library has.
        kernel_start_s: Time on the device between two kernels.
        mature_since: The release of PyTorch, (major, minor), by which libraries had been tuned for it: of what later
            ones gained it has the share `Model.mature_gain`. None for what was new when the gains were measured.
        op_host_s: Time the host takes to issue an op; the general one of `Efficiencies.host` if None.
        measured_devices: Full names of devices whose measured steps or kernels went into these figures.
        source: Where the figures come from, how many rows, of when.
    """

    name: str
    vendor: str
    architectures: tuple[str, ...]
    compute_capabilities: tuple[str, ...]
    cpu: bool
    matrix: Mapping[NumberFormat, float]
    memory: float
    picojoules_per_flop: Mapping[NumberFormat, float]
    like: str
    qualifier: str
    tiles: str
    kernel_start_s: float
    measured_devices: tuple[str, ...]
    source: str
    op_host_s: float | None = None
    mature_since: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """Time the host needs to issue work in eager mode.

    Attributes:
        op_s: An op that launches a kernel, its share of autograd and of the training loop included.
        launch_s: Each kernel of an op after its first.
        view_s: An op that only changes metadata.
        synchronization_s: Waiting for the device once, and finding it idle after.
        compiled_launch_s: A kernel that compiled code launches.
        compiled_call_s: Entering compiled code once: guards, checks, autograd.
        graph_launch_s: Starting a CUDA graph once.
        compile_begin_s: What the first torch.compile of a process takes whatever it compiles.
        compile_op_s: What each op of the eager step adds to it.
        compile_kernel_s: What each distinct kernel adds that the compiler writes itself.
        source: Where the figures come from.
    """

    op_s: float
    launch_s: float
    view_s: float
    synchronization_s: float
    compiled_launch_s: float
    compiled_call_s: float
    graph_launch_s: float
    compile_begin_s: float
    compile_op_s: float
    compile_kernel_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Model:
    """Constants of the form of the cost model, the same on every device.

    Attributes:
        edge: c of a tile's efficiency on matrix units, 1 / (1 + c (1/tm + 1/tn)): what loading operands costs.
        prologue: k0, the steps along k a tile's start and end cost.
        tail: beta, how much of the last partial wave is paid: 0 none, 1 all.
        split_k_s: Cost of adding up the parts of a product split along k.
        lowest_voltage: To which a chip under its power limit goes down, of the voltage at full clock.
        idle_w: What a board draws whatever it does.
        joules_per_byte: What its memory draws, by its bandwidth.
        clock: How much faster than its rated boost clock a chip of a segment really runs, where power allows.
        l2_bytes_per_clock: What a multiprocessor gets from the shared cache in a clock.
        cpu_cache_speed: Bandwidth of a host processor's last cache as a multiple of that of memory.
        l2_reach: Bytes a kernel may touch and still find its operands in the cache, as a share of the cache.
        kernel_norm: p of the smooth maximum of a kernel's compute and memory time.
        step_norm: p of the smooth maximum of device and host time.
        mature_gain: Share of a release's gains that reaches families which were mature before it, as an exponent.
        source: Where the figures come from.
    """

    edge: float
    prologue: float
    tail: float
    split_k_s: float
    lowest_voltage: float
    idle_w: float
    joules_per_byte: float
    clock: Mapping[str, float]
    l2_bytes_per_clock: float
    cpu_cache_speed: float
    l2_reach: float
    kernel_norm: float
    step_norm: float
    mature_gain: float
    source: str


@dataclass(frozen=True, slots=True)
class Software:
    """What a release of PyTorch gained: factors on everything older than it.

    Attributes:
        until: The newest version without the gain, (major, minor).
        compute: Factors on `Efficiencies.compute`.
        memory: Factors on `Efficiencies.memory`.
        host: Factor on host times.
        source: Where the figures come from.
    """

    until: tuple[int, int]
    compute: Coefficients
    memory: Coefficients
    host: float
    source: str


@dataclass(frozen=True, slots=True)
class Efficiencies:
    """All coefficients of the cost model. Kernels are named as `whichgpu.cost.group` qualifies them.

    Attributes:
        model: Constants of its form.
        host: Host times.
        compute: Share of the arithmetic peak, by kernel and number format ("convolution.wgrad.fp32").
        memory: Share of the datasheet bandwidth, by kernel.
        reorder: How much of its operands a convolution on matrix units reorders where channels are not innermost, as a
            multiple of their bytes, by kernel and number format.
        elements_per_clock: What a multiprocessor goes through in a clock, by kernel; kinds that are not there are not
            bound by it.
        reread: How often more a kernel reads what it reads if the cache holds nothing of a wave, by kernel.
        tiles: What each tile reaches on FP32 units, by library and by "single" or "batched" products, in the order of
            `whichgpu.cost.tiles.TILE_NAMES`.
        software: Older generations of PyTorch, oldest first.
        families: In the order they are tried.
        spreads: Errors found, by how much is known of a device: "device", "family", "vendor", "none".
    """

    model: Model
    host: Host
    compute: Coefficients
    memory: Coefficients
    reorder: Coefficients
    elements_per_clock: Coefficients
    reread: Coefficients
    tiles: Mapping[str, Mapping[str, tuple[float, ...]]]
    software: tuple[Software, ...]
    families: tuple[Family, ...]
    spreads: Mapping[str, Spread]

    def family_of(self, device: Device) -> Family:
        """Return the family of `device`: by compute capability, else architecture, else vendor, else the general."""
        for test in (_by_capability, _by_architecture, _by_vendor, _general):
            for family in self.families:
                if family.cpu == device.is_cpu and test(family, device):
                    return family
        raise LookupError(f"efficiencies.toml has no general family for {device.name}.")

    def software_of(self, version: str) -> tuple[Software, ...]:
        """Return what a PyTorch version such as "1.12.1+cu116" lacks: nothing for today's, or if none is named."""
        found = re.match(r"(\d+)\.(\d+)", version)
        if found is None:
            return ()
        number = (int(found[1]), int(found[2]))
        return tuple(software for software in self.software if number <= software.until)

    def gain_share(self, family: Family, release: Software) -> float:
        """Return which share of what `release` gained reaches `family`, as an exponent of its factors."""
        return self.model.mature_gain if self.is_mature(family, release) else 1.0

    @staticmethod
    def is_mature(family: Family, release: Software) -> bool:
        """Return whether libraries had been tuned for `family` before `release`."""
        return family.mature_since is not None and release.until > family.mature_since


def _by_capability(family: Family, device: Device) -> bool:
    return bool(device.compute_capability) and device.compute_capability in family.compute_capabilities


def _by_architecture(family: Family, device: Device) -> bool:
    return family.vendor == device.vendor and device.architecture in family.architectures


def _by_vendor(family: Family, device: Device) -> bool:
    return family.vendor == device.vendor and not family.architectures and not family.compute_capabilities


def _general(family: Family, device: Device) -> bool:
    return not family.vendor


@cache
def efficiencies() -> Efficiencies:
    """Return the shipped coefficients."""
    text = (resources.files("whichgpu.cost") / "data" / "efficiencies.toml").read_text(encoding="utf-8")
    return efficiencies_from_document(tomllib.loads(text))


def efficiencies_from_document(document: Mapping[str, Any]) -> Efficiencies:
    """Return the coefficients a TOML document holds; times are in microseconds there, energies in picojoules."""
    model, host = dict(document["model"]), document["host"]
    model["split_k_s"] = model.pop("split_k_us") * MICRO
    model["joules_per_byte"] = model.pop("picojoules_per_byte") / TERA
    return Efficiencies(
        model=Model(**model),
        host=Host(
            op_s=host["op_us"] * MICRO,
            launch_s=host["launch_us"] * MICRO,
            view_s=host["view_us"] * MICRO,
            synchronization_s=host["synchronization_us"] * MICRO,
            compiled_launch_s=host["compiled_launch_us"] * MICRO,
            compiled_call_s=host["compiled_call_us"] * MICRO,
            graph_launch_s=host["graph_launch_us"] * MICRO,
            compile_begin_s=host["compile_begin_s"],
            compile_op_s=host["compile_op_ms"] * MILLI,
            compile_kernel_s=host["compile_kernel_ms"] * MILLI,
            source=host["source"],
        ),
        compute=Coefficients(document["compute"]["kinds"]),
        memory=Coefficients(document["memory"]["kinds"]),
        reorder=Coefficients(document["reorder"]["kinds"]),
        elements_per_clock=Coefficients(document["elements_per_clock"]["kinds"]),
        reread=Coefficients(document["reread"]["kinds"]),
        tiles={
            row["name"]: {how: _tile_shares(row[how]) for how in ("single", "batched")} for row in document["tiles"]
        },
        software=tuple(_software(row) for row in document.get("software", ())),
        families=tuple(_family(row) for row in document["family"]),
        spreads={name: Spread(**row) for name, row in document["spread"].items()},
    )


def _tile_shares(row: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(row.get(name, 0.0) for name in TILE_NAMES)


def _release(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _software(row: Mapping[str, Any]) -> Software:
    return Software(
        until=_release(row["until"]),
        compute=Coefficients(row.get("compute", {})),
        memory=Coefficients(row.get("memory", {})),
        host=row.get("host", 1.0),
        source=row["source"],
    )


def _family(row: Mapping[str, Any]) -> Family:
    return Family(
        name=row["name"],
        vendor=row.get("vendor", ""),
        architectures=tuple(row.get("architectures", ())),
        compute_capabilities=tuple(row.get("compute_capabilities", ())),
        cpu=row.get("cpu", False),
        matrix=row["matrix"],
        memory=row["memory"],
        picojoules_per_flop=row.get("picojoules_per_flop", {}),
        like=row.get("like", ""),
        qualifier=row.get("qualifier", ""),
        tiles=row.get("tiles", ""),
        kernel_start_s=row["kernel_start_us"] * MICRO,
        measured_devices=tuple(row.get("measured_devices", ())),
        source=row["source"],
        op_host_s=row["op_host_us"] * MICRO if "op_host_us" in row else None,
        mature_since=_release(row["mature_since"]) if "mature_since" in row else None,
    )

"""What calibration fits: each coefficient with its start value, how far it may wander, and what it acts on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, cast

from whichgpu.cost.tile_names import TILE_NAMES

Document = dict[str, Any]
# How a coefficient acts: as a factor on the arithmetic, the bandwidth, the elements a clock or the reordering of some
# kernels, on the energy of their arithmetic, on one tile, or in any other way, which the fit then finds by trying.
Acts = Literal["compute", "memory", "elements_per_clock", "reorder", "reread", "energy", "tile", "else"]

# Energy of a matrix FLOP by node, relative to 12 nm; start values of the tile-and-power prototype.
NODE_ENERGY = {28: 2.0, 16: 1.3, 14: 1.15, 12: 1.0, 10: 0.85, 8: 0.75, 7: 0.65, 6: 0.6, 5: 0.42, 4: 0.42, 3: 0.38}
FORMATS = ("fp16", "tf32", "fp32")
# Matrix FLOPs in bf16 and fp8 are taken to reach the share, at the energy, of fp16: nothing measured says otherwise.


@dataclass(frozen=True)
class Parameter:
    """One number to fit, in the logarithm.

    Attributes:
        name: Path in the document; "scale.*" are common factors of all families, "family.<name>.*" one's own,
            "software.<until>.*" one generation's, "tiles.<library>.<how>.<tile>" one tile's.
        start: Prior median.
        sigma: Prior standard deviation of the logarithm.
        high: Largest value allowed.
    """

    name: str
    start: float
    sigma: float
    high: float = 1e6

    @property
    def acts(self) -> Acts:
        """How it acts."""
        parts = self.name.split(".")
        if parts[0] == "software":
            parts = parts[2:]
        if parts[0] == "tiles":
            return "tile"
        if "energy" in parts:
            return "energy"
        if "matrix" in parts or parts[0] == "compute":
            return "compute"
        if parts[0] == "memory" or parts[-1] == "memory":
            return "memory"
        return cast("Acts", parts[0]) if parts[0] in ("elements_per_clock", "reorder", "reread") else "else"


COMMON = (
    Parameter("model.edge", 12.0, 0.4),
    Parameter("model.prologue", 40.0, 0.4),
    Parameter("model.tail", 0.7, 0.2, 1.0),
    Parameter("model.lowest_voltage", 0.6, 0.1, 1.0),
    Parameter("model.l2_reach", 0.5, 0.4),
    # Start: copies of 32 MB on an H200 (benchmarks/results/).
    Parameter("model.l2_bytes_per_clock", 25.0, 0.3),
    Parameter("model.clock.consumer", 1.15, 0.05),
    Parameter("model.clock.workstation", 1.03, 0.03),
    Parameter("model.mature_gain", 0.2, 1.0, 1.0),
    Parameter("scale.start_us", 1.5, 0.3),
    Parameter("scale.matrix.fp16", 0.9, 0.1, 1.0),
    Parameter("scale.matrix.tf32", 0.9, 0.1, 1.0),
    Parameter("scale.matrix.fp32", 1.0, 0.05, 1.1),
    Parameter("scale.energy.fp16", 2.0, 0.15),
    Parameter("scale.energy.tf32", 4.0, 0.2),
    Parameter("scale.energy.fp32", 18.0, 0.1),
)
_COMPUTE = {
    "vector": (0.3, 0.3),
    "matmul.batched": (1.0, 0.15),
    # Long rows along the sum, each on a page of its own: nothing was measured of them on matrix units.
    "matmul.deep.fp32": (0.9, 0.1),
    "matmul.deep.fp32.pascal": (0.6, 0.3),
    # Rows that begin anywhere: narrow loads, and on Hopper the kernels of the generation before.
    "matmul.ragged.fp32": (0.9, 0.1),
    "matmul.ragged.fp32.pascal": (0.7, 0.3),
    "matmul.ragged.fp16": (0.6, 0.3),
    "matmul.ragged.tf32": (0.7, 0.3),
    "matmul.ragged.fp16.hopper": (0.5, 0.3),
    "matmul.ragged.tf32.hopper": (0.6, 0.3),
    "convolution": (0.95, 0.1),
    "convolution.hopper": (0.9, 0.2),
    "convolution.grouped.hopper": (1.0, 0.3),
    "convolution.few_channels.hopper": (1.0, 0.4),
    "convolution.fp32": (1.0, 0.15),
    "convolution.fp32.nine_taps": (1.4, 0.2),
    "convolution.dgrad": (0.95, 0.1),
    "convolution.wgrad": (0.9, 0.1),
    "convolution.pointwise": (1.0, 0.15),
    "convolution.pointwise.dgrad": (1.0, 0.1),
    "convolution.pointwise.wgrad": (1.0, 0.1),
    "convolution.grouped": (0.5, 0.3),
    "convolution.grouped.dgrad": (1.0, 0.2),
    "convolution.grouped.wgrad": (1.0, 0.2),
    "convolution.grouped.channels_last": (1.0, 0.2),
    "convolution.grouped.narrow": (1.0, 0.3),
    "convolution.grouped.packed.channels_last": (1.5, 0.4),
    "convolution.grouped.packed.dgrad.channels_last": (1.0, 0.2),
    "convolution.grouped.packed.wgrad.channels_last": (1.0, 0.2),
    "convolution.ragged": (0.8, 0.2),
    "convolution.ragged.channels_last": (1.0, 0.2),
    "convolution.few_channels": (0.6, 0.3),
    "convolution.few_channels.channels_last": (1.0, 0.2),
    "convolution.channels_last": (1.0, 0.1),
    "attention": (0.5, 0.3),
    "attention.backward": (0.8, 0.2),
    "attention.fp32": (1.0, 0.3),
    "rnn": (0.5, 0.3),
    "attention.efficient": (0.6, 0.3),
    "attention.cudnn": (1.2, 0.3),
    "attention.hopper": (0.7, 0.3),
    "depthwise_convolution.hopper": (1.0, 0.4),
    "depthwise_convolution.channels_last.hopper": (1.0, 0.3),
    "depthwise_convolution": (1.0, 0.3),
    "depthwise_convolution.dgrad": (1.0, 0.2),
    "depthwise_convolution.wgrad": (0.7, 0.3),
    "depthwise_convolution.channels_last": (1.0, 0.3),
    "depthwise_convolution.wgrad.channels_last": (1.0, 0.3),
    "depthwise_convolution.large_window": (1.0, 0.2),
    "depthwise_convolution.large_window.channels_last": (1.0, 0.2),
    "depthwise_convolution.huge_window.channels_last": (0.7, 0.4),
}
_MEMORY = {
    "matmul": (0.8, 0.2),
    "matmul.batched": (1.0, 0.2),
    "convolution": (0.8, 0.2),
    "convolution.pointwise": (1.0, 0.2),
    "convolution.grouped": (0.8, 0.2),
    "convolution.dgrad": (1.0, 0.15),
    "convolution.wgrad": (1.0, 0.15),
    "convolution.channels_last": (1.0, 0.15),
    "depthwise_convolution": (0.5, 0.3),
    "depthwise_convolution.dgrad": (1.0, 0.3),
    "depthwise_convolution.wgrad": (0.6, 0.4),
    "depthwise_convolution.channels_last": (1.0, 0.3),
    "depthwise_convolution.dgrad.channels_last": (1.0, 0.3),
    "depthwise_convolution.wgrad.channels_last": (1.0, 0.3),
    "elementwise": (0.88, 0.1),
    "copy": (0.55, 0.2),
    "normalization": (0.75, 0.2),
    "normalization.channels_last": (1.0, 0.2),
    "normalization.native": (1.0, 0.2),
    "normalization.evaluation": (1.0, 0.2),
    "normalization.backward": (1.0, 0.2),
    "normalization.backward.channels_last": (1.0, 0.2),
    "softmax": (0.85, 0.2),
    "softmax.backward": (1.0, 0.2),
    "reduction": (0.75, 0.2),
    "pooling": (0.6, 0.2),
    "pooling.channels_last": (1.0, 0.2),
    "pooling.backward": (1.0, 0.2),
    "gather": (0.5, 0.2),
    "optimizer": (0.75, 0.2),
    "attention": (0.85, 0.2),
}
# Of a multiprocessor. Starts: calls measured on an H200 (benchmarks/results/), where bandwidth does not bound them.
_ELEMENTS_PER_CLOCK = {
    "elementwise": (12.0, 0.4),
    "copy": (1.5, 0.5),
    "normalization": (2.5, 0.5),
    "normalization.channels_last": (1.0, 0.3),
    "normalization.backward": (1.0, 0.3),
    "normalization.native": (0.8, 0.3),
    "normalization.evaluation": (1.0, 0.3),
    "softmax": (5.0, 0.4),
    "softmax.backward": (1.0, 0.3),
    "reduction": (10.0, 0.4),
    "pooling": (2.0, 0.5),
    "pooling.backward": (0.7, 0.4),
    "gather": (3.0, 0.5),
    "optimizer": (12.0, 0.4),
    "attention": (5.0, 0.3),
    "attention.backward": (0.4, 0.3),
    "attention.efficient": (0.5, 0.3),
}
_REORDER = {
    "convolution.fp16": (1.0, 0.4),
    "convolution.tf32": (0.7, 0.4),
    "convolution.dgrad": (1.0, 0.2),
    "convolution.wgrad": (1.0, 0.2),
    "convolution.pointwise": (1.0, 0.2),
    "convolution.planar": (0.3, 0.5),
    "convolution.grouped": (1.0, 0.3),
}
_REREAD = {
    "matmul": (1.0, 0.3),
    "convolution": (1.0, 0.3),
    "convolution.pointwise": (1.0, 0.2),
    "depthwise_convolution": (0.8, 0.3),
    "copy": (0.8, 0.3),
    "normalization": (0.5, 0.3),
    "softmax": (0.5, 0.3),
    "elementwise": (0.1, 0.3),
}
_KINDS = {
    "compute": _COMPUTE,
    "memory": _MEMORY,
    "elements_per_clock": _ELEMENTS_PER_CLOCK,
    "reorder": _REORDER,
    "reread": _REREAD,
}
# The family without measurements of its own, or of any it is like.
_COMMON_FAMILY = "any GPU"
_HIGHEST = {"compute": 5.0, "elements_per_clock": 64.0, "reorder": 5.0, "reread": 5.0}
# Nothing compiled is fitted to: what a compiler writes is taken to reach what is written by hand.
_COMPILED = {"fused": "elementwise", "fused_reduction": "normalization"}
# What may differ in an older generation, and by how much.
_OLDER_COMPUTE = {
    "convolution": 0.1,
    "convolution.pointwise": 0.1,
    "convolution.grouped": 0.3,
    "convolution.channels_last": 0.1,
    "convolution.grouped.channels_last": 0.5,
    "convolution.grouped.narrow.channels_last": 0.5,
    "convolution.grouped.packed.channels_last": 0.5,
    "convolution.grouped.dgrad.channels_last": 0.4,
    "convolution.grouped.wgrad.channels_last": 0.4,
    "convolution.ragged": 0.2,
    "convolution.ragged.channels_last": 0.3,
    "convolution.few_channels": 0.2,
    "convolution.few_channels.channels_last": 0.2,
    "convolution.wgrad": 0.1,
    "convolution.dgrad": 0.1,
    "convolution.wgrad.channels_last": 0.1,
    "convolution.dgrad.channels_last": 0.1,
    "matmul": 0.1,
    "matmul.batched": 0.15,
    # Until cuBLAS 11 no matrix unit took such rows.
    "matmul.ragged.fp16": 0.6,
    "depthwise_convolution": 0.3,
    "depthwise_convolution.channels_last": 0.3,
    "depthwise_convolution.wgrad.channels_last": 0.3,
    "depthwise_convolution.huge_window.channels_last": 0.5,
}
_OLDER_MEMORY = {
    "elementwise": 0.03,
    "normalization": 0.15,
    "normalization.channels_last": 0.15,
    "copy": 0.15,
    "softmax": 0.15,
    "reduction": 0.2,
    "pooling": 0.2,
    "depthwise_convolution": 0.3,
    "depthwise_convolution.channels_last": 0.3,
}
# Where a generation may differ by more: PyTorch 1.4 came with cuBLAS 10 and moved single elements.
_WIDER = {"1.4": {"compute": {"matmul": 0.2}, "memory": {"elementwise": 0.15}}}
OWN = (
    Parameter("matrix.fp16", 1.0, 0.1, 1.5),
    Parameter("matrix.tf32", 1.0, 0.1, 1.5),
    Parameter("matrix.fp32", 1.0, 0.05),
    Parameter("memory", 1.0, 0.08),
    Parameter("energy", 1.0, 0.12),
)


def kind_parameters() -> Iterator[Parameter]:
    """Yield the parameters of kinds of kernels."""
    for room, table in _KINDS.items():
        for name, (start, sigma) in table.items():
            # Bandwidth shares end at 1, where a coefficient makes no difference any more and would drift.
            high = (1.5 if "." in name else 1.0) if room == "memory" else _HIGHEST[room]
            yield Parameter(f"{room}.kinds.{name}", start, sigma, high)


def software_parameters(until: str) -> Iterator[Parameter]:
    """Yield what an older generation of PyTorch has for itself: factors on the common coefficients."""
    for room, table in (("compute", _OLDER_COMPUTE), ("memory", _OLDER_MEMORY)):
        for name, sigma in (table | _WIDER.get(until.replace("-", "."), {}).get(room, {})).items():
            yield Parameter(f"software.{until.replace('.', '-')}.{room}.{name}", 1.0, sigma)


def tile_parameters(document: Document) -> Iterator[Parameter]:
    """Yield the parameters of the FP32 kernels of each library."""
    for row in document["tiles"]:
        for how in ("single", "batched"):
            for tile, start in _TILE_STARTS[row["name"]][how].items():
                high = _BEYOND_PEAK.get(row["name"], 1.0)
                yield Parameter(f"tiles.{row['name']}.{how}.{tile}", start, 0.15, high)


# No kernel does more than its units; AMD's matrix units do, in float32, twice what its vector units are rated at.
_BEYOND_PEAK = {"CDNA": 2.0}
# Kernel names and times of NeuSight's products, each library fitted by itself.
_TILE_STARTS: dict[str, dict[str, dict[str, float]]] = {
    "Ampere": {
        "single": dict(zip(TILE_NAMES[1:], (0.9, 0.74, 0.68, 0.68, 0.7, 0.65, 0.64), strict=True)),
        "batched": {"128x128": 0.95, "128x64": 0.47, "64x64": 0.24, "128x32": 0.24, "32x128": 0.24},
    },
    "Volta": {
        "single": dict(zip(TILE_NAMES[1:], (0.92, 0.8, 0.8, 0.72, 0.78, 0.72, 0.72), strict=True)),
        "batched": {"128x128": 0.83, "128x64": 0.8, "64x64": 0.8, "128x32": 0.8, "32x128": 0.53, "64x32": 0.4},
    },
    "Pascal": {
        "single": dict(zip(TILE_NAMES[2:-1], (0.65, 0.52, 0.43, 0.41, 0.43), strict=True)),
        "batched": {"128x128": 0.9, "128x64": 0.46, "64x64": 0.45, "32x128": 0.79, "64x32": 0.11},
    },
    "CDNA": {
        "single": dict(zip(TILE_NAMES[2:-1], (0.68, 0.62, 0.61, 0.62, 0.58), strict=True)),
        "batched": {"128x128": 0.23, "128x64": 0.83, "64x64": 0.42, "128x32": 0.69, "32x128": 0.39, "64x32": 0.33},
    },
}


def own_parameters(family: str) -> Iterator[Parameter]:
    """Yield the parameters a family has for itself: factors on the common scales."""
    for p in OWN:
        yield Parameter(f"family.{family}.{p.name}", p.start, p.sigma, p.high)


def fill(document: Document, values: Mapping[str, float], process_nm: Mapping[str, float]) -> Document:
    """Return `document`, of the form of efficiencies.toml, with fitted values put in.

    Args:
        document: Structure, and all that is not fitted.
        values: By parameter name; a family without values of its own gets the common ones.
        process_nm: Node of each family, for the start value of its energy.
    """
    filled = deepcopy(document)
    tiles = {row["name"]: row for row in filled["tiles"]}
    software = {row["until"].replace(".", "-"): row for row in filled["software"]}
    for name, value in values.items():
        room, _, rest = name.partition(".")
        if room == "model":
            what, _, of = rest.partition(".")
            if of:
                filled["model"][what][of] = value
            else:
                filled["model"][what] = value
        elif room in _KINDS:
            filled[room]["kinds"][rest.removeprefix("kinds.")] = value
        elif room == "tiles":
            library, how, tile = rest.split(".")
            tiles[library][how][tile] = value
        elif room == "software":
            until, of, kind = rest.split(".", 2)
            software[until].setdefault(of, {})[kind] = value
    for room in ("memory", "elements_per_clock", "reread"):
        kinds = filled[room]["kinds"]
        kinds.update({name: kinds[like] for name, like in _COMPILED.items()})
    for row in filled["family"]:
        if not row.get("stated", False):
            _fill_family(row, lineage(document, row["name"]), values, process_nm)
    return filled


def read(document: Document) -> dict[str, float]:
    """Return the parameters that `fill` put into a document, as far as it tells them: all but energies.

    A fit that begins there converges further with every run.
    """
    found = {name: value for name, value in document["model"].items() if isinstance(value, float)}
    found = {f"model.{name}": value for name, value in found.items()}
    found |= {f"model.clock.{segment}": value for segment, value in document["model"]["clock"].items()}
    for room in _KINDS:
        found |= {f"{room}.kinds.{name}": value for name, value in document[room]["kinds"].items()}
    for row in document["tiles"]:
        for how in ("single", "batched"):
            found |= {f"tiles.{row['name']}.{how}.{tile}": share for tile, share in row[how].items()}
    for row in document["software"]:
        for room in ("compute", "memory"):
            until = row["until"].replace(".", "-")
            found |= {f"software.{until}.{room}.{name}": value for name, value in row.get(room, {}).items()}
    families = {row["name"]: row for row in document["family"]}
    common = families[_COMMON_FAMILY]
    found["scale.start_us"] = common["kernel_start_us"]
    found |= {f"scale.matrix.{name}": common["matrix"][name] for name in FORMATS}
    for name, row in families.items():
        if not row.get("stated", False):
            like = families[row.get("like") or _COMMON_FAMILY]
            found |= {f"family.{name}.matrix.{f}": row["matrix"][f] / like["matrix"][f] for f in FORMATS}
            found[f"family.{name}.memory"] = row["memory"] / like["memory"]
    return found


def lineage(document: Document, family: str) -> tuple[str, ...]:
    """Return a family and those it is like, the nearest first."""
    like = {row["name"]: row.get("like", "") for row in document["family"]}
    found = []
    while family:
        found.append(family)
        family = like[family]
    return tuple(found)


def _fill_family(
    row: Document, line: tuple[str, ...], values: Mapping[str, float], process_nm: Mapping[str, float]
) -> None:
    def own(name: str) -> float:
        return math.prod(values.get(f"family.{family}.{name}", 1.0) for family in line)

    row["matrix"] = {f: values[f"scale.matrix.{f}"] * own(f"matrix.{f}") for f in FORMATS}
    row["memory"] = own("memory")
    row["kernel_start_us"] = values["scale.start_us"]
    node = NODE_ENERGY[round(process_nm[row["name"]])] if row["name"] in process_nm else None
    if node is None:
        row.pop("picojoules_per_flop", None)
    else:
        row["picojoules_per_flop"] = {f: values[f"scale.energy.{f}"] * node * own("energy") for f in FORMATS}

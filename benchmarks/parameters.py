"""What calibration fits: each coefficient with its start value, how far it may wander, and where it may not go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

# Energy of a matrix FLOP by node, relative to 12 nm; start values of the tile-and-power prototype.
NODE_ENERGY = {28: 2.0, 16: 1.3, 14: 1.15, 12: 1.0, 10: 0.85, 8: 0.75, 7: 0.65, 6: 0.6, 5: 0.42, 4: 0.42, 3: 0.38}
FORMATS = ("fp16", "tf32", "fp32")
# Matrix FLOPs in bf16 and fp8 are taken to reach the share, at the energy, of fp16: nothing measured says otherwise.


@dataclass(frozen=True)
class Parameter:
    """One number to fit, in the logarithm.

    Attributes:
        name: Path in the document; "scale.*" are common factors of all families, "family.<name>.*" one's own.
        start: Prior median.
        sigma: Prior standard deviation of the logarithm.
        high: Largest value allowed.
    """

    name: str
    start: float
    sigma: float
    high: float = 1e6


COMMON = (
    Parameter("model.edge.fp32", 4.0, 0.5),
    Parameter("model.edge.tensor", 15.0, 0.4),
    Parameter("model.prologue", 45.0, 0.5),
    Parameter("model.tail", 0.7, 0.2, 1.0),
    Parameter("model.power_exponent", 0.6, 0.2, 1.0),
    Parameter("model.l2_reach", 0.5, 0.4),
    Parameter("model.nchw_passes.fp16", 1.0, 0.4),
    Parameter("model.nchw_passes.tf32", 1.0, 0.4),
    Parameter("scale.matrix.fp16", 0.85, 0.2, 1.0),
    Parameter("scale.matrix.tf32", 0.85, 0.2, 1.0),
    Parameter("scale.matrix.fp32", 0.95, 0.1, 1.0),
    Parameter("scale.energy.fp16", 2.9, 0.2),
    Parameter("scale.energy.tf32", 5.8, 0.25),
    Parameter("scale.energy.fp32", 18.0, 0.25),
    Parameter("compute.kinds.convolution", 0.9, 0.15, 1.0),
    Parameter("compute.kinds.convolution.dgrad", 0.95, 0.1, 1.0),
    Parameter("compute.kinds.convolution.wgrad", 0.95, 0.1, 1.0),
    Parameter("compute.kinds.convolution.fp32", 1.1, 0.2),
    Parameter("memory.kinds.matmul", 0.8, 0.3, 1.0),
    Parameter("memory.kinds.convolution", 0.8, 0.3, 1.0),
    Parameter("memory.kinds.depthwise_convolution", 0.46, 0.4, 1.0),
    Parameter("memory.kinds.depthwise_convolution.channels_last", 1.0, 0.3),
    Parameter("memory.kinds.elementwise", 0.85, 0.15, 1.0),
    Parameter("memory.kinds.copy", 0.6, 0.3, 1.0),
    Parameter("memory.kinds.normalization", 0.8, 0.3, 1.0),
    Parameter("memory.kinds.normalization.channels_last", 1.0, 0.2),
    Parameter("memory.kinds.softmax", 0.8, 0.2, 1.0),
    Parameter("memory.kinds.reduction", 0.8, 0.2, 1.0),
    Parameter("memory.kinds.pooling", 0.6, 0.2, 1.0),
    Parameter("memory.kinds.optimizer", 0.8, 0.2, 1.0),
)
OWN = (
    Parameter("matrix.fp16", 1.0, 0.12),
    Parameter("matrix.tf32", 1.0, 0.12),
    Parameter("matrix.fp32", 1.0, 0.08),
    Parameter("memory", 1.0, 0.1),
    Parameter("energy", 1.0, 0.15),
)


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
    model = filled["model"]
    model["edge"] = {"fp32": values["model.edge.fp32"]} | dict.fromkeys(("tf32", "fp16"), values["model.edge.tensor"])
    for name in ("prologue", "tail", "power_exponent", "l2_reach"):
        model[name] = values[f"model.{name}"]
    model["nchw_passes"] = {f: values[f"model.nchw_passes.{f}"] for f in ("fp16", "tf32")}
    for room in ("compute", "memory"):
        prefix = f"{room}.kinds."
        for name, value in values.items():
            if name.startswith(prefix):
                filled[room]["kinds"][name.removeprefix(prefix)] = value
    for row in filled["family"]:
        if not row.get("stated", False):
            _fill_family(row, values, process_nm)
    return filled


def _fill_family(row: Document, values: Mapping[str, float], process_nm: Mapping[str, float]) -> None:
    def own(name: str) -> float:
        return values.get(f"family.{row['name']}.{name}", 1.0)

    # No device runs faster than its datasheet says: what is faster still lies somewhere else.
    row["matrix"] = {f: min(1.0, values[f"scale.matrix.{f}"] * own(f"matrix.{f}")) for f in FORMATS}
    row["memory"] = own("memory")
    node = NODE_ENERGY[round(process_nm[row["name"]])] if row["name"] in process_nm else None
    if node is None:
        row.pop("picojoules_per_flop", None)
    else:
        row["picojoules_per_flop"] = {f: values[f"scale.energy.{f}"] * node * own("energy") for f in FORMATS}

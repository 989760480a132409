"""Writing ``efficiencies.toml``: its structure is kept, its fitted numbers and their sources are put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import whichgpu

FILE = Path(whichgpu.__file__).parent / "cost" / "data" / "efficiencies.toml"

_HEAD = """\
# Coefficients of the cost model, all but [host] fitted by `python -m benchmarks.calibrate`, which writes this file, to
# the measurements named in each source. Kernels are named by their kind and what else holds for them
# (whichgpu/cost/group.py); the coefficient of one is the product of all entries that fit it.
# What is qualified by "cpu", and the family of CPUs, is fitted by `python -m benchmarks.calibrate_cpu`.
# A [[software]] table is what a release of PyTorch gained, as factors on everything up to the version before.
# A family without measurements of its own has the common values, and estimates on it a wider interval.
# To add a family, add a [[family]] table: `stated = true` with figures and their source, or none and calibrate.
# bf16 and fp8 are taken to reach the share, and to draw the power, of fp16.
"""
_SPREAD_HEAD = """\
# How far predictions were off: sigma of log(predicted / published), such that 1.28 sigma holds 80 % of them.
"""
_DIGITS = 4


def write(document: dict[str, Any], path: Path = FILE) -> None:
    """Write `document` as TOML; numbers are rounded to what was really learnt."""
    lines = [_HEAD]
    for name in ("model", "host", "compute", "memory", "elements_per_clock", "reorder", "reread"):
        lines += _table(name, document[name])
    for name in ("tiles", "software", "family"):
        for row in document[name]:
            lines += [f"[[{name}]]", *_pairs(row), ""]
    lines += ["[spread]", _SPREAD_HEAD.rstrip(), *_pairs(document["spread"]), ""]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _table(name: str, table: dict[str, Any]) -> list[str]:
    kinds = table.get("kinds")
    plain = {k: v for k, v in table.items() if k != "kinds"}
    lines = [f"[{name}]", *_pairs(plain), ""]
    return lines if kinds is None else [*lines, f"[{name}.kinds]", *_pairs(kinds), ""]


def _pairs(table: dict[str, Any]) -> list[str]:
    return [f"{_key(k)} = {_value(v)}" for k, v in table.items()]


def _key(name: str) -> str:
    return f'"{name}"' if "." in name else name


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(float(f"{value:.{_DIGITS}g}"))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(v) for v in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    return str(value) if isinstance(value, int) else '"' + str(value).replace('"', '\\"') + '"'

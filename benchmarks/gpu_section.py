"""What was found on real GPUs, as the section of docs/accuracy.md: ``python -m benchmarks.gpu_section``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_cases import RESULTS, ROOT
from benchmarks.gpu_check import Checked, read_checked
from benchmarks.sections import replace_section, table
from whichgpu.units import GIB, MILLI

PAGE = ROOT / "docs" / "accuracy.md"
NOTHING = "–"
NOT_RUN = "Not run yet: no GPU was at hand."


def main(folder: Path = RESULTS) -> None:
    """Write the section from the files in `folder`."""
    replace_section(PAGE, "gpu", section(folder))


def section(folder: Path) -> str:
    """Return the section, as Markdown: each machine's cases, then what calibration found there."""
    parts = [*_checks(folder), *_calibrations(folder)]
    return "\n\n".join(parts) if parts else NOT_RUN


def _checks(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("gpu-check.*.json")):
        machine, checked = read_checked(file)
        yield f"### {machine['device']['name']}"
        yield described(machine)
        yield steps_table(checked)


def described(machine: dict[str, Any]) -> str:
    """Return a machine in a sentence."""
    device, cpu, software = machine["device"], machine["cpu"], machine["software"]
    limit = device.get("power_limit_w")
    parts = [
        f"{device.get('reported_name', device['name'])}",
        *([] if limit is None else [f"limited to {limit:.0f} W"]),
        *([f"driver {device['driver']}"] if device.get("driver") else []),
        f"on {cpu['name']}",
        f"torch {software['torch']}",
        *([] if software.get("cudnn") is None else [f"cuDNN {software['cudnn']}"]),
        f"Python {software['python']}",
    ]
    return ", ".join(parts) + "."


def steps_table(checked: Sequence[Checked]) -> str:
    """Return one line a case: time, kernels, ops and memory, predicted and found."""
    heads = ["job", "step, ms", "found", "off", "in 80 %", "kernels", "found", "ops that differ"]
    heads += ["allocated, GiB", "found", "reserved, GiB", "found"]
    return table(heads, [_row(c) for c in checked])


def _row(checked: Checked) -> list[str]:
    p, f = checked.predicted, checked.found
    both = p.step_s is not None and f.step_s is not None
    lines = checked.differences
    differ = NOTHING if lines is None else str(sum(line.startswith(("+", "-")) for line in lines))
    return [
        p.name,
        _scaled(p.step_s, MILLI),
        _scaled(f.step_s, MILLI) if f.step_s is not None else f.error or NOTHING,
        f"{p.step_s / f.step_s - 1:+.0%}" if both else NOTHING,  # type: ignore[operator]
        ("yes" if p.low_s <= f.step_s <= p.high_s else "no") if both else NOTHING,  # type: ignore[operator]
        str(p.launches) if p.launches else NOTHING,
        str(f.launches or NOTHING),
        f"not captured: {p.error}" if p.error and not p.launches else differ,
        _scaled(p.allocated_bytes, GIB),
        _scaled(f.allocated_bytes, GIB),
        _scaled(p.reserved_bytes, GIB),
        _scaled(f.reserved_bytes, GIB),
    ]


def _scaled(value: float | None, unit: float) -> str:
    return NOTHING if value is None else f"{value / unit:.2f}"


def _calibrations(folder: Path) -> Iterator[str]:
    """Yield what each calibration file says in short."""
    from benchmarks.calibration_rows import errors_by_section
    from whichgpu.measure.calibration import calibration_from_document

    for file in sorted(folder.glob("calibration.*.json")):
        found = calibration_from_document(json.loads(file.read_text(encoding="utf-8")))
        yield f"### Kernels on {found.device}"
        yield f"{described(dict(found.machine))} Calibrated on {found.started[:10]} by whichgpu {found.version}."
        errors = errors_by_section(found).items()
        rows = [[name, str(e.count), f"{e.mean_error:.0%}", f"{e.bias:+.0%}"] for name, e in errors]
        yield table(["section", "kernels", "mean error", "bias"], rows)


if __name__ == "__main__":
    main()

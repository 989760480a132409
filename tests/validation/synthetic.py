"""Calibration files made up: simulated by the cost model itself, measured nowhere. TEST DATA ONLY.

``python -m tests.validation.synthetic`` writes the small one that is kept in ``data/``. Files of real machines are
another matter and lie in benchmarks/results/.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from whichgpu.devices import find_device
from whichgpu.graph import Op
from whichgpu.measure.calibration import Calibration, SectionSummary, calibration_to_document
from whichgpu.measure.calibration.probe import AnchorProbe, HostProbe, KernelProbe, Scope
from whichgpu.measure.calibration.record import AnchorRecord, FailedRecord, HostRecord, KernelRecord, Record
from whichgpu.measure.calibration.sweep import sweep
from whichgpu.units import GIB

FILE = Path(__file__).parent / "data" / "synthetic.calibration.json"
NOTE = "SYNTHETIC TEST DATA: simulated by the cost model, measured nowhere."
GPU = "NVIDIA L4"
SCOPE = Scope(False, ("bf16", "fp16", "tf32", "fp32"), 22 * GIB, quick=True)

Slower = Callable[[KernelRecord], float]


def synthetic(slower: Slower = lambda record: 1.0, noise: float = 0.02, each: int | None = None) -> Calibration:
    """Return a made-up calibration of a GPU.

    Args:
        slower: By how much a record takes longer than the cost model says.
        noise: Standard deviation of the logarithm of all times.
        each: How many kernels of each section; all of a quick sweep by default.
    """
    from whichgpu.estimate.op_estimate import estimate_ops

    random = Random(1)
    device = find_device(GPU)
    records: list[Record] = []
    for section in sweep(SCOPE):
        kernels = [p for p in section.probes if isinstance(p, KernelProbe)]
        for probe in kernels[:each]:
            ops = _returned(probe)
            made = KernelRecord(section.name, probe.name, ops, probe.tf32, probe.cold, "graph", 1.0, 0.01, 7, 50)
            seconds = estimate_ops(ops, device, probe.tf32).seconds
            assert seconds is not None
            records.append(replace(made, seconds=seconds * slower(made) * math.exp(random.gauss(0, noise))))
        records += [HostRecord(section.name, p.name, 5e-6, 0.02) for p in section.probes if isinstance(p, HostProbe)]
    anchor = AnchorProbe("mnist", 64, "fp32", "nchw")
    records.append(AnchorRecord("anchors", anchor, 2e-3, 0.01, 80, 1.9e-3, 3.0, 10**8, 2 * 10**8))
    records.append(AnchorRecord("anchors", replace(anchor, batch=2**20), None, None, 0, None, None, None, None))
    records.append(FailedRecord("attention", "flash, made to fail", "RuntimeError: no such kernel"))
    return Calibration(
        machine=_MACHINE,
        started="2000-01-01T00:00:00+00:00",
        seconds=60.0,
        finished=True,
        quick=True,
        version="0.1.0",
        notes=(NOTE,),
        sections={name: SectionSummary(1, 0, 0, 1.0) for name in ("products",)},
        records=records,
    )


_MACHINE = {
    "device": {"name": GPU, "reported_name": "NVIDIA L4", "power_limit_w": 72.0, "driver": "none: made up"},
    "cpu": {"name": "made up", "cores": 1, "memory_bytes": None},
    "software": {"python": "3.12.0", "torch": "2.11.0", "cuda": "13.0", "cudnn": None},
    "settings": {},
}


def _returned(probe: KernelProbe) -> Sequence[Op]:
    """Return the ops of a probe with what torch would return, from its meta kernels."""
    from whichgpu.measure.calibration.calls import Operands

    called = Operands("meta", probe.below).prepare(probe.setup, probe.ops)
    called()
    return called.ops()


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    text = json.dumps(calibration_to_document(synthetic(each=2)), separators=(",", ":"))
    FILE.write_text(text + "\n", encoding="utf-8")

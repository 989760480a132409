"""Predictions for a GPU, written down before anything runs on it: ``python -m benchmarks.gpu_predictions GPU FILE``.

A process of its own, for capturing puts a phantom GPU in the place of the real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu_cases import CASES, ROOT, Case, Prediction, ScriptCase, error_text, to_form

if TYPE_CHECKING:
    from whichgpu.graph import Job

_CAPTURE_S = 240
# What only one side writes down: autograd's bookkeeping never reaches a GPU.
SILENT = frozenset({"aten.detach.default", "aten.alias.default", "aten.lift_fresh.default"})


def op_names(job: Job) -> tuple[str, ...]:
    """Return the names of the ops of a captured step, in order."""
    return tuple(op.name for op in job.graph.ops for _ in range(op.repeat) if op.name not in SILENT)


def predict(case: Case, gpu: str) -> Prediction:
    """Return what is predicted of a case on the GPU of that name."""
    from whichgpu.errors import WhichGpuError
    from whichgpu.estimate import estimate
    from whichgpu.work import count_graph

    try:
        job = captured(case)
        ops, launches = op_names(job), count_graph(job.graph).launches
    except Exception as error:  # whatever a machine nobody has tried does, the other cases go on
        return Prediction(case.name, error=error_text(error))
    try:
        found = estimate(job, gpu)
    except WhichGpuError as error:
        return Prediction(case.name, ops, launches, source=job.source, error=error_text(error))
    memory = found.memory
    return Prediction(
        name=case.name,
        ops=ops,
        launches=launches,
        step_s=found.step_s,
        low_s=found.interval.low,
        high_s=found.interval.high,
        allocated_bytes=None if memory is None else memory.allocated_bytes,
        reserved_bytes=None if memory is None else memory.reserved_bytes,
        device_bytes=None if memory is None else memory.device_bytes,
        source=job.source,
    )


def captured(case: Case) -> Job:
    """Return the job of a case as the torch that is installed runs it.

    Where a built-in job cannot be captured here, the shipped graph stands in, and its source says so.
    """
    if isinstance(case, ScriptCase):
        return _captured_script(case)
    from dataclasses import replace

    from whichgpu.workloads import workload
    from whichgpu.workloads.ship import capture_workload

    try:
        return capture_workload(case.job, case.batch, case.precision, case.layout)
    except Exception as error:  # a package is missing, or the phantom GPU does not work beside this driver
        job = workload(case.job, batch=case.batch, precision=case.precision, layout=case.layout or None)
        return replace(job, source=f"{job.source}, shipped: not captured here ({error_text(error)})")


def _captured_script(case: ScriptCase) -> Job:
    from whichgpu.graph import job_from_document

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        script = str(ROOT / "examples" / case.script)
        command = [sys.executable, "-m", "whichgpu", "capture", "--no-cache", "-o", str(file), script, *case.arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CAPTURE_S, check=False)
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.split())[-400:])
        return job_from_document(json.loads(file.read_text(encoding="utf-8")))


def write_predictions(gpu: str, file: Path, cases: Sequence[Case] = CASES) -> None:
    """Write the predictions of all cases, after each one anew."""
    from whichgpu.estimate.model_name import model_name

    rows: list[dict[str, object]] = []
    for case in cases:
        rows.append(to_form(predict(case, gpu)))
        document = {
            "schema": "whichgpu.gpu-predictions/1",
            "gpu": gpu,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": model_name(),
            "rows": rows,
        }
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_predictions(sys.argv[1], Path(sys.argv[2]))

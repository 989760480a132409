"""Is what the phantom GPU records what a GPU launches? ``make gpu-check`` compares the two, op by op.

For some built-in jobs, on a machine with a CUDA GPU: the step is captured on the phantom GPU and its time predicted;
then the same step runs on the GPU, its ops are written down as torch dispatches them, its peak of allocated memory is
read and ten steps are timed. What differs is printed; the whole goes to ``benchmarks/results/`` and into
docs/accuracy.md. Without a GPU it says so and does nothing.
"""

from __future__ import annotations

import difflib
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.sections import replace_section, table
from whichgpu.graph import Job
from whichgpu.units import GIB, MILLI

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "accuracy.md"
WARMUP_STEPS, TIMED_STEPS = 3, 10


@dataclass(frozen=True)
class Case:
    """One job as it is checked."""

    job: str
    batch: int
    precision: str
    layout: str = ""


CASES = (
    Case("mnist", 64, "fp32", "nchw"),
    Case("resnet50", 32, "amp-fp16", "nchw"),
    Case("resnet50", 32, "amp-fp16", "channels_last"),
    Case("gpt2", 2, "amp-fp16"),
    Case("gpt2", 2, "fp32"),
    Case("bert-base", 8, "amp-bf16"),
    Case("vit-b16", 16, "bf16"),
    Case("lstm", 32, "fp32"),
    Case("unet-sd15", 1, "amp-fp16"),
)

# What only one side writes down: autograd's bookkeeping never reaches a GPU, and torch names copies by their arguments.
_SILENT = frozenset({"aten.detach.default", "aten.alias.default", "aten.lift_fresh.default"})


@dataclass(frozen=True)
class CheckedCase:
    """What came out of one case.

    Attributes:
        case: The case.
        ops: Ops the phantom GPU recorded.
        differences: Lines of a diff of the two op lists, "-" only on the phantom GPU, "+" only on the GPU.
        peak_bytes: Peak of the captured step's tensors.
        measured_peak_bytes: Peak of allocated memory on the GPU; None if the step did not run there.
        predicted_s: Step time predicted before anything ran; None if no device file has this GPU.
        measured_s: Median step time; None if the step did not run.
        error: Why it did not run.
    """

    case: Case
    ops: int
    differences: tuple[str, ...]
    peak_bytes: int
    measured_peak_bytes: int | None
    predicted_s: float | None
    measured_s: float | None
    error: str = ""


def phantom_names(job: Job) -> list[str]:
    """Return the names of the ops of a captured step, in order."""
    return [op.name for op in job.graph.ops for _ in range(op.repeat) if op.name not in _SILENT]


def difference(phantom: Sequence[str], real: Sequence[str]) -> tuple[str, ...]:
    """Return where two op lists differ, as lines of a diff without context."""
    lines = difflib.unified_diff(phantom, real, "phantom", "GPU", lineterm="", n=0)
    return tuple(line for line in lines if not line.startswith(("---", "+++")))


def dispatched_names(step: Callable[[], Any]) -> list[str]:
    """Return the names of the ops torch dispatches on the GPU in one call of `step`, in order."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    names: list[str] = []

    class Watch(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            name = _name(func, args, out)
            if name and name not in _SILENT:
                names.append(name)
            return out

    def _on_gpu(values: Any) -> list[bool]:
        flat = values if isinstance(values, (list, tuple)) else (values,)
        return [v.is_cuda for v in flat if isinstance(v, torch.Tensor)]

    def _name(func: Any, args: Any, out: Any) -> str:
        before, after = _on_gpu(args), _on_gpu(out)
        if str(func) in ("aten._to_copy.default", "aten.copy_.default") and before and after:
            if not all(before) and all(after):
                return "memcpy.h2d"
            if all(before) and not any(after):
                return "memcpy.d2h"
        return str(func) if any((*before, *after)) else ""

    with Watch():
        step()
    torch.cuda.synchronize()
    return names


def check(case: Case, gpu: str) -> CheckedCase:
    """Return the comparison of one case on the GPU of this machine."""
    from whichgpu.errors import WhichGpuError
    from whichgpu.estimate import estimate
    from whichgpu.workloads.ship import capture_workload

    job = capture_workload(case.job, case.batch, case.precision, case.layout)
    names = phantom_names(job)
    try:
        predicted_s = estimate(job, gpu).step_s
    except WhichGpuError:
        predicted_s = None
    peak = job.graph.peak_bytes()
    try:
        real, measured_peak, measured_s = _run(case)
    except Exception as error:  # a case that fails must not lose the others
        return CheckedCase(
            case, len(names), (), peak, None, predicted_s, None, f"{type(error).__name__}: {error}"[:500]
        )
    return CheckedCase(case, len(names), difference(names, real), peak, measured_peak, predicted_s, measured_s)


def _run(case: Case) -> tuple[list[str], int, float]:
    """Return the ops of a step on the GPU, the peak of allocated memory in bytes, and the median step in seconds."""
    import torch

    from whichgpu.workloads import definition

    torch.cuda.empty_cache()
    step = definition(case.job).training_step(case.batch, "cuda", case.precision, case.layout)
    for _ in range(WARMUP_STEPS):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    times = []
    for _ in range(TIMED_STEPS):
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return dispatched_names(step), peak, statistics.median(times)


def section(machine: dict[str, str], checked: Sequence[CheckedCase]) -> str:
    """Return the section of docs/accuracy.md, as Markdown."""
    rows = [
        [
            " ".join(filter(None, (c.case.job, f"batch {c.case.batch}", c.case.precision, c.case.layout))),
            str(c.ops),
            c.error or str(sum(line.startswith(("+", "-")) for line in c.differences)),
            f"{c.peak_bytes / GIB:.2f}",
            "–" if c.measured_peak_bytes is None else f"{c.measured_peak_bytes / GIB:.2f}",
            "–" if c.predicted_s is None else f"{c.predicted_s / MILLI:.1f}",
            "–" if c.measured_s is None else f"{c.measured_s / MILLI:.1f}",
        ]
        for c in checked
    ]
    heads = ["job", "ops", "ops that differ", "peak, GiB", "measured", "step, ms", "measured"]
    return f"{', '.join(machine.values())}.\n\n{table(heads, rows)}"


def main() -> None:
    """Check all cases, print what differs, and write the results."""
    import torch

    if not torch.cuda.is_available():
        print("gpu-check skipped: torch finds no CUDA GPU here. Run it where there is one.")
        return
    gpu = torch.cuda.get_device_name(0)
    machine = {
        "gpu": gpu,
        "torch": f"torch {torch.__version__}",
        "python": f"Python {platform.python_version()}",
        "date": date.today().isoformat(),
    }
    checked = []
    for case in CASES:
        found = check(case, gpu)
        checked.append(found)
        print(f"{case}: {found.ops} ops, {len(found.differences)} lines differ; {found.error}", flush=True)
        print("\n".join(found.differences[:40]))
        _save(machine, checked)
    replace_section(PAGE, "gpu", section(machine, checked))
    print(section(machine, checked))


def _save(machine: dict[str, str], checked: Sequence[CheckedCase]) -> None:
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"gpu-check.{machine['gpu'].replace(' ', '_')}.json"
    document = {"machine": machine, "cases": [asdict(c) for c in checked]}
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""One case really run on this machine's GPU: ``python -m benchmarks.gpu_run NUMBER FILE``, in a process of its own.

So that its memory is its own, and a case that dies takes no other with it.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_cases import CASES, ROOT, Case, Found, JobCase, ScriptCase, error_text, to_form
from benchmarks.gpu_predictions import SILENT
from benchmarks.script_steps import EnoughSteps, StepTimes

WARMUP_STEPS, BLOCKS, SPEND_S = 3, 8, 2.0
_MOST_KERNELS = 300


def run(case: Case, device: str = "cuda") -> Found:
    """Return what a case did; its error where it did not run."""
    before = _used_bytes() if device.startswith("cuda") else None
    try:
        found = _run_job(case, device) if isinstance(case, JobCase) else _run_script(case, device)
        after = None if before is None else _used_bytes()
        return found if before is None or after is None else replace(found, device_bytes=after - before)
    except Exception as error:  # a case that fails must not lose the others
        return Found(case.name, error=error_text(error))


def _run_job(case: JobCase, device: str) -> Found:
    from whichgpu.graph import precision
    from whichgpu.measure.target import Target
    from whichgpu.workloads import definition

    target = Target.find(device, case.job)
    with target.math_modes(precision(case.precision)):
        step = definition(case.job).training_step(case.batch, device, case.precision, case.layout or None)
        for _ in range(WARMUP_STEPS):
            step()
        timed = _timed(Found(case.name), step, device)
        found = _memory(replace(timed, ops=dispatched_names(step, device.partition(":")[0])), step, device)
        return replace(found, kernels=kernels_of(step) if device.startswith("cuda") else {})


def _timed(found: Found, step: Callable[[], Any], device: str) -> Found:
    def block(steps: int) -> tuple[float, float]:
        _synchronize(device)
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        issued = time.perf_counter()
        _synchronize(device)
        return (time.perf_counter() - begin) / steps, (issued - begin) / steps

    one_s, host_s = min(block(1) for _ in range(2))
    steps = max(1, round(SPEND_S / BLOCKS / one_s))
    times = [block(steps)[0] for _ in range(BLOCKS if one_s < SPEND_S else 2)]
    return replace(found, step_s=statistics.median(times), host_s=host_s, steps=steps * len(times))


def _memory(found: Found, step: Callable[[], Any], device: str) -> Found:
    if not device.startswith("cuda"):
        return found
    import torch

    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    step()
    _synchronize(device)
    return replace(
        found,
        allocated_bytes=int(torch.cuda.max_memory_allocated()),
        reserved_bytes=int(torch.cuda.max_memory_reserved()),
    )


def _used_bytes() -> int | None:
    """Return what is taken of the first GPU, without opening it; None if nothing tells."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    except Exception:  # the library, its driver or the permission may be missing
        return None


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def dispatched_names(step: Callable[[], Any], kind: str = "cuda") -> tuple[str, ...]:
    """Return the names of the ops torch dispatches on a kind of device in one call of `step`, in order."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    names: list[str] = []

    class Watch(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            name = _name(func, args, out)
            if name and name not in SILENT:
                names.append(name)
            return out

    def _there(values: Any) -> list[bool]:
        flat = values if isinstance(values, (list, tuple)) else (values,)
        return [v.device.type == kind for v in flat if isinstance(v, torch.Tensor)]

    def _name(func: Any, args: Any, out: Any) -> str:
        before, after = _there(args), _there(out)
        if str(func) in ("aten._to_copy.default", "aten.copy_.default") and before and after:
            if not all(before) and all(after):
                return "memcpy.h2d"
            if all(before) and not any(after):
                return "memcpy.d2h"
        listed = any(any(_there(a)) for a in args if isinstance(a, (list, tuple)))
        return str(func) if any((*before, *after)) or listed else ""

    with Watch():
        step()
    return tuple(names)


def kernels_of(step: Callable[[], Any]) -> dict[str, tuple[int, float]]:
    """Return the kernels one step launches by name, with their microseconds; nothing if no profiler works here."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            step()
            torch.cuda.synchronize()
        found: dict[str, tuple[int, float]] = {}
        for event in profiler.events():
            if event.device_type == torch.autograd.DeviceType.CUDA:
                calls, us = found.get(event.name, (0, 0.0))
                found[event.name] = (calls + 1, us + event.time_range.elapsed_us())
    except Exception:  # no profiler works here, or it has other names for things
        return {}
    return dict(sorted(found.items(), key=lambda item: -item[1][1])[:_MOST_KERNELS])


def _run_script(case: ScriptCase, device: str) -> Found:
    import runpy

    script = ROOT / "examples" / case.script
    times = StepTimes(device)
    sys.argv = [str(script), *case.arguments]
    sys.path.insert(0, str(script.parent))
    with times.watching(), suppress(EnoughSteps, SystemExit):
        runpy.run_path(str(script), run_name="__main__")
    step_s = times.median_s()
    if step_s is None:
        return Found(case.name, error="no steps of an optimizer were seen")
    found = Found(case.name, step_s=step_s, steps=times.timed)
    if not device.startswith("cuda"):
        return found
    import torch

    return replace(
        found,
        allocated_bytes=int(torch.cuda.max_memory_allocated()),
        reserved_bytes=int(torch.cuda.max_memory_reserved()),
    )


def main(number: str, file: str, device: str = "cuda") -> None:
    """Run the case of that number and write what was found."""
    found = run(CASES[int(number)], device)
    Path(file).write_text(json.dumps(to_form(found)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

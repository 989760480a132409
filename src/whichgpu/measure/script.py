"""Steps of a training script, timed while it ran, as a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from whichgpu.graph import Job
from whichgpu.measure.measurement import Measurement
from whichgpu.measure.spread import spread


def script_measurement(
    job: Job,
    step_s: Sequence[float],
    *,
    precision: str,
    threads: int,
    seconds_spent: float,
    notes: Sequence[str] = (),
    compiled: bool = False,
    crowded: bool = False,
) -> Measurement:
    """Return the measurement of a script on this machine's CPU.

    Args:
        job: What the script trains.
        step_s: Seconds of each step that was timed, one at the least.
        precision: What the CPU trained in, a key of `whichgpu.graph.PRECISIONS`.
        threads: Host threads that computed.
        seconds_spent: Wall time of the whole run.
        notes: What a reader must know.
        compiled: Whether torch.compile had made the steps.
        crowded: Whether other programs took processors it needed.
    """
    from whichgpu.devices import this_cpu

    cpu = this_cpu()
    low, high, meaning = spread(step_s, len(step_s))
    few = ("Only one step was timed: its spread is not known.",) if len(step_s) == 1 else ()
    trained = () if precision == job.precision else (f"Trained in {precision}, not in {job.precision}, on the CPU.",)
    return Measurement(
        job=job.name,
        device=cpu.name,
        label=cpu.short_name,
        precision=precision,
        batch=job.samples_per_step,
        measured_batch=job.samples_per_step,
        step_s=median(step_s),
        step_s_low=low,
        step_s_high=high,
        spread=meaning,
        steps=len(step_s),
        warmup_steps=1,
        seconds_spent=seconds_spent,
        notes=(*trained, *notes, *few, f"Trained on {threads} thread{'s' if threads != 1 else ''}."),
        compiled=compiled,
        crowded=crowded,
    )

"""A job out of what the passes saw."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from whichgpu.capture.script.epoch import Epoch, steady
from whichgpu.capture.script.outcome import PassOutcome
from whichgpu.capture.script.precision_seen import precision_seen
from whichgpu.capture.script.script_run import TimedSteps
from whichgpu.capture.script.seen import Seen
from whichgpu.graph import Attribute, Graph, Job
from whichgpu.units import duration

_ATTENTION = {
    "aten._scaled_dot_product_flash_attention.": "flash",
    "aten._scaled_dot_product_efficient_attention.": "memory-efficient",
    "aten._scaled_dot_product_cudnn_attention.": "cudnn",
    "aten._scaled_dot_product_attention_math.": "math",
}
_AUTOCAST = {"bfloat16": "amp-bf16", "float16": "amp-fp16"}
COMPILED = "The script asks for torch.compile; its step is priced as eager PyTorch runs it."


def job_of(recorded: Job, seen: Seen, epoch: Epoch) -> Job:
    """Return the recorded step as a job that tells what was seen.

    Args:
        recorded: The step, as the phantom pass wrote it down.
        seen: What that pass saw.
        epoch: What a step and an epoch are.
    """
    precision, told = precision_seen(recorded.graph, matmul_tf32=seen.matmul_tf32)
    options: dict[str, Attribute] = {
        "optimizers": tuple(seen.optimizers),
        "step_ends_with": seen.marker,
        "micro_batches": epoch.micro_batches,
        "compile": seen.compile_requested,
        "loss_scaling": seen.loss_scaling,
        "world_size": seen.world_size,
        "loader_workers": epoch.loader.workers if epoch.loader else 0,
    }
    attention = _attention(recorded.graph)
    if attention:
        options["attention"] = attention
    if seen.wrappers:
        options["parallel_wrappers"] = tuple(seen.wrappers)
    sentences = [*epoch.sources, *told]
    if seen.compile_requested:
        sentences.append(COMPILED)
    if seen.world_size > 1:
        sentences.append(f"The script was to train on {seen.world_size} devices; what is compared is one of them.")
    return replace(
        recorded,
        samples_per_step=epoch.samples_per_step,
        samples_per_epoch=epoch.samples_per_epoch,
        precision=precision,
        notes=tuple(dict.fromkeys((*sentences, *seen.notes))),
        options=options,
    )


def timed_steps(outcome: PassOutcome, job_precision: str) -> TimedSteps | None:
    """Return the steps that the real pass timed; None if there are none.

    Args:
        outcome: Of the real pass.
        job_precision: What the script trains in on a GPU.
    """
    seen = outcome.seen
    intervals = steady(seen)
    if not intervals:
        return None
    notes = list(seen.notes)
    if len(seen.intervals) == 1:
        notes.append("Only the first step was timed, which is usually slower than later ones.")
    step_s = tuple(i.seconds - i.loading_s - i.evaluation_s for i in intervals)
    loading_s = median(i.loading_s for i in intervals)
    # Weights keep the format the script gives them; autocast is another on a CPU, or none.
    precision = _AUTOCAST.get(seen.autocast) or ("bf16" if job_precision == "bf16" else "fp32")
    return TimedSteps(step_s, loading_s, precision, outcome.threads, outcome.seconds, tuple(notes))


def loading_note(timed: TimedSteps, workers: int) -> tuple[str, ...]:
    """Return what part of a step is spent waiting for data; nothing if none is."""
    step_s = median(timed.step_s)
    share = timed.loading_s / (timed.loading_s + step_s)
    if share < 0.001:
        return ()
    by = f" with {workers} workers" if workers > 1 else " with 1 worker" if workers else ""
    return (
        f"Waiting for a step's data takes {duration(timed.loading_s)} here{by}, {share:.1%} of the step".replace(
            "%", " %"
        )
        + "; no time below holds it, and no GPU shortens it.",
    )


def _attention(graph: Graph) -> str:
    found = {kind for op in graph.ops for prefix, kind in _ATTENTION.items() if op.name.startswith(prefix)}
    return ", ".join(sorted(found))

"""A job out of what the passes saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from whichgpu.capture.script.epoch import Epoch, steady
from whichgpu.capture.script.layout_seen import layout_seen
from whichgpu.capture.script.outcome import PassOutcome
from whichgpu.capture.script.precision_seen import precision_seen
from whichgpu.capture.script.script_run import TimedSteps
from whichgpu.capture.script.seen import Interval, Seen
from whichgpu.graph import Attribute, Graph, Job
from whichgpu.units import duration

_ATTENTION = {
    "aten._scaled_dot_product_flash_attention.": "flash",
    "aten._scaled_dot_product_efficient_attention.": "memory-efficient",
    "aten._scaled_dot_product_cudnn_attention.": "cudnn",
    "aten._scaled_dot_product_attention_math.": "math",
}
_AUTOCAST = {"bfloat16": "amp-bf16", "float16": "amp-fp16"}
_WEIGHTS = {"bfloat16": "bf16", "float16": "fp16"}
# Of a step's time; below it nobody would do anything about it.
_NEGLIGIBLE = 0.01
# What the script itself does in a step is told from here on: the machine may be busy, Python around torch's functions
# is in what an op takes the host, and frameworks have some milliseconds of their own.
_OWN_S, _OWN_AN_OP_S = 30e-3, 100e-6
# What came before the first step is told if it is so many steps long.
_MUCH_BEFORE = 10
FIRST_ALONE = "Only the first step was timed, which is usually slower than later ones."
BEFORE_FIRST = (
    "Before the first step models were called without gradients for {}, a rollout or an evaluation: where that comes "
    "again every so many steps, no time here holds it."
)
NO_LOADER = "No DataLoader was seen: what making a batch takes here is in the time of a step."
COMPILED = "The script asks for torch.compile: its whole step counts as compiled unless --no-compile is given."


def job_of(recorded: Job, seen: Seen, epoch: Epoch, *, crowded: bool = False) -> Job:
    """Return the recorded step as a job that tells what was seen.

    Args:
        recorded: The step, as the phantom pass wrote it down.
        seen: What that pass saw.
        epoch: What a step and an epoch are.
        crowded: Whether other programs took processors that pass needed: its times tell of them, too.
    """
    precision, told = precision_seen(recorded.graph, matmul_tf32=seen.matmul_tf32)
    layout = layout_seen(recorded.graph)
    options: dict[str, Attribute] = {
        "optimizers": tuple(seen.optimizers),
        "step_ends_with": seen.marker,
        "micro_batches": epoch.micro_batches,
        "compile": seen.compile_requested,
        "loss_scaling": seen.loss_scaling,
        "world_size": seen.world_size,
        "loader_workers": epoch.loader.workers if epoch.loader else 0,
    }
    if epoch.loader:
        options["loading_s"] = loading_s(seen)
    attention = _attention(recorded.graph)
    if attention:
        options["attention"] = attention
    if seen.wrappers:
        options["parallel_wrappers"] = tuple(seen.wrappers)
    sentences = [_seen(options, precision, layout), *epoch.sources, *told]
    if seen.compile_requested:
        sentences.append(COMPILED)
    if seen.world_size > 1:
        sentences.append(
            f"The script was to train on {seen.world_size} devices; what is compared is one device alone, and whatever "
            "it divides by their number (a global batch, batches a step) is whole there."
        )
    own_s = 0.0 if crowded else _own_s(seen)
    if own_s > _OWN_S + _OWN_AN_OP_S * len(recorded.graph.ops):
        sentences.append(
            f"The script itself works {duration(own_s)} a step on this host, outside of torch: no predicted time holds "
            "that, and where a step is shorter it decides."
        )
    return replace(
        recorded,
        graph=replace(recorded.graph, mode="fused") if seen.compile_requested else recorded.graph,
        samples_per_step=epoch.samples_per_step,
        samples_per_epoch=epoch.samples_per_epoch,
        precision=precision,
        layout=layout,
        notes=tuple(dict.fromkeys((*sentences, *seen.notes))),
        options=options,
    )


def loading_s(seen: Seen) -> float:
    """Return the seconds that loading a step's batches takes one process of this machine, at most.

    Args:
        seen: What the phantom pass saw: it loads in its own process and watches that, which takes somewhat longer.
    """
    intervals = steady(seen)
    return median(i.loading_s for i in intervals) if intervals else 0.0


def _own_s(seen: Seen) -> float:
    """Return the least seconds of a step that went neither into torch nor into loading."""
    intervals = [i for i in steady(seen) if not i.apart_s] if len(seen.intervals) > 1 else []
    return min((i.seconds - i.loading_s - i.torch_s for i in intervals), default=0.0)


def timed_steps(outcome: PassOutcome) -> TimedSteps | None:
    """Return the steps that the real pass timed; None if there are none.

    Args:
        outcome: Of the real pass.
    """
    seen = outcome.seen
    intervals = steady(seen)
    if not intervals:
        return None
    notes = list(seen.notes)
    if len(seen.intervals) == 1:
        notes.append(FIRST_ALONE)
    step_s = tuple(i.seconds - i.loading_s - i.apart_s for i in intervals)
    loading_s = median(i.loading_s for i in intervals)
    apart_share = _apart_share(seen.intervals)
    if seen.before_first_s > _MUCH_BEFORE * median(step_s) and apart_share < _NEGLIGIBLE:
        notes.append(BEFORE_FIRST.format(duration(seen.before_first_s)))
    # Weights keep the format the script gives them; autocast is another on a CPU, or none.
    precision = _AUTOCAST.get(seen.autocast) or _WEIGHTS.get(seen.weight_format, "fp32")
    return TimedSteps(
        step_s=step_s,
        loading_s=loading_s,
        precision=precision,
        threads=outcome.threads,
        seconds_spent=outcome.seconds,
        apart_share=apart_share,
        notes=tuple(notes),
        crowded=outcome.crowded,
    )


def _apart_share(intervals: Sequence[Interval]) -> float:
    """Return the part of the time after the first step that was none of a step's."""
    later = intervals[1:]
    seconds = sum(i.seconds for i in later)
    return sum(i.apart_s for i in later) / seconds if seconds else 0.0


def time_notes(timed: TimedSteps, workers: int | None) -> tuple[str, ...]:
    """Return what part of the time is spent waiting for data, and on what is no part of a step.

    Args:
        timed: What the real pass timed.
        workers: Processes that load; None if no DataLoader was seen.
    """
    step_s = median(timed.step_s)
    share = timed.loading_s / (timed.loading_s + step_s)
    by = f" with {_workers(workers)}" if workers else ""
    notes = []
    if workers is None:
        notes.append(NO_LOADER)
    elif workers and FIRST_ALONE in timed.notes:
        notes.append(
            f"How long a step waits for data here is not known: the first one waits for {_workers(workers)} to start."
        )
    elif share < _NEGLIGIBLE:
        notes.append(f"Loading data takes less than {_percent(_NEGLIGIBLE)} of a step here{by}.")
    else:
        notes.append(
            f"Loading data takes {duration(timed.loading_s)} a step here{by}, {_percent(share)} of it; "
            "no time here holds it, and no GPU shortens it."
        )
    if timed.apart_share >= _NEGLIGIBLE:
        notes.append(
            f"Between steps the script does other work (evaluation, rollouts): {_percent(timed.apart_share)} of the "
            "time watched here; no time here holds it."
        )
    return tuple(notes)


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _percent(share: float) -> str:
    return f"{share * 100:.{0 if share >= 0.1 else 1}f} %"


def _seen(options: Mapping[str, Attribute], precision: str, layout: str) -> str:
    """Return what a step is made of, in a sentence."""
    optimizers = options["optimizers"]
    assert isinstance(optimizers, tuple)
    batches = options["micro_batches"]
    parts = [
        " and ".join(map(str, dict.fromkeys(optimizers))) if optimizers else "no torch optimizer",
        f"gradients of {batches} batches a step" if batches != 1 else "",
        precision + (" with loss scaling" if options["loss_scaling"] else ""),
        layout if layout == "channels_last" else "",
        "torch.compile" if options["compile"] else "no torch.compile",
        f"{options['attention']} attention" if "attention" in options else "",
    ]
    return f"Seen: {', '.join(part for part in parts if part)}."


def _attention(graph: Graph) -> str:
    found = {kind for op in graph.ops for prefix, kind in _ATTENTION.items() if op.name.startswith(prefix)}
    return ", ".join(sorted(found))

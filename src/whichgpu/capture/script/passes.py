"""The two passes over a script, one after the other, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from whichgpu.capture.script.call import ScriptCall
from whichgpu.capture.script.child_process import run_pass
from whichgpu.capture.script.epoch import Epoch, added_up, epoch_seen
from whichgpu.capture.script.host_memory import host_bytes
from whichgpu.capture.script.job_of import job_of, time_notes, timed_steps
from whichgpu.capture.script.launcher import launch_of
from whichgpu.capture.script.outcome import PassOutcome, Status
from whichgpu.capture.script.request import PassKind, PassRequest
from whichgpu.capture.script.script_run import ScriptRun
from whichgpu.capture.script.seen import Seen
from whichgpu.errors import ScriptError
from whichgpu.graph import Job, job_from_document
from whichgpu.units import binary_bytes, duration

_NAMES: dict[PassKind, str] = {"phantom": "the phantom pass", "real": "the real pass"}
_NO_STEP = (
    "no training step was seen: neither an optimizer's step nor a backward pass. "
    "Give the arguments that make it train, or name what ends a step with --step-marker module:function."
)
_STARTED = (
    "no training step was seen in it. It started processes of its own ({}), which are not followed: "
    "give the call that trains in one process."
)
OTHER_MODEL = (
    "Not measured here: the model trained on this CPU had {:,} weights, the one recorded {:,}. The script chooses at "
    "random; where it can be given a seed, both passes train the same."
)
NOT_ASKED = "Not measured here: --phantom-only."
_NEVER_COMES = (
    " (a loop until a number computed on the GPU gets small never ends there: the phantom GPU computes none; --timeout "
    "allows more)"
)
_MOST_NAMED = 3
# Where only the real pass is left, nobody waits longer for it.
_BRIEF_S = 120.0
TIMED_COMPILED = "The steps timed here are those of the program itself, with what torch.compile made of them."
_VERBS: dict[Status, str] = {
    "failed": "failed",
    "host": "cannot follow it",
    "refused": "cannot follow it",
    "crashed": "crashed",
    "timeout": "was ended",
    "memory": "was ended",
}


@dataclass(frozen=True, slots=True)
class ScriptOptions:
    """What the user says about a script that it does not show by itself.

    Attributes:
        steps_per_epoch: Steps of one epoch; None to see.
        samples_per_step: Samples of one step; None to see.
        step_marker: "module:function" whose return ends a step; "" to see.
        timeout_s: Time limit of each pass.
        allow_writes: Whether the script may write where it wants.
        phantom_only: Whether the real pass is left out.
        seconds: How long the real pass times steps.
        autocast: dtype of autocast that is put around a script without it, "float16" or "bfloat16", in the phantom
            pass; "" to take it as it is.
    """

    steps_per_epoch: int | None = None
    samples_per_step: int | None = None
    step_marker: str = ""
    timeout_s: float = 600.0
    allow_writes: bool = False
    phantom_only: bool = False
    seconds: float = 10.0
    autocast: str = ""


def run_script(
    call: ScriptCall,
    options: ScriptOptions,
    memory_bytes: float | None,
    tell: Callable[[str], None] = lambda line: None,
) -> ScriptRun:
    """Run a script in both passes and return the job it is.

    Args:
        call: The script.
        options: What the user says about it.
        memory_bytes: Memory a pass may take; None for no limit.
        tell: Takes a line about what is going on.

    Raises:
        ScriptError: If the phantom pass brought no step, with the script's own traceback.
    """
    job, epoch, seen = _recorded(call, options, memory_bytes, tell)
    needed = host_bytes(job.graph)
    if options.phantom_only:
        return _not_measured(job, seen, NOT_ASKED)
    if memory_bytes is not None and needed > memory_bytes:
        why = (
            f"Not measured here: a step needs about {binary_bytes(needed)}, and {binary_bytes(memory_bytes)} are free."
        )
        tell(why)
        return _not_measured(job, seen, why)
    tell(f"{call.name}: real pass, timing steps on this CPU for about {duration(options.seconds)}")
    real = _real_pass(call, options, memory_bytes, seen, epoch)
    found = _with_times(job, epoch, seen, real)
    if found is None:
        why = f"Not measured here: {_why(real, 'real').rstrip('.')}."
        tell(why)
        return _not_measured(job, seen, why)
    return found


def run_beside(
    call: ScriptCall,
    options: ScriptOptions,
    memory_bytes: float | None,
    real: PassOutcome,
    tell: Callable[[str], None] = lambda line: None,
) -> ScriptRun:
    """Run the phantom pass of a program that runs by itself, and return the job it is.

    Args:
        call: The program.
        options: What the user says about it.
        memory_bytes: Memory the pass may take; None for no limit.
        real: What was timed of the program's own steps.
        tell: Takes a line about what is going on.

    Raises:
        ScriptError: If the phantom pass brought no step, with the script's own traceback.
    """
    job, epoch, seen = _recorded(call, options, memory_bytes, tell)
    if options.phantom_only or real.error:
        return _not_measured(job, seen, NOT_ASKED if options.phantom_only else f"Not measured here: {real.error}")
    if seen.compile_requested:
        real.seen.tell(TIMED_COMPILED)
    found = _with_times(job, epoch, seen, real, compiled=seen.compile_requested)
    return _not_measured(job, seen, "Not measured here: no step of it was timed.") if found is None else found


def _recorded(
    call: ScriptCall, options: ScriptOptions, memory_bytes: float | None, tell: Callable[[str], None]
) -> tuple[Job, Epoch, Seen]:
    tell(f"{call.name}: phantom pass, recording a step as a GPU would run it")
    phantom = _phantom_pass(call, options, memory_bytes)
    if phantom.job is None:
        raise _error(call, phantom, _measured_alone(call, options, memory_bytes, phantom, tell))
    epoch = epoch_seen(phantom.seen, options.steps_per_epoch, options.samples_per_step)
    job = job_of(job_from_document(phantom.job), phantom.seen, epoch, crowded=phantom.crowded)
    return job, epoch, phantom.seen


def _measured_alone(
    call: ScriptCall,
    options: ScriptOptions,
    memory_bytes: float | None,
    phantom: PassOutcome,
    tell: Callable[[str], None],
) -> str:
    """Return what the real pass times where the phantom pass broke, in a clause; "" if nothing."""
    if options.phantom_only or phantom.status not in ("failed", "refused", "crashed"):
        return ""
    tell(f"{call.name}: {_why(phantom, 'phantom')}; whether it trains on this CPU is tried")
    brief = replace(options, timeout_s=min(options.timeout_s, _BRIEF_S))
    timed = timed_steps(_real_pass(call, brief, memory_bytes, Seen(), None))
    if timed is None:
        return ""
    return (
        f"; on this CPU the script trains: {duration(median(timed.step_s))} a step in {timed.precision}, median of "
        f"{len(timed.step_s)}. Without a recorded step no other device can be predicted"
    )


def _with_times(job: Job, epoch: Epoch, seen: Seen, real: PassOutcome, *, compiled: bool = False) -> ScriptRun | None:
    # What both passes tell is told of the job.
    real.seen.notes = [note for note in real.seen.notes if note not in job.notes]
    timed = timed_steps(real)
    if timed is None:
        return None
    # With an optimizer more the real pass has come to a later phase, which trains something else.
    is_same_phase = len(seen.optimizers) == len(real.seen.optimizers)
    if is_same_phase and seen.weights and real.seen.weights and seen.weights != real.seen.weights:
        return _not_measured(job, seen, OTHER_MODEL.format(real.seen.weights, seen.weights))
    workers = epoch.loader.workers if epoch.loader else 0 if real.seen.loaders else None
    notes, options = time_notes(timed, workers), job.options
    if epoch.loader and not workers:
        options = {**options, "loading_s": timed.loading_s}
    told = replace(job, notes=(*job.notes, *notes), options=options)
    return ScriptRun(told, replace(timed, compiled=compiled), tuple(seen.files))


def _not_measured(job: Job, seen: Seen, why: str) -> ScriptRun:
    return ScriptRun(replace(job, notes=(*job.notes, why)), None, tuple(seen.files))


def _request(call: ScriptCall, kind: PassKind, options: ScriptOptions) -> PassRequest:
    launch = launch_of(call)
    return PassRequest(
        launch.call,
        kind,
        world_size=launch.processes,
        variables=launch.variables,
        scratch="",
        seconds=options.seconds,
        allow_writes=options.allow_writes,
        step_marker=options.step_marker,
        autocast=options.autocast if kind == "phantom" else "",
    )


def _phantom_pass(call: ScriptCall, options: ScriptOptions, memory_bytes: float | None) -> PassOutcome:
    """Run the phantom pass; once more as if the script put its model on a GPU, if it does not do so itself."""
    request = _request(call, "phantom", options)
    outcome = run_pass(request, options.timeout_s, memory_bytes)
    if outcome.status == "host":
        again = run_pass(replace(request, on_gpu=True), options.timeout_s, memory_bytes)
        if again.job is not None:
            return again
    return outcome


def _real_pass(
    call: ScriptCall, options: ScriptOptions, memory_bytes: float | None, seen: Seen, epoch: Epoch | None
) -> PassOutcome:
    """Run the real pass; once more with a GPU pretended if the script will not train without one."""
    # Several backward passes over one batch are no parts alike.
    parts = epoch.micro_batches if epoch is not None and epoch.micro_batches == added_up(seen) else 1
    request = replace(_request(call, "real", options), backward_calls=parts, optimizers=len(seen.optimizers))
    outcome = run_pass(request, options.timeout_s, memory_bytes)
    if outcome.status in ("failed", "ended") and not outcome.seen.intervals:
        again = run_pass(replace(request, pretends_cuda=True), options.timeout_s, memory_bytes)
        if again.seen.intervals:
            again.seen.tell("The script does not train without a GPU: it was told that this CPU is one.")
            return again
        for failed, pretends in ((outcome, False), (again, True)):
            # Formats that meet only under autocast, which a CPU is spared where it can be.
            if "dtype" in failed.error:
                last = replace(request, pretends_cuda=pretends, with_autocast=True)
                found = run_pass(last, options.timeout_s, memory_bytes)
                if found.seen.intervals:
                    return found
        if outcome.error and again.error not in ("", outcome.error):
            outcome = replace(outcome, error=f"{outcome.error}; told that this CPU is a GPU: {again.error}")
    return outcome


def _why(outcome: PassOutcome, kind: PassKind) -> str:
    if outcome.status == "ended":
        started = ", ".join(outcome.seen.processes[:_MOST_NAMED])
        return f"{_NAMES[kind]} ended and {_STARTED.format(started) if started else _NO_STEP}"
    # torch tells of all its kernels behind the first line.
    error = outcome.error.strip().partition("\n")[0]
    hint = _NEVER_COMES if outcome.status == "timeout" and kind == "phantom" else ""
    return f"{_NAMES[kind]} {_VERBS[outcome.status]}: {error}{hint}"


def _error(call: ScriptCall, outcome: PassOutcome, kept: str) -> ScriptError:
    parts = [outcome.traceback.rstrip()]
    if outcome.output and not outcome.traceback:
        parts.append("The last it printed:\n" + outcome.output)
    details = "\n".join(part for part in parts if part)
    return ScriptError(f"{call.name}: {_why(outcome, 'phantom')}{kept}", details, outcome.exit_code)

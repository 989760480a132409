"""The job a command speaks of, at any batch: built-in, from files, or a script captured at two batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from whichgpu.cli.output import tell
from whichgpu.errors import OptionError, WhichGpuError

if TYPE_CHECKING:
    from whichgpu.capture.script import ScriptCall, ScriptOptions
    from whichgpu.fit import Family
    from whichgpu.graph import Job

# Options that scripts name their batch by, as people write them.
_NAMES = (
    *("--batch-size", "--batch_size", "-b", "--bs", "--batch", "--batchsize", "--train-batch-size"),
    *("--train_batch_size", "--per_device_train_batch_size", "--per-device-train-batch-size", "--micro-batch-size"),
    *("--micro_batch_size",),
)


def family_of_job(
    name: str, batch: int | None, precision: str | None, layout: str | None, other: Path | None
) -> Family:
    """Return a built-in job, or that of a file; with a second file at another batch at any batch.

    Raises:
        UnknownNameError: If there is no such job.
        OptionError: If the options do not fit it.
    """
    from whichgpu.cli.job_argument import is_file, load_job
    from whichgpu.fit import BuiltIn, CapturedTwice, Fixed

    if not is_file(name):
        if other is not None:
            raise OptionError(f"--other-batch {other}: {name} is a built-in job, known at every batch.")
        load_job(name, batch, precision, layout)  # complains of what is wrong
        return BuiltIn(name, batch, precision, layout)
    first = load_job(name, batch, None, layout)
    if precision is not None and precision != first.precision:
        raise OptionError(f"--precision {precision}: {name} was captured in {first.precision}. Capture it again.")
    if other is not None:
        return CapturedTwice(first, load_job(str(other), None, None, None))
    return Fixed(
        first,
        f"{name} is known at its own batch alone. For the largest batch and for smaller ones capture it at another "
        f"batch, too: --other-batch FILE.",
    )


def family_of_script(call: ScriptCall, options: ScriptOptions, batch_option: str, *, use_cache: bool) -> Family:
    """Return the job of a script: captured as it is, and once more at another batch where its option for that is known.

    Args:
        call: The script.
        options: What the user says about it.
        batch_option: Its own option for the batch; "" to look for a usual one among its arguments.
        use_cache: Whether what was captured before may be used.

    Raises:
        ScriptError: If no step of the script was seen.
        OptionError: If `batch_option` is given and the script's batch does not follow it.
    """
    from whichgpu.capture.script.epoch import ASK_STEPS
    from whichgpu.capture.script.job_of import COMPILED
    from whichgpu.capture.script.passes import NOT_ASKED
    from whichgpu.cli.script_job import run
    from whichgpu.fit import CapturedTwice, Fixed
    from whichgpu.graph import precision as precision_named

    def job_of(changed: ScriptCall, autocast: str = "") -> Job:
        job = run(changed, replace(options, autocast=autocast), use_cache=use_cache).job
        # These speak of times over an epoch, and of options that are for comparing.
        return replace(job, notes=tuple(note for note in job.notes if note not in (NOT_ASKED, ASK_STEPS, COMPILED)))

    def half_of(precision: str) -> str:
        """Return the dtype of autocast that is put around the script; "" for its own precision."""
        if precision == first.precision:
            return ""
        tell(f"capturing {call.name} once more in {precision}, to tell what that would save")
        return precision_named(precision).autocast or ""

    def at_its_batch(batch: int, precision: str) -> Job:
        return job_of(call, half_of(precision))

    first = job_of(call)
    found = _option(call.arguments, batch_option)
    if found is None:
        if batch_option:
            raise OptionError(
                f"--batch-option {batch_option}: the script's arguments do not have it. Give it a value after the "
                f"script's name: {call.target} {batch_option} 32."
            )
        return Fixed(
            first,
            f"{call.name} was given no option for its batch, so it is known at this batch alone. Give "
            "it after the script's name, and name it where it has an unusual name: --batch-option --n-images.",
            at_its_batch,
        )
    name, value = found
    # One sample goes through other operators than more do, and would be no point of their line.
    others = [max(value // 2, 2)] if value > 3 else [value + 1, *[value + 2] * (value == 1)]
    factor = first.samples_per_step / value
    further: list[Job] = []
    for other in others:
        tell(f"capturing {call.name} once more with {name} {other}, for the largest batch")
        try:
            further.append(job_of(_with(call, name, other)))
        except WhichGpuError as error:
            return Fixed(first, f"{call.name} could not be captured with {name} {other}: {error}", at_its_batch)
        samples = further[-1].samples_per_step
        if samples != round(other * factor):
            words = f"with {name} {value} a step has {first.samples_per_step} samples, with {other} {samples}"
            if batch_option:
                raise OptionError(f"--batch-option {name}: {words}. Name the option that decides the batch.")
            why = f"{call.name} is known at this batch alone: {words}. Name its option: --batch-option NAME."
            return Fixed(first, why, at_its_batch)

    def capture(batch: int, precision: str) -> Job:
        return job_of(_with(call, name, max(round(batch / factor), 1)), half_of(precision))

    try:
        return CapturedTwice(first, further[0], capture, *further[1:])
    except OptionError as error:
        return Fixed(first, str(error), at_its_batch)


def _option(arguments: tuple[str, ...], wanted: str) -> tuple[str, int] | None:
    """Return the script's option for its batch, and its value."""
    names = (wanted,) if wanted else _NAMES
    for index, argument in enumerate(arguments):
        name, equals, text = argument.partition("=")
        if name in names:
            value = text if equals else (arguments[index + 1] if index + 1 < len(arguments) else "")
            if value.isdecimal() and int(value) > 0:
                return name, int(value)
    return None


def _with(call: ScriptCall, name: str, value: int) -> ScriptCall:
    """Return the call with another batch."""
    changed: list[str] = []
    is_next = False
    for argument in call.arguments:
        if is_next:
            changed.append(str(value))
            is_next = False
        elif argument == name:
            changed.append(argument)
            is_next = True
        elif argument.startswith(f"{name}="):
            changed.append(f"{name}={value}")
        else:
            changed.append(argument)
    return replace(call, arguments=tuple(changed))

"""Running a script on behalf of a command: its job, and what was measured of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from whichgpu.cli.output import tell
from whichgpu.errors import OptionError

if TYPE_CHECKING:
    from whichgpu.capture.script import ScriptCall, ScriptOptions, ScriptRun
    from whichgpu.capture.script.cache import ScriptCache
    from whichgpu.measure import Measurement


def run(
    call: ScriptCall, options: ScriptOptions, *, use_cache: bool = True, say: Callable[[str], None] = tell
) -> ScriptRun:
    """Return what was kept of a script that has not changed; else run both passes within the memory that is free.

    Args:
        call: The script.
        options: What the user says about it.
        use_cache: Whether what was kept will do.
        say: Takes a line about what is going on.

    Raises:
        OptionError: If the time limit is not positive, or the step marker names no function.
        MissingExtraError: If torch is not installed.
        ScriptError: If no step of the script was seen.
    """
    from whichgpu.capture.script import run_script
    from whichgpu.capture.torch_versions import require_torch

    check_options(options)
    cache = kept_scripts()
    kept = cache.find(call, options) if use_cache else None
    if kept is not None:
        say(f"{call.name} has not changed: taken from {cache.folder}; --no-cache runs it again")
        return kept
    require_torch()
    found = run_script(call, options, free_bytes(), say)
    cache.keep(call, options, found)
    return found


def check_options(options: ScriptOptions) -> None:
    """Raise `OptionError` if the time limit is not positive, or the step marker names no function."""
    if not options.timeout_s > 0:
        raise OptionError(f"--timeout is {options.timeout_s:g}; expected more than 0.")
    if options.step_marker and not all(options.step_marker.partition(":")):
        raise OptionError(
            f"--step-marker is {options.step_marker!r}; expected module:function, such as __main__:train_step."
        )


def free_bytes() -> float | None:
    """Return the memory a pass may take; None where the system does not tell."""
    from whichgpu.measure.memory import USABLE, available_host_bytes

    free = available_host_bytes()
    return None if free is None else USABLE * free


def kept_scripts() -> ScriptCache:
    """Return the cache of captured scripts."""
    from whichgpu.capture.script.cache import ScriptCache
    from whichgpu.measure.cache import cache_directory

    return ScriptCache(cache_directory() / "scripts")


def measurements(found: ScriptRun) -> list[Measurement]:
    """Return what the real pass measured: one measurement, or none."""
    if found.timed is None:
        return []
    from whichgpu.measure.script import script_measurement

    timed = found.timed
    return [
        script_measurement(
            found.job,
            timed.step_s,
            precision=timed.precision,
            threads=timed.threads,
            seconds_spent=timed.seconds_spent,
            notes=timed.notes,
            compiled=timed.compiled,
            crowded=timed.crowded,
        )
    ]

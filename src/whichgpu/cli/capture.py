"""whichgpu capture: a training script becomes a job file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whichgpu.cli.script_options import AllowWrites, NoCache, SamplesPerStep, StepMarker, StepsPerEpoch, Timeout


def capture(
    context: typer.Context,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where the job goes. Default: stdout.")
    ] = None,
    steps_per_epoch: StepsPerEpoch = None,
    samples_per_step: SamplesPerStep = None,
    step_marker: StepMarker = "",
    timeout: Timeout = 600.0,
    allow_writes: AllowWrites = False,
    no_cache: NoCache = False,
) -> None:
    """Record one step of a training script as a GPU would run it: a job that `whichgpu compare` takes anywhere."""
    import json

    from whichgpu.capture.script import ScriptOptions
    from whichgpu.cli.output import Output
    from whichgpu.cli.script_argument import script_call
    from whichgpu.cli.script_job import run
    from whichgpu.errors import OptionError
    from whichgpu.graph import job_to_document

    call = script_call(context)
    if call is None:
        raise OptionError("whichgpu capture needs a script: whichgpu capture train.py -o job.json")
    place = Output(output)
    options = ScriptOptions(steps_per_epoch, samples_per_step, step_marker, timeout, allow_writes, phantom_only=True)
    found = run(call, options, use_cache=not no_cache)
    place.write(json.dumps(job_to_document(found.job)) + "\n")

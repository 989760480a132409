"""whichgpu compare: one job on many devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgpu.cli.own import NoOwnMeasurements
from whichgpu.cli.script_options import (
    AllowWrites,
    NoCache,
    PhantomOnly,
    SamplesPerStep,
    StepMarker,
    StepsPerEpoch,
    Timeout,
)

if TYPE_CHECKING:
    from whichgpu.capture.script import ScriptCall, ScriptOptions
    from whichgpu.comparison import Comparison
    from whichgpu.devices.device import Device
    from whichgpu.graph import Job
    from whichgpu.measure import Measurement


class Format(StrEnum):
    """Forms a comparison can take."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


def compare(
    context: typer.Context,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JOB",
            help="Built-in jobs (`whichgpu jobs` lists them), files of saved jobs, or one training script and its "
            "arguments. Default: mnist resnet50 gpt2.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help='A device by name, again for more, or "all". `whichgpu devices` lists them.'),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Samples of one step. Default: the job's own.")] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="NAME", help="fp32, tf32, amp-fp16, amp-bf16 or bf16. Default: the job's own.")
    ] = None,
    layout: Annotated[str | None, typer.Option(metavar="NAME", help="nchw or channels_last, for image models.")] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Price the step as torch.compile makes it, or as it runs without. Default: what the job asks for.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the data.")] = 1,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: what the name given to -o ends in, else table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this file, not to stdout.")
    ] = None,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Do not train on this machine; predict its row.")
    ] = False,
    measure_seconds: Annotated[
        float, typer.Option(metavar="S", help="How long each job trains on this machine.")
    ] = 10.0,
    allow_fallback: Annotated[
        bool, typer.Option("--allow-fallback", help="Let a device without --precision run what it would run instead.")
    ] = False,
    ignore_memory: Annotated[
        bool, typer.Option("--ignore-memory", help="Compare devices with too little memory as if they had enough.")
    ] = False,
    device_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Devices of your own, as in a device file; all are compared."),
    ] = None,
    steps_per_epoch: StepsPerEpoch = None,
    samples_per_step: SamplesPerStep = None,
    step_marker: StepMarker = "",
    timeout: Timeout = 600.0,
    allow_writes: AllowWrites = False,
    phantom_only: PhantomOnly = False,
    no_cache: NoCache = False,
    no_own_measurements: NoOwnMeasurements = False,
) -> None:
    """Compare: this CPU measured, every GPU predicted, with times, money and reasons."""
    from whichgpu.capture.script import ScriptOptions
    from whichgpu.cli.output import Output
    from whichgpu.cli.script_argument import script_call
    from whichgpu.errors import OptionError
    from whichgpu.report import render
    from whichgpu.workloads import DEFAULT_JOBS

    # Everything that can be wrong is found out before the long work begins: predicting takes no second.
    if not 0 < measure_seconds < float("inf"):
        raise OptionError(
            f"--measure-seconds is {measure_seconds:g}; expected more than 0, and an end. --no-measure skips it."
        )
    place = Output(output)
    call = script_call(context)
    if jobs and call is not None:
        raise OptionError(
            f"{' '.join(jobs)}: beside a script there can be no other job; compare it alone, one at a time."
        )
    names = jobs or ([] if call else list(DEFAULT_JOBS))
    asked = devices_asked(device or [], device_file or [])
    request = Request(
        asked, batch, precision, layout, epochs, allow_fallback, no_own_measurements, ignore_memory, compiled
    )
    predicted = [request.predict(name) for name in names]

    chosen = form.value if form else place.default_format
    finished: list[Comparison] = []
    if call is not None:
        wanted = ScriptOptions(
            steps_per_epoch,
            samples_per_step,
            step_marker,
            timeout,
            allow_writes,
            phantom_only or no_measure,
            measure_seconds,
        )
        finished.append(request.script(call, wanted, not no_cache))
        if chosen == "table" and output is None:
            place.write(render(finished, chosen, place.page()))
    interrupted = False
    for name, (job, comparison) in zip(names, predicted, strict=True):
        if not no_measure:
            comparison, interrupted = request.measure(name, job, comparison, measure_seconds)
        finished.append(comparison)
        if chosen == "table" and output is None:
            # A person reads the first table while the next job trains.
            place.write("\n\n" * (len(finished) > 1) + render([comparison], chosen, place.page()))
        if interrupted:
            break
    if chosen != "table" or output is not None:
        place.write(render(finished, chosen, place.page()))
    if interrupted:
        from whichgpu.cli.measuring import leave_interrupted

        leave_interrupted()


@dataclass(frozen=True, slots=True)
class Request:
    """What the user wants compared, the same for every job.

    Attributes:
        devices: Devices and names of devices; None for the default ones.
        batch: Samples of one step, or None for a job's own.
        precision: What to train in, or None for a job's own.
        layout: Memory format of images, or None for a job's own.
        epochs: Passes over the data.
        allow_fallback: Whether a device without the precision may run another.
        no_own_measurements: Whether to neither use nor keep what was measured on this machine.
        ignore_memory: Whether a device with too little memory is compared as if it had enough.
        compiled: Whether torch.compile makes the step, or None for what the job asks for.
    """

    devices: list[Device | str] | None
    batch: int | None
    precision: str | None
    layout: str | None
    epochs: int
    allow_fallback: bool
    no_own_measurements: bool = False
    ignore_memory: bool = False
    compiled: bool | None = None

    def compare(self, job: Job, measurements: Sequence[Measurement] = ()) -> Comparison:
        """Return the comparison of one job."""
        from whichgpu.cli.own import own_measurements
        from whichgpu.comparison import compare

        return compare(
            job if self.compiled is None else _made(job, self.compiled),
            self.devices,
            measurements=measurements,
            epochs=self.epochs,
            precision=self.precision,
            allow_fallback=self.allow_fallback,
            own=own_measurements(self.no_own_measurements),
            ignore_memory=self.ignore_memory,
        )

    def script(
        self,
        call: ScriptCall,
        options: ScriptOptions,
        use_cache: bool,
        say: Callable[[str], None] | None = None,
    ) -> Comparison:
        """Return the comparison of a training script, run in both passes.

        Args:
            call: The script.
            options: What the user says about it.
            use_cache: Whether what was kept of it will do.
            say: Takes a line about what is going on; stderr by default, where it is a terminal.

        Raises:
            OptionError: If a batch or layout is asked for, which is the script's to decide.
        """
        from whichgpu.cli.output import tell
        from whichgpu.cli.own import keep_measured
        from whichgpu.cli.script_job import measurements, run

        self.check_script()
        found = run(call, options, use_cache=use_cache, say=say or tell)
        measured = measurements(found)
        for measurement in measured:
            keep_measured(measurement, _made(found.job, measurement.compiled), self.no_own_measurements)
        return self.compare(found.job, measured)

    def check_script(self) -> None:
        """Raise `OptionError` if a batch or layout is asked for, which is a script's to decide."""
        from whichgpu.errors import OptionError

        for option, value in (("batch", self.batch), ("layout", self.layout)):
            if value is not None:
                raise OptionError(f"--{option} {value}: a script has its own; give the script's option after its name.")

    def predict(self, name: str) -> tuple[Job, Comparison]:
        """Return the job `name` and its comparison, this machine's CPU predicted too."""
        from whichgpu.cli.job_argument import load_job

        job = load_job(name, self.batch, self.precision, self.layout)
        return job, self.compare(job)

    def measure(self, name: str, job: Job, predicted: Comparison, seconds: float) -> tuple[Comparison, bool]:
        """Return the comparison with what was measured here, and whether the user pressed Ctrl-C meanwhile."""
        from whichgpu.cli.job_argument import is_file
        from whichgpu.cli.measuring import measure_here
        from whichgpu.cli.own import keep_built_in

        if is_file(name):
            note = "Not measured here: only the built-in jobs are trained, this one comes from a file."
            return replace(predicted, notes=(*predicted.notes, note)), False
        found = measure_here(name, seconds, self.batch, self.precision)
        for measurement in found.measurements:
            keep_built_in(measurement, self.no_own_measurements)
        comparison = self.compare(job, found.measurements) if found.measurements else predicted
        return replace(comparison, notes=(*comparison.notes, *found.notes)), found.interrupted


def _made(job: Job, compiled: bool) -> Job:
    """Return `job` with its step compiled or eager."""
    return replace(job, graph=replace(job.graph, mode="fused" if compiled else "eager"))


def devices_asked(names: Sequence[str], files: Sequence[Path]) -> list[Device | str] | None:
    """Return the devices named, then those of the files; None if the user asked for none.

    Raises:
        UnknownNameError: If a device is not known: before a script has run for nothing.
    """
    if not names and not files:
        return None
    from whichgpu.comparison.compare import ALL
    from whichgpu.devices import find_device, load_device_file

    for name in names:
        if name != ALL:
            find_device(name)
    return [*names, *(device for file in files for device in load_device_file(file))]

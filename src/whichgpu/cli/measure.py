"""whichgpu measure: really train a built-in job on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from whichgpu.cli.own import NoSave

if TYPE_CHECKING:
    from whichgpu.cli.output import Output
    from whichgpu.measure import Progress
    from whichgpu.workloads.workload import Workload

    Show: TypeAlias = Callable[[Progress], None] | None


def measure(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A built-in job; `whichgpu jobs` lists them.")],
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Train mnist on real digits this many times over, with its test accuracy."),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Samples of one step. Default: the job's own.")] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to train in. Default: what suits the device.")
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="How long to time steps, without --epochs.")] = 10.0,
    device: Annotated[str, typer.Option(metavar="NAME", help="What torch calls it: cpu, cuda, cuda:1 or mps.")] = "cpu",
    no_save: NoSave = False,
) -> None:
    """Train a job on this machine: time its steps, or with --epochs train it to the end."""
    from whichgpu.cli.measuring import leave_interrupted, listening
    from whichgpu.cli.output import Output
    from whichgpu.cli.progress import progress_bar
    from whichgpu.errors import MeasureError, OptionError
    from whichgpu.workloads import definition

    place = Output(None)
    wanted = definition(job)
    if epochs is not None and job != "mnist":
        raise OptionError(f"--epochs: only mnist is trained over whole epochs. Without it steps of {job} are timed.")
    if epochs is not None and precision is not None:
        raise OptionError("--precision: with --epochs mnist trains in fp32. Leave one of the two out.")
    with listening() as interrupts:
        try:
            with progress_bar(f"Training {job}") as show:
                text = (
                    _time_steps(wanted, place, seconds, batch, precision, device, show, no_save)
                    if epochs is None
                    else _train(wanted, place, epochs, batch, device, show)
                )
            place.write(text)
        except MeasureError as error:
            if not interrupts.heard:
                raise
            typer.echo(f"whichgpu: {error}", err=True)
    if interrupts.heard:
        leave_interrupted()


def _time_steps(
    wanted: Workload,
    place: Output,
    seconds: float,
    batch: int | None,
    precision: str | None,
    device: str,
    show: Show,
    no_save: bool,
) -> str:
    from dataclasses import replace

    from whichgpu.cli.own import keep_built_in
    from whichgpu.measure import measure as measure_job
    from whichgpu.report.measurement_form import render_measurement

    found = measure_job(wanted, seconds=seconds, batch=batch, precision=precision, device=device, on_progress=show)
    told = keep_built_in(found, no_save)
    return render_measurement(replace(found, notes=(*found.notes, told)) if told else found, place.page())


def _train(wanted: Workload, place: Output, epochs: int, batch: int | None, device: str, show: Show) -> str:
    from whichgpu.measure.mnist_training import train_mnist
    from whichgpu.report.measurement_form import render_training

    result = train_mnist(wanted, epochs, show or (lambda progress: None), batch=batch, device=device)
    return render_training(result, place.page())

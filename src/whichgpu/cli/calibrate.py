"""whichgpu calibrate: measure this machine's GPU kernel by kernel, into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whichgpu.cli.own import NoSave

_INSTEAD = (
    " `whichgpu calibrate --device cpu` measures this machine's processor; docs/calibration.md says how to measure a "
    "GPU of a machine borrowed for ten minutes."
)


def calibrate(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: a name of its own in this folder."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="What torch calls it: cuda:0, cuda:1 or cpu.")] = "cuda:0",
    quick: Annotated[bool, typer.Option("--quick", help="One minute and fewer sizes.")] = False,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="How long. Default: 300; with --quick, 60.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="SECTION",
            help="One of host, products, bandwidth, anchors, convolutions, attention, normalizations, other, "
            "launches, transfers.",
        ),
    ] = None,
    no_save: NoSave = False,
) -> None:
    """Measure what this machine's GPU reaches, in about five minutes: kernels, memory, power, host, whole steps.

    The file is written anew every few seconds and on Ctrl-C. Whole steps are also kept for later predictions.
    """
    from dataclasses import replace

    from whichgpu.cli.anchors import anchor_jobs, keep_anchors, predicted_s
    from whichgpu.cli.calibration_file import CalibrationFile
    from whichgpu.cli.measuring import leave_interrupted, listening
    from whichgpu.cli.output import Output
    from whichgpu.cli.progress import progress_bar
    from whichgpu.comparison.calibrated import summary
    from whichgpu.comparison.own_measurements import known_device
    from whichgpu.errors import MeasureError, OptionError
    from whichgpu.measure.calibration import calibrate as run
    from whichgpu.report.calibration_form import render_calibration

    if seconds is not None and not 0 < seconds < float("inf"):
        raise OptionError(f"--seconds is {seconds:g}; expected more than 0, and an end.")
    place, file = Output(None), CalibrationFile(output)
    with listening() as interrupts, progress_bar("Calibrating") as show:
        try:
            found = run(device, seconds=seconds, quick=quick, only=only, save=file.write, on_progress=show)
        except MeasureError as error:
            raise MeasureError(f"{error}{_INSTEAD}") from None
    known = known_device(found.device)
    jobs = anchor_jobs(found)
    few = summary(found, known, predicted_s(jobs, known))
    told = (f"Saved in {file.path}.", keep_anchors(jobs, found.device, no_save))
    place.write(render_calibration(replace(few, notes=(*few.notes, *filter(None, told))), place.page()))
    if interrupts.heard:
        leave_interrupted()

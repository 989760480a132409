"""whichgpu validate: predictions held against files of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def validate(
    measurements: Annotated[
        list[Path],
        typer.Option(
            "--measurements",
            "-m",
            metavar="FILE",
            help="A .csv or .csv.gz file of published measurements; may be given several times.",
        ),
    ],
    sample: Annotated[
        int | None, typer.Option(min=1, help="Predict so many measurements, drawn at random.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw: the same seed draws the same measurements.")] = 0,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst predictions to list.")] = 10,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes to work with. Default: one a core.", show_default=False)
    ] = None,
    no_capture: Annotated[
        bool, typer.Option("--no-capture", help="Leave out jobs that have not been captured before.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, every prediction in it.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where the result goes. Default: stdout.")
    ] = None,
) -> None:
    """Rebuild the jobs of published measurements, predict them, and say how far off the predictions are.

    A job is captured once, which takes a second or more and needs torch and the library its model comes from
    (pip install 'whichgpu[validate]'); after that it is kept.
    """
    from whichgpu.cli.output import Output
    from whichgpu.cli.progress import progress_bar
    from whichgpu.devices.cpu_reading import usable_cpus
    from whichgpu.report.validation_form import render_validation, render_validation_json
    from whichgpu.validation import kept_traces
    from whichgpu.validation.validate import validate as validated

    place = Output(output)
    with progress_bar("validate") as show:
        found = validated(
            measurements,
            kept_traces(),
            count=sample,
            seed=seed,
            processes=len(usable_cpus()) if jobs is None else jobs,
            capture=not no_capture,
            tell=show or (lambda _: None),
        )
    text = render_validation_json(found, worst) if as_json else render_validation(found, worst, place.page())
    place.write(text)

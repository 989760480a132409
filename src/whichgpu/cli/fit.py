"""whichgpu fit: will it fit, how large a batch would, and what to do about it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichgpu.cli.script_options import AllowWrites, NoCache, SamplesPerStep, StepMarker, Timeout

if TYPE_CHECKING:
    from whichgpu.devices.device import Device
    from whichgpu.fit import Fit


class Format(StrEnum):
    """Forms the answer can take."""

    table = "table"
    json = "json"


def fit(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", help="A built-in job, a file of a saved job, or a training script and its arguments."
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A GPU by name; several give one line each. Default: those of compare."),
    ] = None,
    device_file: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="GPUs of your own, as in a device file; all are asked of.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Samples of one step. Default: the job's own.")] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="NAME", help="fp32, tf32, amp-fp16, amp-bf16 or bf16. Default: the job's own.")
    ] = None,
    layout: Annotated[str | None, typer.Option(metavar="NAME", help="nchw or channels_last, for image models.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the memory of one step into FILE.svg or FILE.html."),
    ] = None,
    alloc_conf: Annotated[
        str, typer.Option(metavar="TEXT", help="PYTORCH_ALLOC_CONF, such as expandable_segments:True.")
    ] = "",
    other_batch: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of a job file: the same job captured at another batch."),
    ] = None,
    batch_option: Annotated[
        str, typer.Option(metavar="NAME", help="Of a script: its own option for the batch, such as --batch-size.")
    ] = "",
    no_confirm: Annotated[
        bool, typer.Option("--no-confirm", help="Do not capture the job at the largest batch to confirm it.")
    ] = False,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: what the name given to -o ends in, else table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this file, not to stdout.")
    ] = None,
    samples_per_step: SamplesPerStep = None,
    step_marker: StepMarker = "",
    timeout: Timeout = 600.0,
    allow_writes: AllowWrites = False,
    no_cache: NoCache = False,
) -> None:
    """Tell whether a job fits a GPU, the largest batch that does, and the changes that would make it fit."""
    from whichgpu.capture.script import ScriptOptions
    from whichgpu.cli.fit_family import family_of_job, family_of_script
    from whichgpu.cli.output import Output
    from whichgpu.cli.script_argument import script_call
    from whichgpu.errors import OptionError
    from whichgpu.fit import fit as fit_job
    from whichgpu.memory import AllocatorOptions

    place = Output(output)
    chosen = form.value if form else place.default_format
    if chosen not in ("table", "json"):
        raise OptionError(f"whichgpu fit has no format {chosen}; expected table or json.")
    drawing = None if picture is None else _drawing(picture)
    options = AllocatorOptions.parse(alloc_conf)
    devices = _devices(device or [], device_file or [])
    if picture is not None and output is not None and picture.resolve() == output.resolve():
        raise OptionError(f"-o and --picture both name {output}: one would replace the other. Name two files.")
    if picture is not None and len(devices) > 1:
        raise OptionError(f"--picture draws one device; {len(devices)} are asked for. Name one with --device.")
    call = script_call(context)
    if call is not None and job is not None:
        raise OptionError(f"{job}: beside a script there can be no other job.")
    if call is not None:
        for option, value in (("batch", batch), ("layout", layout), ("precision", precision)):
            if value is not None:
                raise OptionError(f"--{option} {value}: a script has its own; give the script's option after its name.")
        wanted = ScriptOptions(None, samples_per_step, step_marker, timeout, allow_writes, phantom_only=True)
        family = family_of_script(call, wanted, batch_option, use_cache=not no_cache)
    elif job is not None:
        family = family_of_job(job, batch, precision, layout, other_batch)
    else:
        raise OptionError('whichgpu fit needs a job or a script: whichgpu fit resnet50 --device "RTX 4090"')
    single = len(devices) == 1
    found = [fit_job(family, each, options, confirm=single and not no_confirm) for each in devices]
    if drawing is not None and picture is not None:
        Output(picture, "--picture").write(drawing(found[0]))
    place.write(_text(found, chosen, place))


def _text(found: list[Fit], form: str, place: object) -> str:
    if form == "json":
        from whichgpu.fit.document import fits_to_json

        return fits_to_json(found)
    from whichgpu.cli.output import Output
    from whichgpu.report.fit_form import render_fit, render_fits

    assert isinstance(place, Output)
    return render_fit(found[0], place.page()) if len(found) == 1 else render_fits(found, place.page())


def _drawing(picture: Path):  # type: ignore[no-untyped-def]
    """Return what draws the picture, by what the file's name ends in; whether it can be written is found out first."""
    from whichgpu.cli.output import Output
    from whichgpu.errors import OptionError
    from whichgpu.report import memory_picture

    by_suffix = {".svg": memory_picture.svg, ".html": memory_picture.html, ".htm": memory_picture.html}
    if picture.suffix.lower() not in by_suffix:
        raise OptionError(f"--picture {picture}: expected a name that ends in .svg or .html.")
    Output(picture, "--picture")
    return by_suffix[picture.suffix.lower()]


def _devices(names: list[str], files: list[Path]) -> list[Device]:
    from whichgpu.devices import DEFAULT_DEVICES, find_device, load_device_file

    found = [find_device(name) for name in names] + [device for file in files for device in load_device_file(file)]
    unique = list({device.name: device for device in found}.values())
    return unique or [device for device in map(find_device, DEFAULT_DEVICES) if not device.is_cpu]

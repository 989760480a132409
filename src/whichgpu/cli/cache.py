"""whichgpu cache: captured scripts that are kept."""

from __future__ import annotations

import typer

cache = typer.Typer(
    name="cache", help="Captured scripts that are kept for the next time.", no_args_is_help=True, add_completion=False
)


@cache.callback()
def kept() -> None:
    """Captured scripts that are kept for the next time."""


@cache.command()
def clear() -> None:
    """Forget all captured scripts."""
    from whichgpu.cli.script_job import kept_scripts

    place = kept_scripts()
    count = place.clear()
    typer.echo(f"Removed {count} captured script{'s' if count != 1 else ''} from {place.folder}")

"""The options that commands which run a script have in common."""

from __future__ import annotations

from typing import Annotated

import typer

StepsPerEpoch = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Of a script: steps of one epoch, where it does not show.")
]
SamplesPerStep = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Of a script: samples one step learns from, likewise.")
]
StepMarker = Annotated[
    str, typer.Option(metavar="MODULE:FUNCTION", help="Of a script: the function whose return ends a step.")
]
Timeout = Annotated[float, typer.Option(metavar="S", help="Of a script: time limit of each of its two passes.")]
AllowWrites = Annotated[
    bool, typer.Option("--allow-writes", help="Let a script write where it wants, not to a scratch folder.")
]
PhantomOnly = Annotated[
    bool, typer.Option("--phantom-only", help="Do not train a script on this CPU: for models that do not fit.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Run a script again although nothing of it has changed.")]

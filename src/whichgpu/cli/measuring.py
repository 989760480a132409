"""Measuring on behalf of a command: what cannot be measured becomes a note, and Ctrl-C ends it with what there is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from whichgpu.cli.progress import progress_bar
from whichgpu.errors import MeasureError, MissingExtraError

if TYPE_CHECKING:
    from whichgpu.measure import Measurement


INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C


@dataclass(slots=True)
class Interrupts:
    """Whether Ctrl-C has been pressed, also where it was heard and dealt with by somebody else."""

    heard: bool = False


@dataclass(slots=True)
class Measured:
    """What came of measuring one job on this machine.

    Attributes:
        measurements: One a device, the CPU first.
        notes: Why there are not more of them.
        interrupted: Whether the user wants to stop.
    """

    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


def measure_here(job: str, seconds: float, batch: int | None, precision: str | None) -> Measured:
    """Train the built-in `job` on the CPU and the GPUs of this machine, `seconds` on each."""
    from whichgpu.measure import measure
    from whichgpu.measure.torch_devices import torch_devices
    from whichgpu.workloads import definition

    found = Measured()
    with listening() as interrupts:
        try:
            for device in torch_devices():
                with progress_bar(f"Training {job} on {device}") as show:
                    found.measurements.append(
                        measure(
                            definition(job),
                            seconds=seconds,
                            batch=batch,
                            precision=None if device == "cpu" else precision,
                            device=device,
                            on_progress=show,
                        )
                    )
                if interrupts.heard:
                    break
        except (MissingExtraError, MeasureError) as error:
            found.notes.append(f"Not measured here: {error}")
        except KeyboardInterrupt:
            found.notes.append("Not measured here: interrupted.")
    found.interrupted = interrupts.heard
    return found


@contextmanager
def listening() -> Iterator[Interrupts]:
    """Remember Ctrl-C while the block runs; it still raises KeyboardInterrupt there."""
    interrupts = Interrupts()

    def remember(number: int, frame: Any) -> None:
        interrupts.heard = True
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def leave_interrupted() -> NoReturn:
    """End the process now: a training step that still runs on its thread would otherwise be waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)

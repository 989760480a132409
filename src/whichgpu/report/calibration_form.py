"""A calibration as a page of text: what was reached, what the host costs, how far off predictions are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from whichgpu.comparison.calibrated import CalibratedStep, CalibrationSummary, Reached
from whichgpu.comparison.cells import NOTHING, step_text
from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import Line, numbered, ruled_table
from whichgpu.units import GIGA, duration, si

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_STEPS = 30


def render_calibration(found: CalibrationSummary, page: Page) -> str:
    """Return what was reached of the datasheet, the host's times, steps beside their predictions, and notes."""
    from rich.text import Text

    title = f"{found.device}: {found.measured:,} measurements in {duration(found.seconds)}"
    tables = [*_reached(found), *_host(found), *_steps(found)]
    notes = [("•", note) for note in _notes(found)]
    return print_on(page, [Text(title, "bold"), *tables, *([numbered(notes)] if notes else [])])


def _reached(found: CalibrationSummary) -> Iterator[RenderableType]:
    if found.reached:
        headings = (("Reached",), ("Rate",), ("Of the", "datasheet"), ("Clock",), ("Power",))
        yield ruled_table(headings, (False, True, True, True, True), [_rate_line(r) for r in found.reached])


def _rate_line(reached: Reached) -> Line:
    share = NOTHING if reached.share is None else f"{reached.share * 100:.0f} %"
    clock = NOTHING if reached.sm_clock_hz is None else f"{reached.sm_clock_hz / GIGA:.2f} GHz"
    power = NOTHING if reached.power_w is None else f"{reached.power_w:.0f} W"
    return Line((reached.what, si(reached.rate, reached.unit), share, clock, power))


def _host(found: CalibrationSummary) -> Iterator[RenderableType]:
    if found.host_s:
        lines = [Line((what, duration(seconds))) for what, seconds in found.host_s.items()]
        yield ruled_table((("What the host does",), ("Takes",)), (False, True), lines)


def _steps(found: CalibrationSummary) -> Iterator[RenderableType]:
    if found.steps:
        headings = (("Step",), ("Measured",), ("Predicted",), ("Off",))
        lines = [_step_line(step) for step in found.steps[:_MOST_STEPS]]
        yield ruled_table(headings, (False, True, True, True), lines, folding=(0,))


def _step_line(step: CalibratedStep) -> Line:
    if step.predicted_s is None:
        return Line((step.name, step_text(step.step_s), NOTHING, NOTHING))
    off = f"{(step.predicted_s / step.step_s - 1) * 100:+.0f} %"
    return Line((step.name, step_text(step.step_s), step_text(step.predicted_s), off))


def _notes(found: CalibrationSummary) -> Iterator[str]:
    if found.kernel_error is not None:
        yield (
            f"{found.kernels:,} kernels predicted without this calibration: {found.kernel_error * 100:.0f} % off in "
            "the mean."
        )
    if found.failed:
        yield f"{found.failed:,} did not run here; the file says why of each."
    if found.unreached:
        yield f"There was no time for {found.unreached:,}: --seconds gives more."
    yield from found.notes

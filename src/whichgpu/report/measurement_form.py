"""A measurement, or a training to the end, as a few lines of text."""

from __future__ import annotations

from whichgpu.comparison.cells import step_text
from whichgpu.measure import Measurement
from whichgpu.measure.mnist_training import TrainingResult
from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import numbered
from whichgpu.units import duration, three_digits


def render_measurement(measurement: Measurement, page: Page) -> str:
    """Return what was trained, how long a step took, and what a reader must know."""
    from rich.text import Text

    m = measurement
    spread = f"{step_text(m.step_s_low)} to {step_text(m.step_s_high)}: {m.spread}"
    facts = [
        ("Device", m.device),
        ("Time a step", f"{step_text(m.step_s)} ({spread})"),
        ("Throughput", f"{three_digits(m.samples_per_s)} samples per s"),
        ("Spent", f"{duration(m.seconds_spent)}, {m.warmup_steps} warm-up steps and {m.steps} timed ones"),
    ]
    return print_on(
        page,
        [
            Text(f"{m.job}, batch {m.batch:,}, {m.precision}: measured here", "bold"),
            numbered(facts),
            *([numbered([("•", note) for note in m.notes], "dim")] if m.notes else []),
        ],
    )


def render_training(result: TrainingResult, page: Page) -> str:
    """Return what was trained on, the loss at the beginning and the end, and the test accuracy of each epoch."""
    from rich.text import Text

    r = result
    epochs = [
        (f"Epoch {n}", f"{accuracy:.2%} of the test digits recognised, {duration(seconds)}".replace("%", " %"))
        for n, (accuracy, seconds) in enumerate(zip(r.test_accuracies, r.epoch_s, strict=True), 1)
    ]
    facts = [
        ("Device", r.device),
        ("Digits", r.source if r.real else f"{r.source} (made up: the accuracy says nothing of real ones)"),
        ("Loss", f"{r.losses[0]:.3f} at first, {r.losses[-1]:.3f} at last"),
        *epochs,
        *([("Interrupted", "before the last epoch had ended")] if r.interrupted else []),
    ]
    return print_on(
        page,
        [
            Text(f"{r.job}, batch {r.batch:,}: trained here", "bold"),
            numbered(facts),
            *([numbered([("•", note) for note in r.notes], "dim")] if r.notes else []),
        ],
    )

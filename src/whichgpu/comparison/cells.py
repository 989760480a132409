"""A comparison's columns, as text a person reads: every table, in a terminal or a notebook, is made of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from whichgpu.comparison.comparison import THIS_CPU, Comparison, Row
from whichgpu.units import DAY_S, GIB, HOUR_S, MICRO, MILLI, MINUTE_S, duration, of_binary_bytes, three_digits, usd

NOTHING = "–"
_SHORT_BOUND = {"compute": "compute", "memory bandwidth": "memory", "host launch": "host"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in code.
        heading: Its title, in two lines.
        text: What it shows of a row.
        numeric: Whether it is set flush right.
        room: In which order a narrow table does without it: 0 stays longest.
        short_for: Key of the column it stands in for where there is no room for that one.
    """

    key: str
    heading: tuple[str, str]
    text: Callable[[Row], str]
    numeric: bool = True
    room: int = 0
    short_for: str = ""


def columns(comparison: Comparison) -> tuple[Column, ...]:
    """Return the columns of `comparison` after the device's name, in order; those with nothing to say are left out."""
    epochs = comparison.job.epochs
    once = comparison.job.samples_per_epoch is not None
    often = once and epochs > 1
    fits = any(row.memory is not None for row in comparison.rows)
    mixed = len({row.precision for row in comparison.rows}) > 1
    level = f"{comparison.interval_level:.0%}".replace("%", " %")
    epoch = 5 if often else 0  # of the two, the time and price of the whole job is what was asked for
    listed = (
        (True, Column("step", ("Time a", "step"), lambda row: step_text(row.step_s), room=1 if once else 0)),
        (True, Column("range", (level, "range"), range_text, room=3)),
        (fits, Column("memory", ("Memory", "GiB"), memory_text, room=2)),
        (True, Column("samples", ("Samples", "per s"), lambda row: three_digits(row.samples_per_s), room=4)),
        (once, Column("epoch", ("Time an", "epoch"), lambda row: _duration(row.epoch_s), room=epoch)),
        (often, Column("job", ("Time for", f"{epochs:,} epochs"), lambda row: _duration(row.job_s))),
        (True, Column("speedup", ("Speed-", "up"), lambda row: _speedup(row.speedup))),
        (once, Column("usd", ("Cost an", "epoch"), lambda row: _usd(row.usd_per_epoch), room=epoch)),
        (often, Column("usd_job", ("Cost of", f"{epochs:,} epochs"), lambda row: _usd(row.usd_per_job))),
        (True, Column("bound", ("Limited", "by"), lambda row: row.bound or NOTHING, numeric=False, room=6)),
        (True, Column("bound_short", ("Limited", "by"), short_bound, numeric=False, room=2, short_for="bound")),
        (mixed, Column("precision", ("", "Precision"), lambda row: row.precision, numeric=False, room=8)),
        (True, Column("offer", ("Cheapest", "rental"), offer_text, numeric=False, room=7)),
    )
    return tuple(column for has_something_to_say, column in listed if has_something_to_say)


def full_columns(comparison: Comparison) -> tuple[Column, ...]:
    """Return the columns where there is room for all, none in its short form."""
    return tuple(c for c in columns(comparison) if not c.short_for)


def times(ratio: float) -> str:
    """Return a ratio: '38x', '1.3x', '0.047x'."""
    return f"{float(f'{ratio:.3g}'):,.0f}x" if ratio >= 9.95 else f"{float(f'{ratio:.2g}'):#.2g}x"


def rough_duration(seconds: float) -> str:
    """Return a duration no finer than a prediction is: '17 min', '1 h 27 min', '6 d 20 h'."""
    for unit_s in (DAY_S, HOUR_S, MINUTE_S):
        if seconds >= 9.5 * unit_s and seconds >= 99.95:
            return duration(round(seconds / unit_s) * unit_s)
    return duration(seconds)


def step_text(seconds: float) -> str:
    """Return a step's time, in seconds however long: '1.84 ms', '112 s'."""
    scale, unit = _scale(seconds)
    return f"{three_digits(seconds / scale)} {unit}"


def range_text(row: Row) -> str:
    """Return a row's interval in the unit of its step, with as many digits as tell its ends apart: '1.2–2.8'.

    Of a single step nobody knows one.
    """
    if row.step_s_low == row.step_s_high:
        return NOTHING
    scale, _ = _scale(row.step_s)
    digits = 2 if row.step_s_high >= 1.1 * row.step_s_low else 3
    return f"{_digits(row.step_s_low / scale, digits)}–{_digits(row.step_s_high / scale, digits)}"


def memory_text(row: Row) -> str:
    """Return what a process takes of the device, in GiB: '12.4'."""
    return NOTHING if row.memory is None else three_digits(row.memory.device_bytes / GIB)


def misfit_text(row: Row) -> str:
    """Return why a row has no times: 'does not fit: needs 31.2 of 23.6 GiB'."""
    if row.memory is None or row.memory.usable_bytes is None:
        return "does not fit"
    return f"does not fit: needs {of_binary_bytes(row.memory.device_bytes, row.memory.usable_bytes)}"


def short_bound(row: Row) -> str:
    """Return what limits a row, in one word."""
    return NOTHING if row.bound is None else _SHORT_BOUND.get(row.bound, row.bound)


def offer_text(row: Row) -> str:
    """Return who rents the device out for how much: 'RunPod $0.34/h'."""
    if row.offer is None:
        return NOTHING
    count = f"{row.offer.device_count} for " if row.offer.device_count > 1 else ""
    return f"{row.offer.provider} {count}{usd(row.offer.usd_per_h)}/h"


def headline(comparison: Comparison) -> str:
    """Return what was compared: 'resnet50, batch 256, amp-fp16, channels_last'."""
    job = comparison.job
    parts = (job.name, f"batch {job.samples_per_step:,}", job.precision, job.layout)
    return ", ".join(part for part in parts if part)


def sublines(comparison: Comparison) -> list[str]:
    """Return what its words mean: '1 epoch = 5,005 steps = ...; 1 sample = 1 image of 224x224', 'this CPU = ...'."""
    job = comparison.job
    words = []
    if job.samples_per_epoch is not None and job.steps_per_epoch is not None:
        words.append(f"1 epoch = {job.steps_per_epoch:,} steps = {job.samples_per_epoch:,} samples")
    if job.sample != "sample":
        words.append(f"1 sample = 1 {job.sample}")
    this_cpu = next((row.device for row in comparison.rows if row.label == THIS_CPU), None)
    return ["; ".join(words)] * bool(words) + ([] if this_cpu is None else [f"{THIS_CPU} = {this_cpu}"])


def kinds(comparison: Comparison) -> list[tuple[str, list[Row]]]:
    """Return the rows in groups under the words that tell measured from predicted."""
    groups = [
        ("measured here", [r for r in comparison.rows if r.kind == "measured"]),
        ("predicted", [r for r in comparison.rows if r.kind == "predicted"]),
    ]
    return [(title, rows) for title, rows in groups if rows]


def interval_line(comparison: Comparison) -> str:
    """Return what the ranges of predicted rows mean; '' where nothing was predicted."""
    if all(row.kind == "measured" for row in comparison.rows):
        return ""
    level = f"{comparison.interval_level:.0%}".replace("%", " %")
    return f"Range: the truth should lie inside for {level} of predictions; the JSON says what each rests on."


def memory_line(comparison: Comparison) -> str:
    """Return what the memory of rows means, and what to do where it does not suffice; '' where none is known."""
    if all(row.memory is None for row in comparison.rows):
        return ""
    line = "Memory: what nvidia-smi would show; the JSON has allocated and reserved beside it, and the interval."
    small = next((row for row in comparison.rows if row.fits is False), None)
    return line if small is None else f"{line} What makes it fit: {fit_call(comparison, small.label)}."


def fit_call(comparison: Comparison, device: str = "") -> str:
    """Return the command that tells what makes the job fit; what stands behind a script is the script's own."""
    job = comparison.job
    where = f' --device "{device}"' if device else ""
    if "step_ends_with" not in job.options:
        return f"whichgpu fit {job.name} --batch {job.samples_per_step}{where}"
    target = job.name if job.name.endswith(".py") else f"-m {job.name}"
    return f"whichgpu fit{where} {target} with its arguments"


def price_line(comparison: Comparison) -> str:
    """Return when the prices of a comparison were seen, or '' if it has none."""
    offers = [row.offer for row in comparison.rows if row.offer is not None]
    if not offers:
        return ""
    oldest, newest = max(o.age_days for o in offers), min(o.age_days for o in offers)
    first, last = min(o.observed for o in offers), max(o.observed for o in offers)
    ages = f"{_days(newest)} old" if oldest == newest else f"{newest} to {_days(oldest)} old"
    seen = first if first == last else f"{first} to {last}"
    return f"Prices: cheapest on-demand rental of the whole machine, no disk, traffic or tax; seen {seen} ({ages})."


def _scale(seconds: float) -> tuple[float, str]:
    if seconds < 0.9995 * MILLI:
        return MICRO, "us"
    return (MILLI, "ms") if seconds < 0.9995 else (1.0, "s")


def _digits(value: float, digits: int) -> str:
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 10 ** (digits - 1) else f"{rounded:#.{digits}g}"


def _duration(seconds: float | None) -> str:
    return NOTHING if seconds is None else rough_duration(seconds)


def _speedup(ratio: float | None) -> str:
    return NOTHING if ratio is None else times(ratio)


def _usd(amount: float | None) -> str:
    return NOTHING if amount is None else usd(amount)


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"

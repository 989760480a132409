"""Comparisons as CSV (RFC 4180): one line a row of every job, the fields of the JSON form, SI units, no rounding."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from whichgpu.comparison.comparison import Comparison, Row
from whichgpu.comparison.document import TIMES
from whichgpu.report.page import Page

_FIELDS = (
    "device",
    "kind",
    "precision",
    "step_s",
    "step_s_low",
    "step_s_high",
    "interval_basis",
    "samples_per_s",
    "epoch_s",
    "job_s",
    "speedup",
    "eager_step_s",
    "compiled_step_s",
    "bound",
    "fits",
    "usd_per_epoch",
    "usd_per_job",
)
_MEMORY_FIELDS = (
    "allocated_bytes",
    "reserved_bytes",
    "device_bytes",
    "device_bytes_low",
    "device_bytes_high",
    "usable_bytes",
    "margin_bytes",
)
_OFFER_FIELDS = (
    "provider",
    "sku",
    "device_count",
    "usd_per_h",
    "usd_per_h_high",
    "observed",
    "age_days",
    "source",
    "notes",
)


def render(comparisons: Sequence[Comparison], page: Page) -> str:
    """Return a header and a line a row; what is unknown is left empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    prefixed = (*(f"memory_{f}" for f in _MEMORY_FIELDS), *(f"offer_{f}" for f in _OFFER_FIELDS))
    writer.writerow(("job", "samples_per_step", "epochs", *_FIELDS, *prefixed, "notes"))
    for comparison in comparisons:
        job = comparison.job
        for row in comparison.rows:
            values = _values(row, comparison.withholds(row))
            writer.writerow((job.name, job.samples_per_step, job.epochs, *values, " ".join(row.notes)))
    return text.getvalue()


def _values(row: Row, withheld: bool) -> list[object]:
    values = [None if withheld and field in TIMES else getattr(row, field) for field in _FIELDS]
    values += [None if row.memory is None else getattr(row.memory, field) for field in _MEMORY_FIELDS]
    values += [None if row.offer is None else getattr(row.offer, field) for field in _OFFER_FIELDS]
    return ["true" if v is True else "false" if v is False else v for v in values]

"""The built-in jobs as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import Line, ruled_table

if TYPE_CHECKING:
    from whichgpu.workloads.workload import Workload


def render_jobs(jobs: Sequence[Workload], page: Page) -> str:
    """Return one line a job: its name, what it is, its batch, precision and the samples of an epoch."""
    headings = (("Job",), ("What it trains",), ("Batch",), ("Precision",), ("Samples",))
    lines = [Line((j.name, j.title, f"{j.batch:,}", j.precision, f"{j.samples_per_epoch:,}")) for j in jobs]
    return print_on(page, [ruled_table(headings, (False, False, True, False, True), lines, folding=(1,))])

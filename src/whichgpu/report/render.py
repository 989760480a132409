"""Choosing the form of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from whichgpu.comparison.comparison import Comparison
from whichgpu.errors import OptionError
from whichgpu.report.page import Page

Renderer = Callable[[Sequence[Comparison], Page], str]

# Name of a format, and the module whose `render` writes it: only the one asked for is imported.
FORMATS = {
    "table": "whichgpu.report.table",
    "json": "whichgpu.report.json_form",
    "csv": "whichgpu.report.csv_form",
    "md": "whichgpu.report.markdown",
}


def render(comparisons: Sequence[Comparison], form: str = "table", page: Page | None = None) -> str:
    """Return `comparisons` as text that ends in a line feed.

    Args:
        comparisons: One a job, one or more.
        form: A key of `FORMATS`.
        page: How wide and whether coloured; only tables care. 80 columns without colour by default.

    Raises:
        OptionError: If there is no such form.
    """
    if form not in FORMATS:
        raise OptionError(f"No format {form!r}; expected one of {', '.join(FORMATS)}.")
    renderer: Renderer = import_module(FORMATS[form]).render
    return renderer(comparisons, Page() if page is None else page)

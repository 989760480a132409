"""Reports of fixed comparisons, as read and found good. `GOLDEN=write pytest tests/report` writes them anew."""

import os
from pathlib import Path

import pytest

from tests.report.examples import resnet50, without_epochs
from whichgpu.report import Page, render

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "table-80.txt": ([resnet50()], "table", Page(80)),
    "table-80-epochs.txt": ([resnet50(90)], "table", Page(80)),
    "table-130.txt": ([resnet50()], "table", Page(130)),
    "table-50.txt": ([resnet50()], "table", Page(50)),
    "table-color.txt": ([resnet50()], "table", Page(80, color=True)),
    "table-unknown-epoch.txt": ([without_epochs()], "table", Page(80)),
    "two-jobs.txt": ([resnet50(), without_epochs()], "table", Page(80)),
    "one.json": ([resnet50()], "json", Page()),
    "two.json": ([resnet50(), without_epochs()], "json", Page()),
    "two.csv": ([resnet50(), without_epochs()], "csv", Page()),
    "two.md": ([resnet50(), without_epochs()], "md", Page()),
}


@pytest.mark.parametrize("name", CASES)
def test_report_is_as_it_was_found_good(name):
    comparisons, form, page = CASES[name]
    text = render(comparisons, form, page)
    file = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")

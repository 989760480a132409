import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.report.examples import resnet50, without_epochs
from whichgpu.report import Page, render


@pytest.mark.parametrize("width", [50, 60, 72, 80, 81, 90, 100, 120, 200])
@pytest.mark.parametrize("epochs", [1, 90])
def test_no_line_is_wider_than_the_page_and_no_row_is_lost(width, epochs):
    text = render([resnet50(epochs)], "table", Page(width))
    assert max(map(cell_len, text.splitlines())) <= width
    for row in resnet50().rows:
        assert re.search(rf"^{re.escape(row.label)} .*\d", text, re.MULTILINE)
    assert "…" not in text


def test_eighty_columns_show_everything_asked_of_a_row():
    text = render([resnet50()], "table", Page(80))
    head = text[: text.index("measured here")]
    for word in ("step", "80 %", "Memory", "epoch", "Speed-", "Cost an", "Limited"):
        assert word in head
    (line,) = [row for row in text.splitlines() if row.startswith("RTX 4090")]
    assert line.split() == ["RTX", "4090", "³", "201", "ms", "160–260", "21.7", "17", "min", "587x", "$0.10", "memory"]


def test_a_device_with_too_little_memory_shows_no_time_but_what_is_needed():
    text = render([resnet50()], "table", Page(80))
    (line,) = [row for row in text.splitlines() if row.startswith("RTX 3060")]
    assert line.split("  ", 1)[1].strip() == "does not fit: needs 21.7 of 11.6 GiB"
    assert "whichgpu fit resnet50" in " ".join(text.split())


def test_memory_can_be_ignored():
    text = render([replace(resnet50(), ignore_memory=True)], "table", Page(80))
    (line,) = [row for row in text.splitlines() if row.startswith("RTX 3060")]
    assert line.split()[2:4] == ["710", "ms"]


def test_measured_rows_stand_under_their_own_heading_and_rule():
    lines = render([resnet50()], "table", Page(80)).splitlines()
    measured, predicted = lines.index("measured here"), lines.index("predicted")
    assert measured < predicted
    assert lines[measured + 1].startswith("this CPU")
    assert set(lines[predicted - 1]) == {"─"}
    assert not any(line.startswith("this CPU") for line in lines[predicted:])


def test_color_changes_no_character():
    plain = render([resnet50()], "table", Page(80))
    colored = render([resnet50()], "table", Page(80, color=True))
    assert "\x1b[" in colored
    assert [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", colored).splitlines()] == plain.splitlines()


def test_markup_in_names_is_printed_as_it_is():
    comparison = without_epochs()
    assert "<L4> & co" in render([comparison], "table", Page(80))


def test_every_note_has_a_number_at_its_row():
    text = render([resnet50()], "table", Page(80))
    for number, row in (
        ("¹", "this CPU"),
        ("²", "8-core desktop"),
        ("³", "RTX 4090"),
        ("⁴", "A100 80GB SXM"),
    ):
        assert f"{row} {number}" in text
        assert f"\n{number} " in text

"""Comparisons as tables for a terminal: the answer in words, the rows, what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from whichgpu.comparison.answer import answer
from whichgpu.comparison.cells import (
    Column,
    columns,
    headline,
    interval_line,
    kinds,
    memory_line,
    misfit_text,
    price_line,
    sublines,
)
from whichgpu.comparison.comparison import Comparison, Row
from whichgpu.comparison.footnotes import footnotes
from whichgpu.report.page import Page, print_on
from whichgpu.report.ruled import Line, numbered, ruled_table

if TYPE_CHECKING:
    from rich.console import RenderableType

# Where there is no room for what a reader should not miss.
_NO_ROOM = {
    "range": "The ranges have no room here: a wider terminal shows them, as do --format md and json.",
    "memory": "The memory needed has no room here: a wider terminal shows it, as do --format md and json.",
}


def render(comparisons: Sequence[Comparison], page: Page) -> str:
    """Return one table a comparison, as wide as `page` at most; a narrow page loses columns, never rows."""
    return "\n\n".join(_render_one(c, page) for c in comparisons)


def _render_one(comparison: Comparison, page: Page) -> str:
    from rich.text import Text

    notes = footnotes(comparison)
    marks = dict(zip(map(id, comparison.rows), notes.marks, strict=True))
    groups = kinds(comparison)
    names = [f"{row.label} {marks[id(row)]}".strip() for _, rows in groups for row in rows]
    name_width = max(map(len, (*names, *(title for title, _ in groups))))
    told = [row for row in comparison.rows if not comparison.withholds(row)]
    shown, gap = _that_fit(columns(comparison), told, page.width - name_width)
    left = iter(names)
    lines: list[Line] = []
    for kind, rows in groups:
        lines.append(Line((kind,), "bold" if rows[0].kind == "measured" else "italic", rule_above=bool(lines)))
        lines += [_line(row, next(left), shown, comparison.withholds(row)) for row in rows]
    headings = (("", "Device"), *(c.heading for c in shown))
    keys = {column.key for column in shown}
    lines_of = {"range": interval_line(comparison), "memory": memory_line(comparison)}
    explained = [text if key in keys else _NO_ROOM[key] for key, text in lines_of.items() if text]
    below = [*explained, price_line(comparison), *notes.general]
    title = [Text(headline(comparison), "bold"), *(Text(line, "dim") for line in sublines(comparison))]
    blocks: list[RenderableType] = [
        Text("\n").join(title),
        numbered([("•", sentence) for sentence in answer(comparison)]),
        ruled_table(headings, (False, *(c.numeric for c in shown)), lines, gap),
    ]
    if notes.texts:
        blocks.append(numbered(notes.numbered(), "dim"))
    if any(below):
        blocks.append(numbered([("•", text) for text in below if text], "dim"))
    return print_on(page, blocks)


def _that_fit(listed: Sequence[Column], rows: Sequence[Row], width: int) -> tuple[list[Column], int]:
    """Return the columns that fit beside the names, and the gap between them: as many as there is room for."""
    full = [c for c in listed if not c.short_for]
    by_key = {c.short_for: c for c in listed if c.short_for}
    tries = [full]
    while any(c.room for c in tries[-1]):
        last = max(tries[-1], key=lambda c: c.room)
        short = by_key.get(last.key)
        tries.append([s for c in tries[-1] if (s := short if c is last else c) is not None])
    for shown in tries:
        needed = sum(max(len(t) for t in (*c.heading, *(c.text(r) for r in rows))) for c in shown)
        for gap in (2, 1):
            if needed + gap * len(shown) <= width:
                return shown, gap
    return tries[-1], 1


def _line(row: Row, name: str, shown: Sequence[Column], withheld: bool) -> Line:
    if withheld:
        return Line((name,), _style(row), instead=misfit_text(row))
    return Line((name, *(c.text(row) for c in shown)), _style(row))


def _style(row: Row) -> str:
    if row.kind == "measured":
        return "bold green"
    return "dim" if row.fits is False else ""

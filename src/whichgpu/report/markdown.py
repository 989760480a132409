"""Comparisons as Markdown, for an issue or a README: one section a job."""

from __future__ import annotations

from collections.abc import Sequence

from whichgpu.comparison.answer import answer
from whichgpu.comparison.cells import (
    full_columns,
    headline,
    interval_line,
    kinds,
    memory_line,
    misfit_text,
    price_line,
    sublines,
)
from whichgpu.comparison.comparison import Comparison
from whichgpu.comparison.footnotes import footnotes
from whichgpu.report.page import Page


def render(comparisons: Sequence[Comparison], page: Page) -> str:
    """Return a heading, the answer, a table and its notes for every comparison."""
    return "\n".join(_section(c) for c in comparisons)


def _section(comparison: Comparison) -> str:
    shown = full_columns(comparison)
    notes = footnotes(comparison)
    marks = dict(zip(map(id, comparison.rows), notes.marks, strict=True))
    headings = [" ".join(c.heading).replace("- ", "-").strip() for c in shown]
    lines = [f"### {_escape(headline(comparison))}", ""]
    lines += [*(f"{_escape(line)}  " for line in sublines(comparison)), ""]
    lines += [_escape(sentence) + "  " for sentence in answer(comparison)]
    lines += [
        "",
        _row(["Device", "", *headings]),
        _row(["---", "---", *("--:" if c.numeric else "---" for c in shown)]),
    ]
    for title, rows in kinds(comparison):
        for r in rows:
            name = f"{r.label} {marks[id(r)]}".strip()
            withheld = comparison.withholds(r)
            texts = [misfit_text(r), *[""] * (len(shown) - 1)] if withheld else [c.text(r) for c in shown]
            lines.append(_row([name, title, *texts]))
    lines.append("")
    lines += [f"{number}. {_escape(note)}" for number, note in enumerate(notes.texts, 1)]
    lines += [""] * bool(notes.texts)
    below = (interval_line(comparison), memory_line(comparison), price_line(comparison))
    lines += [f"{_escape(text)}  " for text in below if text]
    lines += [f"{_escape(note)}  " for note in notes.general]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escape(cell) if cell.strip('-:') else cell for cell in cells)} |"


def _escape(text: str) -> str:
    """Return `text` with what Markdown would read as markup made plain."""
    for character in "\\`*_[]<>|$":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")

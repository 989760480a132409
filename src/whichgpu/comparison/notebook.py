"""A comparison as HTML, for notebooks: one table, nothing but inline style, every text escaped."""

from __future__ import annotations

from html import escape

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
from whichgpu.comparison.comparison import Comparison, Row
from whichgpu.comparison.footnotes import footnotes


def comparison_to_html(comparison: Comparison) -> str:
    """Return an HTML fragment: the answer, the table, measured and predicted rows under their own headings, notes."""
    shown = full_columns(comparison)
    notes = footnotes(comparison)
    marks = dict(zip(map(id, comparison.rows), notes.marks, strict=True))

    def line(row: Row) -> str:
        raised = marks[id(row)]
        name = escape(row.label) + (f" {escape(raised)}" if raised else "")
        if comparison.withholds(row):
            cells = f'<td colspan="{len(shown)}" style="text-align:left">{escape(misfit_text(row))}</td>'
        else:
            cells = "".join(_cell("td", escape(c.text(row)), c.numeric) for c in shown)
        weight = "font-weight:600" if row.kind == "measured" else "font-weight:400"
        full = escape(row.device, quote=True)
        return f'<tr style="{weight}"><th scope="row" title="{full}" style="text-align:left">{name}</th>{cells}</tr>'

    head = "".join(_cell("th", escape(" ".join(c.heading).replace("- ", "-").strip()), c.numeric) for c in shown)
    body = "".join(
        f'<tr><th colspan="{len(shown) + 1}" style="text-align:left;font-style:italic">{escape(kind)}</th></tr>'
        + "".join(line(row) for row in rows)
        for kind, rows in kinds(comparison)
    )
    meaning = "".join(f"<br>{escape(line)}" for line in sublines(comparison))
    title = f"<p><b>{escape(headline(comparison))}</b>{meaning}</p>"
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in answer(comparison))
    below = [interval_line(comparison), memory_line(comparison), price_line(comparison), *notes.general]
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes.texts)
    return (
        f'<div class="whichgpu">{title}{words}<table>'
        f'<thead><tr><th style="text-align:left">Device</th>{head}</tr></thead><tbody>{body}</tbody></table>'
        + (f"<ol>{listed}</ol>" if listed else "")
        + "".join(f"<p><small>{escape(text)}</small></p>" for text in below if text)
        + "</div>"
    )


def _cell(tag: str, text: str, numeric: bool) -> str:
    return f'<{tag} style="text-align:{"right" if numeric else "left"}">{text}</{tag}>'

"""A plain table with rules under its head and between its groups, which reads the same with and without colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

# Stands in a cell whose line has something instead of cells: no text holds this character.
_INSTEAD = "\ue000"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table.

    Attributes:
        cells: Its texts; fewer than there are columns leave the rest empty.
        style: Of all its cells, in the words of Rich.
        rule_above: Whether a rule parts it from the line above.
        instead: What stands after the first cell in place of all others, across their columns.
    """

    cells: tuple[str, ...]
    style: str = ""
    rule_above: bool = False
    instead: str = ""


def ruled_table(
    headings: Sequence[Sequence[str]],
    numeric: Sequence[bool],
    lines: Sequence[Line],
    gap: int = 2,
    folding: Sequence[int] = (),
) -> RenderableType:
    """Return a table of `lines` under `headings`, with `gap` spaces between its columns.

    Args:
        headings: Of every column, each a few lines of text.
        numeric: Whether a column is set flush right.
        lines: What stands below.
        gap: Spaces between two columns; one is the divider that is not drawn, the others are padding.
        folding: Indices of columns whose texts may take several lines where the page is narrow; no other does.
    """
    from rich.box import Box
    from rich.table import Table
    from rich.text import Text

    box = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")
    table = Table(box=box, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0), header_style="bold")
    for index, (heading, right) in enumerate(zip(headings, numeric, strict=True)):
        texts = (*heading, *(line.cells[index] for line in lines if index < len(line.cells)))
        folds = index in folding
        table.add_column(
            Text("\n".join(heading)),
            justify="right" if right else "left",
            no_wrap=not folds,
            min_width=None if folds else max(map(len, texts)),
            overflow="fold",
            vertical="top",
        )
    for line in lines:
        if line.rule_above:
            table.add_section()
        cells = (line.cells[0], _INSTEAD) if line.instead else line.cells
        table.add_row(*(Text(cell) for cell in cells), style=line.style)
    if not any(line.instead for line in lines):
        return table
    first = max(len(t) for t in (*headings[0], *(line.cells[0] for line in lines)))
    return _Spanning(table, first + gap, [line for line in lines if line.instead])


class _Spanning:
    """A table in which some lines have one text across all columns after the first; Rich knows no such cells."""

    def __init__(self, table: Table, begins: int, lines: Sequence[Line]) -> None:
        self._table = table
        self._begins = begins
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment
        from rich.text import Text

        left = iter(self._lines)
        for rendered in console.render_lines(self._table, options, pad=False):
            if any(_INSTEAD in segment.text for segment in rendered):
                line = next(left)
                yield Text(line.cells[0].ljust(self._begins) + line.instead, line.style)
            else:
                yield from rendered
                yield Segment.line()


def numbered(items: Sequence[tuple[str, str]], style: str = "") -> Table:
    """Return paragraphs, each behind its mark, with what does not fit a line indented under its beginning."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a long path must stay whole
    for mark, text in items:
        table.add_row(Text(mark), Text(text), style=style)
    return table

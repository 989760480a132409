"""The memory of one step over its course, drawn with characters: stacked by who holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichgpu.memory.holders import HOLDERS, Holder, Timeline, stacked
from whichgpu.units import GIB, MIB, three_digits

if TYPE_CHECKING:
    from rich.text import Text

ROWS = 12
# A sign for paper without colour, and a colour, of each holder.
SIGNS: dict[Holder, tuple[str, str]] = {
    "parameters": ("█", "blue"),
    "optimizer state": ("▓", "magenta"),
    "input and buffers": ("=", "white"),
    "gradients": ("▒", "yellow"),
    "activations": ("░", "green"),
    "temporaries": ("·", "red"),
}
_AXIS = 7  # columns of the scale at the left


def chart(line: Timeline, width: int, color: bool) -> Text:
    """Return a chart of `width` columns: memory upwards, the ops of a step to the right, phases named below.

    Each column shows the op of its stretch that needs the most.
    """
    from rich.text import Text

    columns = max(width - _AXIS - 1, 10)
    picked = picked_ops(line, columns)
    edges = stacked(line)
    top = max((edges[-1][index] for index in picked), default=0) or 1
    unit, name = (GIB, "GiB") if top >= GIB else (MIB, "MiB")
    text = Text()
    for row in range(ROWS, 0, -1):
        level = top * (row - 0.5) / ROWS
        scale = three_digits(top * row / ROWS / unit) if row in (ROWS, ROWS // 2) else ""
        text.append(f"{scale:>{_AXIS - 1}} ┤" if scale else " " * _AXIS + "│")
        for index in picked:
            holder = next((h for h, edge in zip(HOLDERS, edges, strict=True) if edge[index] > level), None)
            if holder is None:
                text.append(" ")
            else:
                sign, style = SIGNS[holder]
                text.append("█" if color else sign, style if color else "")
        text.append("\n")
    text.append(f"{name:>{_AXIS - 1}} └" + _phase_line(line, picked) + "\n")
    used = [h for h in HOLDERS if any(line.holders[h][index] for index in picked)]
    column = width
    for holder in used:
        sign, style = SIGNS[holder]
        if column + len(holder) + 4 > width:
            text.append("\n" * (holder is not used[0]) + " " * (_AXIS + 1))
            column = _AXIS + 1
        text.append("█ " if color else f"{sign} ", style if color else "")
        text.append(f"{holder}  ")
        column += len(holder) + 4
    return text


def picked_ops(line: Timeline, columns: int) -> list[int]:
    """Return for each column the op of its stretch that needs the most."""
    count = line.ops
    columns = min(columns, count)
    stretches = [range(c * count // columns, (c + 1) * count // columns) for c in range(columns)]
    return [max(stretch, key=line.total) for stretch in stretches]


def _phase_line(line: Timeline, picked: list[int]) -> str:
    """Return the axis with each phase's name where it begins, as far as there is room."""
    marks = ["─"] * len(picked)
    begins = [
        (phase, next((c for c, i in enumerate(picked) if i >= first), len(picked))) for phase, first in line.phases
    ]
    for place, (phase, column) in enumerate(begins):
        end = begins[place + 1][1] if place + 1 < len(begins) else len(picked)
        name = f"┬{phase}"
        if end - column >= len(name):
            marks[column : column + len(name)] = name
        elif end > column:
            marks[column] = "┬"
    return "".join(marks)

"""The notes of rows as footnotes: each told once, numbered where it holds for some rows only.

Notes of several rows that differ only in measures ("12 GiB", "9.6 %") are told as one, with the range of the measures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from whichgpu.comparison.answer import compile_note
from whichgpu.comparison.comparison import Comparison

# More than these nobody reads in a table; the JSON has all.
MOST_NOTES = 12
MOST_MARKS = 4

_MEASURE = re.compile(r"\d[\d.,]*(?= ?(?:%|GiB|MiB|times\b))")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Footnotes:
    """What stands below a table.

    Attributes:
        texts: Notes of some rows; the first is number 1.
        general: Notes of all predicted rows, and of the comparison.
        marks: For each row of the comparison the raised numbers of its notes: "¹ ³", or "".
    """

    texts: tuple[str, ...]
    general: tuple[str, ...]
    marks: tuple[str, ...]

    def numbered(self) -> list[tuple[str, str]]:
        """Return each numbered note behind its raised number."""
        return [(_raised(number), text) for number, text in enumerate(self.texts, 1)]


def footnotes(comparison: Comparison) -> Footnotes:
    """Return the notes of a comparison as they stand below its table."""
    wordings: dict[str, list[str]] = {}
    holders: dict[str, set[int]] = {}
    for index, row in enumerate(comparison.rows):
        for note in row.notes:
            wordings.setdefault(_key(note), []).append(note)
            holders.setdefault(_key(note), set()).add(index)
    # Notes of the very same rows share a number; those of all predicted rows, if there are several, need none.
    groups: dict[frozenset[int], list[str]] = {}
    for key, rows in holders.items():
        groups.setdefault(frozenset(rows), []).append(_merged(wordings[key]))
    predicted = {index for index, row in enumerate(comparison.rows) if row.kind == "predicted"}
    everywhere = [rows for rows in groups if len(rows) > 1 and rows >= predicted]
    general = [note for rows in everywhere for note in groups.pop(rows)]
    numbered = list(groups)[:MOST_NOTES]
    hidden = len(groups) - len(numbered)
    return Footnotes(
        texts=tuple(" ".join(_first(groups[rows])) for rows in numbered),
        general=(*_first(general), *([_more(hidden)] if hidden else []), *compile_note(comparison), *comparison.notes),
        marks=tuple(_marks(index, list(groups)) for index in range(len(comparison.rows))),
    )


def _marks(row: int, groups: Sequence[frozenset[int]]) -> str:
    """Return the raised numbers of a row's notes; "…" stands for those there is no room for."""
    own = [number for number, rows in enumerate(groups, 1) if row in rows]
    shown = [number for number in own if number <= MOST_NOTES][:MOST_MARKS]
    return " ".join([*map(_raised, shown), *["…"] * (len(shown) < len(own))])


def _first(notes: Sequence[str]) -> list[str]:
    """Return as many of `notes` as are read, and how many more there are."""
    return [*notes[:MOST_NOTES], *([_more(len(notes) - MOST_NOTES)] if len(notes) > MOST_NOTES else [])]


def _more(count: int) -> str:
    return f"{count} more notes are in the JSON form."


def _raised(number: int) -> str:
    return str(number).translate(_SUPERSCRIPTS)


def _key(note: str) -> str:
    """Return `note` without its measures."""
    return _MEASURE.sub("#", note)


def _merged(notes: Sequence[str]) -> str:
    """Return notes of one key as one: 'at least 9.2–9.8 % of the step'."""
    columns = zip(*(_MEASURE.findall(note) for note in notes), strict=True)
    ranges = iter([_range(texts) for texts in columns])
    return _MEASURE.sub(lambda match: next(ranges), notes[0])


def _range(texts: Sequence[str]) -> str:
    ordered = sorted(texts, key=lambda text: float(text.replace(",", "")))
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]}–{ordered[-1]}"

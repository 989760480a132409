"""The notes of rows as footnotes: each told once, numbered where it holds for some rows only.

Notes of several rows that differ only in measures ("12 GiB", "9.6 %") are told as one, with the range of the measures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whichgpu.comparison.comparison import Comparison, Row

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
    for row in comparison.rows:
        for note in row.notes:
            wordings.setdefault(_key(note), []).append(note)
    everywhere = _held_by_all_predicted(comparison.rows)
    general = [key for key in wordings if key in everywhere]
    some = [key for key in wordings if key not in everywhere]
    numbers = {key: number for number, key in enumerate(some[:MOST_NOTES], 1)}
    hidden = len(some[MOST_NOTES:]) + len(general[MOST_NOTES:])
    return Footnotes(
        texts=tuple(_merged(wordings[key]) for key in numbers),
        general=(
            *(_merged(wordings[key]) for key in general[:MOST_NOTES]),
            *([f"{hidden} more notes are in the JSON form."] if hidden else []),
            *comparison.notes,
        ),
        marks=tuple(_marks(dict.fromkeys(map(_key, row.notes)), numbers, everywhere) for row in comparison.rows),
    )


def _held_by_all_predicted(rows: Sequence[Row]) -> set[str]:
    predicted = [{_key(note) for note in row.notes} for row in rows if row.kind == "predicted"]
    return set.intersection(*predicted) if len(predicted) > 1 else set()


def _marks(keys: Iterable[str], numbers: dict[str, int], everywhere: set[str]) -> str:
    """Return the raised numbers of a row's notes; "…" stands for those there is no room for."""
    own = [key for key in keys if key not in everywhere]
    known = [_raised(numbers[key]) for key in own if key in numbers][:MOST_MARKS]
    return " ".join([*known, *["…"] * (len(known) < len(own))])


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

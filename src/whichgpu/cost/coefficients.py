"""Coefficients by what a kernel is: a base for its kind, times a factor for each thing more that is true of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache


class Coefficients:
    """Numbers named ``kind`` or ``kind.qualifier.qualifier``.

    The coefficient of a kernel is the product of all entries of its kind whose qualifiers hold for it:
    ``convolution = 0.8``, ``convolution.grouped = 0.5`` and ``convolution.grouped.dgrad = 0.9`` make 0.36 for the data
    gradient of a grouped convolution. A kind without an entry of its own has the coefficient 1.
    """

    def __init__(self, entries: Mapping[str, float]) -> None:
        """Read the entries by their names."""
        self.entries = dict(entries)
        self._by_kind: defaultdict[str, list[tuple[frozenset[str], float]]] = defaultdict(list)
        for name, value in entries.items():
            kind, qualifiers = _parts(name)
            self._by_kind[kind].append((qualifiers, value))

    def has(self, kind: str) -> bool:
        """Return whether anything is said of `kind`."""
        return kind in self._by_kind

    def of(self, kind: str, qualifiers: frozenset[str]) -> float:
        """Return the coefficient of a kernel of `kind` for which `qualifiers` hold."""
        product = 1.0
        for needed, value in self._by_kind.get(kind, ()):
            if needed <= qualifiers:
                product *= value
        return product


@cache
def _parts(name: str) -> tuple[str, frozenset[str]]:
    kind, *qualifiers = name.split(".")
    return kind, frozenset(qualifiers)

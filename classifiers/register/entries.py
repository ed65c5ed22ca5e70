"""Looks up the words of a post among the entries of a list, and says what a match is worth.

What is worth something is what can hardly be met by chance: a number of eight digits is met once in
ten thousand posts that hold such a number, when ten thousand are registered. In rows about people
nothing counts by itself but such numbers; a name counts only beside them, and never a name alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from classifiers.base import Confidence
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.items import LONGEST_ENTRY, Hit, Item, Weight, unpack_entries
from classifiers.register.words import Word

ENTRY_BITS: Final[Mapping[Confidence, float]] = {
    Confidence.HIGH: 18.0,
    Confidence.MEDIUM: 9.0,
    Confidence.LOW: -math.inf,
}
"""What an entry must tell beyond the number of entries it could have been."""

_MOST_ROWS: Final = 256
"""Rows that may share a value before it stops being looked up by itself."""
_MOST_PLACES: Final = 50
"""Places of one value in one post that are shown."""

_AT_ONCE: Final = 4096
"""Stretches of a post that are hashed together: one of single letters has a million."""

Stretch = tuple[int, int, int]
"""First and last word of a stretch of a post, and the hash of what it says, written together."""


@dataclass(slots=True)
class _Cell:
    """A cell of a row that was found."""

    weight: Weight
    bits: int
    places: list[tuple[int, int]]


_Rows = dict[int, dict[int, _Cell]]
"""By row and column."""


class Entries:
    """The entries of one list.

    Raises:
        ValueError: the item is damaged.
    """

    def __init__(self, item: Item) -> None:
        self._item = item
        self._table, self.lengths = unpack_entries(item.prints)
        # A copy: numpy would make one at every search in a column of a packed table.
        self._hashes = np.ascontiguousarray(self._table["hash"], np.uint64)
        self._chances = math.log2(max(1, len(np.unique(self._hashes))))

    def holds(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Say of each hash whether it is of an entry."""
        if not len(self._hashes):
            return np.zeros(len(hashes), np.bool_)
        places = np.searchsorted(self._hashes, hashes)
        met: npt.NDArray[np.bool_] = (
            self._hashes[np.minimum(places, len(self._hashes) - 1)] == hashes
        )
        return met

    def find(self, words: Sequence[Word], stretches: Iterable[Stretch]) -> Iterator[Hit]:
        """Yield what of the list stands among ``stretches`` of ``words``."""
        rows = self._found(stretches)
        several = _several(rows)
        best: dict[tuple[int, int], Hit] = {}
        for cells in rows.values():
            for hit in self._row(words, list(cells.values()), several=several):
                known = best.get((hit.start, hit.end))
                if known is None or known.bits < hit.bits:
                    best[hit.start, hit.end] = hit
        yield from best.values()

    def _found(self, stretches: Iterable[Stretch]) -> _Rows:
        rows: _Rows = defaultdict(dict)
        common: list[tuple[npt.NDArray[Any], tuple[int, int]]] = []
        for first, last, digest in stretches:
            value = np.uint64(digest)
            start = np.searchsorted(self._hashes, value)
            end = np.searchsorted(self._hashes, value, "right")
            if end - start > _MOST_ROWS:
                common.append((self._table[start:end], (first, last)))
            else:
                for entry in self._table[start:end]:
                    _put(rows, entry, (first, last))
        # What thousands of rows share, such as a town, is looked for in rows that were found.
        for entries, place in common:
            beside = np.isin(entries["row"], np.fromiter(rows, np.uint32, len(rows)))
            for entry in entries[beside]:
                _put(rows, entry, place)
        return rows

    def _row(
        self, words: Sequence[Word], cells: Sequence[_Cell], *, several: bool
    ) -> Iterator[Hit]:
        """Yield the cells of one row, if they count."""
        apart = _apart(cells)
        weights = sorted((cell.weight for cell in apart), reverse=True)
        if weights[0] is not Weight.ALONE and (len(weights) < 2 or weights[0] is Weight.NEVER):  # noqa: PLR2004 - two
            return
        bits = sum(cell.bits for cell in apart) - self._chances
        confidence = next(c for c, least in ENTRY_BITS.items() if bits >= least)
        for cell in apart:
            for first, last in cell.places:
                yield Hit(
                    label=self._item.label,
                    kind=self._item.kind,
                    category=self._item.category,
                    start=words[first].start,
                    end=words[last].end,
                    confidence=confidence,
                    bits=bits,
                    words=last - first + 1,
                    several=several,
                )


def stretches_of(
    words: Sequence[Word], lists: Sequence[Entries], fingerprints: Fingerprints
) -> list[Stretch]:
    """Return the stretches of ``words`` that stand in some of ``lists``.

    Each is hashed once, whatever the number of lists. What is said more often than is shown is left out.
    """
    candidates = _candidates(words, frozenset[int]().union(*(each.lengths for each in lists)))
    found: list[Stretch] = []
    times: dict[int, int] = defaultdict(int)
    while some := list(islice(candidates, _AT_ONCE)):
        hashes = np.fromiter((fingerprints.entry(text) for _, _, text in some), np.uint64)
        met = np.logical_or.reduce([each.holds(hashes) for each in lists])
        for place in np.nonzero(met)[0]:
            digest = int(hashes[place])
            times[digest] += 1
            if times[digest] <= _MOST_PLACES:
                found.append((some[place][0], some[place][1], digest))
    return found


def _candidates(words: Sequence[Word], lengths: frozenset[int]) -> Iterator[tuple[int, int, str]]:
    """Yield each stretch of words that, written together, is as long as some entry."""
    longest = min(max(lengths, default=0), LONGEST_ENTRY)
    for first in range(len(words)):
        text = ""
        for last in range(first, len(words)):
            text += words[last].text
            if len(text) > longest:
                break
            if len(text) in lengths:
                yield first, last, text


def _put(rows: _Rows, entry: Any, place: tuple[int, int]) -> None:
    """Note where a cell of a row was found."""
    columns = rows[int(entry["row"])]
    column = int(entry["column"])
    if column not in columns:
        columns[column] = _Cell(Weight(int(entry["weight"])), int(entry["bits"]), [])
    if len(columns[column].places) < _MOST_PLACES:
        columns[column].places.append(place)


def _apart(cells: Sequence[_Cell]) -> list[_Cell]:
    """Leave out cells that lie within others: a surname within a full name is nothing more."""
    kept: list[_Cell] = []
    for cell in sorted(cells, key=lambda cell: -cell.bits):
        first, last = cell.places[0]
        if not any(first <= b and a <= last for other in kept for a, b in other.places):
            kept.append(cell)
    return kept


def _several(rows: _Rows) -> bool:
    """Whether two rows were found that differ in something that counts by itself."""
    places: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for cells in rows.values():
        for column, cell in cells.items():
            if cell.weight is Weight.ALONE:
                places[column].add(cell.places[0])
    return any(len(found) > 1 for found in places.values())

"""What the register keeps of a document or a list: numbers only, packed for the store."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from classifiers.base import Confidence, LeakCategory
from classifiers.register.fingerprints import PASSAGE_BYTES, SCHEME

LONGEST_ENTRY: Final = 80
"""Characters of an entry of a list, folded."""

_ENTRY = np.dtype(
    [("hash", "<u8"), ("row", "<u4"), ("column", "u1"), ("weight", "u1"), ("bits", "u1")]
)
_MOST_BITS = 60
_STEP = 4
"""What an entry tells is kept in coarse steps: enough to weigh it, little to guess from."""
_COUNT = struct.Struct("<I")
_LENGTH = np.dtype("<u2")


class ItemKind(StrEnum):
    """What an item of the register is."""

    DOCUMENT = "document"
    """Confidential: its passages must not be made public."""
    PUBLIC = "public"
    """Public already: its passages never count."""
    TERMS = "terms"
    """Names of things: products, projects, codes."""
    RECORDS = "records"
    """Rows about people or organisations: customers, accounts, members of staff."""


class Weight(IntEnum):
    """When an entry of a list counts."""

    NEVER = 0
    """Not without something else of its row that says more than a name: names, towns."""
    BESIDE = 1
    """Beside any other cell of its row: dates, postcodes, house numbers."""
    ALONE = 2
    """By itself: accounts, customer numbers, mail addresses; names of products."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What was found of one item at one place of a text."""

    label: str
    kind: ItemKind
    category: LeakCategory
    start: int
    end: int
    confidence: Confidence
    bits: float
    """How much was found: comparable between hits of documents, and between hits of lists."""
    words: int
    several: bool = False
    """Of a list: more than one row of it stands in the text."""


@dataclass(frozen=True, slots=True)
class Item:
    """A registered document or list."""

    label: str
    kind: ItemKind
    category: LeakCategory
    prints: bytes
    """Hashes: sections of a document or entries of a list."""
    entries: int
    """How many hashes."""
    size: int
    """Words of a document, rows of a list."""
    family: int = 0
    """Versions of one document have the same; 0: none is known."""
    scheme: int = SCHEME


def pack_sections(sections: Iterable[Iterable[int]]) -> bytes:
    """Return the hashes of a document's sections, sorted: their order says nothing."""
    parts: list[bytes] = []
    for section in sections:
        hashes = np.unique(np.fromiter(section, np.uint64))
        wide = hashes.astype("<u8").view(np.uint8).reshape(-1, 8)
        parts += [_COUNT.pack(len(hashes)), wide[:, :PASSAGE_BYTES].tobytes()]
    return b"".join(parts)


def unpack_sections(prints: bytes) -> list[npt.NDArray[np.uint64]]:
    """Return the hashes of each section.

    Raises:
        ValueError: the prints are damaged.
    """
    sections: list[npt.NDArray[np.uint64]] = []
    place = 0
    while place < len(prints):
        if place + _COUNT.size > len(prints):
            raise ValueError("fingerprints are cut off")
        (count,) = _COUNT.unpack_from(prints, place)
        place += _COUNT.size
        end = place + count * PASSAGE_BYTES
        if end > len(prints):
            raise ValueError("fingerprints are cut off")
        wide = np.zeros((count, 8), np.uint8)
        narrow = np.frombuffer(prints, np.uint8, count * PASSAGE_BYTES, place)
        wide[:, :PASSAGE_BYTES] = narrow.reshape(count, PASSAGE_BYTES)
        sections.append(wide.view("<u8").reshape(count).astype(np.uint64))
        place = end
    return sections


def pack_entries(
    entries: Sequence[tuple[int, int, int, Weight, float]], lengths: Iterable[int]
) -> bytes:
    """Return the entries of a list, sorted by hash.

    Args:
        entries: hash, row, column, when it counts, and what it tells, in bits.
        lengths: of the folded entries, in characters: what to look for in a post.
    """
    table = np.array(
        [
            (value, row, column, weight, int(min(bits, _MOST_BITS)) // _STEP * _STEP)
            for value, row, column, weight, bits in entries
        ],
        _ENTRY,
    )
    table.sort(order=["hash", "row", "column"])
    some = np.array(sorted(set(lengths)), _LENGTH)
    return _COUNT.pack(len(some)) + some.tobytes() + table.tobytes()


def unpack_entries(prints: bytes) -> tuple[npt.NDArray[Any], frozenset[int]]:
    """Return the table of entries (``hash``, ``row``, ``column``, ``weight``, ``bits``) and their lengths.

    Raises:
        ValueError: the prints are damaged.
    """
    if len(prints) < _COUNT.size:
        raise ValueError("fingerprints are cut off")
    (count,) = _COUNT.unpack_from(prints)
    start = _COUNT.size + count * _LENGTH.itemsize
    if start > len(prints) or (len(prints) - start) % _ENTRY.itemsize:
        raise ValueError("fingerprints are cut off")
    lengths = np.frombuffer(prints, _LENGTH, count, _COUNT.size)
    table = np.frombuffer(prints, _ENTRY, offset=start)
    if len(table) and int(table["weight"].max()) > max(Weight):
        raise ValueError("fingerprints are damaged")
    return table, frozenset(int(length) for length in lengths)

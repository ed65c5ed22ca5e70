"""Makes an item of the register out of a list: one entry a line, or rows of a table.

Two sorts of lists, because they may not be used alike:

- *terms* are names of things: products, projects, codes. An entry counts by itself, so persons' names
  are refused: the brand is watched, never a person.
- *records* are rows about people or organisations. A number that can hardly be met by chance (an
  account, a customer number) counts by itself; a date (in each way to write it) or a postcode beside
  another cell of its row; a name only beside one of these.

Messages name lines by number and never repeat them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from classifiers.base import Confidence, LeakCategory
from classifiers.register.documents import RegistrationError
from classifiers.register.entries import ENTRY_BITS
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.items import LONGEST_ENTRY, Item, ItemKind, Weight, pack_entries
from classifiers.register.words import RARE_BITS, YEAR_BITS, Word, entry_bits, words_of

MOST_ROWS: Final = 2_000_000
MOST_COLUMNS: Final = 250

_STRONG_DIGITS: Final = 5
"""Digits without which nothing counts by itself in a list of records."""
_DATE = re.compile(
    r"\s*(?:\d{1,2}[-/. ]\d{1,2}[-/. ]\d{2,4}|\d{4}-\d\d-\d\d)(?:[ T][\d:.]{5,15})?\s*"
)
_DAY = re.compile(
    r"\s*(?:(?P<d>\d{1,2})[-/. ](?P<m>\d{1,2})[-/. ](?P<y>\d{4})|(?P<Y>\d{4})-(?P<M>\d\d)-(?P<D>\d\d))"
    r"(?:[ T][\d:.]{5,15})?\s*"
)
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_SHORTEST_TERM: Final = 4
"""Letters and digits: ``X9`` stands in too many posts that mean something else."""
_NUMBER_ALONE: Final = 3
"""Digits from which a number makes a word rarer; ``kassa 3`` and ``plan 2027`` say what ``kassa`` says."""
_LEAST_BITS: Final = 14.0
"""What an entry must tell to count by itself: more than a word that everybody knows."""
_LEAST_CELL_BITS: Final = 9.0
"""What a cell must tell to count beside others of its row."""
_PARTICLES_LIST = "van de der den ten ter te het t s la le el al von da di dos of zu y bin ben"
_PARTICLES: Final = frozenset(_PARTICLES_LIST.split())
_MOST_NAME_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of some lines of a list: that they were left out, or count little."""

    why: str
    lines: tuple[int, ...]

    def __str__(self) -> str:
        shown = ", ".join(str(line) for line in self.lines[:10])
        more = f" and {len(self.lines) - 10} more" if len(self.lines) > 10 else ""  # noqa: PLR2004
        return f"line{'s' if len(self.lines) > 1 else ''} {shown}{more}: {self.why}"


_SHORT = "too short or too common to mean anything in a post; left out"
_FAINT = (
    "so short, or so few digits for so many entries, that a post may hold it by chance; kept, but it "
    "weighs nothing by itself"
)
_LONG = f"longer than {LONGEST_ENTRY} letters and digits; left out: register it as a document"
_PERSON = (
    "looks like a person's name; left out: people are not watched. Lists about people are "
    "--list records, where a name counts only beside other data of its row"
)


@dataclass(frozen=True, slots=True)
class _Cell:
    row: int
    column: int
    spellings: tuple[str, ...]
    """Folded, the usual one first."""
    weight: Weight
    bits: float


def listing(
    rows: Sequence[tuple[int, Sequence[str]]],
    label: str,
    kind: ItemKind,
    category: LeakCategory,
    fingerprints: Fingerprints,
    *,
    progress: Callable[[int], None] | None = None,
) -> tuple[Item, list[Remark]]:
    """Return the item for a list, and what is to be said of its lines.

    Args:
        rows: number of the line in the file, and the cells.
        label: what people call it.
        kind: ``TERMS`` or ``RECORDS``.
        category: of a leak of an entry.
        fingerprints: of this installation.
        progress: takes the number of rows done so far.

    Raises:
        RegistrationError: nothing is left, or there are too many rows or columns.
    """
    if len(rows) > MOST_ROWS:
        raise RegistrationError(f"{len(rows):,} rows; at most {MOST_ROWS:,} go into one list")
    if max((len(cells) for _, cells in rows), default=0) > MOST_COLUMNS:
        raise RegistrationError(f"more than {MOST_COLUMNS} columns; choose some with --column")
    # In an order that only the key tells: an alphabetical list must not say who comes first.
    order = list(range(len(rows)))
    order.sort(key=lambda row: fingerprints.entry(f"row\0{row}"))
    cells: list[_Cell] = []
    left_out: dict[str, list[int]] = {}
    for done, (place, (line, texts)) in enumerate(zip(order, rows, strict=True), start=1):
        for column, text in enumerate(texts):
            words = words_of(text)
            if not words:
                continue
            why = _refusal(kind, text, words)
            if why:
                left_out.setdefault(why, []).append(line)
            else:
                bits = _bits(kind, words)
                weight = _weight(kind, text, words)
                cells.append(_Cell(place, column, _spellings(text, words), weight, bits))
        if progress is not None:
            progress(done)
    remarks = [Remark(why, tuple(dict.fromkeys(lines))) for why, lines in left_out.items()]
    kept = _useful(cells)
    if not kept:
        reasons = "; ".join(str(each) for each in remarks) or (
            "no entry counts by itself, and no row has two that count together; "
            "add a column with numbers"
            if cells
            else "it is empty"
        )
        raise RegistrationError(f"nothing to register: {reasons}")
    entries = [
        (fingerprints.entry(spelt), cell.row, cell.column, cell.weight, cell.bits)
        for cell in kept
        for spelt in cell.spellings
    ]
    item = Item(
        label=label,
        kind=kind,
        category=category,
        prints=pack_entries(entries, (len(spelt) for cell in kept for spelt in cell.spellings)),
        entries=len(entries),
        size=len({cell.row for cell in kept}),
    )
    return item, remarks + _faint(kept, {place: rows[n][0] for n, place in enumerate(order)})


def _refusal(kind: ItemKind, text: str, words: Sequence[Word]) -> str | None:
    """Return why an entry cannot be registered; None when it can."""
    bits = entry_bits(word.text for word in words)
    length = sum(len(word.text) for word in words)
    if length > LONGEST_ENTRY:
        return _LONG
    if kind is ItemKind.TERMS and looks_like_person(text):
        return _PERSON
    if kind is ItemKind.TERMS and length < _SHORTEST_TERM:
        return _SHORT
    if bits < (_LEAST_BITS if kind is ItemKind.TERMS else _LEAST_CELL_BITS):
        return _SHORT
    return None


def _bits(kind: ItemKind, words: Sequence[Word]) -> float:
    """Return what an entry tells. A word with a short number or a year tells what a word does."""
    bits = entry_bits(word.text for word in words)
    numbers = [word for word in words if word.text.isdigit()]
    short = all(len(each.text) < _NUMBER_ALONE or each.bits == YEAR_BITS for each in numbers)
    if kind is ItemKind.TERMS and numbers and short and len(words) - len(numbers) <= 1:
        return min(bits, RARE_BITS)
    return bits


def _spellings(text: str, words: Sequence[Word]) -> tuple[str, ...]:
    """Return an entry folded; a date in each of the ways in which people write it."""
    day = _DAY.fullmatch(text)
    if not day:
        return ("".join(word.text for word in words),)
    d, m, y = (int(day[name] or day[name.upper()]) for name in "dmy")
    ways = [f"{d:02} {m:02} {y}", f"{d} {m} {y}", f"{y} {m:02} {d:02}"]
    if 1 <= m <= len(_MONTHS):
        ways.append(f"{d} {_MONTHS[m - 1]} {y}")
    return tuple(dict.fromkeys("".join(word.text for word in words_of(way)) for way in ways))


def _weight(kind: ItemKind, text: str, words: Sequence[Word]) -> Weight:
    """Say when an entry counts."""
    if kind is ItemKind.TERMS:
        return Weight.ALONE
    if "@" in text and " " not in text.strip():
        return Weight.ALONE
    digits = sum(len(word.text) for word in words if word.text.isdigit())
    if digits >= _STRONG_DIGITS and not _DATE.fullmatch(text):
        return Weight.ALONE
    return Weight.BESIDE if digits else Weight.NEVER


def _useful(cells: Sequence[_Cell]) -> list[_Cell]:
    """Leave out the cells of rows that could never count."""
    rows: dict[int, list[_Cell]] = defaultdict(list)
    for cell in cells:
        rows[cell.row].append(cell)
    return [
        cell
        for row in rows.values()
        if max(each.weight for each in row) is Weight.ALONE
        or (len(row) > 1 and max(each.weight for each in row) is Weight.BESIDE)
        for cell in row
    ]


def _faint(cells: Sequence[_Cell], lines: Mapping[int, int]) -> list[Remark]:
    """Say which entries stand alone and tell too little."""
    chances = math.log2(len({cell.spellings[0] for cell in cells}))
    least = ENTRY_BITS[Confidence.MEDIUM] + chances
    faint = {c.row for c in cells if c.weight is Weight.ALONE and c.bits < least}
    firm = {c.row for c in cells if c.weight is Weight.ALONE and c.bits >= least}
    found = sorted(lines[row] for row in faint - firm)
    return [Remark(_FAINT, tuple(found))] if found else []


def looks_like_person(text: str) -> bool:
    """Tell whether an entry looks like a person's name: a known first name, and at most a surname."""
    words = [word.text for word in words_of(text)]
    if not 1 <= len(words) <= _MOST_NAME_WORDS or any(word.isdigit() for word in words):
        return False
    if words[0] not in _first_names():
        return False
    rest = [word for word in words[1:] if word not in _PARTICLES and len(word) > 1]
    return len(rest) <= 2  # noqa: PLR2004 - a double surname


@cache
def _first_names() -> frozenset[str]:
    text = Path(__file__).with_name("firstnames.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(name for line in lines for name in line.split())

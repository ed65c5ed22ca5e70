"""A text as the register reads it: words without disguise, each with its place and its rarity.

What people do to a text when they pass it on must not matter: capitals, accents, exotic letters that
look like plain ones, zero-width characters, quotes, dashes, line breaks, ``€ 1.250.000`` or ``1250000
euro``. What a text says must: no stemming, no synonyms.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

RARE_BITS: Final = 16.0
"""Information of a word that ordinary Dutch and English posts hardly use."""
_DIGIT_BITS: Final = 3.3
_SHORT_BITS: Final = 4.7
"""Most a letter can tell: a rare word of two letters is worth less than one of ten."""
YEAR_BITS: Final = 7.0
"""Information of a year: four digits, and everybody writes it."""
_YEARS: Final = ("19", "20")

_LOOK_ALIKES: Final = str.maketrans(
    # Cyrillic and Greek letters that are drawn like Latin ones, after lower-casing.
    "асеорхуіјѕһкмтвнԁԛԝγνοαικρτυχηβεωɡıłøđŧ",
    "aceopxyijshkmtbhdqwyvoaikptuxnbewgilodt",
)
_SPELLINGS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("%", "procent", "percent", "pct", "percentage"), "pct"),
    **dict.fromkeys(("€", "euro", "euros", "eur"), "eur"),
    **dict.fromkeys(("$", "dollar", "dollars", "usd"), "usd"),
    **dict.fromkeys(("£", "pond", "pound", "pounds", "gbp"), "gbp"),
    **dict.fromkeys(("mln", "mio", "miljoen", "million", "millions", "miljoenen"), "mln"),
    **dict.fromkeys(("mld", "miljard", "billion", "bn", "miljarden"), "mld"),
    **dict.fromkeys(("duizend", "thousand"), "duizend"),
    **dict.fromkeys(("q", "kwartaal", "quarter"), "q"),
    **dict.fromkeys(("nummer", "number", "nr", "no."), "nr"),
    "twee": "2",
    "two": "2",
    "drie": "3",
    "three": "3",
    "vier": "4",
    "four": "4",
    "vijf": "5",
    "five": "5",
    "zes": "6",
    "six": "6",
    "zeven": "7",
    "seven": "7",
    "acht": "8",
    "eight": "8",
    "negen": "9",
    "nine": "9",
    "tien": "10",
    "ten": "10",
    "elf": "11",
    "eleven": "11",
    "twaalf": "12",
    "twelve": "12",
    "januari": "january",
    "februari": "february",
    "maart": "march",
    "mei": "may",
    "juni": "june",
    "juli": "july",
    "augustus": "august",
    "oktober": "october",
}
"""Spellings of one thing; what stands for several is the first language's or the shortest."""
_WORD: Final = re.compile(
    # Letters and digits are words of their own: Q3 and Q 3 are the same, and so are 12mln and 12 mln.
    r"[^\W\d_]{1,64}(?:['’`´\u02bc][^\W\d_]{1,64}){0,4}|\d{1,64}(?:[.,'’]\d{1,64}){0,8}|[%€$£]"
)
_MARKS: Final = re.compile(r"[.,'’`´\u02bc]")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text, folded. ``start`` and ``end`` are offsets into the text as given."""

    text: str
    start: int
    end: int
    bits: float
    """How much it tells, in bits: little for *the*, much for a code name."""


def words_of(text: str) -> list[Word]:
    """Return the words of ``text`` in order. Never raises; linear in its length."""
    folded, places = _fold(text)
    words: list[Word] = []
    for found in _WORD.finditer(folded):
        start, end = found.span()
        raw = found[0]
        if not raw.isalnum():
            raw = _MARKS.sub("", raw) or raw
        spelt = _SPELLINGS.get(raw, raw)
        if places is not None:
            start, end = places[start], places[end - 1] + 1
        words.append(Word(spelt, start, end, bits_of(spelt)))
    return words


@lru_cache(maxsize=16_384)
def bits_of(word: str) -> float:
    """Return the information of a folded word, in bits, between about 4 and :data:`RARE_BITS`."""
    if word.isdigit():
        if len(word) == 4 and word.startswith(_YEARS):  # noqa: PLR2004 - digits of a year
            return YEAR_BITS
        return min(RARE_BITS, max(4.0, len(word) * _DIGIT_BITS))
    known = _frequencies().get(word)
    return known if known is not None else min(RARE_BITS, max(4.0, len(word) * _SHORT_BITS))


def entry_bits(words: Iterable[str]) -> float:
    """Return the information of an entry of a list: of a number, each of its digits counts."""
    return math.fsum(len(word) * _DIGIT_BITS if word.isdigit() else bits_of(word) for word in words)


def _fold(text: str) -> tuple[str, list[int] | None]:
    """Return ``text`` without disguise, and the place of each of its characters in ``text``.

    None instead of places: the same ones.
    """
    if text.isascii():
        return text.lower(), None
    parts = [_plain(character) for character in text]
    folded = "".join(parts)
    if len(folded) == len(text) and all(parts):
        return folded, None
    return folded, [place for place, part in enumerate(parts) for _ in part]


@lru_cache(maxsize=16_384)
def _plain(character: str) -> str:
    """Return what a character says, without case, accent or disguise; a blank for what separates."""
    if character < "\x7f":
        return character.lower()
    if unicodedata.category(character) in {"Cf", "Mn", "Me"} or "\ufe00" <= character <= "\ufe0f":
        return ""
    folded = unicodedata.normalize("NFKD", character).casefold().translate(_LOOK_ALIKES)
    kept = "".join(c for c in folded if unicodedata.category(c) not in {"Mn", "Me", "Cf"})
    return kept or " "


@cache
def _frequencies() -> Mapping[str, float]:
    """Return the information of common words: the file gives bits, then the words that have it."""
    table: dict[str, float] = {}
    path = Path(__file__).with_name("frequencies.txt")
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            bits, *listed = line.split()
            table.update(dict.fromkeys(listed, float(bits)))
    return table

"""How the matcher reads a text: folded, cut into words, with its hashtags and handles.

Folding makes texts comparable: compatibility forms (full-width, ligatures, styled letters), case,
accents and invisible characters no longer matter. A :class:`Reading` keeps for every word where it
stands, counted in words (for phrases and NEAR) and in characters of the text as given (for
highlighting).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

_APOSTROPHES = "’‘‛ʼʹ′´`＇"
_BREAKS = "™℠"
"""Signs that compatibility folding would glue to the word before them."""
_LETTERS = {
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "ħ": "h",
    "ı": "i",
    "æ": "ae",
    "œ": "oe",
}
"""Letters with a stroke or joined, which Unicode does not decompose."""
_INVISIBLE = frozenset({"Mn", "Me", "Cf"})


def _without_marks(text: str) -> str:
    return "".join(
        char
        for char in unicodedata.normalize("NFKD", text)
        if unicodedata.category(char) not in _INVISIBLE
    )


class _Folding(dict[int, str]):
    """A table for ``str.translate`` that fills itself, one entry per character ever met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char in _APOSTROPHES:
            folded = "'"
        elif char in _BREAKS:
            folded = " "
        else:
            lowered = _without_marks(_without_marks(char).casefold())
            folded = "".join(_LETTERS.get(letter, letter) for letter in lowered)
        self[code] = folded
        return folded


class _CasedFolding(dict[int, str]):
    """Like :class:`_Folding` with capitals kept; as long as the folding of the same character."""

    def __missing__(self, code: int) -> str:
        folded = _FOLDING[code]
        cased = _without_marks(chr(code))
        if len(cased) != len(folded) or cased.casefold() != folded:
            cased = folded
        self[code] = cased
        return cased


_FOLDING = _Folding()
_CASED = _CasedFolding()


def fold(text: str) -> str:
    """``text`` without case, accents, compatibility forms and invisible characters.

    Curly and typewriter apostrophes become ``'``. Context-free: every character folds alone.
    """
    return text.lower() if text.isascii() else text.translate(_FOLDING)


def fold_keeping_case(text: str) -> str:
    """Like :func:`fold`, of the same length, but capitals stay capitals."""
    return text if text.isascii() else text.translate(_CASED)


_WRITTEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def as_written(text: str) -> list[str]:
    """The words of ``text`` in lower case with their accents, for sources that tell é from e."""
    return _WRITTEN.findall(unicodedata.normalize("NFKC", text).casefold())


class Hit(NamedTuple):
    """Where something was found: first and last word, and the characters of the folded text."""

    first: int
    last: int
    start: int
    end: int


_LETTER = r"[^\W_]"
_TOKEN = re.compile(
    r"(?<![\w&])\#(?P<tag>\w+)"
    r"|(?<!\w)@(?P<handle>\w+(?:[.-]\w+){0,8}(?:@\w+(?:[.-]\w+){0,8})?)"
    rf"|(?P<word>{_LETTER}+(?:'{_LETTER}+)*)"
)
_PART = re.compile(r"[^\W_]+")
_SEGMENT = re.compile(r"\w+")
_SEGMENTS = 18
"""Parts of a name between dots, hyphens and @ that are looked at: nobody has more."""

Index = dict[str, list[Hit]]


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as the matcher sees it: its folded words, hashtags and handles with their places."""

    text: str
    folded: str
    cased: str
    words: Index
    tags: Index
    handles: Index

    def spans(self, hits: Iterator[Hit]) -> tuple[tuple[int, int], ...]:
        """The hits as (start, end) in characters of the text as given: sorted, overlaps joined."""
        found: list[tuple[int, int]] = []
        for start, end in sorted({(hit.start, hit.end) for hit in hits}):
            if found and start < found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((start, end))
        return tuple(found) if self.text.isascii() else self._original(found)

    def _original(self, found: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        """Offsets of the folded text as offsets of the text, marks and joiners behind included."""
        origin: list[int] = []
        for index, char in enumerate(self.text):
            origin.extend([index] * len(_FOLDING[ord(char)]))
        spans = set()
        for start, end in found:
            stop = origin[end - 1] + 1
            while stop < len(self.text) and not _FOLDING[ord(self.text[stop])]:
                stop += 1
            spans.add((origin[start], stop))
        return tuple(sorted(spans))


class _Reader:
    """Fills the indexes of one reading."""

    def __init__(self, folded: str, cased: str) -> None:
        self.folded = folded
        self.cased = cased
        self.words: Index = {}
        self.tags: Index = {}
        self.handles: Index = {}
        self.position = 0

    def read(self) -> None:
        for token in _TOKEN.finditer(self.folded):
            kind = token.lastgroup
            if kind == "word":
                self._word(token.start(), token.end())
            elif kind == "tag":
                first = self.position
                start, end = token.span("tag")
                self._name(start, end)
                self._add(self.tags, Hit(first, self.position - 1, start - 1, end), start)
            else:
                self._handle(*token.span("handle"))

    def _add(self, index: Index, hit: Hit, key_start: int) -> None:
        index.setdefault(self.folded[key_start : hit.end], []).append(hit)

    def _word(self, start: int, end: int) -> None:
        """A word; where apostrophes divide it, its parts and the whole as one word over them."""
        first = self.position
        for part in _PART.finditer(self.folded, start, end):
            hit = Hit(self.position, self.position, *part.span())
            self._add(self.words, hit, part.start())
            self.position += 1
        if self.position > first + 1:
            self._add(self.words, Hit(first, self.position - 1, start, end), start)

    def _handle(self, start: int, end: int) -> None:
        """A handle counts as a whole and up to each dot, hyphen or @ in it."""
        first = self.position
        for segment in _SEGMENT.finditer(self.folded, start, end):
            self._name(*segment.span())
            self._add(self.handles, Hit(first, self.position - 1, start - 1, segment.end()), start)

    def _name(self, start: int, end: int) -> None:
        """The words that a hashtag or handle is made of, and the whole as one word over them."""
        first = self.position
        parts = list(self._parts(start, end))
        for part_start, part_end in parts:
            hit = Hit(self.position, self.position, part_start, part_end)
            self._add(self.words, hit, part_start)
            self.position += 1
        if not parts:
            self.position += 1
        if parts != [(start, end)]:
            self._add(self.words, Hit(first, self.position - 1, start, end), start)

    def _parts(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        cased = self.cased
        for run in _PART.finditer(cased, start, end):
            begin = run.start()
            for at in range(begin + 1, run.end()):
                if _is_seam(cased[at - 1], cased[at], cased[at + 1 : at + 2]):
                    yield begin, at
                    begin = at
            yield begin, run.end()


def _is_seam(before: str, char: str, after: str) -> bool:
    """Whether a new word starts at ``char``: zonnehoek|Recall, NVWA|Meldt, zonnehoek|2026."""
    if before.isdigit() != char.isdigit():
        return True
    return char.isupper() and (before.islower() or (before.isupper() and after.islower()))


@lru_cache(maxsize=256)
def folded(text: str) -> str:
    """:func:`fold`, remembered: every brand's query asks for the same text."""
    return fold(text)


@lru_cache(maxsize=64)
def read(text: str) -> Reading:
    """Read a text once; remembered, since every brand's query asks for the same text."""
    reader = _Reader(folded(text), fold_keeping_case(text))
    reader.read()
    return Reading(
        text=text,
        folded=reader.folded,
        cased=reader.cased,
        words=reader.words,
        tags=reader.tags,
        handles=reader.handles,
    )


def handle_forms(author: str) -> frozenset[str]:
    """The forms under which an author's own name can be asked for with ``@``."""
    name = fold(author).strip().lstrip("@")
    if re.search(r"\s", name):
        return frozenset()  # a display name, no handle
    segments = islice(_SEGMENT.finditer(name), _SEGMENTS)
    return frozenset({name, *(name[: segment.end()] for segment in segments)})

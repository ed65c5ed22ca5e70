"""What every detector of leak evidence is: a small unit that finds, and says what it must find.

Detectors *find*; what they found is weighed in :mod:`classifiers.leaks` and hidden in
:mod:`classifiers.masking`. A detector is pure: the same text gives the same findings, nothing is
remembered, and time is linear in the length of the text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from classifiers.base import Confidence, Finding


class Kind(StrEnum):
    """What sort of evidence a detector gives; how it is weighed and masked hangs on it."""

    SECRET = "secret"  # noqa: S105  a sort of evidence
    IDENTIFIER = "identifier"
    """A number or address that names a person or an organisation."""
    CONTACT = "contact"
    """An e-mail address or a phone number: never evidence by itself."""
    INFRASTRUCTURE = "infrastructure"
    """Internal addresses, hosts and paths."""
    MARKING = "marking"
    WATCH_WORD = "watch_word"
    REGISTER = "register"
    """What the register of secrets knows: a passage of a document, an entry of a list."""


class Detector(Protocol):
    """Finds one sort of evidence, and carries the examples that prove it.

    ``must_match`` are texts in which ``find`` yields at least one finding, ``must_not_match``
    texts in which it yields none. One test runs them all.
    """

    @property
    def name(self) -> str:
        """Lower case, with hyphens: what findings, metrics and messages say."""
        ...

    @property
    def must_match(self) -> Sequence[str]:
        """Texts with something to find."""
        ...

    @property
    def must_not_match(self) -> Sequence[str]:
        """Texts with nothing to find, though they look alike."""
        ...

    def find(self, text: str) -> Iterable[Finding]:
        """Yield findings with offsets into ``text``. Never raises, for any text."""
        ...


def rank(confidence: Confidence) -> int:
    """Return 1 for low, 2 for medium, 3 for high: confidences are words and do not compare."""
    return {Confidence.LOW: 1, Confidence.MEDIUM: 2, Confidence.HIGH: 3}[confidence]


def entropy(value: str) -> float:
    """Return the Shannon entropy of the characters of ``value``, in bits per character."""
    if not value:
        return 0.0
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values())


@dataclass(frozen=True, slots=True)
class Folded:
    """A text as detectors read it, and the way back to the text as given.

    Zero-width and direction characters are dropped, and look-alikes of one character (wide or
    mathematical digits and letters, exotic spaces, dashes and quotes) become the plain one, so that
    ``ＮＬ９１ ABNA`` or an IBAN with zero-width spaces in it is still seen.
    """

    text: str
    positions: tuple[int, ...] | None = None
    """For each folded character its offset in the text as given; None: the same."""

    def original(self, finding: Finding) -> Finding:
        """Return ``finding`` with offsets into the text as given."""
        if self.positions is None or finding.end <= finding.start:
            return finding
        start = self.positions[finding.start]
        return replace(finding, start=start, end=self.positions[finding.end - 1] + 1)


_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    }
)


def fold(text: str) -> Folded:
    """Fold ``text`` for detectors. Plain ASCII passes as it is."""
    if text.isascii():
        return Folded(text)
    characters: list[str] = []
    positions: list[int] = []
    for position, character in enumerate(text.translate(_PLAIN)):
        plain = character
        if character > "\x7f":
            category = unicodedata.category(character)
            if category in {"Cf", "Mn"}:
                continue
            if category == "Zs":
                plain = " "
            elif category in {"Lu", "Ll", "Nd", "No", "Po", "Sm"}:
                compatible = unicodedata.normalize("NFKC", character)
                plain = compatible if len(compatible) == 1 else character
        characters.append(plain)
        positions.append(position)
    return Folded("".join(characters), tuple(positions))


MOST_FINDINGS = 500
"""Of a text with more evidence than this, the surest is kept: a list of everything helps nobody."""


HEAD, TAIL = 80_000, 20_000
"""Characters at the start and the end of a text that are looked at; no real post is longer."""


def find_all(detectors: Iterable[Detector], text: str) -> tuple[Finding, ...]:
    """Run ``detectors`` over ``text``; findings in order of place, one per span and category.

    Where findings of one category overlap, the surest stays, of equals the longest: a key that
    three rules know is one key.
    """
    found = _found(tuple(detectors), text)
    found.sort(key=lambda f: (-rank(f.confidence), f.start - f.end, f.start, f.detector))
    kept: list[Finding] = []
    for finding in found[:MOST_FINDINGS]:
        if not any(
            other.category == finding.category
            and finding.start < other.end
            and other.start < finding.end
            for other in kept
        ):
            kept.append(finding)
    kept.sort(key=lambda f: (f.start, f.end, f.detector))
    return tuple(kept)


def _found(detectors: Sequence[Detector], text: str) -> list[Finding]:
    """Return every finding with offsets into ``text``."""
    starts = (
        {0: text} if len(text) <= HEAD + TAIL else {0: text[:HEAD], len(text) - TAIL: text[-TAIL:]}
    )
    found: list[Finding] = []
    for start, part in starts.items():
        folded = fold(part)
        for detector in detectors:
            for finding in detector.find(folded.text):
                placed = folded.original(finding)
                found.append(replace(placed, start=placed.start + start, end=placed.end + start))
    return found


def words(*alternatives: str) -> re.Pattern[str]:
    """Compile a case-insensitive pattern that finds any of ``alternatives`` as whole words."""
    return re.compile(
        r"(?<![^\W_])(?<!@)(?:" + "|".join(alternatives) + r")(?![^\W_])", re.IGNORECASE
    )


def around(text: str, start: int, end: int, *, before: int = 60, after: int = 40) -> str:
    """Return the neighbourhood of a span, in characters, with the span itself blanked out."""
    return f"{text[max(0, start - before) : start]} \x00 {text[end : end + after]}"

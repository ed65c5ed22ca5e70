"""What every detector of leak evidence is: a small unit that finds, and says what it must find.

Detectors *find*; what they found is weighed in :mod:`classifiers.leaks` and hidden in
:mod:`classifiers.masking`. A detector is pure: the same text gives the same findings, nothing is
remembered, and time is linear in the length of the text.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from classifiers.base import Confidence, Finding
from classifiers.detectors.unfold import unfold


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


def looked_at(text: str) -> dict[int, str]:
    """Return the parts of ``text`` that are looked at, by where they start."""
    if len(text) <= HEAD + TAIL:
        return {0: text}
    return {0: text[:HEAD], len(text) - TAIL: text[-TAIL:]}


def _found(detectors: Sequence[Detector], text: str) -> list[Finding]:
    """Return every finding with offsets into ``text``."""
    found: list[Finding] = []
    for start, part in looked_at(text).items():
        for reading in unfold(part):
            for detector in detectors:
                for finding in detector.find(reading.text):
                    placed = reading.original(finding)
                    found.append(
                        replace(placed, start=placed.start + start, end=placed.end + start)
                    )
    return found


def words(*alternatives: str) -> Telltale:
    """Return what finds any of ``alternatives``, regular expressions of whole words, in any case."""
    return Telltale(
        re.compile(r"(?<![^\W_])(?<!@)(?:" + "|".join(alternatives) + r")(?![^\W_])", re.IGNORECASE)
    )


class Telltale:
    """Words that tell something about what stands near them.

    A text is read once, however many values in it ask for their neighbourhood: that keeps time
    linear in a text that is nothing but values.
    """

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern
        self._read = lru_cache(maxsize=2)(self._places)

    def _places(self, text: str) -> tuple[list[int], list[int]]:
        spans = [match.span() for match in self.pattern.finditer(text)]
        return [start for start, _ in spans], [end for _, end in spans]

    def near(self, text: str, start: int, end: int, *, before: int = 60, after: int = 40) -> bool:
        """Tell whether one of the words stands within so many characters of ``start``..``end``."""
        starts, ends = self._read(text)
        nearest = bisect_right(ends, start) - 1
        if nearest >= 0 and starts[nearest] >= start - before:
            return True
        following = bisect_left(starts, end)
        return following < len(ends) and ends[following] <= end + after

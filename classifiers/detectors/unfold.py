"""Texts as detectors read them: what hides a value is undone, and offsets lead back.

Zero-width characters in a key, full-width digits, Cyrillic doubles, HTML entities, URL-encoding,
``N L 9 1 A B N A``, base64: all of it is cheap to undo. :func:`unfold` gives a text in every
reading that differs from the one before; most posts have one. Each reading knows for each of its
characters which span of the text as given it came from.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from classifiers import lookalikes
from classifiers.base import Finding


@dataclass(frozen=True, slots=True)
class Folded:
    """One reading of a text, and the way back to the text as given."""

    text: str
    starts: tuple[int, ...] | None = None
    """For each character the offset where its span in the text as given starts; None: the same."""
    ends: tuple[int, ...] | None = None
    """For each character the offset where that span ends; None: one further than it starts."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return ``start``, ``end`` of this reading as offsets into the text as given."""
        if self.starts is None or end <= start:
            return start, end
        last = self.starts[end - 1] + 1 if self.ends is None else self.ends[end - 1]
        return self.starts[start], last

    def original(self, finding: Finding) -> Finding:
        """Return ``finding`` with offsets into the text as given."""
        if self.starts is None:
            return finding
        start, end = self.span(finding.start, finding.end)
        return replace(finding, start=start, end=end)


_PLAIN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u115f\u1160\u2800\u3164\uffa0\ufffc", ""),
}
"""Typography as it is typed; the last are blanks that pass for letters or symbols."""
_BREAKS = "\t\n\r"
_HARMLESS = re.compile(r"[\t\n\r\x20-\x7e]*")


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """Return what ``character`` is for detectors: itself, its plain form, or nothing."""
    plain = _PLAIN.get(character)
    if plain is not None:
        return plain
    category = unicodedata.category(character)
    if category in {"Cf", "Mn", "Me"} or (category == "Cc" and character not in _BREAKS):
        return "" if character != "\x85" else " "
    if category == "Zs":
        return " "
    if character > "\x7f" and category in {
        "Lu",
        "Ll",
        "Lm",
        "Nd",
        "Nl",
        "No",
        "Po",
        "Sm",
        "Ps",
        "Pe",
    }:
        compatible = unicodedata.normalize("NFKC", character)
        if len(compatible) == 1:
            return compatible if not compatible.isdecimal() else str(unicodedata.digit(compatible))
    return character


def fold(text: str) -> Folded:
    """Fold ``text`` character by character. Printable ASCII passes as it is.

    Zero-width, direction and control characters and combining marks are dropped; what looks like
    one plain character (wide or mathematical digits and letters, exotic spaces, dashes and quotes,
    Cyrillic or Greek doubles of Latin letters) becomes that.
    """
    if _HARMLESS.fullmatch(text):
        return Folded(text)
    characters: list[str] = []
    starts: list[int] = []
    for position, character in enumerate(text):
        plain = character if " " <= character <= "~" else _fold(character)
        if plain:
            characters.append(plain)
            starts.append(position)
    return Folded(lookalikes.latin_throughout("".join(characters)), tuple(starts))


def _rewritten(
    folded: Folded, pattern: re.Pattern[str], rewrite: Callable[[re.Match[str]], str | None]
) -> Folded:
    """Return ``folded`` with each match rewritten (None: left alone); the same where nothing is."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0

    def keep(start: int, end: int) -> None:
        parts.append(folded.text[start:end])
        for position in range(start, end):
            first, last = folded.span(position, position + 1)
            starts.append(first)
            ends.append(last)

    for match in pattern.finditer(folded.text):
        new = rewrite(match)
        if new is None:
            continue
        keep(done, match.start())
        first, last = folded.span(match.start(), match.end())
        parts.append(new)
        starts.extend([first] * len(new))
        ends.extend([last] * len(new))
        done = match.end()
    if not done:
        return folded
    keep(done, len(folded.text))
    return Folded("".join(parts), tuple(starts), tuple(ends))


_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8}\d{0,2});")
_ESCAPED = re.compile(
    r"%[2-7][0-9A-Fa-f]|(?:%[89A-Fa-f][0-9A-Fa-f]){1,4}|\\u00[2-7][0-9A-Fa-f]|\\x[2-7][0-9A-Fa-f]"
)
_LEAST_ESCAPED = 2
_SPACED = re.compile(
    r"(?<![^\W_])[A-Za-z0-9](?:(?P<between>[._*|/-]| {2}| - )[A-Za-z0-9])"
    r"(?:(?P=between)[A-Za-z0-9]){4,400}(?![^\W_])"
    r"|(?<!\S)[!-9;-~](?: [!-9;-~]){3,400}(?!\S)"
)
"""Signs one by one: ``k l u i s``, ``N.L.9.1.A.B``."""
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{16,8000}={0,2}(?![A-Za-z0-9+/_=-])")
_URL_SAFE = str.maketrans("-_", "+/")
_READABLE = 0.95
_OVERRIDE = re.compile("\u202e([^\u202c\u202e\u2069\n]{4,2000})")


def unfold(text: str) -> Iterator[Folded]:
    """Yield the readings of ``text``: plainly first, then each that differs.

    There are at most five; time is linear in the length of the text.
    """
    plain = fold(text)
    if "&" in plain.text:
        plain = _refolded(_rewritten(plain, _ENTITY, _character))
    yield plain
    if plain.text.count("%") + plain.text.count("\\") >= _LEAST_ESCAPED:
        unescaped = _rewritten(plain, _ESCAPED, _unescaped)
        if unescaped is not plain:
            yield _refolded(unescaped)
    joined = _rewritten(plain, _SPACED, _joined)
    if joined is not plain:
        yield joined
    decoded = _rewritten(plain, _BASE64, _said)
    if decoded is not plain:
        yield _refolded(decoded)
    if "\u202e" in text:
        yield _refolded(_rewritten(Folded(text), _OVERRIDE, _turned))


def _refolded(folded: Folded) -> Folded:
    """Fold what decoding brought to light."""
    again = fold(folded.text)
    if again.starts is None and again.text == folded.text:
        return folded
    spans = [folded.span(at, at + 1) for at in again.starts or range(len(again.text))]
    return Folded(again.text, tuple(s for s, _ in spans), tuple(e for _, e in spans))


def _character(match: re.Match[str]) -> str | None:
    character = html.unescape(match[0])
    return None if character == match[0] else character


def _unescaped(match: re.Match[str]) -> str | None:
    escape = match[0]
    if escape.startswith("\\"):
        return bytes.fromhex(escape[-2:]).decode("ascii")
    try:
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _joined(match: re.Match[str]) -> str:
    if match["between"]:
        return match[0].replace(match["between"], "")
    return match[0][::2]


def _said(match: re.Match[str]) -> str | None:
    """Return what a run of base64 says, where it says something readable."""
    run = match[0].rstrip("=").translate(_URL_SAFE)
    if len(run) % 4 == 1:
        return None
    try:
        said = base64.b64decode(run + "=" * (-len(run) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    readable = sum(c.isprintable() or c in _BREAKS for c in said)
    return said if readable >= _READABLE * len(said) else None


def _turned(match: re.Match[str]) -> str:
    return match[1][::-1]

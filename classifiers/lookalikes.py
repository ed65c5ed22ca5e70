"""Letters of other alphabets that pass for Latin ones: the ``а`` of Cyrillic in ``pаssword``.

Who hides a word from a filter swaps a letter or two; who writes Russian or Greek does not mix
alphabets within a word. So only words that mix are changed, and only if every foreign letter in
them has a Latin double: real words of other alphabets stay what they are.
"""

from __future__ import annotations

import re
from typing import Final

_FOREIGN: Final = "\u0370-\u03ff\u0400-\u052f\u0531-\u058f"
"""Greek and Coptic, Cyrillic, Armenian."""
_DOUBLES: Final = str.maketrans(
    "асеорхуіјѕԁһӏԛԝүԍгАВЕКМНОРСТУХІЈЅԌԚԜҮӀΑΒΕΖΗΙΚΜΝΟΡΤΥΧοναρικυϲϳօոսհց",
    "aceopxyijsdhlqwygrABEKMHOPCTYXIJSGQWYIABEZHIKMNOPTYXovapikucjonuhg",
)
_LOOKALIKE: Final = frozenset(chr(code) for code in _DOUBLES)
_WORD: Final = re.compile(r"\w+")
_ANY_FOREIGN: Final = re.compile(f"[{_FOREIGN}]")
_LATIN: Final = re.compile(r"[A-Za-z]")


def latin(text: str) -> str:
    """Return ``text``, of the same length, with look-alikes in mixed words as Latin letters."""
    if text.isascii() or not _ANY_FOREIGN.search(text):
        return text
    return _WORD.sub(_word, text)


def latin_throughout(text: str) -> str:
    """Return ``text`` as :func:`latin` does, and whole words of look-alikes as well.

    These only where the text holds Latin letters, and no letter of another alphabet that has no
    double: a Russian sentence always has some. For finding evidence, not for reading.
    """
    if text.isascii() or not _ANY_FOREIGN.search(text):
        return text
    if _LATIN.search(text) and _all_have_doubles(text):
        return text.translate(_DOUBLES)
    return _WORD.sub(_word, text)


def _word(match: re.Match[str]) -> str:
    word = match[0]
    if word.isascii() or not _LATIN.search(word) or not _all_have_doubles(word):
        return word
    return word.translate(_DOUBLES)


def _all_have_doubles(text: str) -> bool:
    return all(letter in _LOOKALIKE for letter in _ANY_FOREIGN.findall(text))

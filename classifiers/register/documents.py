"""Makes an item of the register out of a document's text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from classifiers.base import LeakCategory
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.items import Item, ItemKind, pack_sections
from classifiers.register.words import Word, words_of

LEAST_WORDS: Final = 12
"""A document of fewer words cannot be told from chance: its names belong in a list."""
MOST_CHARACTERS: Final = 5_000_000
"""Some two thousand pages."""

SECTION_WORDS: Final = 400
_OVERLAP: Final = 20
"""Words that neighbouring sections share, so that a quotation across the border is in one of them."""


class RegistrationError(Exception):
    """A document or a list cannot be registered as it is; the message says why and what to do."""


def document(
    text: str,
    label: str,
    category: LeakCategory,
    fingerprints: Fingerprints,
    *,
    public: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Item:
    """Return the item for a document.

    Args:
        text: of the document.
        label: what people call it.
        category: of a leak of it.
        fingerprints: of this installation.
        public: whether everybody may know it: its passages will never count.
        progress: takes the number of words done so far.

    Raises:
        RegistrationError: it has too few words, or too many.
    """
    if len(text) > MOST_CHARACTERS:
        raise RegistrationError(
            f"{len(text):,} characters; at most {MOST_CHARACTERS:,} go into one document: split it"
        )
    words = words_of(text)
    if len(words) < LEAST_WORDS:
        raise RegistrationError(
            f"{len(words)} words; a document needs {LEAST_WORDS} at least. "
            "Names and numbers belong in a list (--list)"
        )
    sections: list[list[int]] = []
    for start, part in _sections(words):
        sections.append([shingle.hash for shingle in fingerprints.shingles(part)])
        if progress is not None:
            progress(start + len(part))
    entries = sum(len(set(section)) for section in sections)
    if not entries:
        raise RegistrationError("it holds no passage that tells anything; is the text garbled?")
    return Item(
        label=label,
        kind=ItemKind.PUBLIC if public else ItemKind.DOCUMENT,
        category=category,
        prints=pack_sections(sections),
        entries=entries,
        size=len(words),
    )


def _sections(words: Sequence[Word]) -> list[tuple[int, Sequence[Word]]]:
    """Return the sections of a document, each with the index of its first word."""
    step = SECTION_WORDS - _OVERLAP
    last = max(1, len(words) - _OVERLAP)
    return [(start, words[start : start + SECTION_WORDS]) for start in range(0, last, step)]

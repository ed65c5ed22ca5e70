"""Words become keyed hashes: of passages, of entries of a list.

Everything that is registered or looked up goes through here, so that both sides agree. A hash is a
truncated BLAKE2b under a key that is not in the database: without the key no guess can be tried.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from classifiers.register.words import Word

SCHEME: Final = 1
"""Of words and hashes: what another scheme registered is not found and must be registered anew."""

PASSAGE_BYTES: Final = 5
"""Length of a passage's hash: a single chance hit in some ten thousand posts, never two in a row."""
ENTRY_BYTES: Final = 8
LEAST_BITS: Final = 20.0
"""What three words must tell to be worth a fingerprint: *in de van* is in every text."""
_SHAPES: Final = ((1, 2), (1, 3), (2, 3))
"""Three words at a time, in a row or with one left out: survives a word mistyped, added or dropped."""
_SAMPLE: Final = 2
"""One hash in so many is kept; which, depends on the hash alone, so both sides keep the same."""


@dataclass(frozen=True, slots=True)
class Shingle:
    """Three words that stand together; ``places`` are their indices among the text's words."""

    hash: int
    places: tuple[int, int, int]


class Fingerprints:
    """Makes the hashes of one installation.

    Args:
        key: 16 to 64 bytes, for this purpose only.

    Raises:
        ValueError: the key has another length.
    """

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= 64:  # noqa: PLR2004 - what BLAKE2b takes, and what is secure
            raise ValueError("a key of 16 to 64 bytes is needed")
        self._passage = hashlib.blake2b(key=key, digest_size=PASSAGE_BYTES, person=b"passage")
        self._entry = hashlib.blake2b(key=key, digest_size=ENTRY_BYTES, person=b"entry")

    def shingles(self, words: Sequence[Word]) -> Iterator[Shingle]:
        """Yield the sampled shingles of a text, in order of place."""
        texts = [word.text.encode("utf-8", "surrogatepass") for word in words]
        bits = [word.bits for word in words]
        fresh = self._passage.copy
        for first in range(len(words) - 2):
            for second, third in _SHAPES:
                middle, last = first + second, first + third
                if last >= len(words):
                    break
                if bits[first] + bits[middle] + bits[last] < LEAST_BITS:
                    continue
                keyed = fresh()
                keyed.update(b"%b %b %b" % (texts[first], texts[middle], texts[last]))
                digest = keyed.digest()
                if digest[-1] % _SAMPLE == 0:
                    yield Shingle(int.from_bytes(digest, "big"), (first, middle, last))

    def entry(self, text: str) -> int:
        """Return the hash of an entry of a list: its folded words, written together."""
        keyed = self._entry.copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(keyed.digest(), "big")

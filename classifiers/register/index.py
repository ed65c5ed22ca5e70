"""Looks up the words of a post among all that is registered, and weighs what it finds.

A passage of a document is found by its shingles: words of the post that are covered by shingles of
one section of one document, close together, count with what they tell. What stands in several
unrelated documents counts less (a disclaimer, an address), what was published counts nothing. The
more is registered, the more must be found, because the more chances there are to hit something.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from classifiers.base import Confidence
from classifiers.register.boilerplate import boilerplate
from classifiers.register.entries import Entries, stretches_of
from classifiers.register.fingerprints import SCHEME, Fingerprints, Shingle
from classifiers.register.items import Hit, Item, ItemKind, unpack_sections
from classifiers.register.words import Word, words_of

PASSAGE_BITS: Final[Mapping[Confidence, float]] = {
    Confidence.HIGH: 56.0,
    Confidence.MEDIUM: 44.0,
    Confidence.LOW: 34.0,
}
"""What the words of a passage must tell together, in a small register."""
PASSAGE_WORDS: Final[Mapping[Confidence, int]] = {
    Confidence.HIGH: 6,
    Confidence.MEDIUM: 5,
    Confidence.LOW: 4,
}
"""Different words that must be found: three rare ones may be a name that everybody knows."""
SMALL_REGISTER: Final = 256
"""Sections of documents up to which nothing more is asked."""
_BITS_PER_DOUBLING: Final = 2.0

_GAP: Final = 4
"""Words of a passage are at most so many places apart: three others may stand between them."""
_PLENTY: Final = 2
"""Unrelated documents that may share a passage without doubt about it."""
_COMMON: Final = 8
"""What stands in so many unrelated documents is no secret."""
_PUBLIC_WORDS: Final = 5
"""Words in a row that make a passage public, and not a chance likeness."""
_MOST_OWNERS: Final = 64
"""Sections that are looked at for one hash: versions of one document may be many."""

_VERSION: Final = 0.5
"""Part of the passages of one document that another has, if they are versions of one."""

_MOST_RELATIVES: Final = 4096
"""Sections that are looked at for one hash when versions are looked for."""

_OWNER_BITS: Final = 24
MOST_SECTIONS: Final = 1 << _OWNER_BITS


_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Relatives:
    """Labels of documents that a document is like."""

    same: str | None = None
    version_of: str | None = None
    public: bool = False
    """Nothing in it counts, because all of it is public."""


@dataclass(frozen=True, slots=True)
class _Owner:
    item: Item
    family: int


class Index:
    """Everything registered, in memory, ready to be asked.

    Args:
        items: what is registered.
        fingerprints: made with the key of this installation.
    """

    def __init__(self, items: Iterable[Item], fingerprints: Fingerprints) -> None:
        self._fingerprints = fingerprints
        self._owners: list[_Owner] = []
        self._lists: list[Entries] = []
        unusable: list[str] = []
        documents: list[tuple[Item, list[_Hashes]]] = []
        public: list[_Hashes] = [_boilerplate(fingerprints)]
        for item in items:
            try:
                if item.scheme != SCHEME:
                    unusable.append(item.label)
                elif item.kind is ItemKind.PUBLIC:
                    public += unpack_sections(item.prints)
                elif item.kind is ItemKind.DOCUMENT:
                    documents.append((item, unpack_sections(item.prints)))
                else:
                    self._lists.append(Entries(item))
            except ValueError:
                unusable.append(item.label)
        self.unusable = tuple(unusable)
        """Labels of items that are damaged, or that another version registered: register them anew."""
        self._public = np.unique(np.concatenate(public))
        self._postings = self._passages(documents)
        more = math.log2(max(1.0, len(self._owners) / SMALL_REGISTER))
        self._extra_bits = _BITS_PER_DOUBLING * more

    @property
    def bytes(self) -> int:
        """Memory of the fingerprints of documents."""
        return self._postings.nbytes

    def __len__(self) -> int:
        """Fingerprints of documents."""
        return len(self._postings)

    def find(self, text: str) -> list[Hit]:
        """Return what of the register stands in ``text``, in order of place. Never raises."""
        if not len(self._postings) and not self._lists:
            return []
        words = words_of(text)
        hits = [*self._documents(words), *self._entries(words)]
        hits.sort(key=lambda hit: (hit.start, hit.end, hit.label))
        return hits

    def relatives(self, item: Item) -> Relatives:
        """Return which documents are the same as a document, or versions of it.

        Versions count as one document when it is judged how common a passage is.
        """
        hashes = np.unique(np.concatenate(unpack_sections(item.prints)))
        secret = hashes[~np.isin(hashes, self._public)]
        if not len(secret):
            return Relatives(public=True)
        shared: dict[Item, int] = defaultdict(int)
        for _, owners in self._look_up(secret, most=_MOST_RELATIVES):
            for owner in {self._owners[owner].item for owner in owners}:
                shared[owner] += 1
        best: tuple[float, str] | None = None
        for other, count in shared.items():
            own, theirs = count / len(secret), count / other.entries
            if count == len(secret) and other.entries == item.entries:
                return Relatives(same=other.label)
            if max(own, theirs) >= _VERSION and (best is None or best[0] < max(own, theirs)):
                best = max(own, theirs), other.label
        return Relatives(version_of=best[1] if best else None)

    def _passages(self, documents: Sequence[tuple[Item, list[_Hashes]]]) -> _Hashes:
        """Return all hashes of documents that are not public, sorted, each with its section."""
        parts: list[_Hashes] = []
        for item, sections in documents:
            for section in sections[: MOST_SECTIONS - len(self._owners)]:
                parts.append((section << np.uint64(_OWNER_BITS)) | np.uint64(len(self._owners)))
                self._owners.append(_Owner(item, item.family))
        if not parts:
            return np.empty(0, np.uint64)
        postings = np.concatenate(parts)
        postings.sort()
        return postings[~np.isin(postings >> np.uint64(_OWNER_BITS), self._public)]

    def _look_up(self, hashes: _Hashes, *, most: int) -> Iterator[tuple[int, list[int]]]:
        """Yield the place of each hash that is registered, and the sections that hold it."""
        postings = self._postings
        if not len(postings):
            return
        first = np.searchsorted(postings, hashes << np.uint64(_OWNER_BITS))
        met = postings[np.minimum(first, len(postings) - 1)] >> np.uint64(_OWNER_BITS) == hashes
        for place in np.nonzero(met)[0]:
            some = postings[first[place] : first[place] + most]
            mine = some[some >> np.uint64(_OWNER_BITS) == hashes[place]]
            yield int(place), [int(owner) for owner in mine & np.uint64(MOST_SECTIONS - 1)]

    def _documents(self, words: Sequence[Word]) -> Iterator[Hit]:
        if not len(self._postings):
            return
        shingles = list(self._fingerprints.shingles(words))
        if not shingles:
            return
        hashes = np.fromiter((each.hash for each in shingles), np.uint64, len(shingles))
        public = self._public_places(shingles, hashes)
        covered: dict[int, dict[int, float]] = defaultdict(dict)
        for place, owners in self._look_up(hashes, most=_MOST_OWNERS):
            families = len({self._owners[owner].family for owner in owners})
            if families >= _COMMON:
                continue
            weight = min(1.0, _PLENTY / families)
            for owner in owners:
                words_of_owner = covered[owner]
                for each in shingles[place].places:
                    if each not in public:
                        words_of_owner[each] = max(weight, words_of_owner.get(each, 0.0))
        found = [
            hit for owner, places in covered.items() for hit in self._runs(owner, places, words)
        ]
        yield from _surest(found)

    def _public_places(self, shingles: Sequence[Shingle], hashes: _Hashes) -> set[int]:
        """Return which words of a post stand in a passage that is public."""
        places: set[int] = set()
        nearest = np.searchsorted(self._public, hashes)
        met = self._public[np.minimum(nearest, len(self._public) - 1)] == hashes
        for place in np.nonzero(met)[0]:
            places.update(shingles[int(place)].places)
        runs = _together(sorted(places))
        return {place for run in runs if len(run) >= _PUBLIC_WORDS for place in run}

    def _runs(self, owner: int, places: Mapping[int, float], words: Sequence[Word]) -> list[Hit]:
        """Return the passages of one section that a text holds; several of them add up."""
        runs: list[tuple[int, int]] = []
        bits, count = 0.0, 0
        for run in _together(sorted(places)):
            told: dict[str, float] = {}
            for place in run:  # what is said twice is told once
                word = words[place]
                told[word.text] = max(told.get(word.text, 0.0), word.bits * places[place])
            tells = math.fsum(told.values())
            if self._confidence(tells, len(told)) is not None:
                runs.append((run[0], run[-1]))
                bits += tells
                count += len(told)
        confidence = self._confidence(bits, count)
        if confidence is None:
            return []
        item = self._owners[owner].item
        return [
            Hit(
                label=item.label,
                kind=item.kind,
                category=item.category,
                start=words[first].start,
                end=words[last].end,
                confidence=confidence,
                bits=bits - self._extra_bits,
                words=count,
            )
            for first, last in runs
        ]

    def _confidence(self, bits: float, words: int) -> Confidence | None:
        """Say how sure it is that words are of a registered document; None: it may be chance."""
        for confidence, least in PASSAGE_BITS.items():
            if bits >= least + self._extra_bits and words >= PASSAGE_WORDS[confidence]:
                return confidence
        return None

    def _entries(self, words: Sequence[Word]) -> Iterator[Hit]:
        if not self._lists:
            return
        stretches = stretches_of(words, self._lists, self._fingerprints)
        for each in self._lists:
            yield from each.find(words, stretches)


@lru_cache(maxsize=4)
def _boilerplate(fingerprints: Fingerprints) -> _Hashes:
    """Return the hashes of phrases that stand in everybody's documents."""
    return np.fromiter(
        (each.hash for text in boilerplate() for each in fingerprints.shingles(words_of(text))),
        np.uint64,
    )


def _together(places: Sequence[int]) -> Iterator[list[int]]:
    """Yield runs of places that are close together."""
    run: list[int] = []
    for place in places:
        if run and place - run[-1] > _GAP:
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _surest(hits: Sequence[Hit]) -> Iterator[Hit]:
    """Yield the strongest of hits that overlap."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (-hit.bits, hit.start, hit.label)):
        if not any(hit.start < other.end and other.start < hit.end for other in kept):
            kept.append(hit)
            yield hit

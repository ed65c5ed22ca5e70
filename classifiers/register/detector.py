"""Finds in a post what the register of secrets knows. One detector beside the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

from classifiers.base import Confidence, Finding
from classifiers.detectors import FINGERPRINT
from classifiers.detectors.base import rank
from classifiers.detectors.ownership import Owner, owner
from classifiers.register.fingerprints import Fingerprints
from classifiers.register.index import Index
from classifiers.register.items import Hit, Item, ItemKind

LOOK_EVERY_SECONDS: Final = 1.0
"""How long a change of the register may go unnoticed."""


class Source(Protocol):
    """Where the register is kept."""

    def generation(self) -> int | None:
        """Return a number that changes with every change of the register.

        Cheap; never raises. None: it cannot be read now; what was read before stays.
        """
        ...

    def items(self) -> Sequence[Item] | None:
        """Return all that is registered. Never raises; None as above."""
        ...


class RegisterDetector:
    """Finds passages of confidential documents and entries of lists.

    The register is read again when it has changed, so that what is added or removed counts from the
    next post on, without a restart.

    Args:
        source: where the register is kept.
        fingerprints: made with the key of this installation.
        clock: seconds that only grow.
        on_unusable: takes the label of each item that counts nothing, whenever the register is read.
    """

    name = FINGERPRINT

    def __init__(
        self,
        source: Source,
        fingerprints: Fingerprints,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_unusable: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._source = source
        self._fingerprints = fingerprints
        self._clock = clock
        self._on_unusable = on_unusable
        self._looked_at = clock()
        self._generation: int | None = None
        self._index = Index((), fingerprints)
        self._look()

    @property
    def must_match(self) -> Sequence[str]:
        """None: the examples belong to the register."""
        return ()

    @property
    def must_not_match(self) -> Sequence[str]:
        """What nobody registers."""
        return ("", "Goedemorgen allemaal!")

    @property
    def index(self) -> Index:
        """What is registered, as it is now."""
        now = self._clock()
        if now - self._looked_at >= LOOK_EVERY_SECONDS:
            self._looked_at = now
            self._look()
        return self._index

    def _look(self) -> None:
        """Read the register again if it has changed."""
        generation = self._source.generation()
        if generation is None or generation == self._generation:
            return
        items = self._source.items()
        if items is not None:
            self._index = Index(items, self._fingerprints)
            self._generation = generation
            for label in self._index.unusable:
                self._on_unusable(label)

    def find(self, text: str) -> Iterator[Finding]:
        """Yield each place where something registered stands."""
        for hit in self.hits(text):
            yield Finding(
                self.name, hit.category, hit.start, hit.end, hit.confidence, label=hit.label
            )

    def hits(self, text: str) -> list[Hit]:
        """Return what of the register stands in ``text``, and how sure it is a leak."""
        hits = self.index.find(text)
        alone = {hit.label for hit in hits if hit.kind is ItemKind.RECORDS and not hit.several}
        ceilings = {
            label: _ceiling(text, [hit for hit in hits if hit.label == label]) for label in alone
        }
        return [
            replace(hit, confidence=min(hit.confidence, ceilings[hit.label], key=rank))
            if hit.label in ceilings
            else hit
            for hit in hits
        ]


def _ceiling(text: str, hits: Sequence[Hit]) -> Confidence:
    """Return how sure one person's record can be of a leak, by whose it seems to be.

    A customer may post their own number; nobody posts two customers' by right.
    """
    owners = {owner(text, hit.start, hit.end) for hit in hits}
    if owners & {Owner.OWN, Owner.PUBLIC}:
        return Confidence.LOW
    return Confidence.HIGH if Owner.OTHER in owners else Confidence.MEDIUM

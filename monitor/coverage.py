"""How much of what is said about a brand was listened to, bucket by bucket.

Sources are not equal: while the one that brings four mentions of five is dark, a quiet hour means
nothing; while a small one is, hardly anything is missed. So each counts by what it usually brings to
this brand. Pure: the store gives the stretches of listening and keeps what was learnt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from monitor.store.crowd import BUCKET
from monitor.store.sources import Stretch

LEAST_SHARE = 0.5
"""Of what is usually brought. With less a bucket is no evidence; with more what is missing is filled in
with what is usual, so that it neither hides a spike nor makes one."""

WEIGHTS_VERSION = "1"

_HALF_LIFE = timedelta(days=14)
_KEEP = 0.5 ** (BUCKET / _HALF_LIFE)
_PRIOR = (1.0, timedelta(days=1) / BUCKET)
"""Before anything is known each source brings one mention in a day."""
_SUDDEN = 10.0
"""A bucket teaches at most so many times the usual (and at least 3): a crisis is no habit."""
_LEAST_CAP = 3.0


class Weights:
    """What each source usually brings to one brand: mentions per bucket, learnt while it is heard.

    What a source brought is forgotten only while it is heard, so a dark one keeps its weight.
    """

    def __init__(self, sources: Collection[str]) -> None:
        self._sources = tuple(sorted(sources))
        self._sums: dict[str, list[float]] = {}

    def learn(self, counts: Mapping[str, int], heard: Collection[str]) -> None:
        """Take in one bucket: mentions by source, and the sources that were heard."""
        for source in heard:
            posts, buckets = self._sums.get(source, (0.0, 0.0))
            cap = max(_LEAST_CAP, _SUDDEN * self.rate(source))
            self._sums[source] = [
                posts * _KEEP + min(counts.get(source, 0), cap),
                buckets * _KEEP + 1,
            ]

    def rate(self, source: str) -> float:
        """Mentions per bucket that a source usually brings."""
        posts, buckets = self._sums.get(source, (0.0, 0.0))
        return (posts + _PRIOR[0]) / (buckets + _PRIOR[1])

    def share(self, heard: Collection[str]) -> float:
        """The part (0 to 1) of what is usually brought that the sources in ``heard`` bring."""
        if not self._sources:
            return 0.0
        rates = {source: self.rate(source) for source in self._sources}
        total = sum(rates.values())
        return sum(rate for source, rate in rates.items() if source in heard) / total

    def usual(self) -> dict[str, float]:
        """The part (0 to 1) of all mentions that each source usually brings."""
        total = sum(map(self.rate, self._sources))
        return {source: self.rate(source) / total for source in self._sources}

    def snapshot(self) -> dict[str, Any]:
        """All that was learnt, for :meth:`load`."""
        return {"sums": {name: list(sums) for name, sums in self._sums.items()}}

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Continue where :meth:`snapshot` was taken."""
        self._sums = {
            name: list(sums) for name, sums in snapshot["sums"].items() if name in self._sources
        }


class Listening:
    """Which of a brand's sources were heard in which bucket."""

    def __init__(self, stretches: Iterable[Stretch], sources: Mapping[str, timedelta]) -> None:
        """Take the stretches of listening, and the brand's sources with their intervals."""
        self._stretches = [
            (each, max(sources[each.source] * 1.5, BUCKET))
            for each in stretches
            if each.source in sources
        ]
        self._known: dict[datetime, frozenset[str]] = {}

    @property
    def began(self) -> datetime | None:
        """When the first of these stretches began."""
        return min((each.started_at for each, _ in self._stretches), default=None)

    def heard(self, at: datetime) -> frozenset[str]:
        """The sources that were listened to in the bucket at ``at``.

        A source counts for the newest buckets as long as its next poll is not overdue.
        """
        known = self._known.get(at)
        if known is None:
            known = self._known[at] = frozenset(
                each.source
                for each, patience in self._stretches
                if each.started_at < at + BUCKET and each.ended_at + patience >= at
            )
        return known

"""Finds the organisation's own watch words: code names of projects, products, takeovers.

They come from the configuration, in the query language that brands use, so a watch word can be a
phrase, hold a wildcard or be bound to others by NEAR.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from classifiers.base import Confidence, Finding, LeakCategory
from connectors.query import Query


class WatchWordDetector:
    """Finds one list of watch words.

    Args:
        watch_words: queries, one per code name.

    Raises:
        connectors.query.QueryError: a watch word is no valid query.
    """

    name = "watch-word"

    def __init__(self, watch_words: Sequence[str]) -> None:
        self.watch_words = tuple(watch_words)
        self._queries = [Query.parse(word) for word in watch_words]

    @property
    def must_match(self) -> Sequence[str]:
        """None: the examples belong to the configuration."""
        return ()

    @property
    def must_not_match(self) -> Sequence[str]:
        """What holds none of the words."""
        return ("",)

    def find(self, text: str) -> Iterator[Finding]:
        """Yield each place where a watch word stands."""
        for query in self._queries:
            match = query.match(text)
            if match is None:
                continue
            for start, end in match.spans:
                yield Finding(self.name, LeakCategory.INTERNAL, start, end, Confidence.MEDIUM)

"""A clock that somebody moves: the demo's only departure from real life."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class MovedClock:
    """Stands still until told to move, and never moves backwards.

    Servers and connectors read it from their own threads; pass :meth:`now` where a
    :data:`connectors.base.Clock` is asked for.

    Args:
        start: an aware moment.

    Raises:
        ValueError: ``start`` is naive.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a moved clock starts at an aware moment, not a naive one")
        self._now = start.astimezone(UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The moment the clock was moved to, aware, in UTC."""
        with self._lock:
            return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move on by ``by`` and give the new moment.

        Raises:
            ValueError: ``by`` is negative.
        """
        if by < timedelta(0):
            raise ValueError(f"a moved clock cannot go back by {-by}")
        with self._lock:
            self._now += by
            return self._now

"""An intake as the daemon keeps one, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from connectors.base import Arrival

NOON = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)


class Pushes:
    """What was pushed. Erases what is done: what was not stored then is lost, as it would be."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._number = 0

    def push(self, body: bytes, at: datetime = NOON) -> None:
        self._number += 1
        self.arrivals.append(Arrival(self._number, at, body))

    def after(self, number: int, limit: int) -> Sequence[Arrival]:
        return [one for one in self.arrivals if one.number > number][:limit]

    def done(self, number: int) -> None:
        self.arrivals = [one for one in self.arrivals if one.number > number]

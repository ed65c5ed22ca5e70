"""Shelf of the channels that do not work: since when, why, and what was given up meanwhile.

One row a channel, from its first failure until it delivers again and nobody needs to be told of it
any more. What is done about it is ``monitor.outages``'s to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from alerts.base import DeliveryFault
from monitor.tables import OutageRow


@dataclass(frozen=True, slots=True)
class Outage:
    """What is wrong with a channel."""

    channel: str
    since: datetime
    """Of the first failure since it last delivered; where it only gave messages up, of the first."""
    down: bool
    """Nothing was delivered since its last failure that may pass."""
    failed_at: datetime
    """Of the latest failure."""
    delivered_at: datetime | None
    """When it last delivered, since this began."""
    given_up: int
    """How many messages became dead letters."""
    fault: DeliveryFault
    error: str
    """Of the latest failure; free of secrets."""
    told: datetime | None
    """When an incident was opened about it."""


class Outages:
    """Rows of outages within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[Outage]:
        """Every channel that does not work, or did not until a moment ago."""
        query = select(OutageRow).order_by(col(OutageRow.channel))
        return [_outage(row) for row in self._session.exec(query)]

    def failed(
        self, channel: str, now: datetime, *, fault: DeliveryFault, error: str, for_good: bool
    ) -> None:
        """An attempt failed. ``for_good``: a dead letter, which says nothing about the next message."""
        row = self._session.get(OutageRow, channel)
        if row is None:
            row = OutageRow(
                channel=channel,
                since=now,
                down=not for_good,
                failed_at=now,
                fault=fault.value,
                given_up=0,
            )
            self._session.add(row)
        elif not for_good and not row.down:
            row.down, row.since = True, now
        row.failed_at, row.fault, row.error = now, fault.value, error[:1000]
        row.given_up += for_good

    def delivered(self, channel: str, now: datetime) -> None:
        """A message arrived: it is not down. What nobody was told of and need not be is forgotten."""
        row = self._session.get(OutageRow, channel)
        if row is None:
            return
        row.down, row.delivered_at = False, now
        if row.told is None and not row.given_up:
            self._session.delete(row)

    def tell(self, channel: str, now: datetime) -> None:
        """An incident was opened about it."""
        self._session.get_one(OutageRow, channel).told = now

    def end(self, channel: str) -> None:
        """It is over."""
        self._session.delete(self._session.get_one(OutageRow, channel))


def _outage(row: OutageRow) -> Outage:
    return Outage(
        channel=row.channel,
        since=row.since,
        down=row.down,
        failed_at=row.failed_at,
        delivered_at=row.delivered_at,
        given_up=row.given_up,
        fault=DeliveryFault(row.fault),
        error=row.error or "",
        told=row.told,
    )

"""Which notifications are next: the first of each lane, and those that were set aside.

Notifications of one receiver through one channel form a lane and leave in order. What this costs
depends on the number of lanes, not on how much waits in them, and not on what was delivered before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from alerts.base import DeliveryFault
from monitor.tables import NotificationRow, UtcDateTime

MOST_ASIDE = 100
"""Of those set aside so many are looked at in one turn: the longest due first."""

# The words are those of the indexes ix_notification_lane and ix_notification_aside. What waits of an
# incident behind one of its own that was set aside is passed over: an incident is told in order.
_FIELDS = "id, incident_id, receiver, channel, addresses, next_attempt_at, not_before, fault"
_NEXT_LANE = f"""SELECT {_FIELDS} FROM notification AS one
    WHERE state = 'pending' AND aside = 0 AND (channel, receiver) > (:channel, :receiver)
    AND NOT EXISTS (
        SELECT 1 FROM notification AS earlier
        WHERE earlier.state = 'pending' AND earlier.aside = 1
        AND earlier.channel = one.channel AND earlier.receiver = one.receiver
        AND earlier.id < one.id AND earlier.incident_id = one.incident_id)
    ORDER BY channel, receiver, id LIMIT 1
"""  # noqa: S608 - names of columns, written above
_ASIDE = f"""SELECT {_FIELDS} FROM notification AS one
    WHERE state = 'pending' AND aside = 1 AND next_attempt_at <= :now
    AND NOT EXISTS (
        SELECT 1 FROM notification AS earlier
        WHERE earlier.state = 'pending' AND earlier.incident_id = one.incident_id
        AND earlier.receiver = one.receiver AND earlier.channel = one.channel
        AND earlier.id < one.id)
    ORDER BY next_attempt_at, id LIMIT {MOST_ASIDE}
"""  # noqa: S608 - names of columns, written above
_TYPES: dict[str, Any] = {
    "next_attempt_at": UtcDateTime,
    "not_before": UtcDateTime,
    "addresses": NotificationRow.__table__.c.addresses.type,  # type: ignore[attr-defined] # of SQLModel
}


@dataclass(frozen=True, slots=True)
class Head:
    """A notification that is next in its lane, or was set aside."""

    id: int
    receiver: str
    channel: str
    addresses: tuple[str, ...]
    due_at: datetime
    not_before: datetime | None
    fault: str | None

    @property
    def held_until(self) -> datetime | None:
        """Until when the other side asked us to stay away, for whatever message."""
        return self.not_before if self.fault == DeliveryFault.RATE_LIMITED.value else None


def heads(session: Session, now: datetime) -> list[Head]:
    """The first of each lane, due or not, and those set aside that are due; oldest first."""
    connection = session.connection()
    found = []
    lane = {"channel": "", "receiver": ""}
    query = text(_NEXT_LANE).columns(**_TYPES)
    while row := connection.execute(query, lane).first():
        found.append(_head(row))
        lane = {"channel": row.channel, "receiver": row.receiver}
    # Bound as text of the same form as the column's.
    aside = text(_ASIDE).columns(**_TYPES).bindparams(now=None)
    moment = UtcDateTime().process_bind_param(now, connection.dialect)
    shown = "" if moment is None else moment.isoformat(" ", "microseconds")
    found += [_head(row) for row in connection.execute(aside, {"now": shown})]
    return sorted(found, key=lambda head: head.id)


def _head(row: Any) -> Head:
    return Head(
        id=row.id,
        receiver=row.receiver,
        channel=row.channel,
        addresses=tuple(row.addresses),
        due_at=row.next_attempt_at,
        not_before=row.not_before,
        fault=row.fault,
    )

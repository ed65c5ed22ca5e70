"""Shelf of the outbox: notifications until they are delivered, and why each was or was not sent.

Notifications of one receiver through one channel form a *lane* and leave in order: while its first
one waits for a channel that is down, those behind it wait too. One that has trouble of its own steps
aside and holds up nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import load_only
from sqlmodel import Session, col, func, select

from alerts.base import Event, Receipt
from alerts.retry import GIVE_UP_AFTER, next_attempt
from alerts.routes import Told
from monitor.tables import WAITING, DecisionRow, NotificationRow, ThreadRow

PROBE_PAUSE = timedelta(seconds=30)
"""A lane that waits is tried again this soon when there is something new to say."""

PROMPT_ATTEMPTS = 5
"""An attempt that died with its process is repeated at once up to this often; after that it may be
the message that kills, and it waits as a failed one does and lets those behind it pass."""

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"


@dataclass(frozen=True, slots=True)
class Pending:
    """A notification on its way."""

    id: int
    key: str
    incident_id: int
    event: str
    receiver: str
    channel: str
    addresses: tuple[str, ...]
    message: Mapping[str, Any]
    created_at: datetime
    attempts: int
    thread: Mapping[str, Any] | None

    @property
    def lane(self) -> tuple[str, str]:
        """Notifications of the same lane leave one after the other."""
        return self.receiver, self.channel


@dataclass(frozen=True, slots=True)
class Sent:
    """A notification as lists and reports show it."""

    incident_id: int
    event: str
    receiver: str
    channel: str
    state: str
    created_at: datetime
    delivered_at: datetime | None
    attempts: int
    error: str | None


class Outbox:
    """Rows of the outbox within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        *,
        key: str,
        incident_id: int,
        event: Event,
        receiver: str,
        channel: str,
        addresses: Sequence[str],
        message: Mapping[str, Any],
        now: datetime,
    ) -> bool:
        """Put a notification into the outbox. False when its key is there already."""
        if self._session.exec(select(NotificationRow.id).where(NotificationRow.key == key)).first():
            return False
        self._session.add(
            NotificationRow(
                key=key,
                incident_id=incident_id,
                event=event.value,
                receiver=receiver,
                channel=channel,
                addresses=list(addresses),
                message=dict(message),
                state=PENDING,
                created_at=now,
                next_attempt_at=now,
            )
        )
        self._session.flush()
        self._probe_lane(receiver, channel, now)
        return True

    def _probe_lane(self, receiver: str, channel: str, now: datetime) -> None:
        # Something new to say is a good moment to see whether the channel is back, unless the
        # server itself asked us to wait, was tried a moment ago or is being tried.
        query = (
            select(NotificationRow)
            .where(
                text(WAITING),
                NotificationRow.receiver == receiver,
                NotificationRow.channel == channel,
                col(NotificationRow.aside).is_(False),
            )
            .order_by(col(NotificationRow.id))
            .limit(1)
        )
        head = self._session.exec(query).first()
        if head is not None and head.fault is not None:
            earliest = max(now + PROBE_PAUSE, head.not_before or now)
            head.next_attempt_at = min(head.next_attempt_at, earliest)

    def take_back(self, now: datetime) -> int:
        """Let what a former process was at when it died be attempted again. Returns how many.

        For the start of a process: nobody else holds a lease then, and an alert must not wait for
        the end of one that nobody holds. What was put off while the clock ran ahead is due as well.
        """
        attempted = col(NotificationRow.attempts) > 0
        unrecorded = attempted & col(NotificationRow.fault).is_(None)
        too_late = col(NotificationRow.next_attempt_at) > now + GIVE_UP_AFTER
        rows = self._session.exec(
            select(NotificationRow).where(text(WAITING), unrecorded | too_late)
        ).all()
        for row in rows:
            due: datetime | None = now
            if row.attempts > PROMPT_ATTEMPTS:
                due = next_attempt(row.attempts, None, row.created_at, now, jitter=0)
                row.aside = True
            row.next_attempt_at = min(row.next_attempt_at, due or now)
        return len(rows)

    def claim(self, now: datetime, lease: timedelta) -> list[Pending]:
        """Take the notifications to attempt now: the first of each lane, and those set aside.

        Each is theirs who took it for the length of ``lease``: if they die with it, or cannot record
        what came of it, it becomes due again only after that. One whose predecessor of the same
        incident still waits is left where it is.
        """
        # All that wait are looked at, every second: without their messages, which may be large.
        rows = self._session.exec(
            select(NotificationRow)
            .where(text(WAITING))
            .options(
                load_only(
                    NotificationRow.incident_id,  # type: ignore[arg-type] # a column, seen as its value
                    NotificationRow.receiver,  # type: ignore[arg-type] # same
                    NotificationRow.channel,  # type: ignore[arg-type] # same
                    NotificationRow.aside,  # type: ignore[arg-type] # same
                    NotificationRow.next_attempt_at,  # type: ignore[arg-type] # same
                )
            )
        ).all()
        # Sorted here: asked to, SQLite would read the delivered ones as well, in order of their ids.
        pending = sorted(rows, key=lambda row: row.id or 0)
        taken: list[Pending] = []
        lanes: set[tuple[str, str]] = set()
        threads: set[tuple[int, str, str]] = set()
        for row in pending:
            lane, thread = (row.receiver, row.channel), (row.incident_id, row.receiver, row.channel)
            first = thread not in threads and (row.aside or lane not in lanes)
            threads.add(thread)
            if not row.aside:
                lanes.add(lane)
            if first and row.next_attempt_at <= now:
                row.attempts += 1
                row.next_attempt_at = now + lease
                # No fault: under way. So it stays if its end is never recorded.
                row.fault = row.error = None
                taken.append(self._pending(row))
        return taken

    def _pending(self, row: NotificationRow) -> Pending:
        thread = self._session.get(ThreadRow, (row.incident_id, row.receiver, row.channel))
        if row.id is None:
            raise LookupError("the notification has not been stored yet")
        return Pending(
            id=row.id,
            key=row.key,
            incident_id=row.incident_id,
            event=row.event,
            receiver=row.receiver,
            channel=row.channel,
            addresses=tuple(row.addresses),
            message=row.message,
            created_at=row.created_at,
            attempts=row.attempts,
            thread=None if thread is None else thread.reference,
        )

    def delivered(self, pending: Pending, now: datetime, receipt: Receipt) -> None:
        """Record that the other side took the message."""
        row = self._session.get_one(NotificationRow, pending.id)
        row.state, row.delivered_at = DELIVERED, now
        row.fault, row.error = None, receipt.note
        thread = receipt.thread
        if thread and pending.thread is None:
            self._session.merge(
                ThreadRow(
                    incident_id=pending.incident_id,
                    receiver=pending.receiver,
                    channel=pending.channel,
                    reference=dict(thread),
                )
            )

    def failed(
        self,
        pending: Pending,
        next_attempt_at: datetime | None,
        *,
        fault: str,
        error: str,
        aside: bool,
        not_before: datetime | None,
    ) -> None:
        """Record an attempt that failed. ``None`` for the next one: a dead letter."""
        row = self._session.get_one(NotificationRow, pending.id)
        row.fault, row.error, row.not_before = fault, error[:1000], not_before
        row.aside = row.aside or aside
        if next_attempt_at is None:
            row.state = DEAD
        else:
            row.next_attempt_at = next_attempt_at

    def make_due(self, now: datetime) -> None:
        """Let everything that waits be attempted now."""
        for row in self._session.exec(select(NotificationRow).where(text(WAITING))):
            row.next_attempt_at = min(row.next_attempt_at, now)

    def decided(
        self,
        incident_id: int,
        at: datetime,
        event: Event,
        *,
        receiver: str,
        channel: str,
        send: bool,
        reason: str,
    ) -> None:
        """Keep why somebody was or was not told."""
        self._session.add(
            DecisionRow(
                incident_id=incident_id,
                at=at,
                event=event.value,
                receiver=receiver,
                channel=channel,
                send=send,
                reason=reason,
            )
        )

    def told(self, incident_id: int) -> list[Told]:
        """Who was told of an incident before, or is about to be: dead letters told nobody."""
        query = (
            select(NotificationRow)
            .where(NotificationRow.incident_id == incident_id, NotificationRow.state != DEAD)
            .order_by(col(NotificationRow.id))
        )
        return [
            Told(
                receiver=row.receiver,
                channel=row.channel,
                event=Event(row.event),
                at=row.created_at,
            )
            for row in self._session.exec(query)
        ]

    def planned(self, incident_id: int, receiver: str, channel: str) -> int:
        """How many messages about an incident were ever meant for a receiver, dead letters too."""
        query = (
            select(func.count())
            .select_from(NotificationRow)
            .where(
                NotificationRow.incident_id == incident_id,
                NotificationRow.receiver == receiver,
                NotificationRow.channel == channel,
            )
        )
        return self._session.exec(query).one()

    def of_incident(self, incident_id: int) -> list[Sent]:
        """The notifications of an incident, oldest first."""
        query = (
            select(NotificationRow)
            .where(NotificationRow.incident_id == incident_id)
            .order_by(col(NotificationRow.id))
        )
        return [_sent(row) for row in self._session.exec(query)]

    def dead(self) -> list[Sent]:
        """The dead letters, oldest first."""
        query = (
            select(NotificationRow)
            .where(NotificationRow.state == DEAD)
            .order_by(col(NotificationRow.id))
        )
        return [_sent(row) for row in self._session.exec(query)]

    def waiting(self) -> tuple[int, datetime | None]:
        """How many notifications wait, and since when the oldest does."""
        query = select(func.count(), func.min(NotificationRow.created_at)).where(text(WAITING))
        return self._session.exec(query).one()


def _sent(row: NotificationRow) -> Sent:
    return Sent(
        incident_id=row.incident_id,
        event=row.event,
        receiver=row.receiver,
        channel=row.channel,
        state=row.state,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        attempts=row.attempts,
        error=row.error,
    )

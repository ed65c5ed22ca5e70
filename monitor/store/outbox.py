"""Shelf of the outbox: notifications until they are delivered, and why each was or was not sent.

Notifications of one receiver through one channel form a *lane* and leave in order: while its first
one waits for a channel that is down, those behind it wait too. One that has trouble of its own steps
aside and holds up nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, literal, text
from sqlalchemy import select as sa_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, SQLModel, col, func, select

from alerts.base import Event, IncidentState, Reason, Receipt, Severity, SignalKind
from alerts.retry import GIVE_UP_AFTER, next_attempt
from alerts.routes import Told
from alerts.several import LISTED, NUMBERED, Crowd, Listed
from monitor.store.excerpts import Excerpts
from monitor.store.lanes import Head, heads
from monitor.tables import (
    GIVEN_UP,
    WAITING,
    WORDED,
    DecisionRow,
    IncidentRow,
    NotificationAboutRow,
    NotificationRow,
    ThreadRow,
    UtcDateTime,
)

PROBE_PAUSE = timedelta(seconds=30)
"""A lane that waits is tried again this soon when there is something new to say."""

PROMPT_ATTEMPTS = 5
"""An attempt that died with its process is repeated at once up to this often; after that it may be
the message that kills, and it waits as a failed one does and lets those behind it pass."""

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"
WITHDRAWN = "withdrawn"
"""No longer wanted when its turn came: somebody had taken it, or it was over."""

GATHERING = "gathering"
"""Being put together slice by slice, since it tells of very many incidents: it waits for nothing yet."""

_TOLD_NOBODY = (DEAD, WITHDRAWN)
_OVER = (IncidentState.RESOLVED.value, IncidentState.REVIEWED.value)


@dataclass(frozen=True, slots=True)
class About:
    """A further incident that a message tells of."""

    incident_id: int
    event: Event
    reason: Reason
    since: datetime
    """When it was decided that this is to be told."""
    page: str = ""
    """Key of the page or of the clock's call, where it is one."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The incidents of a message that is being put together."""

    lead: About
    """The gravest: it speaks for the others."""
    crowd: Crowd
    drills: int
    """How many of them are exercises."""


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
    reason: str = ""
    """Why it is sent: a word of ``Reason``."""
    page: str = ""
    """Key of the page or of the clock's call, where it is one."""
    drill: bool = False
    failover_of: str | None = None
    """Key of the notification that this one takes over."""

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
    reason: str = ""
    """Why: a word of ``alerts.base.Reason``."""


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
        reason: str = "",
        page: str = "",
        further: Sequence[About] = (),
        further_of: int | None = None,
        drill: bool = False,
        failover_of: str | None = None,
    ) -> bool:
        """Put a notification into the outbox. False when its key is there already.

        ``further`` are the other incidents that the message tells of; ``further_of`` is the number of a
        notification that tells of the same ones, however many they are.
        """
        if self._session.exec(select(NotificationRow.id).where(NotificationRow.key == key)).first():
            return False
        row = NotificationRow(
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
            reason=reason,
            page=page,
            drill=drill,
            failover_of=failover_of,
        )
        self._session.add(row)
        self._session.flush()
        Excerpts(self._session).note(row.id or 0, row.message)
        if further:
            self._tell_further(row, further)
        if further_of is not None:
            self._tell_the_same(row, further_of)
        self._probe_lane(receiver, channel, now)
        return True

    def _tell_further(self, row: NotificationRow, further: Sequence[About]) -> None:
        self._session.connection().execute(
            insert(NotificationAboutRow),
            [
                {
                    "notification_id": row.id,
                    "incident_id": each.incident_id,
                    "event": each.event.value,
                    "reason": each.reason.value,
                    "page": each.page,
                    "since": each.since,
                }
                for each in further
            ],
        )

    def _tell_the_same(self, row: NotificationRow, as_that: int) -> None:
        about = NotificationAboutRow
        columns = (about.incident_id, about.event, about.reason, about.page, about.since)
        same = sa_select(literal(row.id), *(col(each) for each in columns)).where(
            col(about.notification_id) == as_that
        )
        names = ["notification_id", "incident_id", "event", "reason", "page", "since"]
        self._session.connection().execute(insert(about).from_select(names, same))

    def further(self, notification_id: int) -> list[About]:
        """The other incidents that a message tells of, where it tells of several."""
        query = (
            select(NotificationAboutRow)
            .where(NotificationAboutRow.notification_id == notification_id)
            .order_by(col(NotificationAboutRow.incident_id))
        )
        return [_to_about(row) for row in self._session.exec(query)]

    def still_asked(self, notification_id: int, after: int, limit: int) -> list[About]:
        """Of the other incidents that a message tells of: those whose page may be wanted still.

        Without those that are over, or that somebody has taken where the page asked for somebody. In the
        order of their numbers.

        Args:
            notification_id: of the message.
            after: number of the last one that was asked about.
            limit: so many at most.
        """
        row, about = NotificationAboutRow, IncidentRow
        for_somebody = col(row.page).like("chain:%") & ~col(row.page).like("%.stale.%")
        is_open = col(about.state) == IncidentState.OPEN.value
        taken = col(about.state) == IncidentState.ACKNOWLEDGED.value
        query = (
            select(row)
            .join(about, col(about.id) == col(row.incident_id))
            .where(
                row.notification_id == notification_id,
                col(row.incident_id) > after,
                (col(row.page) == "") | is_open | (taken & ~for_somebody),
            )
            .order_by(col(row.incident_id))
            .limit(limit)
        )
        return [_to_about(each) for each in self._session.exec(query)]

    # -- a message about very many, slice by slice ---------------------------------------------

    def begin(
        self, key: str, incident_id: int, *, receiver: str, channel: str, now: datetime
    ) -> int:
        """Begin a message about very many incidents. Returns its number.

        Args:
            key: of its own, until it is finished.
            incident_id: one of them.
            receiver: of the message.
            channel: that it will leave through.
            now: the present moment.
        """
        row = NotificationRow(
            key=key,
            incident_id=incident_id,
            event=Event.CONTINUES.value,
            receiver=receiver,
            channel=channel,
            addresses=[],
            message={},
            state=GATHERING,
            created_at=now,
            next_attempt_at=now,
        )
        self._session.add(row)
        self._session.flush()
        return row.id or 0

    def gather(
        self, notification_id: int, about: Sequence[About], *, from_quiet: bool = False
    ) -> None:
        """Let a message that was begun tell of further incidents.

        ``from_quiet``: of some of it because quiet hours have ended.
        """
        row = self._session.get_one(NotificationRow, notification_id)
        if from_quiet:
            row.reason = Reason.QUIET_HOURS_ENDED.value
        if about:
            self._tell_further(row, about)

    def gathered(self, notification_id: int) -> Gathered | None:
        """What a message tells of that was begun, counted where it lies; None: of nothing."""
        self._session.flush()
        row, about = NotificationAboutRow, IncidentRow
        over = col(row.event) == Event.RESOLVED.value
        counts = (
            sa_select(
                col(about.kind),
                func.count(),
                func.count().filter(over),
                func.count().filter(col(about.drill)),
                func.min(col(about.brand)),
                func.max(col(about.brand)),
                func.min(col(about.opened_at)),
            )
            .join(about, col(about.id) == col(row.incident_id))
            .where(col(row.notification_id) == notification_id)
            .group_by(col(about.kind))
        )
        kinds = list(self._session.connection().execute(counts))
        if not kinds:
            return None
        gravest = (
            select(row, about)
            .join(about, col(about.id) == col(row.incident_id))
            .where(row.notification_id == notification_id)
            .order_by(col(about.severity).desc(), col(row.since), col(row.incident_id))
        )
        shown = list(self._session.exec(gravest.limit(NUMBERED)))
        burning = self._session.exec(gravest.where(~over).limit(1)).first()
        brands = {name for *_, first, last, _ in kinds for name in (first, last)}
        crowd = Crowd(
            kinds={SignalKind(kind): count for kind, count, *_ in kinds},
            over=sum(ended for _, _, ended, *_ in kinds),
            brand=brands.pop() if len(brands) == 1 else "",
            opened_at=min(opened_at for *_, opened_at in kinds),
            listed=[
                Listed(
                    told.incident_id,
                    SignalKind(what.kind),
                    Severity(what.severity),
                    Event(told.event),
                )
                for told, what in shown[:LISTED]
            ],
            burning=Event(burning[0].event) if burning else Event.RESOLVED,
            numbers=[told.incident_id for told, _ in shown],
        )
        drills = sum(drill for _, _, _, drill, *_ in kinds)
        return Gathered(_to_about(shown[0][0]), crowd, drills)

    def reason_of(self, notification_id: int) -> Reason | None:
        """Why a message that was begun leaves, where that is not the reason of its gravest news."""
        word = self._session.get_one(NotificationRow, notification_id).reason
        return Reason(word) if word else None

    def finish(
        self,
        notification_id: int,
        lead: About,
        *,
        key: str,
        addresses: Sequence[str],
        message: Mapping[str, Any],
        reason: str,
        drill: bool,
        now: datetime,
    ) -> None:
        """A message that was begun is complete: it leaves when its turn comes.

        Args:
            notification_id: of the message.
            lead: the incident that speaks for the others.
            key: its idempotency key.
            addresses: where to.
            message: in words.
            reason: why it leaves.
            drill: whether it is an exercise.
            now: the present moment.
        """
        row = self._session.get_one(NotificationRow, notification_id)
        row.key, row.incident_id, row.event = key, lead.incident_id, lead.event.value
        row.addresses, row.message = list(addresses), dict(message)
        row.reason, row.page, row.drill = reason, lead.page, drill
        row.state, row.created_at, row.next_attempt_at = PENDING, now, now
        self._session.flush()
        Excerpts(self._session).note(notification_id, row.message)
        about = NotificationAboutRow
        self._session.connection().execute(
            delete(about).where(
                col(about.notification_id) == notification_id,
                col(about.incident_id) == lead.incident_id,
            )
        )
        self._probe_lane(row.receiver, row.channel, now)

    def call_off(self, notification_id: int) -> None:
        """A message that was begun has nothing to tell after all."""
        self._session.delete(self._session.get_one(NotificationRow, notification_id))
        self._session.flush()

    def withhold(self, notification_id: int, reason: Reason, now: datetime) -> None:
        """A message that was begun leaves not at all; why is kept as a decision about each incident."""
        begun, about = self._session.get_one(NotificationRow, notification_id), NotificationAboutRow
        of_it = col(about.notification_id) == notification_id
        decided = sa_select(
            col(about.incident_id),
            literal(now, UtcDateTime),
            col(about.event),
            literal(begun.receiver),
            literal(begun.channel),
            literal(value=False),
            literal(reason.value),
        ).where(of_it)
        names = ["incident_id", "at", "event", "receiver", "channel", "send", "reason"]
        connection = self._session.connection()
        connection.execute(insert(DecisionRow).from_select(names, decided))
        connection.execute(delete(about).where(of_it))
        self.call_off(notification_id)

    def withdraw(self, notification_id: int, reason: Reason, now: datetime) -> None:
        """Let a notification not leave any more; why is kept as a decision."""
        row = self._session.get_one(NotificationRow, notification_id)
        row.state = WITHDRAWN
        row.fault, row.error = None, reason.value
        self.decided(
            row.incident_id,
            now,
            Event(row.event),
            receiver=row.receiver,
            channel=row.channel,
            send=False,
            reason=reason.value,
        )

    def _probe_lane(self, receiver: str, channel: str, now: datetime) -> None:
        # Something new to say is a good moment to see whether the channel is back, unless the
        # server itself asked us to wait, was tried a moment ago or is being tried.
        query = (
            select(NotificationRow)
            .where(
                text(WAITING),
                text("aside = 0"),
                NotificationRow.receiver == receiver,
                NotificationRow.channel == channel,
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
        return [
            self.take(self.look_up(head.id), now, lease)
            for head in self.heads(now)
            if head.due_at <= now
        ]

    def heads(self, now: datetime) -> list[Head]:
        """The first of each lane, due or not, and those set aside that are due; oldest first."""
        self._session.flush()
        return heads(self._session, now)

    def look_up(self, notification_id: int) -> Pending:
        """One notification, as it is."""
        return self._pending(self._session.get_one(NotificationRow, notification_id))

    def take(self, pending: Pending, now: datetime, lease: timedelta) -> Pending:
        """Take one to attempt it now: see :meth:`claim`."""
        row = self._session.get_one(NotificationRow, pending.id)
        row.attempts += 1
        row.next_attempt_at = now + lease
        # No fault: under way. So it stays if its end is never recorded.
        row.fault = row.error = None
        return replace(pending, attempts=row.attempts)

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
            reason=row.reason,
            page=row.page,
            drill=row.drill,
            failover_of=row.failover_of,
        )

    def delivered(self, pending: Pending, now: datetime, receipt: Receipt) -> None:
        """Record that the other side took the message."""
        row = self._session.get_one(NotificationRow, pending.id)
        row.state, row.delivered_at = DELIVERED, now
        row.fault, row.error = None, receipt.note
        thread = receipt.thread
        if thread and thread != pending.thread:
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
        """Who was told of an incident before, or is about to be, in order.

        Dead letters and what was withdrawn told nobody.
        """
        return self.told_of([incident_id]).get(incident_id, [])

    def told_of(self, incident_ids: Collection[int]) -> dict[int, list[Told]]:
        """The same of several incidents, by number."""
        row = NotificationRow
        columns = (col(row.id), col(row.receiver), col(row.channel), col(row.created_at))
        heard = col(row.state).not_in(_TOLD_NOBODY)
        about = NotificationAboutRow
        own = sa_select(*columns, col(row.event), col(row.incident_id)).where(
            col(row.incident_id).in_(incident_ids), heard
        )
        among = (
            sa_select(*columns, col(about.event), col(about.incident_id))
            .join(about, col(about.notification_id) == col(row.id))
            .where(col(about.incident_id).in_(incident_ids), heard)
        )
        connection = self._session.connection()
        found: dict[int, list[Told]] = {}
        rows = [*connection.execute(own), *connection.execute(among)]
        for _, receiver, channel, at, event, number in sorted(rows, key=lambda each: each[0]):
            found.setdefault(number, []).append(Told(receiver, channel, Event(event), at))
        return found

    def planned(self, incident_id: int, receiver: str, channel: str) -> int:
        """How many messages about an incident were ever meant for a receiver, dead letters too."""
        query = (
            select(func.count())
            .select_from(NotificationRow)
            .where(
                NotificationRow.incident_id == incident_id,
                NotificationRow.receiver == receiver,
                NotificationRow.channel == channel,
                NotificationRow.state != GATHERING,
            )
        )
        return self._session.exec(query).one()

    def of_incident(self, incident_id: int) -> list[Sent]:
        """The notifications that tell of an incident, alone or among others, oldest first."""
        return self.of_incidents([incident_id])

    def of_incidents(self, incident_ids: Collection[int]) -> list[Sent]:
        """The same of several incidents: each notification once, however many of them it tells of."""
        row, about = NotificationRow, NotificationAboutRow
        whole = col(row.state) != GATHERING
        own = select(row).where(col(row.incident_id).in_(incident_ids), whole)
        among = (
            select(row, about)
            .join(about, col(about.notification_id) == col(row.id))
            .where(col(about.incident_id).in_(incident_ids), whole)
            .order_by(col(about.incident_id))
        )
        found = {each.id: _sent(each) for each in self._session.exec(own)}
        for each, of_it in self._session.exec(among):
            told = replace(
                _sent(each),
                incident_id=of_it.incident_id,
                event=of_it.event,
                reason=of_it.reason,
            )
            found.setdefault(each.id, told)
        return [found[number] for number in sorted(found, key=lambda number: number or 0)]

    def dead(self) -> list[Sent]:
        """The dead letters, oldest first."""
        query = select(NotificationRow).where(text(GIVEN_UP)).order_by(col(NotificationRow.id))
        return [_sent(row) for row in self._session.exec(query)]

    def count_dead(self) -> int:
        """How many dead letters there are."""
        query = select(func.count()).select_from(NotificationRow).where(text(GIVEN_UP))
        return self._session.exec(query).one()

    def waiting_for(self, channel: str) -> int:
        """How many notifications wait for a channel."""
        query = (
            select(func.count())
            .select_from(NotificationRow)
            .where(
                text(WAITING),
                col(NotificationRow.aside).in_((False, True)),
                NotificationRow.channel == channel,
            )
        )
        return self._session.exec(query).one()

    def count_delivered(self, since: datetime) -> int:
        """How many notifications arrived since a moment: of those made up to two days before it."""
        row = NotificationRow
        # Ids grow with time: from the end back to the last one that is too old.
        floor = self._session.exec(
            select(row.id)
            .where(row.created_at < since - GIVE_UP_AFTER)
            .order_by(col(row.id).desc())
            .limit(1)
        ).first()
        query = (
            select(func.count())
            .select_from(row)
            .where(col(row.id) > (floor or 0), col(row.delivered_at) >= since)
        )
        return self._session.exec(query).one()

    def forget_words(self, before: datetime, *, limit: int) -> int:
        """Empty old messages that nobody waits for any more; returns how many.

        Those that left, or never will, and all of whose incidents were over before that moment. What was
        told, to whom, when and how often it was tried stays: the all-clear of an incident that is
        reopened, its dossier and the key of its next message are made of that.

        Args:
            before: messages and ends of incidents older than this.
            limit: so many messages at most.
        """
        row, about, lead, other = (
            NotificationRow,
            NotificationAboutRow,
            IncidentRow,
            aliased(IncidentRow),
        )

        def is_over(incident: type[IncidentRow]) -> ColumnElement[bool]:
            return col(incident.state).in_(_OVER) & (col(incident.resolved_at) < before)

        # Asked message by message: joined, SQLite would begin with all incidents that ever ended.
        lead_is_over = select(lead.id).where(lead.id == row.incident_id, is_over(lead)).exists()
        others_burn = (
            select(about.incident_id)
            .join(other, col(other.id) == col(about.incident_id))
            .where(about.notification_id == row.id, ~is_over(other))
            .exists()
        )
        query = (
            select(row.id)
            .where(
                text(WORDED),
                row.created_at < before,
                col(row.state).in_((DELIVERED, DEAD, WITHDRAWN)),
                lead_is_over,
                ~others_burn,
            )
            .order_by(col(row.created_at))
            .limit(limit)
        )
        self._session.flush()
        numbers = self._session.connection().execute(query).scalars().all()
        if numbers:
            self._write_anew(numbers)
        return len(numbers)

    def _write_anew(self, numbers: Sequence[int | None]) -> None:
        """The same rows without words: SQLite gives room back where rows go, not where they shrink."""
        table, connection = (
            SQLModel.metadata.tables[NotificationRow.__tablename__],
            self._session.connection(),
        )
        stays = [column for column in table.c if column.name not in ("message", "addresses")]
        rows = connection.execute(sa_select(*stays).where(table.c.id.in_(numbers))).mappings()
        bare = [{**row, "message": {}, "addresses": []} for row in rows]
        # What refers to the rows may do so again at the end of the transaction; which posts they
        # showed goes with them.
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.execute(delete(table).where(table.c.id.in_(numbers)))
        connection.execute(insert(table), bare)

    # -- one channel in place of another -------------------------------------------------------

    def without_stand_in(self, receiver: str, channel: str, limit: int = 100) -> list[Pending]:
        """What waits in a lane and goes no other way yet, oldest first."""
        row, other = NotificationRow, aliased(NotificationRow)
        taken_over = select(other.id).where(other.failover_of == row.key).exists()
        query = (
            select(row)
            .where(
                text(WAITING),
                # All there are: else SQLite would go through the delivered ones, by their ids.
                col(row.aside).in_((False, True)),
                row.receiver == receiver,
                row.channel == channel,
                ~taken_over,
            )
            .order_by(col(row.id))
            .limit(limit)
        )
        return [self._pending(each) for each in self._session.exec(query)]

    def stand_in_of(self, key: str) -> str | None:
        """The state of the notification that takes over the one with that key; None: there is none."""
        query = select(NotificationRow.state).where(NotificationRow.failover_of == key)
        return self._session.exec(query).first()

    def state_of(self, key: str) -> str | None:
        """The state of a notification; None: there is none with that key."""
        query = select(NotificationRow.state).where(NotificationRow.key == key)
        return self._session.exec(query).first()

    def told_beside(self, pending: Pending, channel: str) -> bool:
        """Whether the same is told over another channel of the receiver of its own accord."""
        row = NotificationRow
        query = select(row.id).where(
            row.incident_id == pending.incident_id,
            row.receiver == pending.receiver,
            row.channel == channel,
            row.event == pending.event,
            row.page == pending.page,
            col(row.failover_of).is_(None),
            row.created_at >= pending.created_at,
            col(row.state).not_in(_TOLD_NOBODY),
        )
        return self._session.exec(query).first() is not None

    def is_over_and_untold(self, pending: Pending) -> bool:
        """Whether all that a message tells of is over, and none of it was ever told in its lane.

        Counted where it lies: the message may be about very many incidents.
        """
        row, about = NotificationRow, NotificationAboutRow
        among = select(about.incident_id).where(about.notification_id == pending.id)

        def of_its(number: Any) -> ColumnElement[bool]:
            return (col(number) == pending.incident_id) | col(number).in_(among)

        burns = select(IncidentRow.id).where(
            of_its(IncidentRow.id), col(IncidentRow.state).not_in(_OVER)
        )
        there = (
            row.receiver == pending.receiver,
            row.channel == pending.channel,
            row.state == DELIVERED,
        )
        told = select(row.id).where(of_its(row.incident_id), *there)
        told_among = (
            select(row.id)
            .join(about, col(about.notification_id) == col(row.id))
            .where(of_its(about.incident_id), *there)
        )
        queries = (burns, told, told_among)
        return all(self._session.exec(each.limit(1)).first() is None for each in queries)

    def waiting(self) -> tuple[int, datetime | None]:
        """How many notifications wait, and since when the oldest does."""
        query = select(func.count(), func.min(NotificationRow.created_at)).where(text(WAITING))
        return self._session.exec(query).one()


def _to_about(row: NotificationAboutRow) -> About:
    return About(row.incident_id, Event(row.event), Reason(row.reason), row.since, row.page)


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
        reason=row.reason,
    )

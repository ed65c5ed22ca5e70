"""Shelf of the news that has not left: it waits for its like, or for the end of quiet hours."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, func, select, text

from alerts.base import Event, IncidentState, Reason, Severity, SignalKind
from alerts.grouping import GroupOptions, News
from monitor.tables import LOOKED_AFTER, IncidentRow, NewsGroupRow, WaitingRow

GroupKey = tuple[str, ...]
_CHUNK = 500
_OVER = (IncidentState.RESOLVED.value, IncidentState.REVIEWED.value)


@dataclass(frozen=True, slots=True)
class Kept:
    """News that waits."""

    id: int
    news: News
    over: bool
    """Whether its incident has ended meanwhile."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """How far a message about very many incidents is that is being put together slice by slice."""

    notification_id: int
    upto: int = 0
    """The highest number of the waiting news that it takes; 0: it repeats what burns."""
    asked: int = 0
    """Of a repeat: the highest incident that was asked whether it burns."""


@dataclass(frozen=True, slots=True)
class Group:
    """News of one receiver and channel that is told together."""

    options: GroupOptions
    sent_at: datetime | None
    """When its last message left."""
    next_look_at: datetime | None
    gathering: Gathering | None = None
    """The message that is being put together, if one is."""


@dataclass(frozen=True, slots=True)
class Pile:
    """What waits in a group, without looking at any of it."""

    first: datetime | None
    """Since when the first waits of what may leave; None: nothing may."""
    urgent: bool
    """Whether any of that need not wait for its like."""
    later: datetime | None
    """When the first may leave of what is kept for quiet hours."""
    last: int
    """The highest number of all; 0: nothing waits."""


class Waiting:
    """Rows of waiting news and their groups within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(
        self,
        key: GroupKey,
        incident_ids: Collection[int] | None = None,
        *,
        upto: int | None = None,
    ) -> list[Kept]:
        """What waits in a group, in the order in which it came.

        Args:
            key: of the group.
            incident_ids: what is asked about; None: all of it.
            upto: up to this number; None: all of it.
        """
        row, about = WaitingRow, IncidentRow
        query = (
            sa_select(
                col(row.id),
                col(row.receiver),
                col(row.channel),
                col(row.incident_id),
                col(about.brand),
                col(about.kind),
                col(row.severity),
                col(row.event),
                col(row.reason),
                col(row.since),
                col(about.subject),
                col(row.page),
                col(row.not_before),
                col(about.state),
            )
            .join(about, col(about.id) == col(row.incident_id))
            .where(col(row.group_key) == _text(key))
        )
        if incident_ids is not None:
            query = query.where(col(row.incident_id).in_(incident_ids))
        if upto is not None:
            query = query.where(col(row.id) <= upto)
        self._session.flush()
        found = [_to_kept(tuple(each)) for each in self._session.connection().execute(query)]
        return sorted(found, key=lambda each: each.id)

    def more_than(self, key: GroupKey, limit: int) -> bool:
        """Whether more pieces of news than so many wait in a group. Counts no further than that."""
        some = select(WaitingRow.id).where(WaitingRow.group_key == _text(key)).limit(limit + 1)
        return self._session.exec(select(func.count()).select_from(some.subquery())).one() > limit

    def pile(self, key: GroupKey, at_once: Severity, now: datetime) -> Pile:
        """What waits in a group, counted where it lies.

        Args:
            key: of the group.
            at_once: least severity that does not wait for its like.
            now: the present moment.
        """
        row = WaitingRow
        kept = col(row.not_before) > now
        ready = col(row.not_before).is_(None) | (col(row.not_before) <= now)
        urgent = (col(row.severity) >= int(at_once)) | (col(row.page) != "")
        query = sa_select(
            func.min(col(row.since)).filter(ready),
            func.count().filter(ready & (urgent | col(row.not_before).is_not(None))),
            func.min(col(row.not_before)).filter(kept),
            func.max(col(row.id)),
        ).where(col(row.group_key) == _text(key))
        self._session.flush()
        first, hurried, later, last = self._session.connection().execute(query).one()
        return Pile(first, hurried > 0, later, last or 0)

    def ready(self, key: GroupKey, upto: int, now: datetime, limit: int) -> list[int]:
        """Incidents of which news in a group may leave, up to a number of the news."""
        row = WaitingRow
        query = (
            select(row.incident_id)
            .where(
                row.group_key == _text(key),
                # The plus keeps SQLite from going through all groups by number.
                text("+waiting.id <= :upto"),
                col(row.not_before).is_(None) | (col(row.not_before) <= now),
            )
            .group_by(col(row.incident_id))
            .order_by(col(row.incident_id))
            .limit(limit)
        )
        return list(self._session.exec(query.params(upto=upto)))

    def keep(self, key: GroupKey, news: Iterable[News]) -> None:
        """Let news wait in a group that there is."""
        rows = [
            {
                "group_key": _text(key),
                "incident_id": each.incident_id,
                "receiver": each.receiver,
                "channel": each.channel,
                "event": each.event.value,
                "reason": each.reason.value,
                "severity": int(each.severity),
                "since": each.since,
                "page": each.page,
                "not_before": each.not_before,
            }
            for each in news
        ]
        if rows:
            self._session.flush()
            self._session.connection().execute(insert(WaitingRow), rows)

    def drop(self, numbers: Sequence[int]) -> None:
        """These wait no longer."""
        for start in range(0, len(numbers), _CHUNK):
            some = numbers[start : start + _CHUNK]
            self._session.connection().execute(
                delete(WaitingRow).where(col(WaitingRow.id).in_(some))
            )

    def count(self) -> int:
        """How much news waits."""
        return self._session.exec(select(func.count()).select_from(WaitingRow)).one()

    # -- groups --------------------------------------------------------------------------------

    def group(self, key: GroupKey) -> Group | None:
        """A group, if there is one under that key."""
        row = self._session.get(NewsGroupRow, _text(key))
        if row is None:
            return None
        gathering = None
        if row.gathering is not None:
            gathering = Gathering(row.gathering, row.upto, row.asked)
        options = GroupOptions.model_validate(row.options)
        return Group(options, row.sent_at, row.next_look_at, gathering)

    def put(self, key: GroupKey, group: Group) -> None:
        """Keep how a group stands."""
        row = self._session.get(NewsGroupRow, _text(key))
        if row is None:
            row = NewsGroupRow(key=_text(key), receiver=key[0], channel=key[1], options={})
            self._session.add(row)
        row.options = group.options.model_dump(mode="json")
        row.sent_at, row.next_look_at = group.sent_at, group.next_look_at
        under_way = group.gathering
        row.gathering = under_way.notification_id if under_way else None
        row.upto, row.asked = (under_way.upto, under_way.asked) if under_way else (0, 0)
        self._session.flush()

    def forget(self, key: GroupKey) -> None:
        """A group in which nothing waits and whose last message holds nothing back is not needed."""
        row = self._session.get(NewsGroupRow, _text(key))
        if row is not None:
            self._session.delete(row)
            self._session.flush()

    def due(self, now: datetime, limit: int) -> list[GroupKey]:
        """The groups to be asked now whether a message leaves, longest waiting first."""
        query = (
            select(NewsGroupRow.key)
            .where(text(LOOKED_AFTER), col(NewsGroupRow.next_look_at) <= now)
            .order_by(col(NewsGroupRow.next_look_at))
            .limit(limit)
        )
        return [tuple(json.loads(key)) for key in self._session.exec(query)]

    def with_pages_of(self, incident_ids: Collection[int]) -> dict[int, list[GroupKey]]:
        """The groups in which pages or reminders about incidents wait, by number of the incident."""
        query = (
            select(WaitingRow.incident_id, WaitingRow.group_key)
            .where(col(WaitingRow.incident_id).in_(incident_ids), WaitingRow.page != "")
            .distinct()
        )
        found: dict[int, list[GroupKey]] = {}
        for number, key in self._session.exec(query):
            found.setdefault(number, []).append(tuple(json.loads(key)))
        return found

    def next_at(self) -> datetime | None:
        """When a group is to be asked next."""
        query = select(func.min(NewsGroupRow.next_look_at)).where(text(LOOKED_AFTER))
        return self._session.exec(query).one()


def _to_kept(row: Sequence[Any]) -> Kept:
    number, receiver, channel, incident_id, brand, kind, severity = row[:7]
    event, reason, since, story, page, not_before, state = row[7:]
    news = News(
        receiver=receiver,
        channel=channel,
        incident_id=incident_id,
        brand=brand,
        kind=SignalKind(kind),
        severity=Severity(severity),
        event=Event(event),
        reason=Reason(reason),
        since=since,
        story=story,
        page=page,
        not_before=not_before,
    )
    return Kept(number, news, state in _OVER)


def _text(key: GroupKey) -> str:
    return json.dumps(key, ensure_ascii=False)

"""Shelf of the news that has not left: it waits for its like, or for the end of quiet hours."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete
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
class Group:
    """News of one receiver and channel that is told together."""

    options: GroupOptions
    sent_at: datetime | None
    """When its last message left."""
    next_look_at: datetime | None


class Waiting:
    """Rows of waiting news and their groups within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, key: GroupKey) -> list[Kept]:
        """What waits in a group, in the order in which it came."""
        query = (
            select(WaitingRow, IncidentRow)
            .join(IncidentRow, col(IncidentRow.id) == col(WaitingRow.incident_id))
            .where(WaitingRow.group_key == _text(key))
        )
        found = [
            Kept(
                row.id or 0,
                News(
                    receiver=row.receiver,
                    channel=row.channel,
                    incident_id=row.incident_id,
                    brand=about.brand,
                    kind=SignalKind(about.kind),
                    severity=Severity(row.severity),
                    event=Event(row.event),
                    reason=Reason(row.reason),
                    since=row.since,
                    story=about.subject,
                    page=row.page,
                    not_before=row.not_before,
                ),
                about.state in _OVER,
            )
            for row, about in self._session.exec(query)
        ]
        return sorted(found, key=lambda each: each.id)

    def keep(self, key: GroupKey, news: Iterable[News]) -> None:
        """Let news wait in a group that there is."""
        self._session.add_all(
            WaitingRow(
                group_key=_text(key),
                incident_id=each.incident_id,
                receiver=each.receiver,
                channel=each.channel,
                event=each.event.value,
                reason=each.reason.value,
                severity=int(each.severity),
                since=each.since,
                page=each.page,
                not_before=each.not_before,
            )
            for each in news
        )
        self._session.flush()

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
        return Group(GroupOptions.model_validate(row.options), row.sent_at, row.next_look_at)

    def put(self, key: GroupKey, group: Group) -> None:
        """Keep how a group stands."""
        row = self._session.get(NewsGroupRow, _text(key))
        if row is None:
            row = NewsGroupRow(key=_text(key), receiver=key[0], channel=key[1], options={})
            self._session.add(row)
        row.options = group.options.model_dump(mode="json")
        row.sent_at, row.next_look_at = group.sent_at, group.next_look_at
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


def _text(key: GroupKey) -> str:
    return json.dumps(key, ensure_ascii=False)

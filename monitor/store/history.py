"""Shelf of the history of incidents: appended to, read and verified, never changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select as sa_select
from sqlmodel import Session, col, func, select

from alerts.base import Reason
from alerts.history import Entry, Happened
from alerts.ledger import EMPTY, Finding, Head, Line, digest, verify
from monitor.tables import IncidentEventRow, MetaRow

PROGRAM = "merkwacht"
"""The actor of what nobody did by hand."""

_HEAD = "history_head"

# Words of other programs are none of these.
_HAPPENED: Mapping[str, Happened] = {each.value: each for each in Happened}
_REASONS: Mapping[str, Reason] = {each.value: each for each in Reason}


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of an incident's history."""

    at: datetime
    actor: str
    event: str
    note: str
    id: int = 0
    incident_id: int = 0
    receiver: str = ""
    """Who was told; whom it was assigned to."""
    page: str = ""
    reason: str = ""
    level: int | None = None
    digest: str = ""

    def entry(self) -> Entry | None:
        """What clocks and escalation remember by; None for a word of another program."""
        what = _HAPPENED.get(self.event)
        if what is None:
            return None
        told = what in (Happened.TOLD, Happened.PASSED)
        return Entry(
            at=self.at,
            what=what,
            who=self.receiver if told else self.receiver or self.actor,
            page=self.page,
            reason=_REASONS.get(self.reason),
            level=self.level,
        )


class History:
    """Lines of the history within one transaction. The one place that writes them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: tuple[int, MetaRow] | None = None
        """The highest number and the row of the head: asked for once."""

    def append(self, incident_id: int, entry: Entry, *, actor: str = "", note: str = "") -> None:
        """Add a line, sealed onto the one before it.

        Args:
            incident_id: whose history it is.
            entry: what happened.
            actor: who did it, where ``entry.who`` is somebody else: of what is told, or assigned.
            note: in people's words.
        """
        to_somebody = entry.what in (Happened.TOLD, Happened.PASSED, Happened.ASSIGNED)
        self.write(
            incident_id,
            entry.at,
            (actor or PROGRAM) if to_somebody else entry.who,
            entry.what.value,
            note,
            receiver=entry.who if to_somebody else "",
            page=entry.page,
            reason=entry.reason.value if entry.reason else "",
            level=entry.level,
        )

    def write(
        self,
        incident_id: int,
        at: datetime,
        actor: str,
        event: str,
        note: str = "",
        *,
        receiver: str = "",
        page: str = "",
        reason: str = "",
        level: int | None = None,
    ) -> None:
        """The same from single words."""
        last, kept = self._end()
        head = read_head(kept)
        line = Line(last + 1, incident_id, at, actor, event, note, receiver, page, reason, level)
        sealed = digest(head.digest, line)
        self._session.add(
            IncidentEventRow(
                id=line.id,
                incident_id=incident_id,
                at=at,
                actor=actor,
                event=event,
                note=note,
                receiver=receiver,
                page=page,
                reason=reason,
                level=level,
                digest=sealed,
            )
        )
        kept.value = str(Head(head.lines + 1, sealed))
        self._last = (line.id, kept)

    def of(self, incident_ids: Collection[int]) -> list[HistoryEntry]:
        """The history of incidents, oldest first."""
        row = IncidentEventRow
        query = (
            sa_select(
                col(row.at),
                col(row.actor),
                col(row.event),
                col(row.note),
                col(row.id),
                col(row.incident_id),
                col(row.receiver),
                col(row.page),
                col(row.reason),
                col(row.level),
                col(row.digest),
            )
            .where(col(row.incident_id).in_(incident_ids))
            .order_by(col(row.id))
        )
        # Rows as they are: a flood reads tens of thousands of them.
        self._session.flush()
        return [_to_entry(tuple(each)) for each in self._session.connection().execute(query)]

    def head(self) -> Head:
        """Where the whole history ends."""
        return read_head(self._end()[1])

    def verify(self, noted: Head | None = None) -> Finding:
        """Go through the whole history; see :func:`alerts.ledger.verify`."""
        kept = self._session.get(MetaRow, _HEAD)
        return verify(self._lines(), head=read_head(kept), noted=noted)

    def _lines(self) -> Iterator[tuple[Line, str]]:
        query = select(IncidentEventRow).order_by(col(IncidentEventRow.id))
        for row in self._session.exec(query.execution_options(yield_per=1000)):
            yield (
                Line(
                    row.id or 0,
                    row.incident_id,
                    row.at,
                    row.actor,
                    row.event,
                    row.note,
                    row.receiver,
                    row.page,
                    row.reason,
                    row.level,
                ),
                row.digest,
            )

    def _end(self) -> tuple[int, MetaRow]:
        if self._last is None:
            kept = self._session.get(MetaRow, _HEAD)
            if kept is None:
                kept = MetaRow(key=_HEAD, value=str(EMPTY))
                self._session.add(kept)
            highest = self._session.exec(select(func.max(IncidentEventRow.id))).one() or 0
            # A number is not given twice, also where somebody took the last lines away.
            self._last = (max(highest, read_head(kept).lines), kept)
        return self._last


def read_head(kept: MetaRow | None) -> Head:
    """The head that is remembered. One that somebody has spoilt is none: what comes next will not fit.

    Writing goes on all the same: an alert is worth more than its place in a chain.
    """
    try:
        return EMPTY if kept is None else Head.read(kept.value)
    except ValueError:
        return EMPTY


def _to_entry(values: tuple[Any, ...]) -> HistoryEntry:
    return HistoryEntry(*values)

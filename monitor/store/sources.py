"""Shelf of the sources: cursors, due times, coverage, rejects."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, func, select

from connectors.base import Cursor, Reject
from monitor.tables import CoverageRow, RejectRow, SourceRow

LONGEST_WAIT = timedelta(days=1)
"""No poll is ever due later than this."""
REJECTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class SourceState:
    """Where a source was left and how it fares."""

    name: str
    kind: str
    cursor: Cursor | None
    next_due_at: datetime
    first_seen_at: datetime
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    failures: int
    fault: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in which a source was listened to."""

    source: str
    started_at: datetime
    ended_at: datetime


class Sources:
    """Rows of the sources within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ensure(self, name: str, kind: str, fingerprint: str, now: datetime) -> None:
        """Know a configured source. One that is now another source starts from the beginning."""
        row = self._session.get(SourceRow, name)
        if row is None:
            self._session.add(
                SourceRow(
                    name=name,
                    kind=kind,
                    fingerprint=fingerprint,
                    next_due_at=now,
                    first_seen_at=now,
                )
            )
        elif row.fingerprint != fingerprint:
            row.kind, row.fingerprint, row.cursor, row.next_due_at = kind, fingerprint, None, now
            row.failures, row.fault, row.error = 0, None, None
        elif row.next_due_at > now + LONGEST_WAIT:
            # Written while the clock ran ahead: it would sleep for ever.
            row.next_due_at = now

    def state(self, name: str) -> SourceState:
        """The state of a source that ``ensure`` knows."""
        return _state(self._row(name))

    def all(self) -> list[SourceState]:
        """Every source ever configured, by name."""
        return [_state(row) for row in self._session.exec(select(SourceRow).order_by("name"))]

    def due(self, names: Collection[str], now: datetime) -> list[SourceState]:
        """The sources among ``names`` whose next poll is due, longest overdue first."""
        query = (
            select(SourceRow)
            .where(col(SourceRow.name).in_(names), col(SourceRow.next_due_at) <= now)
            .order_by(col(SourceRow.next_due_at))
        )
        return [_state(row) for row in self._session.exec(query)]

    def make_due(self, names: Collection[str], now: datetime) -> None:
        """Let every source of ``names`` be due now."""
        for row in self._session.exec(select(SourceRow).where(col(SourceRow.name).in_(names))):
            row.next_due_at = now

    def advance(self, name: str, cursor: Cursor) -> None:
        """Move the cursor: in the same transaction as the posts before it."""
        self._row(name).cursor = dict(cursor)

    def succeeded(self, name: str, now: datetime, next_due_at: datetime) -> None:
        """Record a poll that went through."""
        row = self._row(name)
        row.last_attempt_at = row.last_success_at = now
        row.next_due_at, row.failures, row.fault, row.error = next_due_at, 0, None, None

    def failed(
        self, name: str, now: datetime, next_due_at: datetime, *, fault: str, error: str
    ) -> None:
        """Record a poll that failed."""
        row = self._row(name)
        row.last_attempt_at, row.next_due_at = now, next_due_at
        row.failures, row.fault, row.error = row.failures + 1, fault, error[:1000]

    def cover(self, name: str, now: datetime, *, gap: timedelta) -> None:
        """Record that ``name`` was heard at ``now``; within ``gap`` of the last time: without a break."""
        query = (
            select(CoverageRow)
            .where(CoverageRow.source == name)
            .order_by(col(CoverageRow.ended_at).desc())
            .limit(1)
        )
        last = self._session.exec(query).first()
        if last is not None and last.ended_at >= now - gap:
            last.ended_at = max(last.ended_at, now)
        else:
            self._session.add(CoverageRow(source=name, started_at=now, ended_at=now))

    def coverage(
        self, since: datetime, until: datetime, *, source: str | None = None
    ) -> list[Stretch]:
        """The stretches of one source, or of all, that touch ``since``..``until``."""
        query = select(CoverageRow.source, CoverageRow.started_at, CoverageRow.ended_at).where(
            # Asked source by source, the index leads past all that ended before.
            col(CoverageRow.source).in_(select(SourceRow.name) if source is None else [source]),
            col(CoverageRow.ended_at) >= since,
            col(CoverageRow.started_at) <= until,
        )
        return [Stretch(*row) for row in self._session.exec(query)]

    def reject(self, name: str, rejects: Sequence[Reject], now: datetime) -> int:
        """Keep what could not be read; the same item once. Returns how many were new."""
        new = 0
        for item in rejects:
            mark = hashlib.sha256(f"{item.reason}\0{item.excerpt}".encode()).hexdigest()[:32]
            values: dict[str, Any] = {
                "source": name,
                "at": now,
                "reason": item.reason[:500],
                "excerpt": item.excerpt[:500],
                "fingerprint": mark,
            }
            statement = insert(RejectRow).values(**values).on_conflict_do_nothing()
            new += self._session.connection().execute(statement).rowcount
        return new

    def purge_rejects(self, before: datetime) -> int:
        """Delete what of the oldest rejects was kept before a moment; returns how many.

        One call looks at ``REJECTS_AT_ONCE`` of them, however many there are.
        """
        oldest = select(RejectRow.id).order_by(col(RejectRow.id)).limit(REJECTS_AT_ONCE)
        statement = delete(RejectRow).where(
            col(RejectRow.id).in_(oldest), col(RejectRow.at) < before
        )
        return self._session.connection().execute(statement).rowcount

    def rejects(self) -> int:
        """How many rejects there are."""
        return self._session.exec(select(func.count()).select_from(RejectRow)).one()

    def _row(self, name: str) -> SourceRow:
        row = self._session.get(SourceRow, name)
        if row is None:
            raise LookupError(f"source {name} is not in the store")
        return row


def _state(row: SourceRow) -> SourceState:
    return SourceState(
        name=row.name,
        kind=row.kind,
        cursor=row.cursor,
        next_due_at=row.next_due_at,
        first_seen_at=row.first_seen_at,
        last_attempt_at=row.last_attempt_at,
        last_success_at=row.last_success_at,
        failures=row.failures,
        fault=row.fault,
        error=row.error,
    )

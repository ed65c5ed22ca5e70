"""Shelf of the dark stretches: when a source was not heard, and why.

Coverage says when a source was listened to; this says why it was not. A stretch begins at the last good
poll, since what came after it may be missing, and ends with the next good one. When the reason changes
in between, a new stretch begins: an outage that ends in a refusal is two findings.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlmodel import Session, col, or_, select

from connectors.base import Darkness, SourceFault
from monitor.tables import CoverageRow, DarkRow, SourceRow


@dataclass(frozen=True, slots=True)
class Dark:
    """A stretch in which a source was not heard."""

    source: str
    started_at: datetime
    ended_at: datetime | None
    """None: it lasts."""
    reason: Darkness
    fault: str | None
    """The word of the last failed poll; None where none was made."""
    error: str | None
    """What was wrong and what to do, in that poll's words."""
    polls: int
    """Failed polls in it."""


class Dusk:
    """Rows of dark stretches within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def fall(
        self,
        source: str,
        since: datetime,
        now: datetime,
        reason: Darkness,
        *,
        fault: str | None = None,
        error: str | None = None,
    ) -> None:
        """A source is dark: the stretch goes on, or begins.

        Args:
            source: its name.
            since: when it was last heard, for the case that a stretch begins.
            now: the present, where a stretch of another reason ends.
            reason: why.
            fault: of the poll that failed; without it no poll was made.
            error: what was wrong and what to do.
        """
        row = self._open(source)
        if row is not None and row.reason != reason.value:
            row.ended_at = since = max(now, row.started_at)
            row = None
        if row is None:
            row = DarkRow(source=source, started_at=since, reason=reason.value)
            self._session.add(row)
        if fault is not None:
            row.polls, row.fault, row.error = row.polls + 1, fault, (error or "")[:1000]
        self._session.flush()

    def lift(self, source: str, now: datetime) -> None:
        """A source is heard: its stretch ends."""
        row = self._open(source)
        if row is not None:
            row.ended_at = max(now, row.started_at)

    def lasting(self) -> dict[str, Dark]:
        """The stretches that last, by source."""
        rows = self._session.exec(select(DarkRow).where(col(DarkRow.ended_at).is_(None)))
        return {row.source: _dark(row) for row in rows}

    def stretches(self, since: datetime, until: datetime) -> list[Dark]:
        """All stretches that touch ``since``..``until``, oldest first."""
        query = (
            select(DarkRow)
            .where(
                or_(col(DarkRow.ended_at).is_(None), col(DarkRow.ended_at) >= since),
                col(DarkRow.started_at) <= until,
            )
            .order_by(col(DarkRow.started_at), col(DarkRow.id))
        )
        return [_dark(row) for row in self._session.exec(query)]

    def purge(self, before: datetime) -> int:
        """Delete stretches that ended before a moment; returns how many."""
        statement = delete(DarkRow).where(col(DarkRow.ended_at) < before)
        return self._session.connection().execute(statement).rowcount

    def awaken(self, names: Collection[str], now: datetime) -> None:
        """The program starts, or reads its configuration anew: what was dark without a poll says why.

        Sources that are known and not among ``names`` are paused from their last poll on. Those that are
        polled were dark while the program was down; the next poll ends that or gives another reason.

        Args:
            names: the sources that will be polled.
            now: the present.
        """
        lasting = self.lasting()
        for row in self._session.exec(select(SourceRow)).all():
            last = row.last_attempt_at or row.first_seen_at
            dark = lasting.get(row.name)
            if row.name not in names:
                if dark is None or dark.reason is not Darkness.PAUSED:
                    self.fall(row.name, last, now, Darkness.PAUSED)
            elif dark is not None and dark.reason is Darkness.PAUSED:
                self.lift(row.name, now)

    def was_down(self, source: str, last: datetime, now: datetime) -> None:
        """A source was heard again after a pause in which no poll was made: that was a dark stretch."""
        if self._open(source) is None:
            self._session.add(
                DarkRow(source=source, started_at=last, ended_at=now, reason=Darkness.DOWN.value)
            )

    def canary_missing(
        self, source: str, now: datetime, *, within: timedelta, gap: timedelta
    ) -> bool:
        """Whether a source that answers has not shown its canary for longer than it may.

        Counted is time in which it was listened to: after a pause longer than ``gap`` it begins anew. Once
        missing, it stays so until the canary is seen.
        """
        row = self._session.get_one(SourceRow, source)
        if row.fault == SourceFault.BLOCKED.value:
            return True
        query = (
            select(CoverageRow)
            .where(CoverageRow.source == source)
            .order_by(col(CoverageRow.ended_at).desc())
            .limit(1)
        )
        last = self._session.exec(query).first()
        if last is None or last.ended_at < now - gap:
            return False
        return now - max(row.canary_at or row.first_seen_at, last.started_at) > within

    def canary_seen(self, source: str, now: datetime) -> None:
        """Something was read that the canary finds."""
        self._session.get_one(SourceRow, source).canary_at = now

    def _open(self, source: str) -> DarkRow | None:
        query = select(DarkRow).where(DarkRow.source == source, col(DarkRow.ended_at).is_(None))
        return self._session.exec(query).first()


def _dark(row: DarkRow) -> Dark:
    return Dark(
        source=row.source,
        started_at=row.started_at,
        ended_at=row.ended_at,
        reason=Darkness(row.reason),
        fault=row.fault,
        error=row.error,
        polls=row.polls,
    )

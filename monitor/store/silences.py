"""Shelf of the silences: what people muted, why, and until when. Ended ones stay to be looked up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from alerts.base import Severity, SignalKind
from alerts.silences import Silence
from monitor.tables import SilenceRow


@dataclass(frozen=True, slots=True)
class KeptSilence:
    """A silence with what became of it."""

    silence: Silence
    created_at: datetime
    ended_by: str | None
    """Who ended it before its time."""


class Silences:
    """Rows of silences within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, silence: Silence, now: datetime) -> Silence:
        """Keep a silence; gives it back with its number. Whether it may be was asked before."""
        row = SilenceRow(
            author=silence.author,
            reason=silence.reason,
            created_at=now,
            starts_at=silence.starts_at,
            ends_at=silence.ends_at,
            brand=silence.brand,
            kind="" if silence.kind is None else silence.kind.value,
            source=silence.source,
            story=silence.story,
            up_to=int(silence.up_to),
        )
        self._session.add(row)
        self._session.flush()
        return _to_kept(row).silence

    def lasting(self, now: datetime) -> list[Silence]:
        """Those that have not ended, also those still to begin, oldest first."""
        return [each.silence for each in self.all(since=now)]

    def all(self, *, since: datetime | None = None) -> list[KeptSilence]:
        """Those that end after a moment, or all there ever were, oldest first."""
        query = select(SilenceRow)
        if since is not None:
            query = query.where(col(SilenceRow.ends_at) > since)
        # Sorted here: asked to, SQLite would read all there ever were, in order of their ids.
        rows = sorted(self._session.exec(query), key=lambda row: row.id or 0)
        return [_to_kept(row) for row in rows]

    def get(self, number: int) -> KeptSilence | None:
        """One silence, or None."""
        row = self._session.get(SilenceRow, number)
        return None if row is None else _to_kept(row)

    def expire(self, number: int, who: str, now: datetime) -> bool:
        """End a silence now. False when there is none of that number or it has ended already."""
        row = self._session.get(SilenceRow, number)
        if row is None or row.ends_at <= now:
            return False
        row.ends_at, row.ended_by = now, who
        # One that had not begun never was.
        row.starts_at = min(row.starts_at, now)
        return True


def _to_kept(row: SilenceRow) -> KeptSilence:
    return KeptSilence(
        silence=Silence(
            id=row.id or 0,
            author=row.author,
            reason=row.reason,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            brand=row.brand,
            kind=SignalKind(row.kind) if row.kind else None,
            source=row.source,
            story=row.story,
            up_to=Severity(row.up_to),
        ),
        created_at=row.created_at,
        ended_by=row.ended_by,
    )

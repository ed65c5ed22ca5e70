"""Shelf of the intake: what was pushed to sources and waits for their next poll."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, func, select

from connectors.base import Arrival
from monitor.tables import WAITS, IntakeRow


class Intakes:
    """Rows of the intake within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, source: str, identity: str, body: bytes, now: datetime) -> bool:
        """Keep a push. False if one of that identity is, or was lately, here already."""
        values = {"source": source, "identity": identity, "received_at": now, "body": body}
        statement = insert(IntakeRow).values(**values).on_conflict_do_nothing()
        return bool(self._session.connection().execute(statement).rowcount)

    def after(self, source: str, number: int, limit: int) -> list[Arrival]:
        """The oldest pushes to ``source`` behind ``number`` that are not done."""
        query = (
            select(IntakeRow)
            .where(IntakeRow.source == source, col(IntakeRow.id) > number, text(WAITS))
            .order_by(col(IntakeRow.id))
            .limit(limit)
        )
        return [
            Arrival(row.id or 0, row.received_at, row.body or b"")
            for row in self._session.exec(query)
        ]

    def waiting(self) -> dict[str, tuple[int, int]]:
        """Per source: how many pushes wait, and their bytes."""
        query = (
            select(IntakeRow.source, func.count(), func.sum(func.length(IntakeRow.body)))
            .where(text(WAITS))
            .group_by(col(IntakeRow.source))
        )
        return {source: (count, size or 0) for source, count, size in self._session.exec(query)}

    def settle(self, source: str, number: int) -> int:
        """Erase what ``source`` has read, up to ``number``; identities stay. Returns how many."""
        statement = (
            update(IntakeRow)
            .where(col(IntakeRow.source) == source, col(IntakeRow.id) <= number, text(WAITS))
            .values(body=None)
        )
        return self._session.connection().execute(statement).rowcount

    def purge(self, *, done_before: datetime, any_before: datetime, limit: int) -> tuple[int, int]:
        """Forget what came in before these moments.

        Args:
            done_before: identities of what was read.
            any_before: also what nobody ever read.
            limit: rows that are deleted at most, of each.

        Returns:
            How many that were done were forgotten, and how many that were not.
        """
        done = self._delete(f"NOT ({WAITS})", done_before, limit)
        return done, self._delete(WAITS, any_before, limit)

    def _delete(self, which: str, before: datetime, limit: int) -> int:
        oldest = (
            select(IntakeRow.id)
            .where(text(which), col(IntakeRow.received_at) < before)
            .order_by(col(IntakeRow.received_at))
            .limit(limit)
        )
        statement = delete(IntakeRow).where(col(IntakeRow.id).in_(oldest))
        return self._session.connection().execute(statement).rowcount

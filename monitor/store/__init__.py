"""The store: the only code that reads and writes rows. Values go in, values come out.

A caller opens one transaction and works through its shelves::

    with store.write() as unit:
        unit.mentions.add(...)
        unit.sources.advance(...)

Everything in the block commits together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import Session, select

from monitor.database import (
    BUSY_TIMEOUT_SECONDS,
    StoreBusyError,
    StoreError,
    give_back,
    open_engine,
    transaction,
)
from monitor.store.copies import Copies
from monitor.store.crowd import Crowd
from monitor.store.darkness import Dusk
from monitor.store.feedback import Feedback
from monitor.store.following import Following
from monitor.store.incidents import Incidents
from monitor.store.intake import Intakes
from monitor.store.looking import Looking
from monitor.store.mentions import Mentions
from monitor.store.news import Waiting
from monitor.store.outages import Outages
from monitor.store.outbox import Outbox
from monitor.store.pictures import Pictures
from monitor.store.register import Register
from monitor.store.silences import Silences
from monitor.store.sources import Sources
from monitor.store.spending import Spending
from monitor.tables import MetaRow

__all__ = ["Store", "StoreBusyError", "StoreError", "Unit"]


class Unit:
    """One transaction over all shelves."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._afterwards: list[Callable[[], object]] = []
        self.sources = Sources(session)
        self.dusk = Dusk(session)
        self.spending = Spending(session)
        self.mentions = Mentions(session)
        self.copies = Copies(session)
        self.pictures = Pictures(session)
        self.crowd = Crowd(session)
        self.incidents = Incidents(session)
        self.outbox = Outbox(session)
        self.following = Following(session)
        self.news = Waiting(session)
        self.silences = Silences(session)
        self.outages = Outages(session)
        self.feedback = Feedback(session)
        self.register = Register(session)
        self.intake = Intakes(session)
        self.looking = Looking(session)

    def fact(self, key: str) -> str | None:
        """A remembered fact about the installation."""
        row = self._session.get(MetaRow, key)
        return None if row is None else row.value

    def remember(self, key: str, value: str) -> None:
        """Remember a fact about the installation."""
        self._session.merge(MetaRow(key=key, value=value))

    def flush(self) -> None:
        """Send pending rows to the database, inside the transaction."""
        self._session.flush()

    def afterwards(self, tell: Callable[[], object]) -> None:
        """Do this once the transaction is committed: what the log tells has happened."""
        self._afterwards.append(tell)

    def committed(self) -> None:
        """Whoever committed the transaction says so."""
        for tell in self._afterwards:
            tell()
        self._afterwards.clear()

    def facts(self) -> dict[str, str]:
        """All remembered facts."""
        return {row.key: row.value for row in self._session.exec(select(MetaRow))}


class Store:
    """The database at ``path``. One process writes; others may read and make small changes.

    Raises (at construction and from every transaction):
        StoreError: a person must act. StoreBusyError: try again later.
    """

    def __init__(
        self, path: Path, *, migrate: bool = True, busy_seconds: float = BUSY_TIMEOUT_SECONDS
    ) -> None:
        self.path = path
        self._engine = open_engine(path, migrate=migrate, busy_seconds=busy_seconds)

    @contextmanager
    def write(self) -> Iterator[Unit]:
        """A transaction that holds the write lock from its first moment."""
        with transaction(self._engine, self.path, write=True) as session:
            unit = Unit(session)
            yield unit
        unit.committed()

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """A consistent view. Nothing written in it is wanted."""
        with transaction(self._engine, self.path, write=False) as session:
            yield Unit(session)

    def give_back(self) -> int:
        """Give some empty pages of the file back to the disk; returns how many, 0 when it is done.

        One short transaction of its own: writers wait no longer than for any other.
        """
        return give_back(self._engine, self.path)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

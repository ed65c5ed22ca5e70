"""A store that is thrown away: what was written in it can be taken back as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import RootTransaction
from sqlmodel import Session

from monitor.database import StoreError, explained
from monitor.store import Store, Unit

_CACHE_KIB = 65536


class Attempt:
    """Everything that is written while it lasts."""

    def __init__(self, transaction: RootTransaction) -> None:
        self._transaction = transaction
        self.stands = True
        """Whether it was not taken back."""

    def take_back(self) -> None:
        """Let none of it have happened."""
        self.stands = False
        self._transaction.rollback()


class ScratchStore(Store):
    """A store with one connection and without care for power cuts.

    A transaction inside an :meth:`attempt` is a part of it: it still commits or rolls back by itself,
    and all of them may be taken back together.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._connection = self._engine.connect().execution_options(
            merkwacht_begin="BEGIN IMMEDIATE"
        )
        driver = self._connection.connection.driver_connection
        if driver is None:
            raise StoreError(f"{path}: the database connection was lost")
        # Straight to the driver: SQLAlchemy would begin a transaction first, in which these do nothing.
        for pragma in ("synchronous=OFF", "secure_delete=OFF", f"cache_size=-{_CACHE_KIB}"):
            driver.execute(f"PRAGMA {pragma}")

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """One transaction over several; commits at the end unless it was taken back."""
        with explained(self.path):
            transaction = self._connection.begin()
            attempt = Attempt(transaction)
            try:
                yield attempt
            except BaseException:
                if attempt.stands:
                    attempt.take_back()
                raise
            if attempt.stands:
                transaction.commit()

    @contextmanager
    def write(self) -> Iterator[Unit]:
        """A transaction, inside an attempt or alone."""
        with explained(self.path), self._session() as session:
            unit = Unit(session)
            yield unit
            session.commit()
        unit.committed()

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """A view. Nothing written in it is wanted."""
        with explained(self.path), self._session() as session:
            yield Unit(session)

    def _session(self) -> Session:
        return Session(
            self._connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        )

    def give_back(self) -> int:
        """Nothing: the whole file goes when the backtest is over."""
        return 0

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        super().close()

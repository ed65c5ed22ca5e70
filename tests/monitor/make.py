"""Builders for tests of the store and of the steps: a test names what matters to it."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import event

from alerts.base import Event, Incident, Severity, Signal, SignalKind
from alerts.message import to_json
from connectors.base import Engagement, Post
from monitor import log
from monitor.store import Store
from monitor.store.mentions import NewMention
from tests.alerts.make import message

NOON = datetime(2026, 11, 9, 11, 0, tzinfo=UTC)


def new_mention(
    number: int = 1,
    *,
    brand: str = "Zonnehoek",
    source: str = "feed",
    at: datetime = NOON,
    likes: int = 0,
    text: str = "Brood bij Zonnehoek.",
    imported: bool = False,
) -> NewMention:
    return NewMention(
        brand=brand,
        source=source,
        post=Post(
            platform="news",
            id=f"p{number}",
            text=text,
            published_at=at,
            engagement=Engagement(likes=likes),
        ),
        matched=("zonnehoek",),
        story=f"story{number}",
        imported=imported,
    )


def new_signal(
    key: str = "leak:1", *, kind: SignalKind = SignalKind.LEAK, mention_ids: tuple[int, ...] = ()
) -> Signal:
    return Signal(
        kind=kind,
        brand="Zonnehoek",
        severity=Severity.HIGH,
        key=key,
        subject="story1",
        occurred_at=NOON,
        mention_ids=mention_ids,
    )


def add_incident(store: Store, *mention_ids: int, key: str = "leak:1") -> Incident:
    with store.write() as unit:
        incident = unit.incidents.open(new_signal(key), NOON)
        return unit.incidents.join(incident.id, new_signal(key, mention_ids=mention_ids), NOON)


def add_notification(
    store: Store,
    key: str,
    incident: Incident,
    *,
    receiver: str = "crisis",
    channel: str = "mail",
    addresses: tuple[str, ...] = ("crisis@zonnehoek.example",),
    now: datetime = NOON,
) -> None:
    with store.write() as unit:
        added = unit.outbox.add(
            key=key,
            incident_id=incident.id,
            event=Event.OPENED,
            receiver=receiver,
            channel=channel,
            addresses=addresses,
            message=to_json(message()),
            now=now,
        )
    assert added


def sql(path: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask or change the file behind the store's back."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        return database.execute(statement, values).fetchall()


def fresh_store(folder: Path, *, busy_seconds: float = 5.0) -> Store:
    """An empty store; the migrations are run once for all tests."""
    path = folder / "merkwacht.db"
    path.touch(mode=0o600)
    path.write_bytes(_empty_database())
    return Store(path, busy_seconds=busy_seconds)


@cache
def _empty_database() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Store(path).close()
        return path.read_bytes()


@contextmanager
def write_locked(path: Path) -> Iterator[None]:
    """Somebody else holds the write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def limit_pages(store: Store, pages: int) -> None:
    """Let the file grow to so many pages at most, and no further: SQLite then says it is full."""

    @event.listens_for(store._engine, "checkout")
    def _limited(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What is logged meanwhile, as text; afterwards only errors are, as in other tests."""
    sink = io.StringIO()
    log.set_up(style="text", stream=sink)
    try:
        yield sink
    finally:
        log.set_up(level="error", style="text")

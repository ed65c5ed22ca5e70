"""What the daemon asks every second costs the same after a year as on the first day."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import event

from alerts.base import Receipt
from connectors.base import Reject
from monitor.store import Store, Unit
from tests.alerts.make import assessment
from tests.monitor.make import NOON, add_incident, add_notification, fresh_store, new_mention, sql

DAY = timedelta(days=1)
LEASE = timedelta(minutes=5)
OPINION = assessment()

HOT: dict[str, tuple[Callable[[Unit], object], str]] = {
    "queue": (lambda unit: unit.mentions.queue(64), "ix_mention_queue"),
    "queue length": (lambda unit: unit.mentions.queue_length(), "ix_mention_queue"),
    "oldest queued": (lambda unit: unit.mentions.oldest_queued("Zonnehoek"), "ix_mention_queue"),
    "recognise": (
        lambda unit: unit.mentions.add([new_mention(1), new_mention(2)], NOON),
        "sqlite_autoindex_mention_1",
    ),
    "counts": (
        lambda unit: unit.mentions.counts("Zonnehoek", NOON - DAY, NOON),
        "sqlite_autoindex_bucket_count_1",
    ),
    "coverage": (
        lambda unit: unit.sources.coverage(NOON - DAY, NOON),
        "ix_coverage_source_ended_at",
    ),
    "cover": (
        lambda unit: unit.sources.cover("feed", NOON, gap=DAY),
        "ix_coverage_source_ended_at",
    ),
    "due": (lambda unit: unit.sources.due(["feed"], NOON), "sqlite_autoindex_source_1"),
    "claim": (lambda unit: unit.outbox.claim(NOON, LEASE), "ix_notification_lane"),
    "waiting": (lambda unit: unit.outbox.waiting(), "ix_notification_lane"),
    "waiting for a channel": (
        lambda unit: unit.outbox.waiting_for("mail"),
        "ix_notification_lane",
    ),
    "dead letters": (lambda unit: unit.outbox.count_dead(), "ix_notification_dead"),
    "what stands in": (lambda unit: unit.outbox.stand_in_of("k1"), "ix_notification_failover_of"),
    "what goes no other way": (
        lambda unit: unit.outbox.without_stand_in("crisis", "mail"),
        "ix_notification_lane",
    ),
    "burning": (lambda unit: unit.incidents.burning("Zonnehoek"), "ix_incident_state"),
    "words that are too old": (
        lambda unit: unit.outbox.forget_words(NOON - 400 * DAY, limit=10),
        "ix_notification_worded",
    ),
    "told": (lambda unit: unit.outbox.told(1), "ix_notification_incident_id"),
    "waiting for review": (
        lambda unit: unit.feedback.waiting(20),
        "ix_assessment_notable",
    ),
    "count of those": (
        lambda unit: unit.feedback.count_waiting(),
        "ix_assessment_notable",
    ),
    "judgement": (lambda unit: unit.feedback.of(1), "ix_feedback_mention_id"),
    "queued since": (lambda unit: unit.mentions.queued_since(), "ix_mention_queue"),
    "buckets": (
        lambda unit: unit.crowd.buckets("Zonnehoek", NOON - DAY, NOON),
        "sqlite_autoindex_bucket_voices_1",
    ),
    "buckets of a source": (
        lambda unit: unit.crowd.of_source("feed", ["Zonnehoek"], NOON - DAY, NOON),
        "sqlite_autoindex_bucket_count_1",
    ),
    "detectors": (
        lambda unit: unit.mentions.detectors("Zonnehoek"),
        "sqlite_autoindex_detector_1",
    ),
    "author before and after": (
        lambda unit: unit.crowd.enter([1, 2, 3]),
        "ix_mention_author",
    ),
    "story before and after": (
        lambda unit: unit.crowd.enter([1, 2, 3]),
        "ix_mention_story",
    ),
    "spread": (
        lambda unit: unit.crowd.spread("Zonnehoek", NOON - DAY, NOON, negative=True),
        "ix_mention_brand_published_at",
    ),
    "stories": (
        lambda unit: unit.crowd.tellings("Zonnehoek", NOON - DAY, NOON),
        "ix_mention_brand_published_at",
    ),
    "said": (
        lambda unit: unit.crowd.said("Zonnehoek", NOON - DAY, NOON),
        "ix_mention_brand_published_at",
    ),
    "voices": (
        lambda unit: unit.mentions.voices("Zonnehoek", NOON - DAY, NOON),
        "ix_mention_brand_published_at",
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    with made.write() as unit:
        unit.sources.ensure("feed", "rss", "print", NOON)
    yield made
    made.close()


def plans(store: Store, ask: Callable[[Unit], object]) -> list[str]:
    """How SQLite goes about each query that ``ask`` makes."""
    found: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            with closing(sqlite3.connect(store.path)) as other:
                rows = other.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            found.extend(row[3] for row in rows)

    event.listen(store._engine, "before_cursor_execute", explain)
    try:
        with store.write() as unit:
            ask(unit)
    finally:
        event.remove(store._engine, "before_cursor_execute", explain)
    return found


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_goes_by_its_index(store: Store, name: str) -> None:
    ask, index = HOT[name]
    plan = plans(store, ask)
    assert any(index in line for line in plan), plan
    # Names of sources are few; whatever grows is searched.
    scans = [
        line
        for line in plan
        if line.startswith("SCAN")
        and " USING " not in line
        and line != "SCAN source"
        and "CONSTANT ROW" not in line
    ]
    assert scans == [], plan


@contextmanager
def counted(store: Store) -> Iterator[list[int]]:
    """Counts the steps of SQLite's virtual machine, in tens: unlike time, the same on any machine."""
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(step, 10)

    event.listen(store._engine, "checkout", watch)
    try:
        yield steps
    finally:
        event.remove(store._engine, "checkout", watch)


def cost(store: Store) -> dict[str, int]:
    costs = {}
    for name, (ask, _) in HOT.items():
        with counted(store) as steps, store.write() as unit:
            ask(unit)
        costs[name] = steps[0]
    return costs


def a_day(store: Store, day: int) -> None:
    """So many posts, counts, alerts and interruptions a day."""
    at = NOON - day * DAY - timedelta(hours=1)
    with store.write() as unit:
        unit.mentions.add(
            [new_mention(1000 * day + n, at=at - timedelta(minutes=n)) for n in range(20)], NOON
        )
        waiting = [item.mention.id for item in unit.mentions.queue(100)]
        unit.mentions.assess(dict.fromkeys(waiting, OPINION), "v1", NOON)
        for hour in range(12):
            unit.sources.cover("feed", at + timedelta(minutes=hour), gap=timedelta())
    incident = add_incident(store, key=f"leak:{day}")
    add_notification(store, f"k{day}", incident, now=at)
    with store.write() as unit:
        for sent in unit.outbox.claim(NOON, LEASE):
            unit.outbox.delivered(sent, NOON, Receipt())
        unit.incidents.resolve(incident.id, "eva", NOON)


def test_history_does_not_make_the_hot_queries_dearer(store: Store) -> None:
    for day in range(40, 0, -1):
        a_day(store, day)
    # In a store of its own: asking leaves traces, too.
    with TemporaryDirectory() as folder, closing(fresh_store(Path(folder))) as other:
        with other.write() as unit:
            unit.sources.ensure("feed", "rss", "print", NOON)
        a_day(other, 1)
        young = cost(other)
    old = cost(store)
    assert sql(store.path, "SELECT count(*) > 700 FROM mention") == [(1,)]
    assert sql(store.path, "SELECT count(*) > 400 FROM coverage") == [(1,)]
    # A search in a deeper tree costs a little more; a walk through all of it would cost 40 times.
    dearer = {name: (young[name], old[name]) for name in HOT if old[name] > 2 * young[name] + 20}
    assert dearer == {}
    assert max(young.values()) > 10, "something was counted"


def test_old_rejects_are_deleted_bit_by_bit_at_the_same_price_however_many_there_are(
    store: Store,
) -> None:
    def keep(first: int, number: int, at: datetime) -> None:
        rejects = [Reject("no text", f"item {first + each}") for each in range(number)]
        with store.write() as unit:
            assert unit.sources.reject("feed", rejects, at) == number

    def purge() -> tuple[int, int]:
        with counted(store) as steps, store.write() as unit:
            deleted = unit.sources.purge_rejects(NOON - DAY)
        return deleted, steps[0]

    keep(0, 600, NOON)
    nothing, few = purge()
    keep(600, 1800, NOON)
    assert purge()[1] < 1.2 * few
    assert nothing == 0
    sql(store.path, "UPDATE reject SET at = '2020-01-01 00:00:00.000000' WHERE id <= 700")
    assert [purge()[0] for _ in range(3)] == [500, 200, 0]


def test_a_large_batch_is_assessed_in_as_many_statements_as_a_small_one(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(number) for number in range(70)], NOON)
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    def assess(number: int) -> int:
        statements.clear()
        with store.write() as unit:
            queued = unit.mentions.queue(number)
            unit.mentions.begin_assessment(queued)
            opinions = dict.fromkeys([item.mention.id for item in queued], OPINION)
            assert len(unit.mentions.assess(opinions, "v1", NOON)) == number
        return len(statements)

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        assert 0 < assess(64) == assess(2)
    finally:
        event.remove(store._engine, "before_cursor_execute", note)

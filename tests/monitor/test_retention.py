"""How long posts are kept where a source allows less than the rest, and what becomes of their room."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from alerts.base import Event, Incident, Reason, Receipt, Sample
from alerts.message import to_json
from monitor import copying, database
from monitor.app import hold
from monitor.cli import app
from monitor.database import LOG_LIMIT, Room, StoreError, room_of, vacuum
from monitor.metrics import Metrics
from monitor.store import Store
from monitor.store.outbox import About
from monitor.tending import PURGE_CHUNK, TendStep
from tests.alerts.make import message
from tests.fakes import FakeClock
from tests.monitor.crowds import announcer
from tests.monitor.make import NOON, add_incident, fresh_store, new_mention, sql, write_locked

DAY = timedelta(days=1)


class Keeper:
    """A store with the step that deletes what is too old; posts of ``short`` live two days."""

    def __init__(self, folder: Path) -> None:
        self.store = fresh_store(folder)
        self.clock = FakeClock()
        self.step = TendStep(
            store=self.store,
            sources=[],
            announcer=announcer(),
            retention=30 * DAY,
            shorter={"short": 2 * DAY},
            metrics=Metrics(CollectorRegistry()),
            now=self.clock,
        )

    def read(self, number: int, source: str, *, age: timedelta = timedelta()) -> None:
        with self.store.write() as unit:
            now = self.clock()
            unit.mentions.add([new_mention(number, source=source, at=now - age)], now)

    def after(self, pause: timedelta) -> list[str]:
        """Which posts are there some time later."""
        self.clock.moment += pause
        self.step.run()
        return [post for (post,) in sql(self.store.path, "SELECT post_id FROM mention ORDER BY id")]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(tmp_path)
    yield made
    made.store.close()


def test_posts_of_a_source_are_deleted_sooner_where_its_platform_wants_it(keeper: Keeper) -> None:
    keeper.read(1, "short")
    keeper.read(2, "feed")
    assert keeper.after(DAY) == ["p1", "p2"]
    assert keeper.after(DAY + timedelta(minutes=1)) == ["p2"]
    assert keeper.after(29 * DAY) == []


def test_an_old_post_that_is_read_now_is_kept_from_now_on(keeper: Keeper) -> None:
    keeper.read(1, "short", age=9 * DAY)
    assert keeper.after(DAY) == ["p1"]
    assert keeper.after(2 * DAY) == []


def test_what_an_incident_is_about_stays_as_long_as_it_burns_and_no_longer(keeper: Keeper) -> None:
    keeper.read(1, "short")
    keeper.read(2, "feed")
    incident = add_incident(keeper.store, 1, 2)

    def evidence() -> list[str]:
        with keeper.store.read() as unit:
            assert unit.incidents.evidence.verify().flaw is None
            kept = unit.incidents.evidence.of([incident.id])
            return [str(piece.content.get("source")) for piece in kept if not piece.forgotten_at]

    assert keeper.after(5 * DAY) == ["p1", "p2"]
    assert evidence() == ["short", "feed"]
    with keeper.store.write() as unit:
        unit.incidents.resolve(incident.id, "eva", keeper.clock())
    assert keeper.after(timedelta(minutes=1)) == ["p2"]
    assert evidence() == ["feed"]


# -- what was said of what is over -----------------------------------------------------------------


def told(keeper: Keeper, *incidents: Incident, sent: bool = True) -> None:
    """A message that shows post 1 and tells of incidents; it leaves, or waits."""
    lead, *others = incidents
    sample = Sample("tekst", "news", "auteur", NOON, mention_id=1)
    with keeper.store.write() as unit:
        now = keeper.clock()
        unit.outbox.add(
            key=f"{[each.id for each in incidents]} {now.isoformat()} {sent}",
            incident_id=lead.id,
            event=Event.OPENED,
            receiver="team",
            channel="mail",
            addresses=["crisis@zonnehoek.example"],
            message=to_json(replace(message(), samples=(sample,))),
            now=now,
            further=[About(each.id, Event.OPENED, Reason.OPENED, now) for each in others],
        )
        if sent:
            for pending in unit.outbox.claim(now, timedelta(minutes=5)):
                unit.outbox.delivered(pending, now, Receipt())


def over(keeper: Keeper, *incidents: Incident) -> None:
    with keeper.store.write() as unit:
        for each in incidents:
            unit.incidents.resolve(each.id, "eva", keeper.clock())


def worded(keeper: Keeper) -> list[int]:
    """The messages that still say something; the others say nothing to nobody."""
    query = "SELECT id FROM notification WHERE message {} '{{}}' AND addresses {} '[]'"
    kept = [number for (number,) in sql(keeper.store.path, query.format("<>", "<>"))]
    emptied = [number for (number,) in sql(keeper.store.path, query.format("=", "="))]
    links = [
        n for (n,) in sql(keeper.store.path, "SELECT notification_id FROM notification_sample")
    ]
    assert sorted(kept + emptied) == list(range(1, len(kept) + len(emptied) + 1))
    assert not set(links) & set(emptied)
    return kept


def test_what_messages_said_goes_once_all_they_told_of_is_over_for_long_enough(
    keeper: Keeper,
) -> None:
    keeper.read(1, "feed", age=-60 * DAY)
    closed, late, burning = (add_incident(keeper.store, 1, key=f"s{n}") for n in range(3))
    told(keeper, closed)
    told(keeper, late)
    told(keeper, burning)
    told(keeper, closed, burning)
    told(keeper, closed, late)
    told(keeper, closed, sent=False)
    over(keeper, closed)
    keeper.after(5 * DAY)
    over(keeper, late)
    keeper.after(25 * DAY)
    assert worded(keeper) == [1, 2, 3, 4, 5, 6], "not a day too early"
    keeper.after(timedelta(minutes=1))
    assert worded(keeper) == [2, 3, 4, 5, 6]
    keeper.after(5 * DAY)
    assert worded(keeper) == [3, 4, 6], "what burns, what is told with it, and what nobody got yet"


def test_that_and_when_it_was_told_stays_and_a_reopened_incident_goes_on_from_there(
    keeper: Keeper,
) -> None:
    keeper.read(1, "feed")
    two = [add_incident(keeper.store, 1, key=f"s{n}") for n in range(2)]
    told(keeper, *two)

    def known() -> list[object]:
        with keeper.store.read() as unit:
            return [
                unit.outbox.told_of([each.id for each in two]),
                unit.outbox.of_incident(1),
                unit.outbox.planned(1, "team", "mail"),
                unit.outbox.count_delivered(NOON),
                unit.incidents.entries(1)[:1],
            ]

    over(keeper, *two)
    before = known()
    assert keeper.after(31 * DAY) == []
    assert worded(keeper) == []
    assert known() == before
    with keeper.store.write() as unit:
        assert unit.incidents.chain.verify().flaw is None
        assert unit.incidents.evidence.verify().flaw is None
        unit.incidents.reopen(1, "eva", keeper.clock())
        again = announcer().tell(unit, two[0], Event.RESOLVED, keeper.clock())
    assert again.title
    keys = [key for (key,) in sql(keeper.store.path, "SELECT key FROM notification")]
    assert len(set(keys)) == len(keys) == 2


def test_old_messages_are_emptied_slice_by_slice_and_give_their_room_back(keeper: Keeper) -> None:
    incident = add_incident(keeper.store)
    for _ in range(40):
        keeper.clock.advance(seconds=1)
        told(keeper, incident)
    over(keeper, incident)

    def pages() -> int:
        found = sql(keeper.store.path, "SELECT count(*) FROM dbstat WHERE name = 'notification'")
        return int(found[0][0])

    before = pages()
    with keeper.store.write() as unit:
        slices = [unit.outbox.forget_words(NOON + DAY, limit=15) for _ in range(4)]
    assert slices == [15, 15, 10, 0]
    assert pages() < before / 5


# -- the room of what was deleted ------------------------------------------------------------------

POSTS = 3 * PURGE_CHUNK
PAGE = "Bij Zonnehoek was het druk. " * 120


def fill(store: Store, posts: int = POSTS) -> None:
    for first in range(0, posts, PURGE_CHUNK):
        numbers = range(first, first + PURGE_CHUNK)
        with store.write() as unit:
            unit.mentions.add([new_mention(n, text=f"{n} {PAGE}") for n in numbers], NOON)


def room(path: Path) -> Room:
    with closing(sqlite3.connect(path)) as connection:
        return room_of(connection)


def checkpoint(path: Path) -> int:
    """Bytes of the file once all is written back to it."""
    sql(path, "PRAGMA wal_checkpoint")
    return path.stat().st_size


def in_an_old_file(store: Store) -> Store:
    """The same store as an earlier version would have made it: its file never shrinks."""
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("VACUUM")
    return Store(store.path)


def test_the_file_shrinks_after_posts_were_deleted_while_others_read_and_write(
    keeper: Keeper,
) -> None:
    path = keeper.store.path
    fill(keeper.store)
    full = checkpoint(path)
    keeper.clock.moment = NOON + 31 * DAY
    turns = 0
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as writer,
    ):
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM mention").fetchone() == (POSTS,)
        while keeper.step.run()[0]:
            turns += 1
            # Does not wait at all: between two turns nobody holds the lock.
            writer.execute("INSERT INTO meta VALUES (?, 'written meanwhile')", (f"turn {turns}",))
        assert reader.execute("SELECT count(*) FROM mention").fetchone() == (POSTS,), "one view"
        reader.execute("ROLLBACK")
    assert turns > POSTS / PURGE_CHUNK, "deleting and giving back take turns of their own"
    assert room(path).surplus == 0
    assert checkpoint(path) < full / 3
    assert sql(path, "SELECT count(*) FROM meta WHERE value = 'written meanwhile'") == [(turns,)]
    copying.check(path)


def test_a_slice_ends_when_its_time_is_over(keeper: Keeper) -> None:
    fill(keeper.store)
    sql(keeper.store.path, "DELETE FROM mention")
    before = room(keeper.store.path)
    seconds = count()  # each look at the clock is a second later
    given = database.give_back(
        keeper.store._engine, keeper.store.path, seconds=10, monotonic=lambda: next(seconds)
    )
    assert given == 9
    assert room(keeper.store.path).pages == before.pages - given


def test_some_room_is_kept_for_what_comes_in_next(keeper: Keeper) -> None:
    fill(keeper.store)
    with keeper.store.write() as unit:
        unit.mentions.purge(NOON + DAY, keep_states=(), limit=100)
    before = room(keeper.store.path)
    assert 0 < before.free < 256
    assert keeper.store.give_back() == 0
    assert room(keeper.store.path) == before


def test_a_file_of_an_earlier_version_stays_as_it_is_until_somebody_writes_it_anew(
    tmp_path: Path,
) -> None:
    store = in_an_old_file(fresh_store(tmp_path))
    fill(store)
    sql(store.path, "DELETE FROM mention WHERE id > 10")
    assert not room(store.path).shrinks
    assert store.give_back() == 0
    store.close()
    before, after = vacuum(store.path)
    assert after < before / 3
    assert room(store.path).shrinks
    assert room(store.path).free == 0
    assert sql(store.path, "SELECT count(*) FROM mention") == [(10,)]


def test_a_file_is_not_written_anew_while_somebody_writes_it_or_without_room(
    tmp_path: Path,
) -> None:
    store = fresh_store(tmp_path)
    fill(store, PURGE_CHUNK)
    with write_locked(store.path), pytest.raises(StoreError, match="locked by another"):
        vacuum(store.path, busy_seconds=0)
    with store.path.open("r+b") as file:
        file.truncate(shutil.disk_usage(tmp_path).free)  # mostly a hole
    with pytest.raises(StoreError, match="make room"):
        vacuum(store.path)


def test_a_long_log_is_cut_unless_somebody_reads_from_it(keeper: Keeper) -> None:
    path = keeper.store.path
    log = copying.beside(path, "-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM mention").fetchone()
        sql(path, "INSERT INTO meta VALUES ('long', zeroblob(?))", LOG_LIMIT)
        assert log.stat().st_size > LOG_LIMIT
        keeper.store.give_back()
        assert log.stat().st_size > LOG_LIMIT, "what somebody reads is not cut, nor waited for"
    keeper.store.give_back()
    assert log.stat().st_size == 0


def test_the_command_writes_the_file_anew_unless_a_daemon_uses_it(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    shutil.copy(Path(__file__).parent / "config" / "valid.toml", config)
    store = in_an_old_file(fresh_store(tmp_path))
    store.close()
    words = ["vacuum", "--config", str(config)]
    with hold(store.path):
        refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert "in use by another Merkwacht" in refused.stderr
    assert not room(store.path).shrinks
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert re.search(r"merkwacht\.db: \d+ kB before, \d+ kB now", done.stderr)
    assert room(store.path).shrinks

"""How long posts are kept where a source allows less than the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from monitor.metrics import Metrics
from monitor.tending import TendStep
from tests.fakes import FakeClock
from tests.monitor.crowds import announcer
from tests.monitor.make import add_incident, fresh_store, new_mention, sql

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

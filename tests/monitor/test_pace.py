"""A source that asks for a longer pause than its interval, tells of edits, or is read from old to new and has
not come to the present: what is kept and what counts as listened to then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from alerts.base import SignalKind
from connectors.base import Cursor, Darkness, Page, SourceFault
from monitor.tending import TendStep
from tests.monitor.crowds import announcer
from tests.monitor.make import sql
from tests.monitor.test_dark import INTERVAL, Desk, Scripted

WISH = timedelta(minutes=30)


class Slow(Scripted):
    """A feed that wants to be asked every half hour."""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().fetch(cursor):
            yield Page(page.posts, page.cursor, next_poll_after=WISH)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.connector = Slow(made.clock)
    made.restart()
    yield made
    made.close()


def stretches(desk: Desk) -> list[timedelta]:
    with desk.store.read() as unit:
        found = unit.sources.coverage(desk.clock() - timedelta(days=1), desk.clock())
    return [each.ended_at - each.started_at for each in found]


def test_keeping_to_the_wish_of_a_source_is_no_gap(desk: Desk) -> None:
    for _ in range(4):
        desk.poll(after=WISH)
    assert stretches(desk) == [3 * WISH]
    assert desk.reasons() == []


def test_staying_away_far_longer_than_agreed_is_one(desk: Desk) -> None:
    desk.poll(after=WISH)
    desk.poll(after=4 * WISH)
    assert stretches(desk) == [timedelta(0), timedelta(0)]
    assert [reason for reason, *_ in desk.reasons()] == [Darkness.DOWN]


def test_after_a_failure_no_pause_is_agreed_on(desk: Desk) -> None:
    desk.poll(after=WISH)
    desk.poll(SourceFault.TIMEOUT, after=WISH)
    desk.poll(after=WISH)
    assert stretches(desk) == [timedelta(0), timedelta(0)]


class Edited(Scripted):
    """A feed that brings one post, in as many versions as there are texts."""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().fetch(cursor):
            versions = []
            for post in page.posts:
                moment = self.clock() + timedelta(seconds=int(post.id))
                edited = None if post.id == "1" else moment
                versions.append(replace(post, id="p", edited_at=edited))
            yield replace(page, posts=versions)


@pytest.mark.parametrize(
    "polls",
    [
        [["Zonnehoek lekt"], ["Mijn hond is ziek"]],
        [["Zonnehoek lekt", "Mijn hond is ziek"]],
        [["Zonnehoek lekt"], ["Zonnehoek lekt nog"], ["Mijn hond is ziek"]],
    ],
    ids=["later", "in one page", "after another edit"],
)
def test_an_edit_that_takes_the_brand_out_takes_the_mention_along(
    tmp_path: Path, polls: list[list[str]]
) -> None:
    desk = Desk(tmp_path)
    desk.connector = Edited(desk.clock)
    desk.restart()
    for texts in polls:
        desk.poll(texts)
    assert sql(desk.store.path, "SELECT text FROM mention") == [("",)]
    assert sql(desk.store.path, "SELECT text FROM mention_version") == []
    desk.close()


class Slipping(Scripted):
    """A stream that is read from old to new, as far as the test says."""

    heard_until: datetime | None = None

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().fetch(cursor):
            yield Page(page.posts, page.cursor)
            self.number += 1
            yield Page((), {"number": self.number}, heard_until=self.heard_until)


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[tuple[Desk, Slipping]]:
    made = Desk(tmp_path)
    connector = made.connector = Slipping(made.clock)
    made.restart()
    yield made, connector
    made.close()


def test_what_is_not_read_up_to_the_present_is_not_listened_to(
    stream: tuple[Desk, Slipping],
) -> None:
    desk, connector = stream
    desk.poll()
    connector.heard_until = desk.clock() - 6 * INTERVAL
    desk.poll(["zonnehoek"])
    desk.poll()
    assert stretches(desk) == [timedelta(0)]
    assert desk.reasons() == [(Darkness.BEHIND, 10, True)]
    assert "was read up to" in desk.step.failures[-1].message
    with desk.store.read() as unit:
        state = unit.sources.state("feed")
        assert unit.mentions.newest() == 1, "what was read is kept"
    assert state.next_due_at <= desk.clock() + INTERVAL, "a pause would leave more to catch up with"
    connector.heard_until = None
    desk.poll()
    assert desk.reasons() == [(Darkness.BEHIND, 15, False)]


def test_a_little_behind_is_no_gap(stream: tuple[Desk, Slipping]) -> None:
    desk, connector = stream
    for _ in range(4):
        connector.heard_until = desk.clock() - INTERVAL
        desk.poll()
    assert stretches(desk) == [3 * INTERVAL]
    assert desk.reasons() == []


def test_catching_up_after_a_standstill_tells_both_apart(stream: tuple[Desk, Slipping]) -> None:
    desk, connector = stream
    desk.poll()
    left = desk.clock()
    desk.clock.advance(hours=3)
    desk.restart()
    connector.heard_until = left + timedelta(hours=1)
    desk.poll()
    connector.heard_until = None
    desk.poll()
    assert desk.reasons() == [(Darkness.DOWN, 185, False), (Darkness.BEHIND, 5, False)]


def test_only_who_stays_behind_for_long_is_told_of(stream: tuple[Desk, Slipping]) -> None:
    desk, connector = stream
    tend = TendStep(
        store=desk.store,
        sources=list(desk.step.sources.values()),
        announcer=announcer(),
        retention=timedelta(days=30),
        metrics=desk.metrics,
        now=desk.clock,
    )
    desk.poll()
    left = desk.clock()
    desk.clock.advance(hours=3)
    connector.heard_until = left + timedelta(hours=1)
    desk.poll()
    assert tend.run()[1] == [], "three hours were a standstill of our own"
    for _ in range(13):
        desk.poll()
    [announced] = tend.run()[1]
    assert (announced.incident.kind, announced.incident.subject) == (
        SignalKind.SILENT_SOURCE,
        "feed",
    )

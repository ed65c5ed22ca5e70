"""A source that asks for a longer pause than its interval, and what counts as listened to then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.base import Cursor, Darkness, Page, SourceFault
from tests.monitor.test_dark import Desk, Scripted

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

"""Told and swept: whatever fails or dies in between, every post is delivered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import (
    Arrival,
    ConnectorError,
    Context,
    Cursor,
    Page,
    Post,
    SourceFault,
)
from connectors.http import guarded_client
from connectors.sweeping import Event, Found, Pace, Step, Window, follow
from tests.connectors.conftest import MovedClock
from tests.connectors.pushing import NOON, Pushes

MINUTE = timedelta(minutes=1)
PACE = Pace(calls=4, every=15 * MINUTE, backfill=timedelta(hours=24), overlap=60 * MINUTE)


@cache
def unused_client() -> httpx.Client:
    return guarded_client()


@dataclass
class Platform:
    """Two lists and pushes; calls fail as often as ``troubles`` says."""

    clock: MovedClock
    lists: dict[str, list[Post]] = field(default_factory=lambda: {"a": [], "b": []})
    named: dict[str, Post] = field(default_factory=dict)
    """Posts that only a push tells of."""
    troubles: list[SourceFault | None] = field(default_factory=list)
    calls: int = 0
    page: int = 3

    def write(self, where: str) -> Post:
        self.clock.move(timedelta(seconds=1))
        number = len(self.named) + sum(map(len, self.lists.values()))
        post = Post("test", f"p{number}", f"text {number}", self.clock())
        if where in self.lists:
            self.lists[where].append(post)
        else:
            self.named[post.id] = post
        return post

    def _call(self) -> None:
        self.calls += 1
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None:
            raise ConnectorError("as told", fault=trouble)

    def events(self, arrival: Arrival) -> Sequence[Event]:
        found: list[Event] = json.loads(arrival.body)
        return found

    def tell(self, event: Event, received_at: datetime) -> Found:
        if event.get("whole"):
            return Found([replace(self._by_id(event["id"]))], calls=0)
        self._call()
        return Found([self.named[event["id"]]])

    def _by_id(self, ident: str) -> Post:
        return next(post for posts in self.lists.values() for post in posts if post.id == ident)

    def steps(self) -> Sequence[Step]:
        return [Step(name) for name in self.lists]

    def read(self, step: Step, window: Window) -> Found:
        self._call()
        newest = list(reversed(self.lists[step.path]))
        start = 0
        if step.token is not None:
            start = [post.id for post in newest].index(step.token) + 1
        page = newest[start : start + self.page]
        posts = [post for post in page if post.published_at >= window.since]
        goes_on = len(posts) == self.page and start + self.page < len(newest)
        more = [Step(step.path, page[-1].id)] if goes_on else []
        return Found(posts, more=more, at=self.clock())


class Daemon:
    """Polls, keeps what was stored, and dies when told to."""

    def __init__(self, platform: Platform, pace: Pace = PACE) -> None:
        self.platform = platform
        self.pace = pace
        self.pushes = Pushes()
        self.context = Context("x", platform.clock, unused_client(), intake=self.pushes)
        self.cursor: Cursor | None = None
        self.stored: list[str] = []
        self.rejects: list[str] = []
        self.faults: list[SourceFault] = []

    def poll(self, die_before: int | None = None) -> list[Page]:
        pages: list[Page] = []
        try:
            for page in follow(self.platform, self.context, self.cursor, self.pace):
                if len(pages) == die_before:
                    break
                self.cursor = json.loads(json.dumps(page.cursor))
                self.stored += [post.id for post in page.posts]
                self.rejects += [reject.reason for reject in page.rejects]
                pages.append(page)
        except ConnectorError as error:
            self.faults.append(error.fault)
        return pages

    def push(self, *events: Any) -> None:
        self.pushes.push(json.dumps(events).encode(), self.platform.clock())

    def rest(self) -> None:
        """Without further trouble, until there is nothing left to do."""
        self.platform.troubles.clear()
        for _ in range(60):
            self.platform.clock.move(16 * MINUTE)
            self.poll()


_TROUBLES = st.sampled_from(
    [None, None, None, SourceFault.TIMEOUT, SourceFault.SERVER_ERROR, SourceFault.RATE_LIMITED]
)
_DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("whole"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("name"), st.just("")),
        st.tuples(st.just("poll"), st.one_of(st.none(), st.integers(0, 3))),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("trouble"), st.lists(_TROUBLES, max_size=4)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(deeds=_DEEDS)
def test_whatever_fails_or_dies_every_post_is_delivered(deeds: list[tuple[str, Any]]) -> None:
    platform = Platform(MovedClock(NOON))
    daemon = Daemon(platform)
    written: list[str] = []
    for deed, what in deeds:
        match deed:
            case "write":
                written.append(platform.write(what).id)
            case "whole":
                post = platform.write(what)
                written.append(post.id)
                daemon.push({"id": post.id, "whole": True})
            case "name":
                post = platform.write("nowhere")
                written.append(post.id)
                daemon.push({"id": post.id})
            case "poll":
                before = platform.calls
                daemon.poll(what)
                assert platform.calls - before <= PACE.calls
            case "wait":
                platform.clock.move(what * MINUTE)
            case "trouble":
                platform.troubles = list(what)
    daemon.rest()
    assert set(daemon.stored) == set(written)
    assert not daemon.rejects
    # All of it is done: nothing is kept, asked for or stored again.
    calls, stored = platform.calls, len(daemon.stored)
    daemon.poll()
    daemon.poll()
    assert platform.calls == calls
    assert len(daemon.stored) == stored
    assert daemon.cursor is not None
    assert daemon.cursor["later"] == daemon.cursor["todo"] == []
    assert not daemon.pushes.arrivals


def test_without_a_death_every_post_comes_once() -> None:
    platform = Platform(MovedClock(NOON))
    daemon = Daemon(platform)
    for _ in range(30):
        daemon.push({"id": platform.write("a").id, "whole": True})
        daemon.push({"id": platform.write("nowhere").id})
        platform.write("b")
        daemon.poll()
        platform.clock.move(7 * MINUTE)
    daemon.rest()
    assert sorted(daemon.stored) == sorted({*daemon.stored})
    assert len(daemon.stored) == 90


def test_the_cursor_stays_small_however_much_comes() -> None:
    platform = Platform(MovedClock(NOON), page=500)
    daemon = Daemon(platform, replace(PACE, calls=20))
    for _ in range(4_000):
        platform.write("a")
    daemon.poll()
    assert len(set(daemon.stored)) == 4_000
    assert len(json.dumps(daemon.cursor)) < 100_000


def test_more_than_can_be_put_off_is_set_aside_and_told() -> None:
    platform = Platform(MovedClock(NOON))
    daemon = Daemon(platform)
    daemon.push({"id": platform.write("nowhere").id})
    platform.troubles = [SourceFault.SERVER_ERROR]
    daemon.poll()
    assert daemon.cursor is not None
    [kept] = daemon.cursor["later"]
    daemon.cursor = {**daemon.cursor, "later": [kept] * 1_000}
    daemon.push({"id": platform.write("nowhere").id})
    platform.troubles = [SourceFault.SERVER_ERROR]
    daemon.poll()
    assert len(daemon.cursor["later"]) == 1_000
    assert len(daemon.rejects) == 1


@pytest.mark.parametrize(
    ("fault", "kept_from_the_lists"),
    [(SourceFault.SERVER_ERROR, False), (SourceFault.RATE_LIMITED, True)],
)
def test_one_post_that_always_fails_keeps_nobody_from_the_lists(
    fault: SourceFault, kept_from_the_lists: bool
) -> None:
    platform = Platform(MovedClock(NOON))
    daemon = Daemon(platform)
    daemon.push({"id": platform.write("nowhere").id})
    platform.troubles = [fault]
    daemon.poll()
    name = platform.write("a").id
    platform.clock.move(16 * MINUTE)
    platform.troubles = [fault]
    daemon.poll()
    assert (name not in daemon.stored) == kept_from_the_lists

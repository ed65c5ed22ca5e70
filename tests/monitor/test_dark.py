"""When a source was not heard and why; a canary that stays away; what `merkwacht sources` says of it."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from connectors.base import ConnectorError, Cursor, Darkness, Page, Post, SourceFault, darkness_of
from connectors.query import Query
from monitor.commands import sources as command
from monitor.inbox import Inbox
from monitor.matching import Brand
from monitor.metrics import Metrics
from monitor.polling import PollStep, Source
from monitor.privacy import Pseudonyms
from monitor.store import Store
from monitor.store.darkness import Dark
from tests.fakes import FakeClock

INTERVAL = timedelta(minutes=5)


class Scripted:
    """A connector that does what the test says next."""

    kind = "rss"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.number = 0
        self.next: Sequence[str] | SourceFault = ()

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        if isinstance(self.next, SourceFault):
            raise ConnectorError(f"feed.example: {self.next}; mend it", fault=self.next)
        posts = []
        for text in self.next:
            self.number += 1
            posts.append(Post("news", str(self.number), text, self.clock()))
        yield Page(posts, {"number": self.number})

    def close(self) -> None:
        pass


class Desk:
    """A poll step over a real store, with one source."""

    def __init__(self, folder: Path, *, canary: str | None = None) -> None:
        self.clock = FakeClock()
        self.connector = Scripted(self.clock)
        self.store = Store(folder / "desk.db")
        self.canary = None if canary is None else Query.parse(canary)
        self.inbox = Inbox()
        self.pool = ThreadPoolExecutor(1)
        self.restart()

    def restart(self, *names: str) -> None:
        self.metrics = Metrics(CollectorRegistry())
        brand = Brand("Zonnehoek", Query.parse("zonnehoek"), frozenset())
        self.step = PollStep(
            sources=[
                Source(
                    name=name,
                    kind="rss",
                    connector=self.connector,  # type: ignore[arg-type] # as much as polling needs
                    brands=[brand],
                    interval=INTERVAL,
                    silent_after=timedelta(hours=1),
                    fingerprint="same",
                    canary=self.canary,
                    canary_within=timedelta(hours=6),
                )
                for name in names or ("feed",)
            ],
            store=self.store,
            inbox=self.inbox,
            pool=self.pool,
            pseudonyms=Pseudonyms(b"k" * 32),
            metrics=self.metrics,
            now=self.clock,
            rng=random.Random(1),
            stored=lambda: None,
        )
        self.step.begin()

    def poll(self, what: Sequence[str] | SourceFault = (), *, after: timedelta = INTERVAL) -> None:
        """Let time pass, then poll, however long the step would rather wait."""
        self.connector.next = what
        self.clock.moment += after
        with self.store.write() as unit:
            unit.sources.make_due(list(self.step.sources), self.clock())
        assert self.step.run() == len(self.step.sources)
        while self.step.in_flight:
            self.inbox.pump(5)

    def dark(self) -> list[Dark]:
        with self.store.read() as unit:
            return unit.dusk.stretches(self.clock() - timedelta(days=30), self.clock())

    def reasons(self) -> list[tuple[Darkness, float, bool]]:
        """Reason, minutes and whether it lasts, of every stretch."""
        return [
            (
                each.reason,
                ((each.ended_at or self.clock()) - each.started_at) / timedelta(minutes=1),
                each.ended_at is None,
            )
            for each in self.dark()
        ]

    def close(self) -> None:
        self.pool.shutdown()
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_a_stretch_begins_at_the_last_good_poll_and_ends_with_the_next(desk: Desk) -> None:
    desk.poll()
    desk.poll(SourceFault.UNREACHABLE)
    desk.poll(SourceFault.TIMEOUT)
    assert desk.reasons() == [(Darkness.ERROR, 10, True)]
    desk.poll()
    [dark] = desk.dark()
    assert (dark.ended_at, dark.polls, dark.fault) == (desk.clock(), 2, "timeout")
    assert dark.error == "feed.example: timeout; mend it"


def test_another_reason_is_another_stretch(desk: Desk) -> None:
    desk.poll()
    desk.poll(SourceFault.TIMEOUT)
    desk.poll(SourceFault.UNAUTHORIZED)
    desk.poll(SourceFault.FORBIDDEN)
    desk.poll(SourceFault.RATE_LIMITED)
    assert desk.reasons() == [
        (Darkness.ERROR, 10, False),
        (Darkness.REFUSED, 10, False),
        (Darkness.QUOTA, 0, True),
    ]


def test_a_source_that_never_answered_is_dark_from_the_start(desk: Desk) -> None:
    desk.poll(SourceFault.UNAUTHORIZED)
    assert desk.reasons() == [(Darkness.REFUSED, 5, True)]


def test_time_without_the_program_is_dark_and_has_its_name(desk: Desk) -> None:
    desk.poll()
    desk.clock.advance(hours=3)
    desk.restart()
    desk.poll()
    assert desk.reasons() == [(Darkness.DOWN, 185, False)]
    desk.poll()
    assert len(desk.dark()) == 1, "an ordinary pause is none"


def test_a_source_that_is_not_configured_any_more_is_paused_until_it_is_again(desk: Desk) -> None:
    desk.poll()
    desk.restart("other")
    desk.clock.advance(hours=2)
    desk.restart("other")
    [paused] = desk.dark()
    assert (paused.source, paused.reason, paused.ended_at) == ("feed", Darkness.PAUSED, None)
    desk.restart("feed")
    assert {each.reason for each in desk.dark() if each.source == "feed"} == {Darkness.PAUSED}
    assert next(each.ended_at for each in desk.dark() if each.source == "feed") is not None


def test_every_fault_has_a_reason() -> None:
    assert {darkness_of(fault) for fault in SourceFault} == {
        Darkness.REFUSED,
        Darkness.BLOCKED,
        Darkness.QUOTA,
        Darkness.BEHIND,
        Darkness.ERROR,
    }


@settings(max_examples=25, deadline=None)
@given(polls=st.lists(st.sampled_from([(), *SourceFault]), min_size=1, max_size=12))
def test_stretches_never_overlap_and_cover_every_failed_poll(
    polls: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    failed = []
    for what in polls:
        desk.poll(what)
        if what != ():
            failed.append(desk.clock())
    found = desk.dark()
    assert sum(each.polls for each in found) == len(failed)
    for one, other in pairwise(found):
        assert one.ended_at is not None
        assert one.ended_at <= other.started_at
    for at in failed:
        assert any(each.started_at <= at <= (each.ended_at or at) for each in found)
    assert any(each.ended_at is None for each in found) == (polls[-1] != ())
    desk.close()


# --- the canary -----------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, canary="gemeente")
    yield made
    made.close()


def hours(desk: Desk, count: float, what: Sequence[str] = ()) -> None:
    for _ in range(round(count * 12)):
        desk.poll(what)


def test_a_source_whose_canary_stays_away_is_blocked_although_it_answers(mine: Desk) -> None:
    mine.poll(["De gemeente opent een park."])
    hours(mine, 6)
    assert mine.dark() == []
    mine.poll()
    assert mine.reasons() == [(Darkness.BLOCKED, 5, True)]
    assert "canary finds (gemeente)" in mine.step.failures[-1].message
    hours(mine, 1, ["Zonnehoek opent een winkel."])
    assert mine.reasons() == [(Darkness.BLOCKED, 65, True)], "other posts do not show that it sees"
    mine.poll(["Gemeente sluit een park."])
    assert mine.reasons() == [(Darkness.BLOCKED, 70, False)]
    mine.poll()
    assert len(mine.dark()) == 1


def test_the_canary_is_no_mention(mine: Desk) -> None:
    mine.poll(["De gemeente opent een park.", "Zonnehoek in de gemeente."])
    with mine.store.read() as unit:
        assert unit.mentions.queue_length() == 1


def test_a_canary_is_given_its_time_anew_after_the_program_was_down(mine: Desk) -> None:
    mine.poll(["De gemeente opent een park."])
    mine.clock.advance(days=2)
    mine.restart()
    mine.poll()
    assert [reason for reason, *_ in mine.reasons()] == [Darkness.DOWN]
    hours(mine, 5.9)
    assert [reason for reason, *_ in mine.reasons()] == [Darkness.DOWN]
    hours(mine, 0.3)
    assert [reason for reason, *_ in mine.reasons()] == [Darkness.DOWN, Darkness.BLOCKED]


def test_blocked_is_remembered_over_a_restart(mine: Desk) -> None:
    hours(mine, 6.5)
    mine.restart()
    mine.poll()
    assert mine.reasons()[-1][0] is Darkness.BLOCKED
    assert mine.reasons()[-1][2]


# --- for people and for graphs --------------------------------------------------------------------


def gauge(desk: Desk, reason: Darkness) -> float | None:
    return desk.metrics.registry.get_sample_value(
        "merkwacht_source_dark", {"source": "feed", "reason": reason.value}
    )


def test_the_metric_says_why_and_says_it_again_after_a_restart(desk: Desk) -> None:
    desk.metrics.expect(sources=["feed"], brands=[], channels=[], steps=[])
    assert gauge(desk, Darkness.REFUSED) == 0
    desk.poll(SourceFault.UNAUTHORIZED)
    assert gauge(desk, Darkness.REFUSED) == 1
    desk.restart()
    assert gauge(desk, Darkness.REFUSED) == 1
    desk.poll(SourceFault.TIMEOUT)
    assert (gauge(desk, Darkness.REFUSED), gauge(desk, Darkness.ERROR)) == (0, 1)
    desk.poll()
    assert (gauge(desk, Darkness.REFUSED), gauge(desk, Darkness.ERROR)) == (0, 0)


def shown(desk: Desk, **options: Any) -> str:
    sink = io.StringIO()
    command.show(
        desk.store, sink, now=desk.clock(), since=timedelta(days=7), timezone="UTC", **options
    )
    return sink.getvalue()


def test_the_list_says_what_is_wrong_and_what_to_do(desk: Desk) -> None:
    desk.poll(["Zonnehoek opent."])
    desk.poll(SourceFault.UNAUTHORIZED)
    text = shown(desk)
    assert "refused" in text
    assert "feed.example: unauthorized; mend it" in text
    desk.poll()
    text = shown(desk)
    assert "listening" in text
    assert "mend it" not in text
    assert "refused 10m" in text


def test_the_list_for_machines_has_every_stretch(desk: Desk) -> None:
    desk.poll()
    desk.poll(SourceFault.TIMEOUT)
    desk.poll()
    [line] = shown(desk, as_json=True).splitlines()
    found = json.loads(line)
    assert (found["name"], found["state"], found["error"]) == ("feed", "listening", None)
    [dark] = found["dark"]
    assert (dark["reason"], dark["fault"], dark["polls"]) == ("error", "timeout", 1)
    assert found["coverage"] == pytest.approx(1 / 3, abs=0.001), "5 of 15 minutes since first seen"


def test_nothing_was_ever_configured(desk: Desk, tmp_path: Path) -> None:
    empty = Store(tmp_path / "empty.db")
    sink = io.StringIO()
    command.show(empty, sink, now=desk.clock(), since=timedelta(days=1), timezone="UTC")
    assert "No source has been polled yet" in sink.getvalue()
    empty.close()

"""The step `detect`: what is settled is consumed once, and only uncovered time is left out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event

from alerts.base import SignalKind
from alerts.routes import ReceiverOptions, RouteOptions
from alerts.spikes import Sensitivity
from alerts.topics import TopicDetector
from classifiers.base import (
    Abuse,
    AbuseLabel,
    Assessment,
    Leak,
    LeakBand,
    LeakCategory,
    Sentiment,
    SentimentLabel,
)
from connectors.base import Post
from monitor.announcing import Announcer, Rulebook
from monitor.detecting import DetectStep, Watched
from monitor.metrics import Metrics
from monitor.store import Store
from monitor.store.mentions import NewMention, bucket_of
from tests.fakes import FakeClock

START = datetime(2026, 11, 9, 0, 0, tzinfo=UTC)
WORDS = (
    "kassa", "rijen", "brood", "kaas", "fruit", "bezorger", "tas", "bon", "korting",
    "spaarkaart", "parkeren", "fietsen", "koffie", "bakker", "groente", "vlees", "schap",
    "folder", "vakje", "lamp", "vloer", "deur", "krat", "fles", "soep", "thee", "ijs", "jam",
)  # fmt: skip


class Stage:
    """A store with mentions that are assessed as told, and the step over it."""

    def __init__(self, folder: Path, *sources: str) -> None:
        self.clock = FakeClock(START)
        self.store = Store(folder / "test.db")

        @event.listens_for(self.store._engine, "connect")
        def _hasty(connection: sqlite3.Connection, *_: object) -> None:
            # No power cut is tested here, and a test commits thousands of times.
            connection.execute("PRAGMA synchronous=OFF")

        self.sources = sources
        self.number = 0
        with self.store.write() as unit:
            for name in sources:
                unit.sources.ensure(name, "file", "", START)
        metrics = Metrics(CollectorRegistry())
        rules = Rulebook(
            routes=[RouteOptions(receivers=("team",))],
            receivers=[ReceiverOptions(name="team", channels=({"use": "mail", "to": ["a@b.nl"]},))],  # type: ignore[arg-type]
            language="nl",
            timezone="Europe/Amsterdam",
            handles={},
        )
        self.step = DetectStep(
            store=self.store,
            brands=[
                Watched(
                    "Acme",
                    Sensitivity.BALANCED,
                    dict.fromkeys(sources, timedelta(minutes=5)),
                    ("acme",),
                )
            ],
            announcer=Announcer(rules, installation="test", metrics=metrics),
            timezone="Europe/Amsterdam",
            now=self.clock,
        )

    def say(self, text: str, sentiment: SentimentLabel = SentimentLabel.NEUTRAL) -> None:
        self.number += 1
        post = Post("x", str(self.number), text, self.clock(), author=f"a{self.number}")
        mention = NewMention("Acme", self.sources[0], post, ("acme",), f"story {self.number}")
        opinion = Assessment(
            "nl",
            Sentiment(sentiment, dict.fromkeys(SentimentLabel, 1 / 3)),
            Leak(band=LeakBand.LOW, score=0.0, likely=LeakCategory.NONE),
            Abuse(AbuseLabel.NONE, 0.0),
        )
        with self.store.write() as unit:
            unit.mentions.add([mention], self.clock())
            (queued,) = unit.mentions.queue(1)
            unit.mentions.assess({queued.mention.id: opinion}, "v1", self.clock())

    def pass_time(
        self, minutes: float = 15, *, dark: tuple[str, ...] = (), look: bool = True
    ) -> list[SignalKind]:
        self.clock.advance(minutes=minutes)
        with self.store.write() as unit:
            for source in self.sources:
                if source not in dark:
                    unit.sources.cover(source, self.clock(), gap=timedelta(minutes=20))
        return [each.incident.kind for each in self.step.run()[1]] if look else []

    def ordinary_days(self, days: int) -> None:
        for quarter in range(days * 96):
            if quarter % 3 == 0 and 28 <= quarter % 96 <= 88:
                first, second, third = (WORDS[(quarter * k) % len(WORDS)] for k in (1, 7, 11))
                self.say(f"acme {first} {second} {third}")
            assert self.pass_time(look=quarter % 4 == 3) == []


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, "news", "x")
    yield stage
    stage.store.close()


def test_each_mention_is_read_once_by_the_stored_topic_detector(stage: Stage) -> None:
    stage.ordinary_days(2)
    with stage.store.read() as unit:
        kept = unit.mentions.detector("Acme", "topic")
        assert kept is not None
        settled = unit.mentions.voices("Acme", START, kept.settled_until)
    plain = TopicDetector(ignore=("acme", "Acme"))
    for voice in settled:
        plain.advance(voice.published_at, voice.text, author=voice.author or "", story=voice.story)
    assert kept.snapshot == plain.snapshot()


def test_a_word_on_many_lips_is_noticed_and_named(stage: Stage) -> None:
    stage.ordinary_days(5)
    kinds: list[SignalKind] = []
    for number in range(5):
        stage.say(f"{WORDS[number]} met hummus van acme {WORDS[-number]}", SentimentLabel.NEGATIVE)
        kinds += stage.pass_time(5)
    assert SignalKind.TOPIC_BURST in kinds
    with stage.store.read() as unit:
        (incident,) = unit.incidents.burning("Acme")
        facts = unit.incidents.signals(incident.id)[0].facts
        told = unit.outbox.of_incident(incident.id)
    assert facts["term"] == "hummus"
    assert facts["negative_share"] == 1.0
    assert told


def test_a_restart_tells_nothing_twice(stage: Stage) -> None:
    stage.ordinary_days(5)
    for number in range(6):
        stage.say(f"ziek van de hummus van acme {WORDS[number]}", SentimentLabel.NEGATIVE)
        stage.pass_time(5)
    with stage.store.read() as unit:
        before = len(unit.outbox.of_incident(1))
    stage.step._seen.clear()
    assert stage.pass_time(0) == []
    with stage.store.read() as unit:
        assert len(unit.outbox.of_incident(1)) == before


def test_time_in_which_most_sources_were_dark_teaches_nothing(stage: Stage) -> None:
    stage.ordinary_days(3)
    with stage.store.read() as unit:
        before = unit.mentions.detector("Acme", "volume")
    for _ in range(96):
        stage.pass_time(15, dark=("news", "x"))
    with stage.store.read() as unit:
        after = unit.mentions.detector("Acme", "volume")
    assert before is not None
    assert after is not None
    assert after.settled_until >= before.settled_until + timedelta(hours=23)
    assert after.snapshot["covered"] - before.snapshot["covered"] < 4 * 3600


def test_a_queue_that_does_not_empty_holds_settling_up(stage: Stage) -> None:
    stage.ordinary_days(1)
    post = Post("x", "waiting", "acme wacht", stage.clock(), author="a")
    with stage.store.write() as unit:
        unit.mentions.add([NewMention("Acme", "x", post, ("acme",), "s")], stage.clock())
    arrived = stage.clock()
    for _ in range(20):
        stage.pass_time()
    with stage.store.read() as unit:
        kept = unit.mentions.detector("Acme", "volume")
    assert kept is not None
    assert kept.settled_until <= bucket_of(arrived)

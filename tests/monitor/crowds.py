"""A stage for tests of the step `detect`: a real store, real counts, and a public that talks on cue."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import event

from alerts.base import Signal
from alerts.routes import ReceiverOptions, RouteOptions
from alerts.spikes import Sensitivity
from classifiers.base import SentimentLabel
from connectors.base import Post
from monitor.announcing import Announcer, Rulebook
from monitor.detecting import DetectStep, Watched
from monitor.metrics import Metrics
from monitor.store import Store
from monitor.store.crowd import bucket_of
from monitor.store.mentions import NewMention
from tests.alerts.make import assessment
from tests.fakes import FakeClock
from tests.monitor.make import fresh_store

MONDAY = datetime(2026, 11, 9, 0, 0, tzinfo=UTC)
BRAND = "Acme"
ZONE = "Europe/Amsterdam"
CALM = assessment()
WORDS = (
    "kassa", "rijen", "brood", "kaas", "fruit", "bezorger", "tas", "bon", "korting", "spaarkaart",
    "parkeren", "fietsen", "koffie", "bakker",
)  # fmt: skip
POLL = timedelta(minutes=5)


def announcer() -> Announcer:
    rules = Rulebook(
        routes=[RouteOptions(receivers=("team",))],
        receivers=[ReceiverOptions(name="team", channels=({"use": "mail", "to": ["a@b.nl"]},))],
        language="nl",
        timezone=ZONE,
        handles={},
    )
    return Announcer(rules, installation="test", metrics=Metrics(CollectorRegistry()))


class Crowd:
    """A brand's public, the sources that carry it, and the step that listens."""

    def __init__(
        self,
        folder: Path,
        sources: Iterable[str] = ("x",),
        *,
        start: datetime = MONDAY,
        sensitivity: Sensitivity = Sensitivity.BALANCED,
    ) -> None:
        self.clock = FakeClock(start)
        self.use(fresh_store(folder))
        self.sources = tuple(sources)
        self.number = 0
        self.watched = Watched(BRAND, sensitivity, dict.fromkeys(self.sources, POLL), ("acme",))
        with self.store.write() as unit:
            for name in self.sources:
                unit.sources.ensure(name, "file", "", start)
        self.restart()

    def use(self, store: Store) -> None:
        """Talk into another store."""
        self.store = store

        @event.listens_for(store._engine, "connect")
        def _hasty(connection: sqlite3.Connection, *_: object) -> None:
            # No power cut is tested here, and a test commits thousands of times.
            connection.execute("PRAGMA synchronous=OFF")

    def restart(self) -> None:
        """Nothing is kept but what lies in the store."""
        self.step = DetectStep(
            store=self.store,
            brands=[self.watched],
            announcer=announcer(),
            timezone=ZONE,
            now=self.clock,
        )

    def say(
        self,
        text: str = "acme",
        *,
        negative: bool = False,
        at: datetime | None = None,
        source: str | None = None,
        author: str | None = None,
        story: str | None = None,
        followers: int | None = None,
        language: str = "nl",
    ) -> None:
        self.say_all([{
            "text": text, "negative": negative, "at": at, "source": source, "author": author,
            "story": story, "followers": followers, "language": language,
        }])  # fmt: skip

    def say_all(self, posts: Iterable[Mapping[str, object]]) -> None:
        """Store and assess some posts; what is left out is a default."""
        new, opinions = [], {}
        for post in posts:
            self.number += 1
            said = Post(
                "x",
                str(self.number),
                str(post.get("text") or "acme"),
                post.get("at") or self.clock(),  # type: ignore[arg-type]
                author=str(post.get("author") or f"a{self.number}"),
                author_followers=post.get("followers"),  # type: ignore[arg-type]
            )
            source = str(post.get("source") or self.sources[0])
            story = str(post.get("story") or f"s{self.number}")
            new.append(NewMention(BRAND, source, said, (), story))
            mood = SentimentLabel.NEGATIVE if post.get("negative") else SentimentLabel.NEUTRAL
            opinions[said.id] = replace(
                CALM,
                language=str(post.get("language") or "nl"),
                sentiment=replace(CALM.sentiment, label=mood),
            )
        with self.store.write() as unit:
            unit.mentions.add(new, self.clock())
            waiting = [queued.mention for queued in unit.mentions.queue(len(new))]
            found = {mention.id: opinions[mention.post.id] for mention in waiting}
            unit.mentions.assess(found, "v1", self.clock())

    def past(self, days: float, rates: Mapping[str, int], *, dark: Iterable[str] = ()) -> None:
        """Ordinary days of which only the numbers are left, as after a purge. Cheap."""
        begin = self.clock()
        counts: Counter[tuple[str, str, str]] = Counter()
        voices: Counter[str] = Counter()
        for post in ordinary(begin, days, rates, dark):
            at = bucket_of(post["at"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            counts[at, post["source"], "negative" if post["negative"] else "neutral"] += 1
            voices[at] += 1
        with closing(sqlite3.connect(self.store.path)) as database, database:
            database.executemany(
                "INSERT INTO bucket_count (brand, bucket, source, sentiment, count)"
                " VALUES (?, ?, ?, ?, ?)",
                [(BRAND, *key, count) for key, count in counts.items()],
            )
            database.executemany(
                "INSERT INTO bucket_voices VALUES (?, ?, ?, ?, 0)",
                [(BRAND, at, count, count) for at, count in voices.items()],
            )
        self._heard(begin, round(days * 24), dark)

    def _heard(self, begin: datetime, hours: int, dark: Iterable[str]) -> None:
        self.clock.moment = begin + timedelta(hours=hours)
        with self.store.write() as unit:
            for hour in range(hours + 1):
                for source in set(self.sources) - set(dark):
                    at = begin + timedelta(hours=hour)
                    unit.sources.cover(source, at, gap=timedelta(hours=1))

    def look(self, begin: datetime, hours: int = 2) -> None:
        """Look every so many hours from ``begin`` until now."""
        end, self.clock.moment = self.clock(), begin
        while self.clock() < end:
            self.clock.advance(hours=hours)
            self.step.run()

    def catch_up(self) -> None:
        """Let the step take in what lies behind."""
        for _ in range(3):
            self.step.run()

    def listen(self, *, dark: Iterable[str] = ()) -> None:
        with self.store.write() as unit:
            for source in self.sources:
                if source not in dark:
                    unit.sources.cover(source, self.clock(), gap=timedelta(minutes=20))

    def pass_time(self, minutes: float = 5, *, dark: Iterable[str] = ()) -> None:
        """Let the clock run, the sources be polled, and the step look once."""
        self.clock.advance(minutes=minutes)
        self.listen(dark=dark)
        self.step.run()

    def days(self, days: float, rates: Mapping[str, int]) -> None:
        """Ordinary days, post by post."""
        begin, hours = self.clock(), round(days * 24)
        self.clock.advance(hours=hours)
        self.say_all(ordinary(begin, days, rates, ()))
        self._heard(begin, hours, ())

    def signals(self) -> list[Signal]:
        """Everything that was found, in the order in which it was."""
        with self.store.read() as unit:
            incidents = unit.incidents.latest(1000)
            return [
                signal
                for incident in reversed(incidents)
                for signal in unit.incidents.signals(incident.id)
            ]

    def close(self) -> None:
        self.store.close()


def ordinary(
    begin: datetime, days: float, rates: Mapping[str, int], dark: Iterable[str]
) -> list[dict[str, Any]]:
    """About so many posts from each source in every hour that people are up; the same at every run."""
    posts = []
    for begun in (begin + timedelta(hours=hour) for hour in range(round(days * 24))):
        if not 7 <= begun.hour < 22:
            continue
        for source in sorted(set(rates) - set(dark)):
            count = rates[source] + (begun.day * 7 + begun.hour * 5) % 3 - 1
            posts += [
                {
                    "source": source,
                    "at": begun + timedelta(minutes=60 * place / max(count, 1) + 1),
                    "negative": place % 5 == 0,
                    "text": f"acme {WORDS[place % 7]} {WORDS[7 + begun.hour % 7]}",
                }
                for place in range(count)
            ]
    return posts

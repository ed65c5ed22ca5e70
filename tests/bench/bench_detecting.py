"""What one look of the step `detect` costs: a thousand brands with a year of history, and with a week.

    python tests/bench/bench_detecting.py [--brands 1000] [--days 365] [--a-day 6] [--rounds 3]

Two stores hold the same brands with the same last week; one of them also holds the year before it
(numbers of a year, posts of the ninety days that are kept by default). In every round each brand gets
one more post, so that none is passed over as unchanged, and the two stores take turns.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parents[2]))

from alerts.spikes import Sensitivity
from monitor.announcing import Announcer, Rulebook
from monitor.detecting import DetectStep, Watched
from monitor.metrics import Metrics
from monitor.store import Store

NOW = datetime(2026, 11, 18, 15, 2, tzinfo=UTC)
KEPT = 90
"""Days that posts are kept; numbers stay."""
WORDS = (
    "kassa",
    "brood",
    "kaas",
    "fruit",
    "bezorger",
    "tas",
    "bon",
    "korting",
    "parkeren",
    "fiets",
)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def moments(brand: int, days: int, a_day: int) -> Iterator[datetime]:
    """The same last week whatever the number of days: drawn anew for each day and brand."""
    for day in range(days, 0, -1):
        drawn = random.Random(brand * 1000 + day)
        begin = NOW.replace(hour=8, minute=0) - timedelta(days=day)
        for _ in range(a_day):
            yield begin + timedelta(minutes=drawn.randrange(13 * 60))


MENTION = (
    "INSERT OR IGNORE INTO mention (brand, platform, post_id, source, author, official, published_at,"
    " seen_at, text, likes, shares, replies, matched, story, imported, assessed_by, counted_as, tries,"
    " failed) VALUES (?, 'x', ?, 'x', ?, 0, ?, ?, ?, 0, 0, 0, '[]', ?, 0, 'v1', 'neutral', 0, 0)"
)
COUNT = (
    "INSERT INTO bucket_count VALUES (?, ?, 'x', 'neutral', 1)"
    " ON CONFLICT DO UPDATE SET count = count + 1"
)
VOICES = (
    "INSERT INTO bucket_voices VALUES (?, ?, 1, 1, 0)"
    " ON CONFLICT DO UPDATE SET authors = authors + 1, stories = stories + 1"
)


def bucket(moment: datetime) -> datetime:
    return datetime.fromtimestamp(int(moment.timestamp()) // 300 * 300, UTC)


def post(brand: str, name: str, at: datetime) -> tuple[str, ...]:
    text = f"{brand} {WORDS[hash(name) % 10]} {WORDS[hash(name) // 10 % 10]}"
    return brand, name, f"author {name}", stamp(at), stamp(at), text, f"story {name}"


@dataclass
class Bench:
    """A store filled with a history, and the step over it."""

    path: Path
    store: Store
    step: DetectStep
    brands: int
    posts: int = 0

    def another_post_each(self) -> None:
        at = NOW - timedelta(minutes=1)
        with closing(sqlite3.connect(self.path)) as database, database:
            for number in range(self.brands):
                brand, self.posts = f"brand {number}", self.posts + 1
                database.execute(MENTION, post(brand, f"new {self.posts}", at))
                database.execute(COUNT, (brand, stamp(bucket(at))))
                database.execute(VOICES, (brand, stamp(bucket(at))))

    def look(self) -> float:
        """Milliseconds of processor time for a brand."""
        began = time.process_time()
        self.step.run()
        return (time.process_time() - began) * 1000 / self.brands


def built(folder: Path, brands: int, days: int, a_day: int) -> Bench:
    path = folder / "merkwacht.db"
    store = Store(path)
    with store.write() as unit:
        unit.sources.ensure("x", "x", "", NOW)
        unit.sources.cover("x", NOW - timedelta(days=days), gap=timedelta())
        unit.sources.cover("x", NOW, gap=timedelta(days=days + 1))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous=OFF")
        for number in range(brands):
            brand = f"brand {number}"
            said = list(moments(number, days, a_day))
            cells = [(brand, stamp(bucket(at))) for at in said]
            database.executemany(COUNT, cells)
            database.executemany(VOICES, cells)
            recent = [at for at in said if NOW - at < timedelta(days=KEPT)]
            database.executemany(
                MENTION, [post(brand, f"{number} {place}", at) for place, at in enumerate(recent)]
            )
    watched = [
        Watched(f"brand {number}", Sensitivity.BALANCED, {"x": timedelta(minutes=5)}, ())
        for number in range(brands)
    ]
    rules = Rulebook(routes=(), receivers=(), language="nl", timezone="UTC", handles={})
    announcer = Announcer(rules, installation="bench", metrics=Metrics(CollectorRegistry()))

    def step(some: list[Watched]) -> DetectStep:
        return DetectStep(
            store=store, brands=some, announcer=announcer, timezone="UTC", now=lambda: NOW
        )

    # Learning is not what is measured: one brand learns its last week, the others are given the same.
    first = step(watched[:1])
    for _ in range(14):
        first.run()
    with closing(sqlite3.connect(path)) as database, database:
        rows = database.execute("SELECT series, version, settled_until, snapshot FROM detector")
        learnt = rows.fetchall()
        for watch in watched[1:]:
            database.executemany(
                "INSERT INTO detector (brand, series, version, settled_until, snapshot)"
                " VALUES (?, ?, ?, ?, ?)",
                [(watch.brand, *row) for row in learnt],
            )
    return Bench(path, store, step(watched), brands)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--brands", type=int, default=1000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--a-day", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as old, tempfile.TemporaryDirectory() as new:
        year = built(Path(old), asked.brands, asked.days, asked.a_day)
        week = built(Path(new), asked.brands, 7, asked.a_day)
        figures: dict[str, list[float]] = {"year": [], "week": []}
        for turn in range(asked.rounds):
            pair = [("year", year), ("week", week)]
            for name, bench in pair if turn % 2 else reversed(pair):
                bench.another_post_each()
                figures[name].append(bench.look())
        idle = year.look()
        sizes = {
            name: bench.path.stat().st_size for name, bench in (("year", year), ("week", week))
        }
        year.store.close()
        week.store.close()
    best = {name: min(values) for name, values in figures.items()}
    ratio = best["year"] / best["week"]
    print(f"{asked.brands} brands, {asked.a_day} posts a day each, processor time")
    for name, values in figures.items():
        print(
            f"{name}: {best[name]:.1f} ms a brand (median {statistics.median(values):.1f}),"
            f" database {sizes[name] / 1e6:.0f} MB"
        )
    print(f"unchanged: {idle:.2f} ms a brand")
    print(f"ratio year/week: {ratio:.2f}")
    print(json.dumps({"ratio": round(ratio, 3), **{k: round(v, 2) for k, v in best.items()}}))


if __name__ == "__main__":
    main()

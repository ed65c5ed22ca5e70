"""The shelf of the crowd: voices are counted once, in whatever order the posts come."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifiers.base import LeakBand, SentimentLabel
from monitor.store import Store
from monitor.store.crowd import BUCKET, Bucket, Crowd, audience, bucket_of
from tests.alerts.make import assessment
from tests.monitor.make import NOON, fresh_store, new_mention, sql

DAY = timedelta(days=1)
BRAND = "Zonnehoek"
CALM = assessment()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    yield made
    made.close()


def say(
    store: Store,
    number: int,
    at: datetime = NOON,
    *,
    author: str | None = "eva",
    story: str = "s",
    followers: int | None = None,
    source: str = "feed",
    sentiment: SentimentLabel = SentimentLabel.NEUTRAL,
    band: LeakBand = LeakBand.LOW,
    imported: bool = False,
) -> None:
    item = new_mention(number, at=at, source=source, imported=imported)
    post = replace(item.post, author=author, author_followers=followers)
    opinion = replace(
        CALM,
        sentiment=replace(CALM.sentiment, label=sentiment),
        leak=replace(CALM.leak, band=band),
    )
    with store.write() as unit:
        unit.mentions.add([replace(item, post=post, story=story)], max(at, NOON))
        waiting = [queued.mention.id for queued in unit.mentions.queue(1)]
        unit.mentions.assess(dict.fromkeys(waiting, opinion), "v1", NOON)


def assess(store: Store, at_once: int) -> int:
    with store.write() as unit:
        waiting = [queued.mention.id for queued in unit.mentions.queue(at_once)]
        return len(unit.mentions.assess(dict.fromkeys(waiting, CALM), "v1", NOON))


def ask(store: Store, question: Callable[[Crowd], object]) -> object:
    with store.read() as unit:
        return question(unit.crowd)


def buckets(store: Store) -> dict[datetime, Bucket]:
    with store.read() as unit:
        return unit.crowd.buckets(BRAND, NOON - 9 * DAY, NOON + 9 * DAY)


def backfill() -> str:
    """The statement with which the migration counts what was there before it."""
    path = Path(str(resources.files("monitor"))) / "migrations/versions/0004_voices.py"
    spec = importlib.util.spec_from_file_location("voices_0004", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.BACKFILL
    return text


POSTS = st.lists(
    st.tuples(
        st.integers(0, 60 * 60).map(lambda minutes: NOON - timedelta(minutes=minutes)),
        st.sampled_from([None, "eva", "jan"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([None, 5, 2_000, 3_000_000, 3_000_001]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(POSTS, st.integers(1, 5))
@example(
    [  # two come late, together, before the same one
        (NOON, "eva", "a", 2_000),
        (NOON - 2 * DAY, "jan", "b", None),
        (NOON - timedelta(hours=2), "eva", "a", 2_000),
        (NOON - timedelta(hours=1), "eva", "a", 2_000),
    ],
    2,
)
def test_late_posts_leave_the_counts_of_a_history_told_in_order_however_many_come_at_once(
    posts: list[tuple[datetime, str | None, str, int | None]], at_once: int
) -> None:
    with TemporaryDirectory() as folder, closing(fresh_store(Path(folder))) as store:
        with store.write() as unit:
            for number, (at, author, story, followers) in enumerate(posts):
                item = new_mention(number, at=at)
                post = replace(item.post, author=author, author_followers=followers)
                brand = ("Zonnehoek", "Harskamp")[(followers or 0) % 2]
                unit.mentions.add([replace(item, brand=brand, post=post, story=story)], NOON)
        while assess(store, at_once):
            pass
        with closing(sqlite3.connect(store.path)) as database:
            query = "SELECT * FROM bucket_voices WHERE authors OR stories OR reach ORDER BY 1, 2"
            kept = database.execute(query).fetchall()
            database.execute("DELETE FROM bucket_voices")
            database.execute(backfill())
            assert database.execute(query).fetchall() == kept


def test_a_storm_of_reshares_is_one_story_and_a_bot_one_author(store: Store) -> None:
    for number in range(6):
        say(store, number, NOON + number * BUCKET, author=f"a{number}", story="viral")
    for number in range(6, 12):
        say(store, number, NOON + number * BUCKET, author="bot", story=f"s{number}")
    found = buckets(store)
    assert sum(each.mentions for each in found.values()) == 12
    assert sum(each.stories for each in found.values()) == 1 + 6
    assert sum(each.authors for each in found.values()) == 6 + 1


def test_an_author_counts_again_after_hours_of_silence_and_a_story_after_a_day(
    store: Store,
) -> None:
    say(store, 1, NOON)
    say(store, 2, NOON + timedelta(hours=6))
    say(store, 3, NOON + timedelta(hours=12, minutes=1))
    say(store, 4, NOON + timedelta(hours=36, minutes=2))
    found = buckets(store)
    authors = [at for at, each in found.items() if each.authors]
    stories = [at for at, each in found.items() if each.stories]
    hours = [round((at - NOON) / timedelta(hours=1)) for at in sorted(authors)]
    assert hours == [0, 12, 36]
    assert [round((at - NOON) / timedelta(hours=1)) for at in sorted(stories)] == [0, 36]


def test_one_celebrity_weighs_less_than_any_spike_and_counts_once(store: Store) -> None:
    for number in range(5):
        say(store, number, NOON + number * BUCKET, followers=40_000_000, story=str(number))
    assert sum(each.reach for each in buckets(store).values()) == 4
    assert [audience(n) for n in (None, 0, 999, 1000, 99_999, 10**6, 10**9)] == [
        0, 0, 0, 1, 2, 4, 4,
    ]  # fmt: skip


def test_what_is_imported_or_a_repeat_is_no_voice(store: Store) -> None:
    say(store, 1, imported=True)
    say(store, 2)
    say(store, 2, source="other")
    with store.write() as unit:
        (first, _), (second, _) = unit.mentions.each(None, None)
        repeated = second if second.post.id == "p2" else first
        unit.mentions.assess({repeated.id: CALM}, "v2", NOON)
    ((_, cell),) = buckets(store).items()
    assert (cell.mentions, cell.authors, cell.stories) == (1, 1, 1)
    assert cell.sources == {"feed": 1}


def test_deleting_old_posts_leaves_the_numbers_and_no_author(store: Store) -> None:
    for number in range(4):
        say(store, number, NOON - 3 * DAY, author=f"a{number}", story=str(number))
    before = buckets(store)
    with store.write() as unit:
        assert unit.mentions.purge(NOON - DAY, keep_states=(), limit=100) == 4
    assert buckets(store) == before
    columns = {row[1] for row in sql(store.path, "PRAGMA table_info(bucket_voices)")}
    assert columns == {"brand", "bucket", "authors", "stories", "reach"}


def test_the_spread_of_the_negative_ones_is_told_apart(store: Store) -> None:
    for number in range(4):
        say(store, number, author=f"a{number % 2}", story="x", sentiment=SentimentLabel.NEGATIVE)
    say(store, 9, author=None, story="y")
    say(store, 10, author=None, story="z")
    end = NOON + timedelta(hours=1)
    with store.read() as unit:
        everything = unit.crowd.spread(BRAND, NOON, end)
        bad = unit.crowd.spread(BRAND, NOON, end, negative=True)
        told = unit.crowd.tellings(BRAND, NOON, end)
    assert (everything.mentions, everything.authors, everything.stories) == (6, 4, 3)
    assert (bad.mentions, bad.authors, bad.stories) == (4, 2, 1)
    assert (told[0].mentions, told[0].authors) == (4, 2)


def test_a_story_is_known_by_its_very_first_mention(store: Store) -> None:
    say(store, 1, NOON - 3 * DAY, story="old")
    say(store, 2, NOON, story="old")
    say(store, 3, NOON, story="old")
    with store.read() as unit:
        (told,) = unit.crowd.tellings(BRAND, NOON, NOON + DAY)
        (first, _), *_ = unit.mentions.each(None, None)
    assert (told.first, told.mentions) == (first.id, 2)


def test_words_of_possible_leaks_are_not_read_and_of_much_a_sample(store: Store) -> None:
    for number in range(20):
        say(store, number, story=str(number))
    say(store, 50, story="leak", band=LeakBand.ESCALATE)
    say(store, 51, story="doubt", band=LeakBand.REVIEW)
    with store.read() as unit:
        everything = unit.crowd.said(BRAND, NOON, NOON + DAY)
        sample = unit.crowd.said(BRAND, NOON, NOON + DAY, most=11)
    assert len(everything) == 20
    assert {each.story for each in everything}.isdisjoint({"leak", "doubt"})
    assert len(sample) == 10
    assert sample == [each for each in everything if each in sample]


def test_a_bucket_begins_on_a_whole_five_minutes() -> None:
    assert bucket_of(NOON + timedelta(minutes=9, seconds=59)) == NOON + BUCKET

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import Cursor, Engagement, Page, Post, Reject
from connectors.newestfirst import Answer, Pace, Span, read_through

START = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
PACE = Pace(calls=2, backfill=timedelta(hours=24), overlap=timedelta(minutes=10))
SIZE = 5


@dataclass
class Source:
    """Answers newest first in pages of five, and goes back ``reach`` posts at most."""

    reach: int = 10**9
    posts: list[Post] = field(default_factory=list)
    moment: datetime = START
    calls: int = 0

    def say(self, count: int) -> None:
        for _ in range(count):
            self.moment += timedelta(seconds=1)
            ident = str(len(self.posts))
            self.posts.append(Post("p", ident, "t", self.moment, engagement=Engagement()))

    def ask(self, search: str, span: Span) -> Answer:
        assert search == "all"
        self.calls += 1
        found = self.posts[::-1][: self.reach]
        if span.token is not None:
            found = [post for post in found if int(post.id) < int(span.token)]
        page = found[:SIZE]
        seconds = [int(post.published_at.timestamp()) for post in page]
        more = len(found) > SIZE
        return Answer(
            page,
            newest=max(seconds, default=None),
            oldest=min(seconds, default=None),
            token=page[-1].id if more else None,
            cut_short=not more and len(self.posts) > self.reach,
        )


def poll(
    source: Source, cursor: Cursor | None, *, now: datetime, die_after: int | None = None
) -> tuple[list[Page], Cursor | None]:
    pages: list[Page] = []
    for page in read_through(["all"], source.ask, cursor, now, PACE):
        if len(pages) == die_after:
            break
        pages.append(page)
        cursor = json.loads(json.dumps(page.cursor))
    return pages, cursor


def rest(source: Source, cursor: Cursor | None) -> list[str]:
    """What comes until all gaps are read."""
    got: list[str] = []
    for _ in range(1_000):
        pages, cursor = poll(source, cursor, now=source.moment)
        got += ids(pages)
        if cursor is not None and not any(one["gaps"] for one in cursor["searches"].values()):
            return got
    raise AssertionError("gaps that no poll ever closes")


def ids(pages: Sequence[Page]) -> list[str]:
    return [post.id for page in pages for post in page.posts]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),
            st.one_of(st.none(), st.integers(0, 2)),
            st.integers(-90, 90),
            st.integers(0, 900),
        ),
        max_size=12,
    )
)
def test_nothing_is_lost_whatever_crashes_and_whatever_the_clock_says(
    steps: list[tuple[int, int | None, int, int]],
) -> None:
    """A step: posts, a crash before some page, a clock wrong by minutes, seconds to the next."""
    source, cursor = Source(), None
    got: list[str] = []
    for count, die_after, skew, pause in steps:
        source.say(count)
        now = source.moment + timedelta(minutes=skew)
        pages, cursor = poll(source, cursor, now=now, die_after=die_after)
        got += ids(pages)
        source.moment += timedelta(seconds=pause)
    got += rest(source, cursor)
    assert set(got) == {post.id for post in source.posts}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3_000)), max_size=12))
def test_without_crashes_and_backlog_each_post_comes_once(steps: list[tuple[int, int]]) -> None:
    source, cursor = Source(), None
    got: list[str] = []
    for count, pause in steps:
        source.say(count)
        pages, cursor = poll(source, cursor, now=source.moment)
        assert len(pages) <= PACE.calls
        got += ids(pages)
        source.moment += timedelta(seconds=pause)
    got += rest(source, cursor)
    assert sorted(got, key=int) == [post.id for post in source.posts]


def test_a_quiet_source_is_asked_once_and_yields_one_page() -> None:
    source = Source()
    source.say(30)
    _, cursor = poll(source, None, now=source.moment)
    for _ in range(5):
        _, cursor = poll(source, cursor, now=source.moment)
    source.calls = 0
    pages, _ = poll(source, cursor, now=source.moment)
    assert [(len(page.posts), source.calls) for page in pages] == [(0, 1)]


def test_a_source_that_goes_back_no_further_is_told_with_both_times() -> None:
    source = Source(reach=10)
    source.say(1)
    _, cursor = poll(source, None, now=source.moment)
    source.say(30)
    pages, cursor = poll(source, cursor, now=source.moment)
    rejects = [reject for page in pages for reject in page.rejects]
    assert rejects == [
        Reject(
            "posts between 2026-11-10T12:00:01Z and 2026-11-10T12:00:22Z that were not read: the "
            "source goes back no further; poll more often, or narrow the query",
            "all",
        )
    ]
    pages, _ = poll(source, cursor, now=source.moment)
    assert not [reject for page in pages for reject in page.rejects]


def test_the_cursor_stays_small_however_long_a_storm_lasts() -> None:
    source, cursor = Source(), None
    got: list[str] = []
    for _ in range(40):
        source.say(15)
        source.moment += timedelta(minutes=20)
        pages, cursor = poll(source, cursor, now=source.moment)
        got += ids(pages)
    assert cursor is not None
    [state] = cursor["searches"].values()
    assert len(state["gaps"]) == 20
    got += rest(source, cursor)
    assert set(got) == {post.id for post in source.posts}


def test_searches_that_are_gone_are_forgotten() -> None:
    source = Source()
    source.say(3)
    _, cursor = poll(source, None, now=source.moment)
    assert cursor is not None
    [page] = read_through(["other"], lambda _search, _span: Answer([]), cursor, source.moment, PACE)
    assert len(page.cursor["searches"]) == 1
    assert page.cursor["searches"].keys() != cursor["searches"].keys()

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from connectors.base import ConnectorError, Context, Count, SourceFault
from connectors.query import Query
from connectors.x import XConnector, XOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

TOKEN = "AAAAAAAAAAAAAAAAAAAAAsecret"
STEP = timedelta(minutes=5)


def reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class CountsLike:
    """Answers as X's recent counts do: by the minute, in pages, the oldest first."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.said: list[tuple[str, datetime]] = []
        self.rows = 10_000

    def say(self, word: str, count: int = 1) -> None:
        self.said += [(word, self.clock())] * count

    def __call__(self, request: Request) -> Reply:
        query = request.query
        assert request.path == "/2/tweets/counts/recent"
        assert query["granularity"] == "minute"
        begin, end = (datetime.fromisoformat(query[name]) for name in ("start_time", "end_time"))
        assert self.clock() - timedelta(days=7) < begin < end
        assert end <= self.clock() - timedelta(seconds=10)
        minutes = int((end - begin) / timedelta(minutes=1))
        first = int(query.get("next_token", "0"))
        rows = []
        for minute in range(first, min(minutes, first + self.rows)):
            start = begin + timedelta(minutes=minute)
            until = start + timedelta(minutes=1)
            found = [
                one for one in self.said if one[0] in query["query"] and start <= one[1] < until
            ]
            rows.append({"start": stamp(start), "end": stamp(until), "tweet_count": len(found)})
        meta: dict[str, Any] = {"total_tweet_count": sum(row["tweet_count"] for row in rows)}
        if first + self.rows < minutes:
            meta["next_token"] = str(first + self.rows)
        return reply({"data": rows, "meta": meta})


class Poller(Polling):
    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.context = replace(
            context, queries=[Query.parse("zonnehoek NOT straat"), Query.parse("harskamp")]
        )
        self.options = XOptions(bearer_token=TOKEN, base_url=server.url, mode="counts", **options)
        super().__init__(lambda: XConnector(self.options, self.context))

    def counts(self) -> list[Count]:
        return [count for page in self.pages() for count in page.counts]

    def numbers(self) -> dict[tuple[str, str], int]:
        """What was counted, by query and time of day, without the zeros."""
        return {
            (count.query, f"{count.start:%H:%M}"): count.number
            for count in self.counts()
            if count.number
        }


@pytest.fixture
def x(clock: MovedClock, server: FaultServer) -> CountsLike:
    server.answer = CountsLike(clock)
    return server.answer


@pytest.fixture
def poller(x: CountsLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


def test_each_query_is_counted_by_itself_and_no_post_is_read(
    x: CountsLike, poller: Poller, clock: MovedClock
) -> None:
    x.say("zonnehoek", 3)
    clock.move(timedelta(minutes=4))
    x.say("zonnehoek", 2)
    x.say("harskamp")
    clock.move(timedelta(minutes=3))
    assert poller.numbers() == {("zonnehoek NOT straat", "12:00"): 5, ("harskamp", "12:00"): 1}
    assert [request.query["query"] for request in poller.server.requests] == [
        "(zonnehoek -straat) -is:retweet",
        "(harskamp) -is:retweet",
    ]


def test_the_latest_counts_are_told_anew_also_where_nothing_is_left(
    x: CountsLike, poller: Poller, clock: MovedClock
) -> None:
    x.say("harskamp", 2)
    clock.move(timedelta(minutes=2))
    assert poller.numbers() == {("harskamp", "12:00"): 2}
    x.said.pop()
    clock.move(timedelta(minutes=5))
    again = [count for count in poller.counts() if count.query == "harskamp"]
    noon = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
    assert Count("harskamp", noon, STEP, 1) in again
    x.said.clear()
    clock.move(timedelta(minutes=5))
    assert Count("harskamp", noon, STEP, 0) in poller.counts()
    assert len(again) == 8  # half an hour back, and what came since


def test_counts_follow_one_another_without_a_hole_also_after_a_pause(
    x: CountsLike, poller: Poller, clock: MovedClock
) -> None:
    starts: set[datetime] = set()
    for minutes in (1, 7, 55, 600):
        clock.move(timedelta(minutes=minutes))
        starts |= {count.start for count in poller.counts() if count.query == "harskamp"}
    steps = sorted(starts)
    assert all(later - one == STEP for one, later in pairwise(steps))


def test_a_pause_longer_than_x_looks_back_begins_where_it_still_does(
    x: CountsLike, server: FaultServer, context: Context, clock: MovedClock
) -> None:
    poller = Poller(server, context, backfill_hours=167)
    poller.counts()
    clock.move(timedelta(days=30))
    assert poller.counts()


def test_many_rows_come_in_pages(x: CountsLike, poller: Poller, clock: MovedClock) -> None:
    x.rows = 700
    x.say("harskamp", 4)
    clock.move(timedelta(hours=3))
    assert poller.numbers() == {("harskamp", "12:00"): 4}


def test_brands_that_share_a_query_are_counted_once(x: CountsLike, poller: Poller) -> None:
    poller.context = replace(poller.context, queries=[Query.parse("harskamp")] * 2)
    poller.counts()
    assert len(poller.server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"data": []},
        {"data": [{"start": "soon", "tweet_count": 1}], "meta": {}},
        {"data": [{"start": "2026-11-10T12:00:00Z", "tweet_count": -1}], "meta": {}},
        {"data": [{"start": "2026-11-10T12:00:00Z", "tweet_count": "4"}], "meta": {}},
        {"data": 7, "meta": {}},
    ],
    ids=str,
)
def test_an_answer_without_counts_is_a_bad_response(
    server: FaultServer, poller: Poller, body: Any
) -> None:
    server.answer = reply(body)
    assert poller.fault().fault is SourceFault.BAD_RESPONSE


def test_a_refused_query_does_not_hold_up_the_others(
    x: CountsLike, server: FaultServer, poller: Poller, clock: MovedClock
) -> None:
    x.say("harskamp")
    clock.move(timedelta(minutes=2))
    server.answer = lambda request: (
        reply({"title": "Invalid Request"}, 400)
        if "zonnehoek" in request.query["query"]
        else x(request)
    )
    pages = XConnector(poller.options, poller.context).fetch(None)
    assert sum(count.number for count in next(pages).counts) == 1
    with pytest.raises(ConnectorError) as caught:
        next(pages)
    assert caught.value.fault is SourceFault.BAD_REQUEST
    assert TOKEN not in str(caught.value)


def test_without_a_brand_there_is_nothing_to_count(poller: Poller) -> None:
    poller.context = replace(poller.context, queries=[])
    assert "no brand is assigned" in str(poller.fault())

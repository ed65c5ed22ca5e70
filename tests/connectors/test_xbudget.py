"""X within a budget: never more is read than there is money for, and the rest is counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import Context, Page, SourceFault
from connectors.http import guarded_client
from connectors.query import Query
from connectors.x import XConnector, XOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer
from tests.connectors.paidx import PaidX
from tests.connectors.polling import Polling

NOON = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
LIST = dict(XConnector.prices)


class Wallet:
    """So much money a day; knows what the stored pages cost."""

    def __init__(self, clock: MovedClock, a_day: str, prices: Mapping[str, Decimal] = LIST) -> None:
        self.clock = clock
        self.a_day = Decimal(a_day)
        self.prices = prices
        self.spent: defaultdict[date, Decimal] = defaultdict(Decimal)

    def left(self) -> Decimal:
        return max(self.a_day - self.spent[self.clock().date()], Decimal(0))

    def cost(self, units: Mapping[str, int]) -> Decimal:
        return sum((self.prices[unit] * count for unit, count in units.items()), Decimal(0))

    def store(self, page: Page) -> None:
        self.spent[self.clock().date()] += self.cost(page.spent)


class Poller(Polling):
    """Polls, stores what came with what it cost, and keeps counts as the store does."""

    def __init__(
        self, server: FaultServer, clock: MovedClock, client: httpx.Client, wallet: Wallet, **o: Any
    ) -> None:
        self.wallet = wallet
        self.options = XOptions(bearer_token="t", base_url=server.url, **o)
        queries = [Query.parse("zonnehoek")]
        self.context = Context("x", clock, client, queries, budget=wallet)
        self.connector = XConnector(self.options, self.context)
        super().__init__(lambda: self.connector)
        self.read: list[str] = []
        self.unread: dict[datetime, int] = {}

    def poll(self, *, die_after: int | None = None) -> list[Page]:
        pages: list[Page] = []
        for page in self.connector.fetch(self.cursor):
            if len(pages) == die_after:
                break
            self.cursor = page.cursor
            self.wallet.store(page)
            for post in page.posts:
                self.read.append(post.id)
                bucket = floor(post.published_at)
                self.unread[bucket] = max(self.unread.get(bucket, 0) - 1, 0)
            self.unread |= {count.start: count.number for count in page.counts}
            self.rejects += [reject.reason for reject in page.rejects]
            pages.append(page)
        return pages


def floor(moment: datetime) -> datetime:
    return moment - (moment - datetime.min.replace(tzinfo=UTC)) % timedelta(minutes=5)


@pytest.fixture
def x(clock: MovedClock, server: FaultServer) -> PaidX:
    server.answer = PaidX(clock)
    return server.answer


def test_pages_say_what_they_were_billed_for(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    x.authors = 7
    x.storm(25)
    [page] = Poller(server, clock, client, Wallet(clock, "100")).poll()
    assert page.spent == {"post": 25, "user": 7}


def test_a_page_is_as_large_as_there_is_money_for(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    x.storm(80)
    poller = Poller(server, clock, client, Wallet(clock, "0.50"))
    first, counted = poller.poll()
    assert len(first.posts) == 33  # of 0.015 each
    assert counted.counts
    assert not counted.posts
    # The latest minute is not counted yet.
    clock.move(timedelta(minutes=5))
    poller.poll()
    assert sum(poller.unread.values()) == 80 - 33


def test_without_authors_a_page_is_three_times_as_large(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    x.storm(120)
    poller = Poller(server, clock, client, Wallet(clock, "0.50"), expand_authors=False)
    assert [len(page.posts) for page in poller.poll()] == [100, 0]


def test_pictures_are_billed_and_kept_within_the_budget(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    x.storm(80)
    poller = Poller(server, clock, client, Wallet(clock, "0.50"), expand_media=True)
    page, _ = poller.poll()
    assert page.spent == {"post": 14, "user": 14, "media": 56}  # 0.035 for each post


def test_counts_go_on_and_bodies_come_back_when_there_is_money_again(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    poller = Poller(server, clock, client, Wallet(clock, "1.50"), page_size=50)
    x.storm(160)
    poller.poll()
    assert len(poller.read) == 100
    for _ in range(5):
        clock.move(timedelta(minutes=10))
        x.storm(6)
        clock.move(timedelta(minutes=2))
        pages = poller.poll()
        assert all(not page.posts for page in pages)
        assert len(poller.read) + sum(poller.unread.values()) == len(x.posts)
    clock.move(timedelta(hours=12))
    poller.poll()
    assert len(poller.read) == len(x.posts) == len(set(poller.read))
    assert sum(poller.unread.values()) == 0
    assert poller.rejects == []


def test_a_full_wallet_in_the_middle_of_the_day_is_used_at_once(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    wallet = Wallet(clock, "0.01")
    poller = Poller(server, clock, client, wallet)
    x.storm(20)
    clock.move(timedelta(minutes=2))
    poller.poll()
    assert (len(poller.read), sum(poller.unread.values())) == (0, 20)
    wallet.a_day = Decimal(5)
    poller.poll()
    assert (len(poller.read), sum(poller.unread.values())) == (20, 0)


def test_what_a_month_without_money_leaves_too_far_back_is_told(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    wallet = Wallet(clock, "0.30")
    poller = Poller(server, clock, client, wallet, page_size=10)
    x.storm(40)
    poller.poll()
    wallet.a_day = Decimal(0)
    for _ in range(9):
        clock.move(timedelta(days=1))
        x.storm(1)
        poller.poll()
    wallet.a_day = Decimal(5)
    clock.move(timedelta(minutes=5))
    poller.poll()
    assert any("no longer searches" in reason for reason in poller.rejects)
    within = [post["id"] for post in x.posts[40:] if x._within(post, {})]
    assert set(within) <= set(poller.read)
    assert poller.poll() == [] or not poller.rejects[2:], "told once"


def test_where_counting_costs_money_it_keeps_to_the_budget_too(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    wallet = Wallet(clock, "0.16", LIST | {"request": Decimal("0.005")})
    poller = Poller(server, clock, client, wallet)
    x.storm(30)
    clock.move(timedelta(minutes=1))
    first, counted = poller.poll()
    assert first.spent == {"post": 10, "user": 10}
    assert counted.spent == {"request": 2}, "above what was read, and below"
    clock.move(timedelta(minutes=10))
    assert poller.fault().fault is SourceFault.RATE_LIMITED
    assert wallet.left() == 0


def test_the_posts_of_the_day_still_end_it(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    poller = Poller(server, clock, client, Wallet(clock, "50"), max_posts_per_day=20)
    x.storm(50)
    assert "20 posts allowed" in str(poller.fault())


def test_a_brand_of_its_own_search_is_counted_by_itself(
    x: PaidX, server: FaultServer, clock: MovedClock, client: httpx.Client
) -> None:
    poller = Poller(server, clock, client, Wallet(clock, "0.10"))
    queries = [Query.parse("zonnehoek"), Query.parse("harskamp"), Query.parse("zonnehoek")]
    poller.connector = XConnector(poller.options, replace(poller.context, queries=queries))
    x.storm(3)
    clock.move(timedelta(minutes=1))
    assert [{count.query for count in page.counts} for page in poller.poll()] == [
        {"zonnehoek"},
        {"harskamp"},
    ]
    assert [request.query["query"] for request in server.requests] == [
        "(zonnehoek) -is:retweet",
        "(harskamp) -is:retweet",
    ]


prices = st.integers(1, 30).map(lambda mills: Decimal(mills) / 1000)


@given(
    size=st.integers(10, 100),
    post=prices,
    user=prices,
    a_day=st.integers(1, 4000).map(lambda mills: Decimal(mills) / 1000),
    with_authors=st.booleans(),
    with_media=st.booleans(),
    authors=st.sampled_from([1, 7, 10**9]),
    bursts=st.lists(st.integers(0, 70), min_size=1, max_size=5),
    deaths=st.lists(st.none() | st.integers(0, 2), min_size=5, max_size=5),
)
@settings(max_examples=20, deadline=None)
def test_never_more_is_billed_than_the_budget_and_nothing_is_lost(
    *,
    size: int,
    post: Decimal,
    user: Decimal,
    a_day: Decimal,
    with_authors: bool,
    with_media: bool,
    authors: int,
    bursts: list[int],
    deaths: list[int | None],
) -> None:
    clock = MovedClock(NOON)
    x = PaidX(clock, authors=authors)
    table = {"post": post, "user": user, "media": post, "request": Decimal(0)}
    wallet = Wallet(clock, str(a_day), table)
    with (
        FaultServer(x) as server,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        options = {"page_size": size, "max_pages": 3}
        options |= {"expand_authors": with_authors, "expand_media": with_media}
        poller = Poller(server, clock, client, wallet, **options)
        died = Decimal(0)
        for burst, death in zip(bursts, deaths, strict=False):
            x.storm(burst)
            clock.move(timedelta(minutes=2))
            billed, stored = x.cost(clock().date(), table), wallet.spent[clock().date()]
            poller.poll(die_after=death)
            # A page that died unstored was billed, and X does not bill it again on this day.
            now_billed = x.cost(clock().date(), table)
            died += (now_billed - billed) - (wallet.spent[clock().date()] - stored)
            poller.connector = XConnector(poller.options, poller.context)
            assert now_billed - died <= a_day
            assert wallet.spent[clock().date()] <= a_day
            if death is None and poller.cursor and poller.cursor["counted"]:
                assert len(set(poller.read)) + sum(poller.unread.values()) == len(x.posts)
        wallet.a_day = Decimal(10**6)
        clock.move(timedelta(hours=12))
        while any(page.posts for page in poller.poll()):
            pass
        assert set(poller.read) == {each["id"] for each in x.posts}
        assert sum(poller.unread.values()) == 0
        assert poller.rejects == []

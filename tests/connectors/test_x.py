from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import ConnectorError, Context, SourceFault
from connectors.http import guarded_client
from connectors.query import Query
from connectors.x import XConnector, XOptions
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

TOKEN = "AAAAAAAAAAAAAAAAAAAAAsecret"
EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657_000, tzinfo=UTC)
REACH = timedelta(days=7)


def id_at(moment: datetime, number: int = 0) -> str:
    return str((int((moment - EPOCH).total_seconds() * 1000) << 22) + number)


def time_of(ident: str) -> datetime:
    return EPOCH + timedelta(milliseconds=int(ident) >> 22)


class XLike:
    """Answers as X's recent search does: newest first, in pages, seven days back, and no further."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.posts: list[dict[str, Any]] = []
        self.users: list[dict[str, Any]] = []
        self.media: list[Any] = []
        """Described to those only who ask for attachments."""
        self.expired_tokens = False

    def say(self, *texts: str, **fields: Any) -> list[str]:
        """Have somebody post; the clock moves a second for each."""
        ids = []
        for text in texts:
            ident = id_at(self.clock(), len(self.posts))
            created = self.clock().strftime("%Y-%m-%dT%H:%M:%S.000Z")
            self.posts.append({"id": ident, "text": text, "created_at": created, **fields})
            ids.append(ident)
            self.clock.move(timedelta(seconds=1))
        return ids

    def __call__(self, request: Request) -> Reply:
        query = request.query
        bound = query.get("since_id") or query.get("until_id")
        horizon = self.clock() - REACH
        if bound is not None and time_of(bound) < horizon:
            return problem(400, "Invalid Request", "'since_id' must be a recent id")
        if "start_time" in query and datetime.fromisoformat(query["start_time"]) < horizon:
            return problem(400, "Invalid Request", "'start_time' must be later")
        if self.expired_tokens and "next_token" in query:
            return problem(400, "Invalid Request", "'next_token' is not valid")
        found = [post for post in reversed(self.posts) if self._within(post, query)]
        if request.path.endswith("/counts/recent"):
            return reply({"data": [], "meta": {"total_tweet_count": len(found)}})
        found = [post for post in found if int(post["id"]) < int(query.get("next_token", "9" * 20))]
        size = int(query["max_results"])
        page, rest = found[:size], found[size:]
        meta: dict[str, Any] = {"result_count": len(page)}
        if page:
            meta |= {"newest_id": page[0]["id"], "oldest_id": page[-1]["id"]}
        if rest:
            meta["next_token"] = page[-1]["id"]
        includes: dict[str, Any] = {"users": self.users}
        if "attachments.media_keys" in query.get("expansions", ""):
            includes["media"] = self.media
        body: dict[str, Any] = {"meta": meta, "includes": includes}
        return reply(body | ({"data": page} if page else {}))

    def _within(self, post: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        moment = time_of(post["id"])
        if "since_id" in query:
            after = int(post["id"]) > int(query["since_id"])
        else:
            start = query.get("start_time")
            after = moment >= (datetime.fromisoformat(start) if start else self.clock() - REACH)
        return after and int(post["id"]) < int(query.get("until_id", "9" * 20))


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **told})


def problem(status: int, title: str, detail: str, **headers: str) -> Reply:
    return reply({"title": title, "detail": detail, "status": status}, status, **headers)


class Poller(Polling):
    """Polls as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.context = context
        self.options = XOptions(bearer_token=TOKEN, base_url=server.url, **options)
        super().__init__(lambda: XConnector(self.options, self.context))

    def asked(self) -> list[Mapping[str, str]]:
        return [request.query for request in self.server.requests]


@pytest.fixture
def x(clock: MovedClock, server: FaultServer) -> XLike:
    server.answer = XLike(clock)
    return server.answer


@pytest.fixture
def poller(x: XLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


# --- what a post becomes --------------------------------------------------------------------------


def test_a_post_of_x_becomes_ours(x: XLike, poller: Poller) -> None:
    x.users = [
        {"id": "42", "username": "anna", "public_metrics": {"followers_count": 739}},
    ]
    metrics = {"like_count": 13, "retweet_count": 2, "quote_count": 1, "reply_count": 3}
    [ident] = x.say("Zonnehoek &amp; co &lt;3", author_id="42", lang="nl", public_metrics=metrics)
    [post] = poller.posts()
    assert post.text == "Zonnehoek & co <3"
    assert (post.platform, post.id) == ("x", ident)
    assert post.url == f"https://x.com/i/web/status/{ident}"
    assert (post.author, post.author_followers, post.language) == ("anna", 739, "nl")
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert (post.engagement.likes, post.engagement.shares, post.engagement.replies) == (13, 3, 3)


def test_an_answer_leads_to_the_post_that_began_the_conversation(x: XLike, poller: Poller) -> None:
    [first] = x.say("zonnehoek")
    x.posts[-1]["conversation_id"] = first
    [answer] = x.say("zonnehoek nee", conversation_id=first)
    [odd] = x.say("zonnehoek", conversation_id="../evil")
    threads = {post.id: post.thread for post in poller.posts()}
    assert threads == {first: None, answer: f"https://x.com/i/web/status/{first}", odd: None}


def test_long_posts_come_in_full(x: XLike, poller: Poller) -> None:
    x.say("Begin van een…", note_tweet={"text": "Begin van een lang verhaal"})
    assert poller.posts()[0].text == "Begin van een lang verhaal"


def test_descriptions_of_pictures_are_part_of_the_text(
    x: XLike, server: FaultServer, context: Context
) -> None:
    x.media = [
        {"media_key": "3_2", "type": "photo", "alt_text": "lijst met IBAN&#39;s van zonnehoek"},
        {"media_key": "3_1", "type": "photo", "alt_text": "bon", "url": "https://x.example/1"},
        {"media_key": "7_1", "type": "video", "preview_image_url": "https://x.example/7"},
        {"media_key": ["odd"]},
        "odd",
    ]
    x.say("Kijk", attachments={"media_keys": ["3_1", "7_1", "3_2", "3_9"]})
    x.say("Niets", attachments={"media_keys": "3_1"})
    poller = Poller(server, context, expand_media=True)
    [page] = poller.pages()
    assert [post.text for post in page.posts] == [
        "Niets",
        "Kijk\nbon\nlijst met IBAN's van zonnehoek",
    ]
    assert page.posts[1].images == ("https://x.example/1", "https://x.example/7")
    [asked] = poller.asked()
    assert asked["expansions"] == "author_id,attachments.media_keys"
    assert asked["media.fields"] == "type,alt_text,url,preview_image_url"
    assert "attachments" in asked["tweet.fields"].split(",")


@pytest.mark.parametrize(
    ("lang", "ours"), [("qme", None), ("und", None), ("in", "id"), (None, None)]
)
def test_languages_that_are_none_are_left_out(
    x: XLike, poller: Poller, lang: str | None, ours: str | None
) -> None:
    x.say("#zonnehoek", lang=lang)
    assert poller.posts()[0].language == ours


def test_an_author_without_details_is_known_by_number(x: XLike, poller: Poller) -> None:
    x.say("Zonnehoek", author_id="42")
    assert poller.posts()[0].author == "42"


def test_a_post_without_a_time_has_it_in_its_id(x: XLike, poller: Poller) -> None:
    [ident] = x.say("Zonnehoek")
    del x.posts[0]["created_at"]
    assert poller.posts()[0].published_at == time_of(ident)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "1"},
        {"text": "no id"},
        {"id": "x", "text": ""},
        {"id": "1", "text": None},
        {"id": "1", "text": "t", "created_at": "soon"},
        {"id": "1", "text": "t", "public_metrics": 7},
        7,
        None,
    ],
    ids=str,
)
def test_a_post_that_is_odd_is_set_aside(
    x: XLike, poller: Poller, server: FaultServer, odd: Any
) -> None:
    [ident] = x.say("Zonnehoek")
    server.answer = reply({"data": [odd, x.posts[0]], "meta": {}})
    [page] = poller.pages()
    assert [post.id for post in page.posts] == [ident]
    assert len(page.rejects) == 1


# --- what is asked --------------------------------------------------------------------------------


def test_a_search_asks_for_what_we_need(x: XLike, poller: Poller, server: FaultServer) -> None:
    poller.pages()
    [request] = server.requests
    assert request.path == "/2/tweets/search/recent"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["user-agent"].startswith("Merkwacht/")
    assert request.query["query"] == "(zonnehoek OR harskamp) -is:retweet"
    assert request.query["start_time"] == "2026-11-09T12:00:00Z"
    fields = request.query["tweet.fields"].split(",")
    assert fields == [
        *("created_at", "lang", "public_metrics", "author_id", "note_tweet", "conversation_id")
    ]
    assert request.query["expansions"] == "author_id"
    assert request.query["max_results"] == "100"


def test_authors_are_not_paid_for_when_not_wanted(
    x: XLike, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, expand_authors=False)
    poller.pages()
    assert not {"expansions", "user.fields"} & set(poller.asked()[0])


def test_options_narrow_the_search(x: XLike, server: FaultServer, context: Context) -> None:
    poller = Poller(
        server,
        context,
        languages=["nl", "en"],
        include_reposts=True,
        query_suffix="-is:nullcast",
        page_size=10,
    )
    poller.pages()
    assert poller.asked()[0]["query"] == (
        "(zonnehoek OR harskamp) (lang:nl OR lang:en) -is:nullcast"
    )


def queries(*sources: str) -> Sequence[Query]:
    return [Query.parse(source) for source in sources]


def test_queries_of_several_brands_share_a_search(
    x: XLike, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, replace(context, queries=queries("aap", "noot -mies", "aap")))
    poller.pages()
    assert [asked["query"] for asked in poller.asked()] == ["((aap) OR (noot -mies)) -is:retweet"]


def test_queries_too_long_for_one_search_make_several_each_with_its_place(
    x: XLike, server: FaultServer, context: Context
) -> None:
    wanted = queries(*(f"{letter * 60}" for letter in "abcd"))
    poller = Poller(server, replace(context, queries=wanted), max_query_characters=160)
    x.say("een")
    poller.pages()
    assert len(poller.asked()) == 2
    assert all(len(asked["query"]) <= 160 for asked in poller.asked())
    x.say("twee")
    poller.pages()
    assert ["since_id" in asked for asked in poller.asked()] == [False, False, True, True]


def test_a_search_that_x_refuses_does_not_hold_up_the_others(
    x: XLike, server: FaultServer, context: Context
) -> None:
    wanted = queries("a" * 60, "b" * 60)
    poller = Poller(server, replace(context, queries=wanted), max_query_characters=100)
    x.say("Zonnehoek")

    def answer(request: Request) -> Reply:
        return problem(400, "Invalid", "x") if "aaa" in request.query["query"] else x(request)

    server.answer = answer
    assert poller.fault().fault is SourceFault.BAD_REQUEST
    assert poller.cursor is not None
    assert [state["newest"] for state in poller.cursor["searches"].values()] == [
        None,
        x.posts[0]["id"],
    ]


def test_a_source_without_brands_says_so(x: XLike, server: FaultServer, context: Context) -> None:
    error = Poller(server, replace(context, queries=())).fault()
    assert (error.fault, error.permanent) == (SourceFault.BAD_REQUEST, True)
    assert not server.requests


def test_a_query_that_x_cannot_be_asked_names_itself_unless_less_will_do(
    x: XLike, server: FaultServer, context: Context
) -> None:
    context = replace(context, queries=queries("zonnehoek* OR harskamp"))
    error = Poller(server, context).fault()
    assert "zonnehoek* OR harskamp" in str(error)
    assert error.permanent
    poller = Poller(server, context, approximate=True)
    poller.pages()
    assert "harskamp" in poller.asked()[0]["query"]
    assert "*" not in poller.asked()[0]["query"]


# --- where we were --------------------------------------------------------------------------------


def test_each_post_is_read_once(x: XLike, poller: Poller) -> None:
    first = x.say("een", "twee")
    assert sorted(poller.ids()) == first
    second = x.say("drie")
    assert poller.ids() == second
    assert poller.ids() == []


def test_nothing_found_at_first_does_not_move_the_start(x: XLike, poller: Poller) -> None:
    assert poller.ids() == []
    late = x.say("te laat in de index")
    x.clock.move(timedelta(hours=30))
    assert poller.ids() == late


def test_the_first_poll_looks_back_as_far_as_configured(
    x: XLike, server: FaultServer, context: Context
) -> None:
    x.say("oud")
    x.clock.move(timedelta(hours=3))
    fresh = x.say("nieuw")
    assert Poller(server, context, backfill_hours=1).ids() == fresh
    assert Poller(server, context, backfill_hours=0).ids() == fresh
    assert len(Poller(server, context, backfill_hours=167).ids()) == 2


def test_a_crash_between_pages_loses_nothing(
    x: XLike, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, page_size=10)
    said = x.say(*(f"nr {number}" for number in range(35)))
    got = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    said += x.say("na de klap")
    got += poller.ids()
    assert sorted(set(got)) == said
    assert len(got) == len(said)


def test_new_posts_come_before_what_was_left(
    x: XLike, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, page_size=10, max_pages=2)
    x.say(*(f"storm {number}" for number in range(50)))
    assert len(poller.ids()) == 20
    [latest] = x.say("het laatste")
    ids = poller.ids()
    assert ids[0] == latest
    assert len(ids) == 11
    assert len(poller.ids()) == 10


@given(
    bursts=st.lists(st.integers(0, 45), min_size=1, max_size=5),
    deaths=st.lists(st.none() | st.integers(0, 2), min_size=5, max_size=5),
    expiries=st.lists(st.booleans(), min_size=5, max_size=5),
)
@settings(max_examples=10, deadline=None)
def test_whatever_happens_when_every_post_is_read(
    bursts: list[int], deaths: list[int | None], expiries: list[bool]
) -> None:
    clock = MovedClock(datetime(2026, 11, 10, 12, 0, tzinfo=UTC))
    x = XLike(clock)
    with (
        FaultServer(x) as server,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        context = Context("x", clock, client, queries("zonnehoek"))
        poller = Poller(server, context, page_size=10, max_pages=3)
        got: set[str] = set()
        for burst, death, expired in zip(bursts, deaths, expiries, strict=False):
            x.say(*("zonnehoek" for _ in range(burst)))
            x.expired_tokens = expired
            got |= {post.id for page in poller.pages(die_after=death) for post in page.posts}
        x.expired_tokens = False
        while fresh := set(poller.ids()):
            got |= fresh
        assert got == {post["id"] for post in x.posts}
        assert not poller.rejects


def test_an_expired_token_is_replaced_by_an_id(
    x: XLike, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, page_size=10, max_pages=1)
    said = x.say(*(f"nr {number}" for number in range(25)))
    got = poller.ids()
    x.expired_tokens = True
    poller = replace_options(poller, max_pages=10)
    got += poller.ids()
    assert sorted(got) == said
    assert not poller.rejects


def replace_options(poller: Poller, **options: Any) -> Poller:
    other = Poller(poller.server, poller.context, page_size=10, **options)
    other.cursor = poller.cursor
    return other


def test_after_more_than_seven_days_we_begin_where_x_still_reaches(
    x: XLike, poller: Poller
) -> None:
    x.say("lang geleden")
    poller.ids()
    x.say("nooit gelezen")
    x.clock.move(timedelta(days=8))
    fresh = x.say("nu weer")
    assert poller.ids() == fresh
    assert len(poller.rejects) == 1
    assert "no longer searches" in poller.rejects[0]
    x.clock.move(timedelta(minutes=5))
    assert poller.ids() == []
    assert len(poller.rejects) == 1


def test_after_seven_silent_days_the_loss_is_told_once(x: XLike, poller: Poller) -> None:
    x.say("lang geleden")
    poller.ids()
    x.clock.move(timedelta(days=8))
    for _ in range(3):
        assert poller.ids() == []
        x.clock.move(timedelta(hours=1))
    assert len(poller.rejects) == 1


def test_a_gap_that_is_too_old_is_given_up_and_told(
    x: XLike, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, page_size=10, max_pages=1)
    x.say(*(f"nr {number}" for number in range(25)))
    assert len(poller.ids()) == 10
    x.clock.move(timedelta(days=6, hours=23))
    x.say("levensteken")
    poller.ids()
    x.clock.move(timedelta(hours=3))
    poller = replace_options(poller, max_pages=5)
    poller.ids()
    assert len(poller.rejects) == 1
    assert poller.cursor is not None
    assert [state["gaps"] for state in poller.cursor["searches"].values()] == [[]]


# --- limits and costs -----------------------------------------------------------------------------


def test_the_budget_of_the_day_holds_and_what_is_unread_is_counted(
    x: XLike, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, page_size=20, max_pages=10, max_posts_per_day=50)
    x.say(*(f"nr {number}" for number in range(200)))
    connector = XConnector(poller.options, context)
    got: list[str] = []

    def read_all() -> None:
        for page in connector.fetch(poller.cursor):
            poller.cursor = page.cursor
            got.extend(post.id for post in page.posts)

    with pytest.raises(ConnectorError, match="50 posts allowed") as caught:
        read_all()
    assert len(got) == 50
    assert caught.value.fault is SourceFault.RATE_LIMITED
    assert caught.value.retry_after == timedelta(hours=12) - timedelta(seconds=200)
    assert "X counts 150 more" in str(caught.value)
    x.clock.move(timedelta(hours=12))
    assert [len(page.posts) for page in poller.pages(die_after=2)] == [0, 20]


def test_a_drained_quota_is_a_wish_for_a_pause(
    x: XLike, poller: Poller, server: FaultServer
) -> None:
    server.answer = reply(
        {"meta": {"result_count": 0}},
        Date="Tue, 10 Nov 2026 12:00:00 GMT",
        x_rate_limit_remaining="0",
        x_rate_limit_reset=str(int(datetime(2026, 11, 10, 12, 10, tzinfo=UTC).timestamp())),
    )
    [page] = poller.pages()
    assert page.next_poll_after == timedelta(minutes=10, seconds=1)


def test_a_rate_limit_ends_at_its_reset(poller: Poller, server: FaultServer) -> None:
    reset = int(datetime(2026, 11, 10, 12, 7, tzinfo=UTC).timestamp())
    server.answer = problem(
        429,
        "Too Many Requests",
        "slow down",
        x_rate_limit_reset=str(reset),
        Date="Tue, 10 Nov 2026 12:00:00 GMT",
    )
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.RATE_LIMITED, False)
    assert error.retry_after == timedelta(minutes=7, seconds=1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reset", ["", "soon", "-1", "9" * 30])
def test_an_odd_reset_is_survived(poller: Poller, server: FaultServer, reset: str) -> None:
    server.answer = problem(429, "Too Many Requests", "", x_rate_limit_reset=reset)
    pause = poller.fault().retry_after
    assert pause is None or timedelta() < pause <= timedelta(hours=24)


def test_a_drained_month_waits_for_a_person(poller: Poller, server: FaultServer) -> None:
    server.answer = problem(429, "UsageCapExceeded", "Usage cap exceeded: Monthly product cap")
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.PAYMENT_REQUIRED, True)


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [
        (400, SourceFault.BAD_REQUEST, True),
        (401, SourceFault.UNAUTHORIZED, True),
        (402, SourceFault.PAYMENT_REQUIRED, True),
        (403, SourceFault.FORBIDDEN, True),
        (503, SourceFault.SERVER_ERROR, False),
    ],
)
def test_what_x_says_is_passed_on(
    poller: Poller, server: FaultServer, status: int, fault: SourceFault, permanent: bool
) -> None:
    server.answer = problem(status, "The title", "and the detail")
    error = poller.fault()
    assert (error.fault, error.permanent) == (fault, permanent)
    assert "The title: and the detail" in str(error)


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"meta": []}', '{"meta": {}, "data": {}}', "<html>", "[" * 100_000, ""]
)
def test_what_is_no_page_of_results_is_a_bad_response(
    poller: Poller, server: FaultServer, body: str
) -> None:
    server.answer = Reply(body=body.encode())
    assert poller.fault().fault is SourceFault.BAD_RESPONSE


@pytest.mark.parametrize("status", [200, 401, 429, 500])
def test_the_token_is_in_no_message_and_no_log(
    poller: Poller, server: FaultServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = Reply(status, b"no json")
    assert TOKEN not in str(poller.fault()) + caplog.text + repr(poller.options)


def test_the_token_is_not_carried_along_a_redirect(poller: Poller) -> None:
    with FaultServer() as elsewhere:
        poller.server.answer = Reply(307, headers={"Location": elsewhere.url})
        assert poller.fault().fault is SourceFault.TOO_MANY_REDIRECTS
        assert not elsewhere.requests


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "é"])
def test_a_token_that_cannot_be_one_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="bearer token is one word") as caught:
        XOptions(bearer_token=token)
    assert not token or repr(token) not in str(caught.value)

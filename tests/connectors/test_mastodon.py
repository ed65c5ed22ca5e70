from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import ConnectorError, Context, Post, SourceFault
from connectors.http import guarded_client
from connectors.mastodon import MastodonConnector, MastodonOptions
from connectors.query import Query
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling

TOKEN = "zAbCdEfGhIjKlMnOpQrStUvWxYz-secret"
TAG = "/api/v1/timelines/tag/"
SEARCH = "/api/v2/search"


def id_at(moment: datetime, number: int = 0) -> str:
    return str((int(moment.timestamp() * 1000) << 16) + number)


def time_of(ident: str) -> datetime:
    return datetime.fromtimestamp((int(ident) >> 16) / 1000, tz=UTC)


class MastodonLike:
    """Answers as a Mastodon server does: hashtag timelines by id, a search by whole seconds."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.statuses: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}

    def say(self, *contents: str, ago: timedelta = timedelta(), **fields: Any) -> list[str]:
        """Have somebody post; the clock moves a second for each. Gives our ids of the posts."""
        ids = []
        for content in contents:
            number = len(self.statuses)
            written = self.clock() - ago
            status = {
                "id": id_at(written, number),
                "uri": f"https://tootplein.example/users/anna/statuses/{number}",
                "url": f"https://tootplein.example/@anna/{number}",
                "created_at": written.isoformat(timespec="milliseconds"),
                "visibility": "public",
                "content": f"<p>{content}</p>",
                "account": {"username": "anna", "acct": "anna@tootplein.example"},
                **fields,
            }
            self.statuses.append(status)
            ids.append(f"tootplein.example/{number}")
            self.clock.move(timedelta(seconds=1))
        return ids

    def __call__(self, request: Request) -> Reply:
        query = request.query
        found = sorted(self.statuses, key=lambda status: int(status["id"]), reverse=True)
        if request.path == SEARCH:
            words = query["q"].strip('"').casefold()
            found = [status for status in found if words in status["content"].casefold()]
            found = [status for status in found if self._within_seconds(status, query)]
            return reply({"accounts": [], "statuses": found[:40], "hashtags": []})
        tag = "#" + request.path.removeprefix(TAG)
        found = [status for status in found if tag in status["content"].casefold()]
        since, below = int(query.get("since_id", "0")), int(query.get("max_id", "9" * 20))
        found = [status for status in found if since < int(status["id"]) < below]
        page = found[: int(query["limit"])]
        link = {}
        if page:
            link["Link"] = (
                f'<https://elsewhere.example{request.path}?max_id={page[-1]["id"]}>; rel="next", '
                f'<https://elsewhere.example{request.path}?min_id={page[0]["id"]}>; rel="prev"'
            )
        return reply(page, 200, **link, **self.headers)

    def _within_seconds(self, status: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        moment = time_of(status["id"])
        after, before = query.get("min_id"), query.get("max_id")
        return (after is None or moment > time_of(after).replace(microsecond=0)) and (
            before is None or moment < time_of(before).replace(microsecond=0)
        )


def reply(body: Any, status: int = 200, /, **headers: str) -> Reply:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **told})


class Poller(Polling):
    """Polls as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.server = server
        self.context = context
        options.setdefault("instances", [server.url])
        self.options = MastodonOptions.model_validate(options)
        super().__init__(lambda: MastodonConnector(self.options, self.context))

    def paths(self) -> list[str]:
        return [request.path for request in self.server.requests]


@pytest.fixture
def mastodon(clock: MovedClock, server: FaultServer) -> MastodonLike:
    server.answer = MastodonLike(clock)
    return server.answer


@pytest.fixture
def poller(mastodon: MastodonLike, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context, hashtags=["zonnehoek"])


def with_token(server: FaultServer) -> list[dict[str, str]]:
    return [{"url": server.url, "access_token": TOKEN}]


# --- what a status becomes ------------------------------------------------------------------------


def test_a_status_becomes_a_post(mastodon: MastodonLike, poller: Poller) -> None:
    html = 'De <a href="https://x.example/tags/z">#<span>zonnehoek</span></a> &amp; co<br>is open'
    account = {"username": "anna", "acct": "anna@tootplein.example", "followers_count": 739}
    [ident] = mastodon.say(
        html.replace("<span>", "").replace("</span>", ""),
        account=account,
        language="nl",
        favourites_count=13,
        reblogs_count=2,
        quotes_count=1,
        replies_count=3,
    )
    [post] = poller.posts()
    assert post.text == "De #zonnehoek & co\nis open"
    assert (post.platform, post.id) == ("mastodon", ident)
    assert (post.author, post.author_followers) == ("anna@tootplein.example", 739)
    assert post.language == "nl"
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert (post.engagement.likes, post.engagement.shares, post.engagement.replies) == (13, 3, 3)


def test_an_answer_leads_to_what_it_answers_on_the_server_that_showed_it(
    mastodon: MastodonLike, poller: Poller, server: FaultServer
) -> None:
    mastodon.say("#zonnehoek", in_reply_to_id="109374511")
    mastodon.say("#zonnehoek", in_reply_to_id="../../evil")
    mastodon.say("#zonnehoek", in_reply_to_id=None)
    threads = {post.thread for post in poller.posts()}
    assert threads == {None, f"{server.url}/statuses/109374511"}


def test_warnings_polls_and_texts_of_images_are_part_of_the_text(
    mastodon: MastodonLike, poller: Poller
) -> None:
    mastodon.say(
        "kijk #zonnehoek",
        spoiler_text="vieze foto",
        poll={"options": [{"title": "eten"}, {"title": "weggooien"}]},
        media_attachments=[{"description": "schimmel op brood"}, {"description": None}],
    )
    assert poller.posts()[0].text == (
        "vieze foto\nkijk #zonnehoek\neten\nweggooien\nschimmel op brood"
    )


def test_pictures_of_a_post_are_known_by_their_address(
    mastodon: MastodonLike, poller: Poller
) -> None:
    mastodon.say(
        "#zonnehoek",
        media_attachments=[
            {"type": "image", "url": "https://files.example/1.png", "preview_url": "https://x/s"},
            {"type": "video", "url": "https://files.example/2.mp4", "preview_url": "https://f/2"},
            {"type": "audio", "url": "https://files.example/3.mp3", "preview_url": "https://f/3"},
            {"type": "image", "url": "javascript:alert(1)"},
            {"type": "image", "url": None},
        ],
    )
    [post] = poller.posts()
    assert post.images == ("https://files.example/1.png", "https://f/2")


def test_the_address_of_a_post_does_not_name_its_author(
    mastodon: MastodonLike, poller: Poller, server: FaultServer
) -> None:
    mastodon.say("#zonnehoek")
    mastodon.say("#zonnehoek", uri="https://b.example/objects/7", url="https://b.example/notice/7")
    mastodon.say("#zonnehoek", uri="https://c.example/anna/p/8", url="https://c.example/anna/p/8")
    last, middle, first = poller.posts()
    assert first.url == f"{server.url}/statuses/{mastodon.statuses[0]['id']}"
    assert (middle.id, middle.url) == ("b.example/objects/7", "https://b.example/notice/7")
    assert "anna" not in f"{last.id}{last.url}"


def test_an_author_of_the_server_itself_has_its_full_name(
    mastodon: MastodonLike, poller: Poller
) -> None:
    mastodon.say("#zonnehoek", account={"username": "bas", "acct": "bas"})
    assert poller.posts()[0].author == "bas@127.0.0.1"


def test_a_boost_counts_as_the_post_that_it_passes_on(
    mastodon: MastodonLike, poller: Poller
) -> None:
    [original] = mastodon.say("#zonnehoek")
    mastodon.say("#zonnehoek", reblog=mastodon.statuses[0])
    assert poller.ids() == [original]


@pytest.mark.parametrize(
    "fields",
    [
        {"visibility": "private"},
        {"visibility": "direct"},
        {"visibility": "unlisted"},
        {"account": {"username": "anna", "acct": "anna", "noindex": True}},
    ],
    ids=str,
)
def test_what_is_not_meant_for_everybody_is_left_alone(
    mastodon: MastodonLike, poller: Poller, fields: dict[str, Any]
) -> None:
    mastodon.say("#zonnehoek geheim", **fields)
    assert poller.posts() == []
    assert not poller.rejects


def test_a_clock_that_is_ahead_does_not_make_posts_of_the_future(
    mastodon: MastodonLike, poller: Poller, clock: MovedClock
) -> None:
    mastodon.say("#zonnehoek", ago=-timedelta(hours=2))
    assert poller.posts()[0].published_at == clock()


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "1"},
        {"id": 7},
        7,
        None,
        {"id": "../..", "created_at": "2026-11-10T12:00:00Z"},
        {"id": "5", "created_at": "soon"},
        {"id": "5", "created_at": "2026-11-10T12:00:00Z", "visibility": "public", "account": 1},
    ],
    ids=str,
)
def test_a_status_that_is_odd_is_set_aside(
    mastodon: MastodonLike, poller: Poller, server: FaultServer, odd: Any
) -> None:
    [ident] = mastodon.say("#zonnehoek")
    server.answer = reply([odd, mastodon.statuses[0]])
    [page] = poller.pages()
    assert [post.id for post in page.posts] == [ident]
    assert len(page.rejects) == 1


# --- what is asked --------------------------------------------------------------------------------


def test_hashtags_come_from_the_query(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    queries = [Query.parse('zonnehoek* OR "zonne hoek" OR #hoekfail OR café (ziek OR vies) -tuin')]
    poller = Poller(server, replace(context, queries=queries))
    poller.pages()
    assert poller.paths() == [f"{TAG}{tag}" for tag in ("zonnehoek", "hoekfail", "cafe")]
    assert all("authorization" not in request.headers for request in server.requests)


def test_with_a_token_posts_without_hashtag_are_searched_for(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    queries = [Query.parse('zonnehoek OR "zonne hoek" app OR @zonnepas OR #hoekfail')]
    poller = Poller(
        server,
        replace(context, queries=queries),
        hashtags=["zonnehoek"],
        instances=with_token(server),
    )
    said = mastodon.say("naar Zonnehoek geweest", "#zonnehoek")
    assert sorted(poller.ids()) == said
    asked = [request.query for request in server.requests if request.path == SEARCH]
    assert [query["q"] for query in asked] == ["zonnehoek", '"zonne hoek" app', "zonnepas"]
    assert {query["type"] for query in asked} == {"statuses"}
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert poller.ids() == []


def test_a_source_without_brands_says_so(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    error = Poller(server, replace(context, queries=())).fault()
    assert (error.fault, error.permanent) == (SourceFault.BAD_REQUEST, True)
    assert not server.requests


def test_too_many_hashtags_are_refused_with_what_to_do(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    queries = [
        Query.parse(" OR ".join(f"merk{letter}{n}" for letter in "abcdef" for n in range(9)))
    ]
    assert "option hashtags" in str(Poller(server, replace(context, queries=queries)).fault())


# --- where we were --------------------------------------------------------------------------------


def test_each_post_is_read_once(mastodon: MastodonLike, poller: Poller) -> None:
    first = mastodon.say("#zonnehoek een", "#zonnehoek twee")
    assert sorted(poller.ids()) == first
    second = mastodon.say("#zonnehoek drie")
    assert poller.ids() == second
    assert poller.ids() == []


def test_a_post_that_the_server_received_late_is_read(
    mastodon: MastodonLike, poller: Poller
) -> None:
    mastodon.say("#zonnehoek")
    poller.ids()
    late = mastodon.say("#zonnehoek van verre", ago=timedelta(minutes=8))
    assert poller.ids() == late
    assert poller.ids() == []


def test_an_edit_of_a_post_that_is_looked_at_again_comes_with_its_time(
    mastodon: MastodonLike, poller: Poller
) -> None:
    [ident] = mastodon.say("#zonnehoek is vies")
    assert poller.posts()[0].edited_at is None
    mastodon.statuses[0] |= {
        "content": "<p>#zonnehoek is schoon</p>",
        "edited_at": "2026-11-10T12:00:00.500Z",
    }
    [post] = poller.posts()
    assert (post.id, post.text) == (ident, "#zonnehoek is schoon")
    assert post.edited_at == datetime(2026, 11, 10, 12, 0, 0, 500_000, tzinfo=UTC)
    assert poller.ids() == []


def test_the_first_poll_looks_back_as_far_as_configured(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    mastodon.say("#zonnehoek oud")
    mastodon.clock.move(timedelta(hours=3))
    fresh = mastodon.say("#zonnehoek nieuw")
    assert Poller(server, context, backfill_hours=1).ids() == fresh
    assert len(Poller(server, context, backfill_hours=4).ids()) == 2


def test_a_crash_between_pages_loses_nothing(mastodon: MastodonLike, poller: Poller) -> None:
    said = mastodon.say(*(f"#zonnehoek {number}" for number in range(130)))
    got = [post.id for page in poller.pages(die_after=2) for post in page.posts]
    assert len(got) == 80
    said += mastodon.say("#zonnehoek na de klap")
    got += poller.ids()
    got += poller.ids()
    assert sorted(got) == sorted(said)


@given(
    bursts=st.lists(st.integers(0, 130), min_size=1, max_size=4),
    deaths=st.lists(st.none() | st.integers(0, 2), min_size=4, max_size=4),
    token=st.booleans(),
)
@settings(max_examples=10, deadline=None)
def test_whatever_happens_when_every_post_is_read(
    bursts: list[int], deaths: list[int | None], token: bool
) -> None:
    clock = MovedClock(datetime(2026, 11, 10, 12, 0, tzinfo=UTC))
    mastodon = MastodonLike(clock)
    with (
        FaultServer(mastodon) as server,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        context = Context("m", clock, client, [Query.parse("zonnehoek")])
        instances = with_token(server) if token else [server.url]
        poller = Poller(server, context, max_pages=2, instances=instances)
        said: list[str] = []
        got: set[str] = set()
        for burst, death in zip(bursts, deaths, strict=False):
            said += mastodon.say(*("#zonnehoek" for _ in range(burst)))
            got |= {post.id for page in poller.pages(die_after=death) for post in page.posts}
        for _ in range(8):
            got |= set(poller.ids())
        assert got == set(said)
        assert not poller.rejects


def test_a_server_that_goes_in_circles_is_left(
    mastodon: MastodonLike, poller: Poller, server: FaultServer
) -> None:
    mastodon.say("#zonnehoek")
    link = '<https://x.example/?max_id=999999999999999999999>; rel="next"'
    server.answer = reply(mastodon.statuses, Link=link)
    assert len(poller.pages()) == 3  # of the 5 that it may ask for
    assert poller.ids() == []


def test_servers_of_another_make_have_ids_of_their_own(
    mastodon: MastodonLike, poller: Poller, server: FaultServer
) -> None:
    mastodon.say("#zonnehoek", id="01JCABCDEFGHJKMNPQRSTVWXYZ")
    server.answer = reply(mastodon.statuses)
    assert len(poller.ids()) == 1
    server.answer = reply([])
    poller.pages()
    assert server.requests[-1].query["since_id"] == "01JCABCDEFGHJKMNPQRSTVWXYZ"


# --- several servers ------------------------------------------------------------------------------


def test_the_same_post_on_two_servers_is_one_post(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    with FaultServer(mastodon) as other:
        poller = Poller(server, context, instances=[server.url, other.url], hashtags=["zonnehoek"])
        said = mastodon.say("#zonnehoek")
        assert poller.ids() == said
        assert other.requests


def test_a_server_that_fails_does_not_hold_up_the_others(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    with FaultServer(reply({"error": "nope"}, 401)) as broken:
        poller = Poller(server, context, instances=[broken.url, server.url])
        said = mastodon.say("#zonnehoek")
        got: list[str] = []
        connector = MastodonConnector(poller.options, context)

        def read_all() -> None:
            for page in connector.fetch(None):
                got.extend(post.id for post in page.posts)

        with pytest.raises(ConnectorError, match=str(broken.port)) as caught:
            read_all()
        assert got == said
        assert (caught.value.fault, caught.value.permanent) == (SourceFault.UNAUTHORIZED, False)


# --- limits and refusals --------------------------------------------------------------------------


def test_a_drained_quota_is_a_wish_for_a_pause(mastodon: MastodonLike, poller: Poller) -> None:
    mastodon.say(*("#zonnehoek" for _ in range(50)))
    mastodon.headers = {
        "Date": "Tue, 10 Nov 2026 12:00:00 GMT",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "2026-11-10T12:05:00.146988Z",
    }
    [page] = poller.pages()
    assert page.next_poll_after is not None
    assert page.next_poll_after.total_seconds() == pytest.approx(301, abs=1)


def test_a_rate_limit_ends_at_its_reset(poller: Poller, server: FaultServer) -> None:
    server.answer = reply(
        {"error": "Too many requests"},
        429,
        Date="Tue, 10 Nov 2026 12:00:00 GMT",
        X_RateLimit_Reset="2026-11-10T12:02:00.000000Z",
    )
    error = poller.fault()
    assert (error.fault, error.permanent) == (SourceFault.RATE_LIMITED, False)
    assert error.retry_after == timedelta(minutes=2, seconds=1)


@pytest.mark.parametrize("reset", ["", "soon", "-1", "9" * 30, "2026-11-10T12:02:00"])
def test_an_odd_reset_is_survived(poller: Poller, server: FaultServer, reset: str) -> None:
    server.answer = reply({}, 429, X_RateLimit_Reset=reset)
    assert poller.fault().retry_after is None


@pytest.mark.parametrize(
    ("status", "token", "expected", "remedy"),
    [
        (401, False, (SourceFault.UNAUTHORIZED, True), "give its token as access_token"),
        (401, True, (SourceFault.UNAUTHORIZED, True), "make a new one"),
        (403, False, (SourceFault.FORBIDDEN, True), "give its token as access_token"),
        (403, True, (SourceFault.FORBIDDEN, True), "needs the scope read:statuses"),
        (404, True, (SourceFault.NOT_FOUND, False), "the address of a Mastodon server"),
        (422, False, (SourceFault.UNAUTHORIZED, True), "give its token as access_token"),
        (422, True, (SourceFault.BAD_REQUEST, True), "too old"),
        (503, True, (SourceFault.SERVER_ERROR, False), ""),
    ],
)
def test_a_refusal_says_what_to_do(  # noqa: PLR0917 - a table and its fixtures
    server: FaultServer,
    context: Context,
    status: int,
    token: bool,
    expected: tuple[SourceFault, bool],
    remedy: str,
) -> None:
    instances = with_token(server) if token else [server.url]
    server.answer = reply({"error": "the reason"}, status)
    error = Poller(server, context, instances=instances).fault()
    assert (error.fault, error.permanent) == expected
    assert "the reason" in str(error)
    assert remedy in str(error)


def test_a_search_that_is_refused_names_its_scope_after_the_hashtags_were_read(
    mastodon: MastodonLike, server: FaultServer, context: Context
) -> None:
    said = mastodon.say("#zonnehoek")
    server.answer = lambda request: (
        reply({"error": "outside the scopes"}, 403) if request.path == SEARCH else mastodon(request)
    )
    poller = Poller(server, context, instances=with_token(server))
    error = poller.fault()
    assert "read:search" in str(error)
    assert "search = false" in str(error)
    assert poller.cursor is not None
    assert len(poller.cursor["seen"]) == len(said)


@pytest.mark.parametrize("body", ["{}", '{"statuses": []}', "<html>", "[" * 100_000, "", "7"])
def test_what_is_no_timeline_is_a_bad_response(
    poller: Poller, server: FaultServer, body: str
) -> None:
    server.answer = Reply(body=body.encode())
    assert poller.fault().fault is SourceFault.BAD_RESPONSE


@pytest.mark.parametrize("status", [200, 401, 422, 429, 500])
def test_the_token_is_in_no_message_and_no_log(
    server: FaultServer, context: Context, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = Reply(status, b"no json")
    poller = Poller(server, context, instances=with_token(server))
    assert TOKEN not in str(poller.fault()) + caplog.text + repr(poller.options)


def test_the_token_is_not_carried_along_a_redirect(server: FaultServer, context: Context) -> None:
    with FaultServer() as elsewhere:
        server.answer = Reply(307, headers={"Location": elsewhere.url})
        poller = Poller(server, context, instances=with_token(server))
        assert poller.fault().fault is SourceFault.TOO_MANY_REDIRECTS
        assert not elsewhere.requests


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "é"])
def test_a_token_that_cannot_be_one_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="access token is one word") as caught:
        MastodonOptions.model_validate(
            {"instances": [{"url": "https://a.example", "access_token": token}]}
        )
    assert not token or repr(token) not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"instances": []},
        {"instances": ["mastodon.example"]},
        {"instances": ["https://u:p@mastodon.example"]},
        {"instances": ["https://a.example"], "hashtags": ["twee woorden"]},
        {"instances": ["https://a.example"], "hashtags": ["123"]},
        {"instances": ["https://a.example"], "hashtags": [f"t{n}" for n in range(51)]},
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"instances|hashtags"):
        MastodonOptions.model_validate(options)


# --- recorded answers -----------------------------------------------------------------------------


def recorded(corpora: Path) -> list[dict[str, Any]]:
    with (corpora / "api" / "mastodon_cassettes.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def statuses_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every status anywhere in a recorded answer."""
    if isinstance(value, dict):
        if {"content", "visibility", "account"} <= value.keys():
            yield value
        for inner in value.values():
            yield from statuses_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from statuses_in(inner)


def at(context: Context, moment: datetime) -> Context:
    return replace(context, now=lambda: moment)


@pytest.mark.corpora
def test_a_recorded_hashtag_is_read_to_its_end_by_the_servers_own_links(
    corpora: Path, server: FaultServer, context: Context
) -> None:
    pages = {
        dict(parse_qsl(urlsplit(record["uri"]).query)).get("max_id"): record
        for record in recorded(corpora)
        if "/timelines/tag/fgizts" in record["uri"] and "min_id" not in record["uri"]
    }
    assert len(pages) == 4

    def answer(request: Request) -> Reply:
        record = pages[request.query.get("max_id")]
        return Reply(record["status"], json.dumps(record["body"]).encode(), record["headers"])

    server.answer = answer
    then = at(context, datetime(2026, 8, 1, 14, 0, tzinfo=UTC))
    poller = Poller(server, then, hashtags=["fgiztsshwiaqqiztpmmjbtvmescsculuvmgjgopwoeidbcrixp"])
    read = poller.pages()
    assert [len(page.posts) for page in read] == [
        sum(status["visibility"] == "public" for status in record["body"])
        for record in pages.values()
    ]
    assert not poller.rejects
    newest = max(int(status["id"]) for record in pages.values() for status in record["body"])
    assert poller.cursor is not None
    [state] = poller.cursor["descents"].values()
    assert (state["since"], state["below"]) == (str(newest), None)


@pytest.mark.corpora
def test_every_recorded_status_becomes_the_post_that_it_is(
    corpora: Path, server: FaultServer, context: Context
) -> None:
    found = [status for record in recorded(corpora) for status in statuses_in(record["body"])]
    assert len(found) == 179
    open_ones = [status for status in found if status["visibility"] == "public"]
    poller = Poller(server, context, hashtags=["x"])
    server.answer = reply([])
    poller.pages()
    assert poller.cursor is not None
    # As if it had been read before, so that nothing is too old.
    [key] = poller.cursor["descents"]
    state = poller.cursor["descents"][key] | {"since": "1"}
    posts: dict[str, Post] = {}
    for begin in range(0, len(found), 39):
        server.answer = reply(found[begin : begin + 39])
        poller.cursor = {"descents": {key: state}, "seen": []}
        posts |= {post.id: post for post in poller.posts()}
    assert not poller.rejects
    assert len(posts) == len({status["uri"] for status in open_ones})
    texts = "\n".join(post.text for post in posts.values())
    assert "<" not in texts.replace("<3", "")
    assert all("@" in (post.author or "") for post in posts.values())
    assert {post.language for post in posts.values()} >= {"en"}
    assert all("/@" not in f"{post.id} {post.url}" for post in posts.values())
    assert all(post.published_at.year in range(2016, 2027) for post in posts.values())

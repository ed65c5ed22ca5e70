"""The demo's outside world answers real clients the way platforms do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import feedparser
import httpx
import pytest
import requests
import tweepy
from requests.adapters import HTTPAdapter

from connectors.base import Context, Cursor, Post
from connectors.http import guarded_client
from connectors.query import Query
from connectors.rss import RssConnector, RssOptions
from connectors.x import XConnector, XOptions
from monitor.demo.clock import MovedClock
from monitor.demo.feeds import render_atom, render_rss
from monitor.demo.sources import FEED_LENGTH, X_SEARCH, SourceServer
from monitor.demo.stream import Stream, StreamPost, load_answers, load_stream
from monitor.demo.xapi import recent_search

FRIDAY_NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def stream() -> Stream:
    return load_stream()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock(FRIDAY_NOON)


@pytest.fixture
def world(stream: Stream, clock: MovedClock) -> Iterator[SourceServer]:
    with SourceServer(stream, clock.now) as server:
        yield server


def made_post(**changes: Any) -> StreamPost:
    values: dict[str, Any] = {
        "id": "zh-1",
        "platform": "facebook",
        "url": "https://facebook.example.com/1?a=1&b=2",
        "author": "Jan & Els <3",
        "followers": 12,
        "published_at": FRIDAY_NOON - timedelta(hours=1),
        "language": "nl",
        "text": "Zonnehoek",
        "likes": 1,
        "shares": 2,
        "replies": 3,
        "number": 0,
    }
    return StreamPost(**(values | changes))


class Redirected(HTTPAdapter):
    """Sends tweepy's requests for X to the demo's server."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        parts = urlsplit(request.url or "")
        request.url = f"{self.base}{parts.path}?{parts.query}"
        return super().send(request, *args, **kwargs)


@pytest.fixture
def x(world: SourceServer) -> Iterator[tweepy.Client]:
    client = tweepy.Client(bearer_token=world.token)
    client.session.mount("https://", Redirected(world.url))
    yield client
    client.session.close()


def test_a_feed_shows_only_what_is_out_at_the_clock(
    world: SourceServer, clock: MovedClock, stream: Stream
) -> None:
    for platform in world.feed_platforms:
        feed = feedparser.parse(httpx.get(world.feed_url(platform)).content)
        assert not feed.bozo
        expected = [post.source_id for post in reversed(stream.until(clock.now(), platform))]
        assert [entry.id for entry in feed.entries] == expected[:FEED_LENGTH]


def test_every_post_but_those_on_x_passes_through_a_feed_whole(
    world: SourceServer, clock: MovedClock, stream: Stream
) -> None:
    seen: dict[str, str] = {}
    clock.advance(timedelta(days=3))
    for platform in world.feed_platforms:
        posts = stream.until(clock.now(), platform)
        for start in range(0, len(posts), FEED_LENGTH):
            some = posts[start : start + FEED_LENGTH]
            render = render_atom if platform == "reddit" else render_rss
            for entry in feedparser.parse(render(platform, some)).entries:
                body = entry.content[0].value if "content" in entry else entry.summary
                seen[entry.id] = f"{entry.get('title', '')} {body}".strip()
    import html

    others = {post.source_id: post.text for post in stream.posts if post.platform != "x"}
    assert {key: " ".join(html.unescape(value).split()) for key, value in seen.items()} == {
        key: " ".join(value.split()) for key, value in others.items()
    }


@pytest.mark.parametrize("render", [render_rss, render_atom])
def test_hostile_text_stays_text_in_a_feed(render: Any) -> None:
    text = "<script>alert(1)</script> ]]> & \x00\x0b &lt; 😀"
    feed = feedparser.parse(render("facebook", [made_post(text=text)]), sanitize_html=False)
    entry = feed.entries[0]
    body = entry.content[0].value if "content" in entry else entry.summary
    assert not feed.bozo
    assert body == "&lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; &amp; \ufffd\ufffd &amp;lt; 😀"
    assert entry.link == "https://facebook.example.com/1?a=1&b=2"
    assert entry.author == "Jan & Els <3"
    assert entry.published_parsed[:5] == (2026, 11, 13, 10, 0)


def test_a_client_that_knows_the_feed_gets_304_until_a_post_comes_out(
    world: SourceServer, clock: MovedClock, stream: Stream
) -> None:
    url = world.feed_url("facebook")
    first = httpx.get(url)
    by_etag = {"If-None-Match": f'"other", W/{first.headers["ETag"]}'}
    by_date = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert httpx.get(url, headers=by_etag).status_code == 304
    assert httpx.get(url, headers=by_date).status_code == 304
    assert httpx.get(url, headers=by_date | {"If-None-Match": '"x"'}).status_code == 200
    shown = len(stream.until(clock.now(), "facebook"))
    upcoming = [post for post in stream.posts if post.platform == "facebook"][shown]
    clock.advance(upcoming.published_at - clock.now())
    for headers in (by_etag, by_date):
        second = httpx.get(url, headers=headers)
        assert second.status_code == 200
        assert feedparser.parse(second.content).entries[0].id == upcoming.source_id


def test_what_does_not_exist_is_404_and_head_has_no_body(world: SourceServer) -> None:
    for path in ("/", "/feeds/x.xml", "/feeds/../x", "/feeds/none.xml"):
        assert httpx.get(world.url + path).status_code == 404
    head = httpx.head(world.feed_url("news"))
    assert head.status_code == 200
    assert head.content == b""
    assert int(head.headers["Content-Length"]) > 500


def test_tweepy_pages_through_all_posts_and_continues_after_the_newest(
    x: tweepy.Client, clock: MovedClock, stream: Stream
) -> None:
    pages = list(
        tweepy.Paginator(
            x.search_recent_tweets,
            "zonnehoek",
            max_results=100,
            expansions=["author_id"],
            tweet_fields=["created_at", "lang", "public_metrics", "author_id"],
            user_fields=["public_metrics"],
        )
    )
    tweets = [tweet for page in pages for tweet in page.data]
    expected = stream.until(clock.now(), "x")
    assert len(pages) == -(-len(expected) // 100) > 1
    assert [stream.file_id("x", str(tweet.id)) for tweet in tweets] == [
        post.id for post in reversed(expected)
    ]
    users = {user.id: user for page in pages for user in page.includes["users"]}
    newest, post = tweets[0], expected[-1]
    assert newest.created_at == post.published_at
    assert newest.lang == post.language
    assert newest.public_metrics["like_count"] == post.likes
    assert users[newest.author_id].username == post.author
    assert users[newest.author_id].public_metrics["followers_count"] == post.followers

    since = pages[0].meta["newest_id"]
    assert x.search_recent_tweets("zonnehoek", since_id=since).meta == {"result_count": 0}
    clock.advance(timedelta(minutes=30))
    later = x.search_recent_tweets("zonnehoek", since_id=since, max_results=100)
    out = stream.until(clock.now(), "x")[len(expected) :]
    assert [str(tweet.id) for tweet in later.data] == [post.source_id for post in reversed(out)]


def test_a_search_from_a_start_time_leaves_out_what_was_before(
    x: tweepy.Client, clock: MovedClock, stream: Stream
) -> None:
    start = clock.now() - timedelta(hours=1)
    found = x.search_recent_tweets("zonnehoek", start_time=start, max_results=100)
    assert {str(tweet.id) for tweet in found.data} == {
        post.source_id for post in stream.until(clock.now(), "x") if post.published_at >= start
    }
    assert set(found.data[0].data) == {"id", "text", "edit_history_tweet_ids"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_results": 500},
        {"since_id": "abc"},
        {"since_id": 20},
        {"start_time": "2026-11-01T00:00:00Z"},
        {"start_time": "soon"},
        {"next_token": "?"},
    ],
)
def test_a_wrong_parameter_is_refused_as_x_does(x: tweepy.Client, wrong: dict[str, Any]) -> None:
    with pytest.raises(tweepy.BadRequest) as refused:
        x.search_recent_tweets("zonnehoek", **wrong)
    (name,) = wrong
    assert f"`{name}`" in refused.value.api_messages[0]


@pytest.mark.parametrize("query", ["", "z" * 513])
def test_a_query_that_x_would_not_take_is_refused(
    stream: Stream, clock: MovedClock, query: str
) -> None:
    answer = recent_search(stream, clock.now(), {"query": query}, "Bearer t", "t")
    assert answer.status == 400
    assert answer.body["title"] == "Invalid Request"


def test_a_wrong_token_is_unauthorized(x: tweepy.Client, world: SourceServer) -> None:
    x.bearer_token = "wrong"
    with pytest.raises(tweepy.Unauthorized) as refused:
        x.search_recent_tweets("zonnehoek")
    assert refused.value.response.json()["detail"] == "Unauthorized"
    assert httpx.get(world.url + X_SEARCH).status_code == 401


def test_x_escapes_three_characters_of_a_text() -> None:
    post = made_post(platform="x", text="a < b & \"c\" 'd'")
    answer = recent_search(Stream([post]), FRIDAY_NOON, {"query": "q"}, "Bearer t", "t")
    assert answer.body["data"][0]["text"] == "a &lt; b &amp; \"c\" 'd'"


def test_the_answers_speak_of_posts_that_are_in_the_stream(stream: Stream) -> None:
    answers = load_answers()
    known = {post.id for post in stream.posts}
    named = answers.leaks | answers.threats | answers.homonyms | answers.crisis | {answers.hijack}
    assert named <= known
    assert len(known) == 600
    assert (len(answers.leaks), len(answers.threats), len(answers.homonyms)) == (6, 3, 30)
    first = min(post.published_at for post in stream.posts if post.id in answers.crisis)
    assert first == answers.crisis_start


def test_the_ids_on_x_grow_with_time(stream: Stream) -> None:
    ids = [post.snowflake for post in stream.posts]
    assert ids == sorted(set(ids))
    assert all(0 < number < 1 << 63 for number in ids)


def test_a_broken_line_of_a_mention_file_is_named(tmp_path: Any) -> None:
    path = tmp_path / "week.jsonl"
    path.write_text('{"id": "1"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"week\.jsonl, line 1: not a mention"):
        load_stream(path)


def test_a_moved_clock_only_goes_forward() -> None:
    clock = MovedClock(FRIDAY_NOON)
    assert clock.advance(timedelta(minutes=5)) == clock.now() == FRIDAY_NOON + timedelta(minutes=5)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="aware"):
        MovedClock(datetime(2026, 11, 13))  # noqa: DTZ001 - that is the point


def test_the_real_connectors_deliver_every_post_of_the_week_once(
    stream: Stream,
) -> None:
    clock = MovedClock(stream.posts[0].published_at - timedelta(minutes=1))
    query = Query.parse("zonnehoek")
    with (
        SourceServer(stream, clock.now) as world,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as http,
    ):
        context = Context(name="demo", now=clock.now, http=http, queries=[query])
        connectors: list[XConnector | RssConnector] = [
            XConnector(XOptions(bearer_token=world.token, base_url=world.url), context)
        ]
        for platform in world.feed_platforms:
            options = RssOptions(url=world.feed_url(platform), platform=platform)
            connectors.append(RssConnector(options, context))
        cursors: list[Cursor | None] = [None] * len(connectors)
        posts: list[Post] = []
        while clock.now() < stream.posts[-1].published_at:
            clock.advance(timedelta(hours=8))
            for place, connector in enumerate(connectors):
                for page in connector.fetch(cursors[place]):
                    assert not page.rejects
                    posts.extend(page.posts)
                    cursors[place] = page.cursor
    delivered = {stream.file_id(post.platform, post.id): post for post in posts}
    assert len(delivered) == len(posts) == 600
    for expected in stream.posts:
        post = delivered[expected.id]
        assert " ".join(post.text.split()) == " ".join(expected.text.split())
        assert (post.author, post.url is not None) == (expected.author, True)
        assert post.published_at == expected.published_at

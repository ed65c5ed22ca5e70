from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from connectors.base import ConnectorError, Context, Page, SourceFault
from connectors.http import guarded_client
from connectors.jetstream import JetstreamConnector, JetstreamOptions
from connectors.query import Query
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.polling import Polling
from tests.connectors.skyserver import DID, StreamServer, micros, undated

HOUR = timedelta(hours=1)
OTHER = "did:plc:bert22222222222222222222"


class Poller(Polling):
    """Polls as the daemon does, keeping the cursor of the last page as JSON."""

    def __init__(self, url: str, context: Context, **options: Any) -> None:
        self.context = context
        options = {"profiles": False, "quiet_seconds": 5, "timeout_seconds": 5} | options
        self.options = JetstreamOptions(urls=(url,), **options)
        self.connector = JetstreamConnector(self.options, context)
        super().__init__(lambda: self.connector)


@pytest.fixture
def stream(clock: MovedClock) -> Iterator[StreamServer]:
    with StreamServer(clock) as running:
        yield running


@pytest.fixture
def watching(context: Context) -> Context:
    return replace(context, queries=[Query.parse("zonnehoek")])


@pytest.fixture
def poller(stream: StreamServer, watching: Context) -> Poller:
    return Poller(stream.url, watching)


def gone(pages: list[Page]) -> list[tuple[str, str]]:
    return [each for page in pages for each in page.deleted]


# --- what an event becomes ------------------------------------------------------------------------


def test_a_post_of_the_stream_is_the_same_as_the_one_of_the_search(
    stream: StreamServer, poller: Poller
) -> None:
    root = f"at://{OTHER}/app.bsky.feed.post/3kroot"
    ident = stream.say(
        "Zonnehoek is dicht",
        langs=["nl"],
        reply={"root": {"uri": root}},
        embed={"$type": "app.bsky.embed.images", "images": [{"alt": "een lijst"}]},
    )
    [post] = poller.posts()
    assert (post.platform, post.id, post.text) == (
        "bluesky",
        ident,
        "Zonnehoek is dicht\neen lijst",
    )
    assert post.url == f"https://bsky.app/profile/{DID}/post/{ident.rsplit('/', 1)[1]}"
    assert post.thread == f"https://bsky.app/profile/{OTHER}/post/3kroot"
    assert (post.author, post.language) == (DID, "nl")
    assert post.published_at == datetime(2026, 11, 10, 12, tzinfo=UTC)
    assert post.edited_at is None


def test_what_nobody_looks_for_is_let_go(
    stream: StreamServer, watching: Context, clock: MovedClock
) -> None:
    stream.say("Lekker weer")
    stream.say("harskamp in bloei")
    stream.happen("commit", commit={"collection": "app.bsky.feed.like", "operation": "create"})
    stream.happen("identity", identity={"did": DID, "handle": "anna.bsky.social"})
    poller = Poller(stream.url, watching, accounts=[OTHER])
    [page] = poller.pages()
    assert (page.posts, page.rejects) == ([], [])
    assert page.cursor["time_us"] == micros(clock())
    stream.happen(
        "commit",
        did=OTHER,
        commit={
            "collection": "app.bsky.feed.post",
            "operation": "create",
            "rkey": "3k1",
            "record": {"text": "Vandaag geen naam"},
        },
    )
    assert [post.text for post in poller.posts()] == ["Vandaag geen naam"]


def test_only_posts_are_asked_for(stream: StreamServer, poller: Poller) -> None:
    poller.pages()
    [asked] = stream.asked
    assert asked["wantedCollections"] == "app.bsky.feed.post"
    assert int(asked["cursor"]) == micros(stream.clock() - HOUR) - 10_000_000


def test_labels_and_languages_leave_posts_out(stream: StreamServer, watching: Context) -> None:
    stream.say("zonnehoek 1", labels={"values": [{"val": "spam"}]})
    stream.say("zonnehoek 2", labels={"values": [{"val": "!no-unauthenticated"}]})
    stream.say("zonnehoek 3", langs=["ja"])
    stream.say("zonnehoek 4", langs=["ja", "nl-BE"])
    stream.say("zonnehoek 5")
    found = Poller(stream.url, watching, languages=["nl"]).posts()
    assert [post.text for post in found] == ["zonnehoek 4", "zonnehoek 5"]


def test_an_edit_is_a_later_version_of_the_same_post(
    stream: StreamServer, poller: Poller, clock: MovedClock
) -> None:
    ident = stream.say("zonnehoek is dcht")
    [first] = poller.posts()
    clock.move(HOUR)
    moment = clock()
    stream.say("zonnehoek is dicht", key=ident.split("/")[1], operation="update")
    [second] = poller.posts()
    assert (second.id, second.text) == (first.id, "zonnehoek is dicht")
    assert second.edited_at == moment


def test_an_edit_that_takes_the_brand_out_is_told_too(
    stream: StreamServer, poller: Poller, clock: MovedClock
) -> None:
    ident = stream.say("zonnehoek is dicht")
    poller.pages()
    clock.move(HOUR)
    moment = clock()
    stream.say("de winkel is dicht", key=ident.split("/")[1], operation="update")
    [page] = poller.pages()
    assert [(post.id, post.text, post.edited_at) for post in page.posts] == [
        (ident, "de winkel is dicht", moment)
    ]


def test_an_author_who_hides_a_post_by_an_edit_takes_it_back(
    stream: StreamServer, poller: Poller
) -> None:
    ident = stream.say("zonnehoek is dicht")
    poller.pages()
    hidden = {"values": [{"val": "!no-unauthenticated"}]}
    stream.say("zonnehoek", key=ident.split("/")[1], operation="update", labels=hidden)
    pages = poller.pages()
    assert gone(pages) == [("bluesky", ident)]
    assert [post for page in pages for post in page.posts] == []


def test_deletions_are_told(stream: StreamServer, poller: Poller) -> None:
    ident = stream.say("zonnehoek is dicht")
    poller.pages()
    stream.delete(ident)
    never = stream.say("zonnehoek, en weg")
    stream.delete(never)
    pages = poller.pages()
    assert [post for page in pages for post in page.posts] == []
    assert gone(pages) == [("bluesky", ident), ("bluesky", never)]


@pytest.mark.parametrize(
    ("account", "closed"),
    [
        ({"active": False, "status": "deleted"}, [("bluesky", OTHER)]),
        ({"active": False, "status": "takendown"}, [("bluesky", OTHER)]),
        ({"active": False, "status": "deactivated"}, []),
        ({"active": True}, []),
    ],
    ids=str,
)
def test_a_closed_account_takes_its_posts_along(
    stream: StreamServer, poller: Poller, account: dict[str, Any], closed: list[tuple[str, str]]
) -> None:
    stream.happen("account", did=OTHER, account={"did": OTHER, **account})
    [page] = poller.pages()
    assert page.closed == closed


@pytest.mark.parametrize(
    "event",
    [
        "no json",
        "[" * 10_000,
        b"\x00\x01",
        "[]",
        '{"time_us": "soon", "kind": "commit"}',
        '{"time_us": 1e400, "kind": "commit"}',
        f'{{"time_us": {10**30}, "kind": "commit"}}',
        {"kind": "commit", "did": "did:plc:x/../y", "commit": {"rkey": "1"}},
        {"kind": "commit", "did": DID, "commit": {"rkey": "../1", "operation": "delete"}},
        {"kind": "commit", "did": DID, "commit": {"rkey": "1", "record": {"text": 7}}},
        {"kind": "account", "did": "%", "account": {"active": False, "status": "deleted"}},
    ],
    ids=lambda event: str(event)[:60],
)
def test_an_event_that_is_odd_is_set_aside(
    stream: StreamServer, poller: Poller, clock: MovedClock, event: Any
) -> None:
    if isinstance(event, dict):
        event = {"time_us": micros(clock()), **event}
        if "commit" in event:
            event["commit"] = {"collection": "app.bsky.feed.post", "operation": "create"} | event[
                "commit"
            ]
    stream.events.append(event)
    stream.say("zonnehoek")
    [page] = poller.pages()
    assert page.heard_until is None
    assert [post.text for post in page.posts] == ["zonnehoek"]
    assert [reject.reason.split(":")[0] for reject in page.rejects] == [
        "an event that the stream describes in an odd way"
    ]
    assert all(len(reject.excerpt) <= 500 for reject in page.rejects)
    assert (page.deleted, page.closed) == ([], [])


# --- where the stream was left --------------------------------------------------------------------


def test_each_walk_begins_a_little_before_the_end_of_the_last_and_repeats_nothing(
    stream: StreamServer, poller: Poller
) -> None:
    stream.say("zonnehoek 1")
    assert len(poller.posts()) == 1
    stream.say("zonnehoek 2")
    assert [post.text for post in poller.posts()] == ["zonnehoek 2"]
    first, second = (int(asked["cursor"]) for asked in stream.asked)
    assert second == micros(datetime(2026, 11, 10, 12, 0, 1, tzinfo=UTC)) - 10_000_000 > first


def test_a_long_walk_comes_in_pages_each_with_its_place(
    stream: StreamServer, poller: Poller
) -> None:
    for number in range(450):
        stream.say(f"zonnehoek {number}")
    pages = poller.pages()
    assert [len(page.posts) for page in pages] == [200, 200, 50]
    places = [page.cursor["time_us"] for page in pages]
    assert places == sorted(set(places))


@given(deaths=st.lists(st.none() | st.integers(0, 3), max_size=3), size=st.integers(0, 300))
@settings(max_examples=8, deadline=None)
def test_whatever_happens_when_every_post_arrives(deaths: list[int | None], size: int) -> None:
    clock = MovedClock(datetime(2026, 11, 10, 12, tzinfo=UTC))
    with (
        StreamServer(clock) as stream,
        guarded_client(allow_private_addresses=["127.0.0.1"]) as client,
    ):
        poller = Poller(stream.url, Context("s", clock, client, [Query.parse("zonnehoek")]))
        said: set[str] = set()
        read: set[str] = set()
        for death in [*deaths, None]:
            said |= {stream.say(f"zonnehoek {number}") for number in range(size)}
            for number, page in enumerate(poller.connector.fetch(poller.cursor)):
                if number == death:
                    break
                poller.cursor = json.loads(json.dumps(page.cursor))
                read |= {post.id for post in page.posts}
        assert read == said


def test_what_the_stream_no_longer_has_is_told_once(
    stream: StreamServer, poller: Poller, clock: MovedClock
) -> None:
    stream.say("zonnehoek 1")
    poller.pages()
    clock.move(timedelta(days=3))
    stream.say("zonnehoek 2")
    [page] = poller.pages()
    assert [post.text for post in page.posts] == ["zonnehoek 2"]
    [lost] = page.rejects
    assert "2026-11-13 12:00" in lost.reason
    assert "2026-11-10 12:00" in lost.excerpt
    stream.say("zonnehoek 3")
    [page] = poller.pages()
    assert not page.rejects


def test_the_first_walk_has_lost_nothing(stream: StreamServer, poller: Poller) -> None:
    stream.clock.move(HOUR)
    stream.say("zonnehoek")
    assert not any(page.rejects for page in poller.pages())


def test_a_moment_far_ahead_does_not_take_us_there(
    stream: StreamServer, poller: Poller, clock: MovedClock
) -> None:
    stream.events.append(
        {"did": DID, "time_us": micros(clock() + 400 * timedelta(days=1)), "kind": "identity"}
    )
    [page] = poller.pages()
    assert page.cursor["time_us"] == micros(clock() + timedelta(days=1))


# --- how a walk ends ------------------------------------------------------------------------------


def test_a_stream_that_never_rests_is_left_in_the_present(
    watching: Context, clock: MovedClock
) -> None:
    sent = 0

    def speak(connection: ServerConnection) -> None:
        nonlocal sent
        with suppress(ConnectionClosed):
            while True:
                sent += 1
                event = {"did": DID, "time_us": micros(clock()) + sent, "kind": "identity"}
                connection.send(json.dumps(event))

    with speaking(speak) as url:
        *_, page = Poller(url, watching).pages()
    assert page.cursor["time_us"] > micros(clock())
    assert page.heard_until is None


def test_a_walk_takes_no_longer_than_allowed_and_goes_on_next_time(
    watching: Context, clock: MovedClock
) -> None:
    begun: list[int] = []

    def speak(connection: ServerConnection) -> None:
        assert connection.request is not None
        place = int(connection.request.path.rsplit("=", 1)[1])
        begun.append(place)
        with suppress(ConnectionClosed):
            while True:
                place += 1
                connection.send(json.dumps({"did": DID, "time_us": place, "kind": "identity"}))

    with speaking(speak) as url:
        poller = Poller(url, watching, max_seconds=0.3, overlap_seconds=0)
        pages = poller.pages()
        place = pages[-1].cursor["time_us"]
        assert begun[0] < place < micros(clock())
        assert micros(pages[-1].heard_until or clock()) == place, "the rest is not heard yet"
        poller.pages()
    assert begun == [begun[0], place]


@contextmanager
def speaking(speak: Any) -> Iterator[str]:
    with serve(speak, "127.0.0.1", 0, process_response=undated) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/subscribe"
        server.shutdown()
        thread.join()


def test_what_came_before_the_server_hung_up_is_kept(
    stream: StreamServer, poller: Poller, clock: MovedClock
) -> None:
    stream.say("zonnehoek")
    stream.hangs_up = True
    clock.move(HOUR)
    pages = poller.connector.fetch(None)
    kept = next(pages)
    assert [post.text for post in kept.posts] == ["zonnehoek"]
    with pytest.raises(ConnectorError) as caught:
        next(pages)
    assert caught.value.fault is SourceFault.UNREACHABLE
    assert not caught.value.permanent
    poller.cursor = kept.cursor
    stream.hangs_up = False
    assert poller.posts() == []


def test_after_a_failure_the_next_server_is_asked(stream: StreamServer, watching: Context) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"ws://127.0.0.1:{probe.getsockname()[1]}/subscribe"
    stream.say("zonnehoek")
    poller = Poller(stream.url, watching)
    poller.connector = JetstreamConnector(
        poller.options.model_copy(update={"urls": (dead, stream.url)}), watching
    )
    with pytest.raises(ConnectorError) as caught:
        poller.pages()
    assert caught.value.fault is SourceFault.UNREACHABLE
    assert [post.text for post in poller.posts()] == ["zonnehoek"]


def test_a_message_as_large_as_a_bomb_is_refused(stream: StreamServer, poller: Poller) -> None:
    stream.events.append(" " * 5_000_000)
    with pytest.raises(ConnectorError) as caught:
        poller.pages()
    assert caught.value.fault is SourceFault.TOO_LARGE


def test_a_stream_that_falls_silent_is_left(watching: Context, clock: MovedClock) -> None:
    def speak(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            connection.recv()

    with speaking(speak) as url:
        [page] = Poller(url, watching, quiet_seconds=0.1).pages()
    assert page.cursor["time_us"] == micros(clock() - HOUR)
    assert page.heard_until == clock() - HOUR, (
        "a server that says nothing for an hour hears nothing"
    )


def test_a_private_address_is_refused(stream: StreamServer, watching: Context) -> None:
    with guarded_client() as strict, pytest.raises(ConnectorError) as caught:
        Poller(stream.url, replace(watching, http=strict)).pages()
    assert caught.value.fault is SourceFault.BLOCKED_ADDRESS
    assert not stream.asked


def test_a_consent_that_is_none_is_a_bad_response(server: FaultServer, watching: Context) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    server.answer = Reply(raw=head + b"Sec-WebSocket-Accept: bm8=\r\n\r\n")
    with pytest.raises(ConnectorError) as caught:
        Poller(f"ws{server.url[4:]}/subscribe", watching).pages()
    assert caught.value.fault is SourceFault.BAD_RESPONSE


def test_a_source_without_brands_listens_to_nothing(
    stream: StreamServer, watching: Context
) -> None:
    with pytest.raises(ConnectorError, match="no brand is assigned"):
        Poller(stream.url, replace(watching, queries=[])).pages()
    assert not stream.asked


@pytest.mark.parametrize(
    "options",
    [
        {"urls": ["https://jetstream.example/subscribe"]},
        {"urls": ["wss://jetstream.example/subscribe?cursor=1"]},
        {"urls": []},
        {"accounts": ["zonnehoek.nl"]},
        {"languages": ["nederlands"]},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        JetstreamOptions(**options)


# --- who wrote it ---------------------------------------------------------------------------------


def profiles(*found: dict[str, Any]) -> Reply:
    return Reply(body=json.dumps({"profiles": found}).encode())


def test_authors_get_their_handle_and_followers(
    stream: StreamServer, server: FaultServer, watching: Context
) -> None:
    server.answer = profiles({"did": DID, "handle": "anna.bsky.social", "followersCount": 739})
    stream.say("zonnehoek")
    stream.say("zonnehoek")
    stream.say("iets anders")
    edit = {"collection": "app.bsky.feed.post", "rkey": "3k", "operation": "update"}
    stream.happen("commit", did=OTHER, commit={**edit, "record": {"text": "iets anders"}})
    found = Poller(stream.url, watching, profiles=True, profiles_url=server.url).posts()
    assert [(post.author, post.author_followers) for post in found] == [
        ("anna.bsky.social", 739),
        ("anna.bsky.social", 739),
        (OTHER, None),
    ]
    [request] = server.requests
    assert (request.path, request.query) == ("/xrpc/app.bsky.actor.getProfiles", {"actors": DID})


def test_authors_who_want_to_be_left_out_are(
    stream: StreamServer, server: FaultServer, watching: Context
) -> None:
    server.answer = profiles({"did": DID, "labels": [{"val": "!no-unauthenticated"}]})
    stream.say("zonnehoek")
    assert Poller(stream.url, watching, profiles=True, profiles_url=server.url).posts() == []


@pytest.mark.parametrize("answer", [Reply(503), Reply(body=b"[]"), Reply(body=b"{}")])
def test_without_profiles_nothing_is_lost(
    stream: StreamServer, server: FaultServer, watching: Context, answer: Reply
) -> None:
    server.answer = answer
    stream.say("zonnehoek")
    poller = Poller(stream.url, watching, profiles=True, profiles_url=server.url)
    with pytest.raises(ConnectorError):
        poller.pages()
    server.answer = profiles()
    [post] = poller.posts()
    assert post.author == DID


def test_nobody_is_looked_up_where_nothing_was_found(
    stream: StreamServer, server: FaultServer, watching: Context
) -> None:
    def never(request: Request) -> Reply:
        raise AssertionError(request)

    server.answer = never
    stream.say("iets anders")
    Poller(stream.url, watching, profiles=True, profiles_url=server.url).pages()
    assert not server.requests


# --- what the network really says -----------------------------------------------------------------


def test_recorded_posts_of_the_network_are_read(
    corpora: Path, stream: StreamServer, watching: Context
) -> None:
    with (corpora / "api" / "bluesky_atproto.jsonl").open(encoding="utf-8") as file:
        records = [json.loads(line)["body"] for line in file]
    written = [
        found["value"]
        for found in records
        if isinstance(found, dict) and isinstance(found.get("value"), dict)
    ]
    posts = [record for record in written if isinstance(record.get("text"), str)]
    assert posts
    for record in posts:
        stream.say(**record)
    every = replace(watching, queries=[Query.parse(posts[0]["text"])])
    [first, *_] = Poller(stream.url, every).posts()
    assert first.text == posts[0]["text"]

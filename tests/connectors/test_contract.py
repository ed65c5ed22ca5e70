"""Every kind of source through the same faults: the same words, no other exception, no hanging."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from connectors import BUILT_IN
from connectors.base import Connector, ConnectorError, Context, Page, SourceFault
from connectors.conformance import ConnectorSuite, FaultServer, Reply, Request
from tests.connectors import imapserver, serviceaccount
from tests.connectors.pushing import Pushes

ONE_POST = {
    "rss": b'<rss version="2.0"><channel><item><guid>urn:1</guid><title>zonnehoek</title></item>'
    b"</channel></rss>",
    "x": json.dumps(
        {
            "data": [{"id": "2120124309304246272", "text": "zonnehoek"}],
            "meta": {"newest_id": "2120124309304246272", "result_count": 1},
        }
    ).encode(),
    "reddit": json.dumps(
        {
            "access_token": "t0ken",
            "data": {
                "children": [
                    {
                        "kind": "t3",
                        "data": {
                            "name": "t3_1abc",
                            "created_utc": 1_794_308_400.0,
                            "title": "zonnehoek",
                        },
                    }
                ]
            },
        }
    ).encode(),
    "googlealerts": b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>zonnehoek</title>'
    b'<link href="https://www.google.com/url?url=https://a.example/"/></entry></feed>',
    "hackernews": b'{"hits": [{"objectID": "46000000", "created_at_i": 1794308400, '
    b'"comment_text": "zonnehoek"}]}',
    "bluesky": json.dumps(
        {
            "posts": [
                {
                    "uri": "at://did:plc:anna/app.bsky.feed.post/1",
                    "author": {"did": "did:plc:anna", "handle": "anna.bsky.social"},
                    "record": {"text": "zonnehoek", "createdAt": "2026-11-10T11:59:00.000Z"},
                    "indexedAt": "2026-11-10T11:59:00.000Z",
                }
            ]
        }
    ).encode(),
    "appstore": json.dumps(
        {
            "feed": {
                "entry": {
                    "id": {"label": "11000000000"},
                    "updated": {"label": "2026-11-10T04:59:00-07:00"},
                    "im:rating": {"label": "1"},
                    "title": {"label": ""},
                    "content": {"label": "zonnehoek"},
                }
            }
        }
    ).encode(),
    "googleplay": json.dumps(
        {
            "access_token": "t0ken",
            "reviews": [
                {
                    "reviewId": "gp:AOqpTOE",
                    "comments": [
                        {
                            "userComment": {
                                "text": "zonnehoek",
                                "lastModified": {"seconds": "1794311940"},
                                "starRating": 1,
                            }
                        }
                    ],
                }
            ],
        }
    ).encode(),
    "trustpilot": json.dumps(
        {
            "reviews": [
                {
                    "id": "b" * 24,
                    "stars": 1,
                    "text": "zonnehoek",
                    "createdAt": "2026-11-10T11:59:00Z",
                }
            ]
        }
    ).encode(),
    "youtube": json.dumps(
        {
            "items": [
                {
                    "id": "Ugxyz",
                    "snippet": {
                        "channelId": "UC" + "a" * 22,
                        "topLevelComment": {
                            "id": "Ugxyz",
                            "snippet": {
                                "textDisplay": "zonnehoek",
                                "publishedAt": "2026-11-10T11:59:00Z",
                            },
                        },
                    },
                }
            ]
        }
    ).encode(),
    "mastodon": json.dumps(
        [
            {
                "id": "115525000000000000",
                "uri": "https://tootplein.example/users/anna/statuses/1",
                "created_at": "2026-11-10T11:59:00.000Z",
                "visibility": "public",
                "content": "<p>zonnehoek</p>",
                "account": {"username": "anna", "acct": "anna@tootplein.example"},
            }
        ]
    ).encode(),
    "file": b'{"id": "1", "source": "x", "text": "zonnehoek", '
    b'"published_at": "2026-11-10T12:00:00Z"}\n',
}
ONE_POST["facebook"] = json.dumps(
    {
        "data": [
            {"id": "1_2", "message": "zonnehoek", "created_time": "2026-11-10T11:59:00+0000"},
        ]
    }
).encode()
ONE_POST["instagram"] = json.dumps(
    {"data": [{"id": "1", "caption": "zonnehoek", "timestamp": "2026-11-10T11:59:00+0000"}]}
).encode()
ONE_POST["linkedin"] = json.dumps(
    {
        "elements": [
            {
                "action": "COMMENT",
                "organizationalEntity": "urn:li:organization:1",
                "generatedActivity": "urn:li:comment:(activity:1,2)",
                "decoratedGeneratedActivity": {"comment": {"text": "zonnehoek"}},
                "lastModifiedAt": 1_794_311_940_000,
            }
        ]
    }
).encode()
ONE_POST["jetstream"] = json.dumps(
    {
        "did": "did:plc:anna",
        "time_us": 1_794_311_940_000_000,
        "kind": "commit",
        "commit": {
            "operation": "create",
            "collection": "app.bsky.feed.post",
            "rkey": "1",
            "record": {"text": "zonnehoek", "createdAt": "2026-11-10T11:59:00.000Z"},
        },
    }
).encode()
ONE_POST["webhook"] = ONE_POST["file"]
ONE_POST["imap"] = b"From: a@b.example\r\n\r\nzonnehoek"
NOTHING = {"x": b'{"meta": {"result_count": 0}}', "mastodon": b"[]"}
"""What a source answers that has nothing new."""
OVER_HTTP: dict[str, Callable[[str], dict[str, Any]]] = {
    "rss": lambda url: {"url": f"{url}/feed", "timeout_seconds": 0.5, "max_bytes": 500_000},
    "bluesky": lambda url: {
        "base_url": url,
        "searches": ["zonnehoek"],
        "timeout_seconds": 0.5,
    },
    "jetstream": lambda url: {
        "urls": [f"ws{url[4:]}/subscribe"],
        "profiles": False,
        "timeout_seconds": 0.5,
        "max_seconds": 0.5,
    },
    "mastodon": lambda url: {
        "instances": [{"url": url, "access_token": "s3cret"}],
        "hashtags": ["zonnehoek"],
        "search": False,
        "timeout_seconds": 0.5,
    },
    "x": lambda url: {"base_url": url, "bearer_token": "s3cret", "timeout_seconds": 0.5},
    "reddit": lambda url: {
        "base_url": url,
        "login_url": f"{url}/api/v1/access_token",
        "client_id": "app-id",
        "client_secret": "s3cret",
        "account": "keeper",
        "timeout_seconds": 0.5,
    },
    "googlealerts": lambda url: {
        "url": f"{url}/alerts/feeds/1/2",
        "timeout_seconds": 0.5,
        "max_bytes": 500_000,
    },
    "hackernews": lambda url: {"base_url": url, "timeout_seconds": 0.5, "max_bytes": 500_000},
    "facebook": lambda url: {
        "base_url": url,
        "page_id": "1",
        "access_token": "s3cret",
        "app_secret": "s3cret-too",
        "timeout_seconds": 0.5,
    },
    "linkedin": lambda url: {
        "base_url": url,
        "organization_id": "1",
        "access_token": "s3cret",
        "client_secret": "s3cret-too",
        "timeout_seconds": 0.5,
    },
    "instagram": lambda url: {
        "base_url": url,
        "account_id": "1",
        "access_token": "s3cret",
        "app_secret": "s3cret-too",
        "timeout_seconds": 0.5,
    },
    "appstore": lambda url: {"base_url": url, "apps": ["123456789"], "timeout_seconds": 0.5},
    "googleplay": lambda url: {
        "base_url": url,
        "login_url": f"{url}/token",
        "key": serviceaccount.key_file(),
        "apps": ["nl.zonnehoek.app"],
        "timeout_seconds": 0.5,
    },
    "trustpilot": lambda url: {
        "base_url": url,
        "api_key": "s3cret",
        "company": "a" * 24,
        "timeout_seconds": 0.5,
    },
    "youtube": lambda url: {
        "base_url": url,
        "api_key": "s3cret",
        "channels": ["UC" + "a" * 22],
        "search": False,
        "timeout_seconds": 0.5,
    },
}

WITHOUT_HTTP: dict[str, Callable[[Path], dict[str, Any]]] = {
    "file": lambda path: {"path": path},
    "imap": lambda _: {
        "host": "127.0.0.1",
        "security": "none",
        "username": imapserver.USER,
        "password": imapserver.PASSWORD,
    },
    "webhook": lambda _: {"secret": f"whsec_{'QUJD' * 11}"},
}
"""Kinds that ask nobody, and their options where a file with one post lies at a path."""


@pytest.fixture
def mailbox() -> Iterator[imapserver.StandIn]:
    with imapserver.StandIn() as running:
        yield running


def build(kind: str, context: Context, **options: Any) -> Connector:
    connector = BUILT_IN[kind]
    make: Any = connector
    built: Connector = make(connector.Options(**options), context)
    return built


def poll(connector: Connector) -> list[Page]:
    try:
        return list(connector.fetch(None))
    finally:
        connector.close()


def test_every_kind_has_a_way_through_this_test() -> None:
    assert set(BUILT_IN) == set(ONE_POST) == {*OVER_HTTP, *WITHOUT_HTTP}
    assert all(connector.kind == kind for kind, connector in BUILT_IN.items())


# --- over HTTP: the suite that other packages run on theirs ----------------------------------------


COUNTS = {
    "x": json.dumps(
        {
            "data": [
                {
                    "start": "2026-11-10T11:55:00.000Z",
                    "end": "2026-11-10T12:00:00.000Z",
                    "tweet_count": 7,
                }
            ],
            "meta": {"total_tweet_count": 7},
        }
    ).encode(),
}
"""What sources answer that are asked how many there are."""


def _suite(kind: str) -> type[ConnectorSuite]:
    class Suite(ConnectorSuite):
        connector = BUILT_IN[kind]
        one_post = ONE_POST[kind]
        nothing = NOTHING.get(kind)

        def options(self, url: str) -> dict[str, Any]:
            return OVER_HTTP[kind](url)

        def answer(self, request: Request) -> Reply:
            if "/counts/" in request.path:
                return Reply(body=COUNTS[kind])
            return super().answer(request)

    return Suite


def _consent(request: Request, *messages: bytes) -> Reply:
    """To a WebSocket, with what is said over it; then it is closed."""
    accept = accept_key(request.headers["sec-websocket-key"])
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    frames = (Frame(Opcode.TEXT, each).serialize(mask=False) for each in messages)
    return Reply(raw=head.encode() + b"".join(frames))


class _StreamSuite(_suite("jetstream")):  # type: ignore[misc] # made at run time
    def answer(self, request: Request) -> Reply:
        news = int(request.query["cursor"]) <= 1_794_311_940_000_000
        later = json.dumps({"did": "did:plc:b", "time_us": 10**16, "kind": "identity"}).encode()
        return _consent(request, *[self.one_post] * news, later)


for _kind in OVER_HTTP:
    globals()[f"Test{_kind.capitalize()}"] = _StreamSuite if _kind == "jetstream" else _suite(_kind)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("kind", OVER_HTTP)
def test_who_is_refused_is_told_what_to_do(
    kind: str, status: int, server: FaultServer, context: Context
) -> None:
    server.answer = Reply(status)
    with pytest.raises(ConnectorError) as caught:
        poll(build(kind, context, **OVER_HTTP[kind](server.url)))
    _, mark, remedy = str(caught.value).partition(f"(HTTP {status})")
    assert mark
    assert len(remedy.split()) >= 5, "the message ends with what went wrong"
    assert caught.value.permanent


@pytest.mark.parametrize("kind", WITHOUT_HTTP)
def test_what_needs_no_server_keeps_to_the_protocol_too(kind: str) -> None:
    suite = ConnectorSuite()
    suite.connector = BUILT_IN[kind]  # type: ignore[misc] # for once of an instance
    suite.test_it_keeps_to_the_protocol()
    suite.test_every_option_is_explained_with_its_default()
    suite.test_an_unknown_option_is_refused()


# --- on disk: the same faults as a disk has them --------------------------------------------------

BAD_LINES: dict[str, tuple[bytes, int]] = {
    "truncated": (ONE_POST["file"][:40], 0),
    "truncated in the middle": (ONE_POST["file"][:40] + b"\n" + ONE_POST["file"], 1),
    "wrong type": (b"<!doctype html>\n<html>\n", 2),
    "binary": (bytes(range(256)), 2),
    "empty": (b"", 0),
    "gigantic": (b"x" * 3_000_000 + b"\n", 1),
    "hostile": (b"[" * 100_000 + b"\n" + b'{"id": ' + b"9" * 50_000 + b"}\n", 2),
}


@pytest.mark.parametrize("fault", BAD_LINES)
def test_bad_lines_of_a_file_are_set_aside(fault: str, tmp_path: Path, context: Context) -> None:
    data, expected = BAD_LINES[fault]
    path = tmp_path / "mentions.jsonl"
    path.write_bytes(data)
    pages = poll(build("file", context, path=path))
    rejects = [reject for page in pages for reject in page.rejects]
    if fault == "binary":
        assert rejects
    else:
        assert len(rejects) == expected
    assert all(reject.reason and len(reject.excerpt) <= 500 for reject in rejects)


def test_a_missing_file_is_not_found(tmp_path: Path, context: Context) -> None:
    with pytest.raises(ConnectorError, match=r"gone\.jsonl") as caught:
        poll(build("file", context, path=tmp_path / "gone.jsonl"))
    assert caught.value.fault is SourceFault.NOT_FOUND


def test_a_path_through_a_file_is_not_found(tmp_path: Path, context: Context) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError) as caught:
        poll(build("file", context, path=tmp_path / "file" / "mentions.jsonl"))
    assert caught.value.fault is SourceFault.NOT_FOUND


def test_a_path_that_cannot_be_opened_is_unreachable(tmp_path: Path, context: Context) -> None:
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    with pytest.raises(ConnectorError, match=r"loop\.jsonl") as caught:
        poll(build("file", context, path=loop))
    assert caught.value.fault is SourceFault.UNREACHABLE


# --- without a server of HTTP ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITHOUT_HTTP)
def test_cursors_are_json_and_a_poll_from_the_last_one_repeats_nothing(
    kind: str, mailbox: imapserver.StandIn, context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "mentions.jsonl"
    path.write_bytes(ONE_POST["file"])
    options = WITHOUT_HTTP[kind](path)
    pushes = Pushes()
    if kind == "webhook":
        pushes.push(ONE_POST[kind])
    if kind == "imap":
        mailbox.put(ONE_POST[kind], context.now())
        options["port"] = mailbox.port
    connector = build(kind, replace(context, intake=pushes), **options)
    pages = list(connector.fetch(None))
    assert [post.text.splitlines()[-1] for page in pages for post in page.posts] == ["zonnehoek"]
    cursor = json.loads(json.dumps(pages[-1].cursor))
    again = list(connector.fetch(cursor))
    assert [post for page in again for post in page.posts] == []
    connector.close()

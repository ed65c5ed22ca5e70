"""Every kind of source through the same faults: the same words, no other exception, no hanging."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import BUILT_IN
from connectors.base import Connector, ConnectorError, Context, Page, SourceFault
from connectors.http import guarded_client
from tests.connectors import imapserver
from tests.connectors.faultserver import FaultServer, Reply, unused_port
from tests.connectors.pushing import Pushes

BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 13))
    + b']><rss version="2.0"><channel><item><title>&a12;</title></item></channel></rss>'
)
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


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_option_is_explained_with_its_default(kind: str) -> None:
    for name, field in BUILT_IN[kind].Options.model_fields.items():
        if name == "kind":
            continue
        assert field.description, name
        assert ("Required." in field.description) == field.is_required(), name
        assert field.is_required() or "Default" in field.description, name


@pytest.mark.parametrize("kind", BUILT_IN)
def test_an_unknown_option_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        BUILT_IN[kind].Options.model_validate({"no_such_option": 1})


# --- over HTTP ------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Reply, SourceFault]] = {
    "silence": (Reply(hang=True), SourceFault.TIMEOUT),
    "drip": (Reply(drip=b" "), SourceFault.TIMEOUT),
    "429": (Reply(429), SourceFault.RATE_LIMITED),
    "429 with a wish": (Reply(429, headers={"Retry-After": "77"}), SourceFault.RATE_LIMITED),
    "500": (Reply(500, b"<html>oops</html>"), SourceFault.SERVER_ERROR),
    "503 with a wish": (Reply(503, headers={"Retry-After": "77"}), SourceFault.SERVER_ERROR),
    "401": (Reply(401), SourceFault.UNAUTHORIZED),
    "402": (Reply(402), SourceFault.PAYMENT_REQUIRED),
    "403": (Reply(403), SourceFault.FORBIDDEN),
    "404": (Reply(404), SourceFault.NOT_FOUND),
    "truncated": (Reply(body=b"<rss", announce=4_000), SourceFault.BAD_RESPONSE),
    "wrong type": (
        Reply(body=b"<!doctype html><html>hi</html>", headers={"Content-Type": "text/html"}),
        SourceFault.BAD_RESPONSE,
    ),
    "binary": (Reply(body=bytes(range(256)) * 40), SourceFault.BAD_RESPONSE),
    "empty": (Reply(), SourceFault.BAD_RESPONSE),
    "no content": (Reply(204), SourceFault.BAD_RESPONSE),
    "gigantic": (Reply(flood=b" " * 65_536), SourceFault.TOO_LARGE),
    "bomb": (
        Reply(body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"}),
        SourceFault.TOO_LARGE,
    ),
    "circle": (Reply(302, headers={"Location": "/again"}), SourceFault.TOO_MANY_REDIRECTS),
}


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_has_one_word(
    kind: str, fault: str, server: FaultServer, context: Context
) -> None:
    server.answer, expected = FAULTS[fault]
    options = OVER_HTTP[kind](server.url)
    if expected is SourceFault.TOO_LARGE:
        options["timeout_seconds"] = 30
    with pytest.raises(ConnectorError) as caught:
        poll(build(kind, context, **options))
    assert caught.value.fault is expected
    assert "127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    if "wish" in fault:
        assert caught.value.retry_after is not None
        assert caught.value.retry_after.total_seconds() == 77
    if fault == "429":
        assert caught.value.retry_after is None


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_a_refused_connection_is_unreachable(kind: str, context: Context) -> None:
    options = OVER_HTTP[kind](f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(ConnectorError) as caught:
        poll(build(kind, context, **options))
    assert caught.value.fault is SourceFault.UNREACHABLE


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_a_private_address_is_refused_by_default(
    kind: str, server: FaultServer, context: Context
) -> None:
    with guarded_client() as strict:
        guarded = Context(context.name, context.now, strict, context.queries)
        with pytest.raises(ConnectorError) as caught:
            poll(build(kind, guarded, **OVER_HTTP[kind](server.url)))
    assert caught.value.fault is SourceFault.BLOCKED_ADDRESS
    assert not server.requests


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_hostile_xml_harms_nobody(kind: str, server: FaultServer, context: Context) -> None:
    server.answer = Reply(body=BILLION_LAUGHS)
    with pytest.raises(ConnectorError) as caught:
        poll(build(kind, context, **OVER_HTTP[kind](server.url)))
    assert caught.value.fault is SourceFault.BAD_RESPONSE


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_after_a_fault_the_next_poll_goes_on(
    kind: str, server: FaultServer, context: Context
) -> None:
    connector = build(kind, context, **OVER_HTTP[kind](server.url))
    server.answer = Reply(500)
    with pytest.raises(ConnectorError):
        list(connector.fetch(None))
    server.answer = Reply(body=ONE_POST[kind])
    [page] = connector.fetch(None)
    assert [post.text.splitlines()[-1] for post in page.posts] == ["zonnehoek"]
    connector.close()


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


# --- for all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BUILT_IN)
def test_cursors_are_json_and_a_poll_from_the_last_one_repeats_nothing(
    kind: str,
    server: FaultServer,
    mailbox: imapserver.StandIn,
    context: Context,
    tmp_path: Path,
) -> None:
    server.answer = lambda request: (
        Reply(body=NOTHING[kind]) if "since_id" in request.query else Reply(body=ONE_POST[kind])
    )
    path = tmp_path / "mentions.jsonl"
    path.write_bytes(ONE_POST["file"])
    options = WITHOUT_HTTP[kind](path) if kind in WITHOUT_HTTP else OVER_HTTP[kind](server.url)
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

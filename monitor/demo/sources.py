"""The outside world of the demo: one small web server on loopback that plays every platform.

``/feeds/<platform>.xml`` is a feed of the latest posts of a platform; ``/2/tweets/search/recent``
has the shape of X's search. Both show what is out at the moment of the demo's clock.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Self
from urllib.parse import parse_qs, urlsplit

from connectors.base import Clock
from monitor.demo.feeds import render_atom, render_rss
from monitor.demo.loopback import LoopbackServer
from monitor.demo.stream import Stream, StreamPost
from monitor.demo.xapi import RATE_LIMIT, recent_search

FEED_LENGTH = 50
ATOM_PLATFORMS = frozenset({"reddit"})
X_SEARCH = "/2/tweets/search/recent"


class SourceServer:
    """Serves the stream on 127.0.0.1, on a free port, until closed.

    Args:
        stream: the posts.
        now: posts published up to this moment are visible.
        token: the bearer token for the X-shaped endpoint; a random one if not given.
    """

    def __init__(self, stream: Stream, now: Clock, token: str | None = None) -> None:
        self.stream = stream
        self.now = now
        self.token = token or secrets.token_urlsafe(24)
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end: also the base address for X."""
        return self._server.url

    def feed_url(self, platform: str) -> str:
        """Where the feed of ``platform`` is."""
        return f"{self.url}/feeds/{platform}.xml"

    @property
    def feed_platforms(self) -> tuple[str, ...]:
        """The platforms that have a feed: all but X."""
        return tuple(name for name in self.stream.platforms if name != "x")

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()


class _Server(LoopbackServer):
    def __init__(self, world: SourceServer) -> None:
        self.world = world
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "demo"
    sys_version = ""
    timeout = 60
    # Head and body leave together and at once: two small writes would wait 40 ms for each other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer one request."""
        address = urlsplit(self.path)
        if address.path == X_SEARCH:
            self._search(address.query)
            return
        platform = address.path.removeprefix("/feeds/").removesuffix(".xml")
        if (
            address.path == f"/feeds/{platform}.xml"
            and platform in self.server.world.feed_platforms
        ):
            self._feed(platform)
        else:
            self._send(
                HTTPStatus.NOT_FOUND, b"There is no such feed.\n", {"Content-Type": "text/plain"}
            )

    do_HEAD = do_GET  # noqa: N815 - the name is the base class's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the screen belongs to the demo."""

    def _feed(self, platform: str) -> None:
        world = self.server.world
        posts = world.stream.until(world.now(), platform)
        newest = posts[-1].published_at if posts else None
        etag = f'"{platform}-{len(posts)}"'
        headers = {"ETag": etag, "Cache-Control": "max-age=60"}
        if newest:
            headers["Last-Modified"] = format_datetime(newest, usegmt=True)
        if self._is_known(etag, newest):
            self._send(HTTPStatus.NOT_MODIFIED, None, headers)
            return
        body, content_type = _render(platform, posts[: -FEED_LENGTH - 1 : -1])
        self._send(HTTPStatus.OK, body, headers | {"Content-Type": content_type})

    def _is_known(self, etag: str, newest: datetime | None) -> bool:
        """Whether the client has this version already; an ETag outranks a date."""
        known = self.headers.get("If-None-Match")
        if known is not None:
            tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
            return etag in tags or "*" in tags
        since = self.headers.get("If-Modified-Since")
        if since is None or newest is None:
            return False
        try:
            moment = parsedate_to_datetime(since)
        except ValueError:
            return False
        return newest <= (moment if moment.tzinfo else moment.replace(tzinfo=UTC))

    def _search(self, query: str) -> None:
        world = self.server.world
        now = world.now()
        answer = recent_search(
            world.stream,
            now,
            {name: values[-1] for name, values in parse_qs(query).items()},
            self.headers.get("Authorization", ""),
            world.token,
        )
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "x-rate-limit-limit": str(RATE_LIMIT),
            "x-rate-limit-remaining": str(RATE_LIMIT - 1),
            "x-rate-limit-reset": str(int((now + timedelta(minutes=15)).timestamp())),
        }
        self._send(HTTPStatus(answer.status), json.dumps(answer.body).encode(), headers)

    def _send(self, status: HTTPStatus, body: bytes | None, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body is not None and self.command != "HEAD":
            self.wfile.write(body)


def _render(platform: str, posts: list[StreamPost]) -> tuple[bytes, str]:
    if platform in ATOM_PLATFORMS:
        return render_atom(platform, posts), "application/atom+xml; charset=utf-8"
    return render_rss(platform, posts), "application/rss+xml; charset=utf-8"

"""A small Bluesky on loopback: logs in, renews sessions and searches, by HTTP as it really goes.

And a small Jetstream: replays what happened since a moment, and then says what happens, by WebSocket.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.sync.server import ServerConnection, serve

from tests.connectors.conftest import MovedClock

PASSWORD = "abcd-efgh-ijkl-mnop"
DID = "did:plc:anna22222222222222222222"


class SkyServer:
    """Answers as Bluesky does, or with what is queued in ``next``; keeps what was asked."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.posts: list[dict[str, Any]] = []
        self.next: dict[str, list[tuple[int, Any, dict[str, str]]]] = {}
        """Answers for the next calls of a method, instead of what it would say."""
        self.calls: list[tuple[str, dict[str, str], str | None]] = []
        """Method, parameters or body, and authorization of each call."""
        self.profiles: dict[str, dict[str, Any]] = {}
        """Of accounts, by number."""
        self.sessions = 0
        self.expired: set[str] = set()
        self.needs_login = True
        self.marks = True
        """Whether marks of pages are accepted."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = parse_qs(parts.query)
                self._answer(parts.path, {name: ",".join(each) for name, each in asked.items()})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                self._answer(self.path, json.loads(body) if body else {})

            def _answer(self, path: str, asked: dict[str, str]) -> None:
                method = path.removeprefix("/xrpc/")
                status, body, headers = server.answer(
                    method, asked, self.headers.get("authorization")
                )
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def say(
        self, *texts: str, ago: timedelta = timedelta(), did: str = DID, **fields: Any
    ) -> list[str]:
        """Have somebody post; the clock moves a second for each. Gives our ids of the posts."""
        ids = []
        for text in texts:
            key = f"3k{len(self.posts):011d}"
            written = iso(self.clock() - ago)
            view = {
                "uri": f"at://{did}/app.bsky.feed.post/{key}",
                "author": {"did": did, "handle": "anna.bsky.social"},
                "record": {"text": text, "createdAt": written, **fields.get("record", {})},
                "indexedAt": iso(self.clock()),
                **{name: value for name, value in fields.items() if name != "record"},
            }
            self.posts.append(view)
            ids.append(f"{did}/{key}")
            self.clock.move(timedelta(seconds=1))
        return ids

    def called(self, method: str) -> list[dict[str, str]]:
        return [asked for name, asked, _ in self.calls if name.endswith(method)]

    def answer(
        self, method: str, asked: dict[str, str], authorization: str | None
    ) -> tuple[int, Any, dict[str, str]]:
        self.calls.append((method, asked, authorization))
        name = method.rsplit(".", 1)[-1]
        if self.next.get(name):
            return self.next[name].pop(0)
        token = (authorization or "").removeprefix("Bearer ")
        if token in self.expired:
            return 400, {"error": "ExpiredToken", "message": "Token has expired"}, {}
        if name == "createSession" and asked["password"] != PASSWORD:
            return 401, {"error": "AuthenticationRequired", "message": "Invalid password"}, {}
        if name in {"createSession", "refreshSession"}:
            return self._session()
        if self.needs_login and not token:
            return 401, {"error": "AuthMissing", "message": "Authentication Required"}, {}
        return self._known(asked) if name == "getProfiles" else self._search(asked)

    def _known(self, asked: Mapping[str, str]) -> tuple[int, Any, dict[str, str]]:
        wanted = asked["actors"].split(",")
        return 200, {"profiles": [self.profiles[did] for did in wanted if did in self.profiles]}, {}

    def _session(self) -> tuple[int, Any, dict[str, str]]:
        self.sessions += 1
        return (
            200,
            {"accessJwt": f"access-{self.sessions}", "refreshJwt": f"refresh-{self.sessions}"},
            {},
        )

    def _search(self, asked: Mapping[str, str]) -> tuple[int, Any, dict[str, str]]:
        if "cursor" in asked and not self.marks:
            return 403, b"<html>forbidden</html>", {}
        word = asked["q"].strip('"').casefold()
        since = asked.get("since", "")
        until = asked.get("until", "9")
        found = [
            post
            for post in self.posts
            if word in post["record"]["text"].casefold() and since <= sort_time(post) < until
        ]
        found.sort(key=sort_time, reverse=True)
        begin, size = int(asked.get("cursor", "0")), int(asked["limit"])
        body: dict[str, Any] = {"posts": found[begin : begin + size]}
        if begin + size < len(found):
            body["cursor"] = str(begin + size)
        return 200, body, {}


def sort_time(post: Mapping[str, Any]) -> str:
    return str(min(post["record"]["createdAt"], post["indexedAt"]))


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class StreamServer:
    """Speaks as Jetstream does to those who ask for posts: what it has since their moment and what is
    now. Where ``hangs_up`` says so it does not get that far."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.events: list[dict[str, Any] | str | bytes] = []
        self.asked: list[dict[str, str]] = []
        self.reach = timedelta(hours=36)
        self.hangs_up = False
        self._server = serve(self._speak, "127.0.0.1", 0, process_response=undated)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/subscribe"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()

    def say(self, text: str, *, key: str = "", operation: str = "create", **record: Any) -> str:
        """Have somebody post; the clock moves a second. Gives our id of the post."""
        key = key or f"3k{len(self.events):011d}"
        written = {"$type": "app.bsky.feed.post", "text": text, "createdAt": iso(self.clock())}
        self._commit(key, operation=operation, cid="bafy", record={**written, **record})
        return f"{DID}/{key}"

    def delete(self, ident: str) -> None:
        self._commit(ident.split("/")[1], operation="delete")

    def _commit(self, key: str, **fields: Any) -> None:
        commit = {"rev": f"3r{len(self.events)}", "collection": "app.bsky.feed.post", "rkey": key}
        self.happen("commit", commit={**commit, **fields})

    def happen(self, kind: str, *, did: str = DID, **fields: Any) -> None:
        """Whatever else; the clock moves a second."""
        self.events.append({"did": did, "time_us": micros(self.clock()), "kind": kind, **fields})
        self.clock.move(timedelta(seconds=1))

    def _speak(self, connection: ServerConnection) -> None:
        asked = (
            dict(parse_qsl(urlsplit(connection.request.path).query)) if connection.request else {}
        )
        self.asked.append(asked)
        since = max(int(asked["cursor"]), micros(self.clock() - self.reach))
        try:
            for event in self.events:
                if not isinstance(event, dict):
                    connection.send(event)
                elif event["time_us"] >= since:
                    connection.send(json.dumps(event))
            if not self.hangs_up:
                # Somewhere somebody always does something.
                now = {"did": DID, "time_us": micros(self.clock()), "kind": "identity"}
                connection.send(json.dumps(now))
                connection.recv()  # whoever listens says nothing, and goes away some time
        except ConnectionClosed:
            pass


def undated(_: ServerConnection, __: object, response: Response) -> None:
    """Jetstream says no date when it consents; the library's server would give the real one."""
    del response.headers["Date"]


def micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)

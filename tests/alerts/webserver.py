"""A real HTTP server on loopback that can be told to misbehave, for the channels that post."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    """Say nothing until the server goes down."""
    drop: bool = False
    """Close the connection without an answer."""
    wait_seconds: float = 0
    """Take this long over the answer."""
    drip: bool = False
    """Send the head of the answer one byte at a time, for ever."""
    endless: bool = False
    """Send a body that does not end."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """What was asked, and the answers to give next instead of the ordinary one."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    usual: Reply = field(default_factory=Reply)
    down: threading.Event = field(default_factory=threading.Event)

    def posted(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        return self.replies.pop(0) if self.replies else self.usual


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.site.reply(Request(self.command, self.path, headers, raw))
        if reply.hang:
            self.site.down.wait(20)
        if reply.hang or reply.drop:
            self.close_connection = True
            return
        self.site.down.wait(reply.wait_seconds)
        with suppress(OSError, ssl.SSLError):
            self.say(reply)

    do_GET = do_OPTIONS = do_POST  # noqa: N815 - the base class's names

    def say(self, reply: Reply) -> None:
        if reply.drip:
            while not self.site.down.wait(0.02):
                self.wfile.write(b"H")
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not reply.endless:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        while reply.endless and not self.site.down.is_set():
            self.wfile.write(b"x" * 65536)

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is part of the tests."""


def trust_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process trust one authority that signed nothing: reading the usual ones is slow."""
    authority = folder / "only.pem"
    if not authority.exists():
        trustme.CA().cert_pem.write_to_path(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))


@contextmanager
def web_server(tls: ssl.SSLContext | None = None, site: Site | None = None) -> Iterator[Site]:
    """Serve on a free port of loopback; with ``tls`` under the name ``localhost``."""
    site = site or Site()

    class Here(Handler):
        pass

    Here.site = site
    server = Server(("127.0.0.1", 0), Here)
    scheme, host = ("http", "127.0.0.1") if tls is None else ("https", "localhost")
    if tls is not None:
        # Shaken hands with in the thread of the connection: a client that refuses ends only that.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    site.url = f"{scheme}://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        site.down.set()
        server.shutdown()
        thread.join()
        server.server_close()

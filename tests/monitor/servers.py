"""The other side of the daemon, real and on loopback: a mail server, a webhook, a feed.

Each keeps what it is sent, answers as told, and can go down and come back on the same port.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that was taken."""

    to: tuple[str, ...]
    key: str
    message_id: str
    event: str
    incident: int
    references: str
    subject: str


class MailServer:
    """Takes mail over SMTP.

    Args:
        answer: gives the reply to the data of one mail; whatever begins with 2 keeps it. It runs in
            the server's thread and may take its time.
        password: of the user ``merkwacht``; without one there is no login.
    """

    def __init__(
        self,
        answer: Callable[[Mail], str] | None = None,
        *,
        password: str | None = None,
    ) -> None:
        self.mails: list[Mail] = []
        self.refused: list[Mail] = []
        self.answer = answer or (lambda _mail: "250 taken")
        self.password = password
        self.hang_up = False
        """Whether to break off after a mail was taken, before saying so."""
        self.unknown: set[str] = set()
        """Addresses that it does not know."""
        self.port = _free_port()
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    def up(self) -> None:
        """Listen, on the same port as before."""
        if self._controller is None:
            options: dict[str, Any] = {}
            if self.password is not None:
                options = {
                    "authenticator": self._authenticate,
                    "auth_require_tls": False,
                }
            self._controller = Controller(
                self, hostname="127.0.0.1", port=self.port, ready_timeout=30, **options
            )
            self._controller.start()

    def down(self) -> None:
        """Refuse connections."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: Any
    ) -> AuthResult:
        good = login.login == b"merkwacht" and login.password == (self.password or "").encode()
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Let a mail go to an address, or not; called by aiosmtpd."""
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep one mail, or not; called by aiosmtpd."""
        mail = _read_mail(envelope.original_content or b"", tuple(envelope.rcpt_tos))
        reply = await asyncio.get_running_loop().run_in_executor(None, self._take, mail)
        if self.hang_up:
            server.transport.abort()
        return reply

    def _take(self, mail: Mail) -> str:
        # In the thread: aiosmtpd cancels the coroutine of a client that goes away (or is killed by
        # the answer) before it hears the reply, and what was taken stays taken.
        reply = self.answer(mail)
        (self.mails if reply.startswith("2") else self.refused).append(mail)
        return reply


def _read_mail(content: bytes, to: tuple[str, ...]) -> Mail:
    parsed = message_from_bytes(content, policy=policy.default)
    return Mail(
        to=to,
        key=str(parsed["X-Merkwacht-Key"]),
        message_id=str(parsed["Message-ID"]),
        event=str(parsed["X-Merkwacht-Event"]),
        incident=int(parsed["X-Merkwacht-Incident"]),
        references=str(parsed["References"] or ""),
        subject=str(parsed["Subject"]),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a web server answers."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class WebServer:
    """Answers HTTP by ``respond``, which gets method, path, headers (lower case) and body."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    def up(self) -> None:
        """Listen, on the same port as before."""
        if self._server is not None:
            return
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    answer = owner.respond(self.path, headers, self.rfile.read(length))
                    self.send_response(answer.status)
                    for name, value in answer.headers:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                except OSError:
                    self.close_connection = True  # the client was killed, which is what it is for

            do_GET = do_POST = _handle  # noqa: N815 - the names are http.server's

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that was killed is no error here."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def respond(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request."""
        raise NotImplementedError


class Webhook(WebServer):
    """Looks like an incoming webhook of Slack: takes JSON, answers ``ok``."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = Answer(body=b"ok")
        self.posts: list[str] = []
        """The bodies that were taken, as JSON text."""
        self.asked = 0

    @property
    def hook(self) -> str:
        """The address to configure."""
        return f"{self.url}/services/T0/B0/x"

    def respond(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take a message, unless told to answer something else."""
        self.asked += 1
        if self.answer.status == 200:
            self.posts.append(json.dumps(json.loads(body), ensure_ascii=False))
        return self.answer


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a feed."""

    id: str
    text: str
    at: datetime


class GrowingFeed(WebServer):
    """An RSS feed whose window moves on: it shows the newest entries, newest first.

    Answers 304 to who knows the current state, as a good server does.
    """

    def __init__(self, window: int = 300) -> None:
        super().__init__()
        self._window = window
        self._lock = threading.Lock()
        self._items: list[Item] = []
        self.asked = 0

    def publish(self, items: Sequence[Item]) -> None:
        """Add entries."""
        with self._lock:
            self._items += items

    def respond(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Give the feed."""
        self.asked += 1
        with self._lock:
            items = self._items[-self._window :][::-1]
            total = len(self._items)
        mark = f'"{total}-{hashlib.sha256(str(total).encode()).hexdigest()[:8]}"'
        if headers.get("if-none-match") == mark:
            return Answer(304, headers=(("ETag", mark),))
        entries = "".join(
            f"<item><guid isPermaLink='false'>{escape(item.id)}</guid>"
            f"<link>http://127.0.0.1/{escape(item.id)}</link>"
            f"<title>{escape(item.text)}</title>"
            f"<pubDate>{format_datetime(item.at)}</pubDate></item>"
            for item in items
        )
        page = (
            "<?xml version='1.0' encoding='utf-8'?><rss version='2.0'><channel>"
            f"<title>Streeknieuws</title>{entries}</channel></rss>"
        )
        kind = "application/rss+xml; charset=utf-8"
        return Answer(body=page.encode(), headers=(("Content-Type", kind), ("ETag", mark)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

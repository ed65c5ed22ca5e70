"""The public address: the few pages and doors that people and platforms reach from outside.

Routes come from others; this module guards them all: how large a request may be, how long a
connection may last, what a browser may do with an answer, what is logged of it. It knows no route,
sets no cookie and keeps nothing. Figures and health stay on the daemon's own address
(``monitor.web``).

A handler that reads or writes the store asks the main thread through the inbox and must be a plain
function (``def``), which runs in a worker thread; one that does not may be ``async``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.database import StoreError
from monitor.inbox import LateError, StoppedError
from monitor.log import logger
from monitor.metrics import Metrics

MAX_BODY_BYTES = 1_048_576
"""What a request may carry, unless its handler wants less: the most that platforms send is less."""
ANSWER_SECONDS = 20.0
"""How long a handler should wait for the main thread before it asks to come back later."""
CONNECTION_SECONDS = 30.0
"""A connection carries one request and is over after this, however slowly it is fed."""
CONNECTIONS = 100
"""So many at once; whoever comes on top is asked to come back."""
STOP_SECONDS = 3.0
"""Requests under way at the end may take this long."""

UNKNOWN = "unknown"
"""Stands for every path that no route knows: what strangers try does not become a label."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}
_HSTS = "max-age=31536000"
_RETRY_SECONDS = "30"


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The raw body of a request, of at most ``limit`` bytes.

    Raises:
        HTTPException: 413, it is larger.
    """
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(parts)


def build_site(routes: Sequence[BaseRoute], *, metrics: Metrics | None = None) -> ASGIApp:
    """The site of these routes, guarded.

    A :class:`starlette.routing.Route` is logged and counted under its pattern (``/i/{token}``), never
    under the path that was asked for. An answer may bring its own ``Content-Security-Policy``; all
    other headers for safety are the guard's.
    """
    app = Starlette(
        routes=routes,
        exception_handlers={StoppedError: _later, LateError: _later, StoreError: _later},
    )
    return _Guard(app, routes, metrics)


class _Guard:
    """Around all routes: limits, headers, log. What a handler lets fall ends here."""

    def __init__(
        self, app: ASGIApp, routes: Sequence[BaseRoute], metrics: Metrics | None = None
    ) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._log = logger("site")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.monotonic()
        answer = _Answer(send, secure=scope.get("scheme") == "https")
        try:
            if _declared_length(scope) > MAX_BODY_BYTES:
                await _text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)(scope, receive, answer)
            else:
                await self._app(scope, _limited(receive), answer)
        except Exception:  # noqa: BLE001 - the border to strangers: a defect must not end the server
            self._log.exception("request_failed", route=self._route(scope))
            if not answer.status:
                await _text(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, answer)
        self._note(scope, answer.status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._route(scope)
        if self._metrics is not None:
            self._metrics.web_requests.labels(route, f"{status // 100}xx").inc()
        log = self._log.debug if route == UNKNOWN else self._log.info
        log(
            "request",
            # Methods are free text, too.
            method=scope["method"] if scope["method"] in _METHODS else UNKNOWN,
            route=route,
            status=status,
            ms=round(seconds * 1000),
        )

    def _route(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                return route.path if isinstance(route, Route) else UNKNOWN
        return UNKNOWN


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Answer:
    """Passes an answer on, with the headers that every answer has."""

    def __init__(self, send: Send, *, secure: bool) -> None:
        self._send = send
        self._secure = secure
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            own = headers.get("Content-Security-Policy")
            for name, value in _HEADERS.items():
                headers[name] = value
            if own is not None:
                headers["Content-Security-Policy"] = own
            if self._secure:
                headers["Strict-Transport-Security"] = _HSTS
            # One request a connection: its deadline is then the deadline of the request.
            headers["Connection"] = "close"
        await self._send(message)


def _limited(receive: Receive) -> Receive:
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return limited


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def _later(_request: Request, _error: Exception) -> Response:
    """The store or the main thread cannot answer now."""
    return _text(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": _RETRY_SECONDS})


def _text(status: HTTPStatus, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{status.phrase}\n", status, headers)


class SiteServer:
    """Serves a site in a thread of its own, until stopped.

    ``bind`` first, so that a port that is taken is told at once; then ``show`` routes and ``start``.

    Args:
        host: address to listen on.
        port: its port; 0 takes any free one.
        certificate: PEM file to serve TLS with; None where a proxy does that.
        key: of the certificate, if it is in another file.
        metrics: count the requests.
        connection_seconds: how long a connection may last.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        metrics: Metrics | None = None,
        connection_seconds: float = CONNECTION_SECONDS,
    ) -> None:
        self._connection_seconds = connection_seconds
        self._address = (host, port)
        self._certificate = certificate
        self._key = key
        self.port = 0
        """The port it listens on, once bound."""
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._metrics = metrics
        self._site: ASGIApp = build_site((), metrics=metrics)
        self._log = logger("site")

    def bind(self) -> None:
        """Take the port and read the certificate.

        Raises:
            OSError: the address is in use or not ours, or the certificate cannot be used.
        """
        host, port = self._address
        tls = self._tls()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=128)
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            self._serve,
            http=_brief(self._connection_seconds),
            ws="none",
            loop="asyncio",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=round(STOP_SECONDS),
        )
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        # Its warnings repeat what a stranger sent; what matters, the guard logs.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    def _tls(self) -> ssl.SSLContext | None:
        if self._certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._certificate, self._key)
        return context

    def show(self, routes: Sequence[BaseRoute]) -> None:
        """Serve these routes from now on: at the start, and after a reload."""
        self._site = build_site(routes, metrics=self._metrics)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._site(scope, receive, send)

    def start(self) -> None:
        """Begin to serve. Does nothing unless bound, or when it serves already."""
        if self._server is None or self._socket is None or self._thread is not None:
            return
        server, sockets = self._server, [self._socket]
        self._thread = threading.Thread(
            target=lambda: server.run(sockets=sockets), name="site", daemon=True
        )
        self._thread.start()
        self._log.info("listening", host=self._address[0], port=self.port)

    def stop(self) -> None:
        """Take no more requests; those under way go on. Returns at once."""
        if self._server is not None:
            self._server.should_exit = True

    @property
    def busy(self) -> int:
        """1 while a request is under way after ``stop``, or while it serves."""
        return int(self._thread is not None and self._thread.is_alive())

    def close(self) -> None:
        """Let go of the port. Whoever waits for the main thread must have been let go before."""
        self.stop()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS + 1)
            self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _brief(seconds: float) -> type[H11Protocol]:
    """HTTP/1.1 over a connection that ends after a while, whatever comes or does not come."""

    class Brief(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._deadline = self.loop.call_later(seconds, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            super().connection_lost(exc)

    return Brief

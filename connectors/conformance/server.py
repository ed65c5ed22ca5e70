"""A real HTTP server on loopback that answers as told: well, badly, slowly or not at all."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What to send back."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    announce: int | None = None
    """A Content-Length other than the true one."""
    raw: bytes | None = None
    """Sent as it is instead of everything above."""
    hang: bool = False
    """Say nothing until the server closes."""
    drip: bytes = b""
    """After all else: one of these bytes every 20 ms, for ever."""
    flood: bytes = b""
    """After all else: this again and again, for ever."""

    def bytes(self) -> bytes:
        """Status line, headers and body, as they go over the wire."""
        if self.raw is not None:
            return self.raw
        length = len(self.body) if self.announce is None else self.announce
        headers = {"Date": formatdate(usegmt=True), "Connection": "close", **self.headers}
        if not (self.drip or self.flood):
            headers.setdefault("Content-Length", str(length))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Told So\r\n{lines}\r\n".encode("latin-1") + self.body


Answer = Callable[[Request], Reply]


class FaultServer:
    """Answers every request by ``answer``, and keeps the requests."""

    def __init__(self, answer: Answer | Reply | None = None) -> None:
        self.answer: Answer | Reply = answer or Reply()
        self.requests: list[Request] = []
        self.closing = threading.Event()
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                server._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 50

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, connection: socket.socket) -> None:
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                head += chunk
            request = _parse(head)
            while len(request.body) < int(request.headers.get("content-length", 0)):
                chunk = connection.recv(65536)
                if not chunk:
                    return
                request = replace(request, body=request.body + chunk)
            self.requests.append(request)
            reply = self.answer if isinstance(self.answer, Reply) else self.answer(request)
            self._send(connection, reply)
        except OSError:
            pass  # the client has had enough, which is the point of some replies

    def _send(self, connection: socket.socket, reply: Reply) -> None:
        if reply.hang:
            self.closing.wait()
            return
        connection.sendall(reply.bytes())
        while reply.drip and not self.closing.wait(0.02):
            connection.sendall(reply.drip)
        while reply.flood and not self.closing.is_set():
            connection.sendall(reply.flood)


def _parse(head: bytes) -> Request:
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = urlsplit(first.split(" ")[1])
    pairs = (line.split(": ", 1) for line in lines)
    return Request(
        parts.path,
        dict(parse_qsl(parts.query)),
        {name.lower(): value for name, value in pairs},
        body,
    )


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

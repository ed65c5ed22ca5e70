"""The daemon's own little address: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Answer = tuple[HTTPStatus, str, bytes]


class WebServer:
    """Serves until closed, in a thread of its own.

    Args:
        address: host and port; port 0 takes any free one.
        registry: what ``/metrics`` shows.
        health: stale steps; empty when healthy.

    Raises:
        OSError: the address is in use or not ours.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        registry: CollectorRegistry,
        health: Callable[[], Mapping[str, float]],
    ) -> None:
        def answer(path: str, accept: str) -> Answer:
            return _answer(path, accept, registry, health)

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            server_version = "Merkwacht"
            sys_version = ""
            timeout = 10

            def do_GET(self) -> None:
                status, kind, body = answer(
                    self.path.partition("?")[0], self.headers.get("Accept", "")
                )
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server has it
                """Say nothing: Prometheus asks every few seconds."""

        self._server = ThreadingHTTPServer(address, Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="web", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _answer(
    path: str,
    accept: str,
    registry: CollectorRegistry,
    health: Callable[[], Mapping[str, float]],
) -> Answer:
    if path == "/metrics":
        encode, kind = choose_encoder(accept)
        return HTTPStatus.OK, kind, encode(registry)
    if path == "/healthz":
        return HTTPStatus.OK, "text/plain; charset=utf-8", b"alive\n"
    if path == "/readyz":
        stale = dict(health())
        status = HTTPStatus.SERVICE_UNAVAILABLE if stale else HTTPStatus.OK
        body = json.dumps({"ready": not stale, "stale_steps": stale}).encode() + b"\n"
        return status, "application/json", body
    return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"try /metrics, /healthz, /readyz\n"

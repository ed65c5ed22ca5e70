"""The public address, as a real server on loopback."""

from __future__ import annotations

import io
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from monitor.inbox import Inbox, LateError, StoppedError
from monitor.log import set_up
from monitor.metrics import Metrics
from monitor.site import MAX_BODY_BYTES, SiteServer, read_body
from tests.alerts.mailserver import make_certificates


@contextmanager
def serving(
    routes: Sequence[Route], *, metrics: Metrics | None = None, **options: Any
) -> Iterator[SiteServer]:
    server = SiteServer("127.0.0.1", 0, metrics=metrics, **options)
    server.bind()
    server.show(routes)
    server.start()
    try:
        yield server
    finally:
        server.close()


def ask(
    server: SiteServer,
    path: str,
    method: str = "GET",
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()


def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def measure(request: Request) -> Response:
    return PlainTextResponse(str(len(await read_body(request, 1000))))


def page(request: Request) -> Response:
    return HTMLResponse("<p>hi", headers={"Content-Security-Policy": "default-src 'self'"})


def broken(request: Request) -> Response:
    raise RuntimeError("told to nobody: geheim")


ROUTES = [
    Route("/hello/{token}", hello),
    Route("/measure", measure, methods=["POST"]),
    Route("/page", page),
    Route("/broken", broken),
]


def test_every_answer_tells_a_browser_to_keep_and_load_nothing():
    with serving(ROUTES) as server:
        for path in ("/hello/x", "/nothing", "/broken"):
            answer, _ = ask(server, path)
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "noindex" in answer.headers["X-Robots-Tag"]
            assert answer.headers["Server"] is None
            assert answer.headers["Set-Cookie"] is None
            assert answer.headers["Strict-Transport-Security"] is None


def test_a_page_may_say_what_it_loads():
    with serving(ROUTES) as server:
        answer, _ = ask(server, "/page")
    assert answer.headers["Content-Security-Policy"] == "default-src 'self'"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/hello/x", "GET", 200),
        ("/hello/x", "HEAD", 200),
        ("/", "GET", 404),
        ("/page", "POST", 405),
    ],
)
def test_only_what_a_route_knows_is_answered(path, method, status):
    with serving(ROUTES) as server:
        assert ask(server, path, method)[0].status == status


def test_a_defect_is_logged_and_told_to_nobody():
    with structlog.testing.capture_logs() as logs, serving(ROUTES) as server:
        answer, body = ask(server, "/broken")
    assert answer.status == 500
    assert b"geheim" not in body
    assert [each["route"] for each in logs if each["event"] == "request_failed"] == ["/broken"]


def chunks(total: int) -> Iterator[bytes]:
    for _ in range(total // 65536 + 1):
        yield b"x" * 65536


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 1000, 200),
        (b"x" * 1001, 413),
    ],
)
def test_a_body_beyond_the_limit_is_refused(body, status):
    with serving(ROUTES) as server:
        assert ask(server, "/measure", "POST", body)[0].status == status


def test_a_body_that_says_to_be_too_large_is_refused_before_it_comes():
    size = {"Content-Length": str(MAX_BODY_BYTES + 1)}
    with serving(ROUTES) as server:
        assert ask(server, "/hello/x", "GET", headers=size)[0].status == 413


def test_a_body_that_does_not_say_its_size_is_refused_when_it_grows_too_large():
    async def swallow(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    with serving([Route("/swallow", swallow, methods=["POST"])]) as server:
        try:
            answer, _ = ask(server, "/swallow", "POST", chunks(MAX_BODY_BYTES * 2))
        except (BrokenPipeError, ConnectionResetError):
            return  # refused before all was sent
    assert answer.status == 413


def test_a_connection_ends_however_slowly_it_is_fed():
    with (
        serving(ROUTES, connection_seconds=0.3) as server,
        socket.create_connection(("127.0.0.1", server.port)) as link,
        suppress(ConnectionResetError),
    ):
        link.settimeout(10)
        link.sendall(b"GET /hello/x HTTP/1.1\r\nHost: a\r\n")
        assert link.recv(100) == b""


def test_what_is_not_http_gets_a_refusal_and_no_log(caplog):
    with serving(ROUTES) as server, socket.create_connection(("127.0.0.1", server.port)) as link:
        link.settimeout(10)
        link.sendall(b"\x16\x03\x01 geheim\r\n\r\n")
        assert b"400" in link.recv(1000)
    assert caplog.text == ""


def test_neither_token_nor_query_reaches_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    metrics, log = Metrics(CollectorRegistry()), io.StringIO()
    set_up(level="debug", style="json", stream=log)
    with serving(ROUTES, metrics=metrics) as server:
        ask(server, "/hello/geheim?key=geheim")
        ask(server, "/geheim/geheim?key=geheim", "GEHEIM")
        ask(server, "/broken?key=geheim")
    assert "geheim" not in caplog.text
    lines = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    told = [each for each in lines if each["event"] == "request"]
    assert [each["route"] for each in told] == ["/hello/{token}", "unknown", "/broken"]
    assert "geheim" not in str(told).lower()
    assert "key=" not in log.getvalue()
    counted = metrics.web_requests.labels("/hello/{token}", "2xx")._value.get()
    assert counted == 1


def test_a_port_that_is_taken_is_told_at_once():
    with serving(ROUTES) as server, pytest.raises(OSError, match="in use"):
        SiteServer("127.0.0.1", server.port).bind()


def test_tls_is_served_with_a_certificate_of_ones_own(tmp_path):
    made = make_certificates(tmp_path)
    with serving(ROUTES, certificate=made.chain, key=made.key) as server:
        context = ssl.create_default_context(cafile=str(made.authority))
        connection = HTTPSConnection("localhost", server.port, timeout=10, context=context)
        connection.request("GET", "/hello/x")
        answer = connection.getresponse()
        assert answer.read() == b"hello"
        assert answer.headers["Strict-Transport-Security"]
        connection.close()


def test_a_certificate_that_is_none_is_told_before_anything_is_served(tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(OSError):
        SiteServer("127.0.0.1", 0, certificate=tmp_path / "bad.pem").bind()


def test_a_request_under_way_comes_to_its_end_when_the_server_stops():
    inbox, arrived = Inbox(), threading.Event()

    def slow(request: Request) -> Response:
        arrived.set()
        return PlainTextResponse(str(inbox.ask(lambda: "done", seconds=10)))

    with serving([Route("/slow", slow)]) as server:
        got: list[bytes] = []
        asking = threading.Thread(target=lambda: got.append(ask(server, "/slow")[1]))
        asking.start()
        arrived.wait(10)
        server.stop()
        assert inbox.pump(10)
        asking.join(10)
        assert got == [b"done"]
        until(lambda: not server.busy)
        with pytest.raises(ConnectionRefusedError):
            ask(server, "/slow")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@pytest.mark.parametrize("trouble", ["late", "stopped"])
def test_who_cannot_be_answered_now_is_asked_to_come_back(trouble):
    inbox = Inbox()
    if trouble == "stopped":
        inbox.close()

    def needy(request: Request) -> Response:
        return PlainTextResponse(str(inbox.ask(lambda: "never", seconds=0.05)))

    with serving([Route("/needy", needy)]) as server:
        answer, _ = ask(server, "/needy")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "30"


def test_routes_can_be_exchanged_while_it_serves():
    with serving(ROUTES) as server:
        server.show([Route("/new", hello)])
        assert ask(server, "/new")[0].status == 200
        assert ask(server, "/page")[0].status == 404


def test_a_job_that_was_not_begun_in_time_is_never_done():
    inbox, done = Inbox(), []
    with pytest.raises(LateError):
        inbox.ask(lambda: done.append(1), seconds=0.01)
    assert inbox.pump(0)
    assert done == []


def test_a_job_that_fails_fails_for_who_asked():
    inbox = Inbox()

    def fail() -> None:
        raise TimeoutError("the job's own")

    answer: list[BaseException] = []

    def asking() -> None:
        try:
            inbox.ask(fail, seconds=10)
        except TimeoutError as error:
            answer.append(error)

    thread = threading.Thread(target=asking)
    thread.start()
    assert inbox.pump(10)
    thread.join(10)
    assert str(answer[0]) == "the job's own"
    inbox.close()
    with pytest.raises(StoppedError):
        inbox.ask(fail)

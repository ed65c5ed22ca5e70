from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from connectors.base import Context, Cursor, Page
from connectors.intake import NotAdmittedError, Push, TakesPushes
from connectors.rss import RssConnector, RssOptions
from connectors.websub import HubDoor, subscribe
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer, Reply, Request
from tests.connectors.pushing import Pushes

KEY = "k" * 32
TOPIC = "https://blog.example/feed"


def feed(*numbers: int, hub: str = "") -> bytes:
    links = f'<link rel="hub" href="{hub}"/><link rel="self" href="{TOPIC}"/>' if hub else ""
    entries = "".join(f"<entry><id>urn:{n}</id><title>nr {n}</title></entry>" for n in numbers)
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{links}{entries}</feed>'.encode()


class Site:
    """A feed with a hub beside it, on one server."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.numbers = [1]
        self.hub_status = 202
        self.verify: Callable[[], None] = lambda: None
        server.answer = self

    def __call__(self, request: Request) -> Reply:
        if request.path == "/hub":
            self.verify()
            return Reply(self.hub_status)
        if request.headers.get("if-none-match") == str(self.numbers):
            return Reply(304)
        body = feed(*self.numbers, hub=f"{self.server.url}/hub")
        return Reply(body=body, headers={"ETag": str(self.numbers)})

    def asked(self, path: str) -> int:
        return sum(request.path == path for request in self.server.requests)


class Poller:
    """One source with an intake, polled as the daemon does."""

    def __init__(self, server: FaultServer, context: Context, **options: Any) -> None:
        self.pushes = Pushes()
        settings = {
            "url": f"{server.url}/feed",
            "websub_callback": "http://127.0.0.1:9/intake/blog",
            "websub_secret": KEY,
            **options,
        }
        self.connector = RssConnector(
            RssOptions.model_validate(settings), replace(context, intake=self.pushes)
        )
        self.cursor: Cursor | None = None
        self.rejects: list[str] = []

    def pages(self, *, die_after: int | None = None) -> list[Page]:
        pages: list[Page] = []
        for page in self.connector.fetch(self.cursor):
            if len(pages) == die_after:
                break
            self.cursor = json.loads(json.dumps(page.cursor))
            self.rejects += [reject.reason for reject in page.rejects]
            pages.append(page)
        return pages

    def ids(self, **options: Any) -> list[str]:
        return [post.id for page in self.pages(**options) for post in page.posts]


@pytest.fixture
def site(server: FaultServer) -> Site:
    return Site(server)


@pytest.fixture
def poller(site: Site, server: FaultServer, context: Context) -> Poller:
    return Poller(server, context)


# --- subscribing ----------------------------------------------------------------------------------


def test_the_hub_of_a_feed_is_asked_once_a_day_and_can_ask_back_at_once(
    site: Site, poller: Poller, clock: MovedClock
) -> None:
    door = poller.connector.door
    assert isinstance(poller.connector, TakesPushes)
    assert door is not None
    confirmed: list[bytes] = []
    question = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.challenge": "c4"}
    site.verify = lambda: confirmed.append(door.greet(question).body)
    for _ in range(3):
        poller.pages()
        clock.move(timedelta(hours=5))
    assert (site.asked("/hub"), confirmed) == (1, [b"c4"])
    clock.move(timedelta(hours=12))
    poller.pages()
    assert site.asked("/hub") == 2


def test_a_hub_that_refuses_is_told_once_and_the_feed_is_read_all_the_same(
    site: Site, poller: Poller
) -> None:
    site.hub_status = 403
    assert poller.ids() == ["urn:1"]
    assert poller.rejects == ["the feed cannot be subscribed to: its hub refuses us (HTTP 403)"]
    poller.pages()
    assert len(poller.rejects) == 1


def test_a_key_goes_to_no_hub_that_is_reached_in_clear(
    site: Site, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, websub_callback="https://watch.example/intake/blog")
    assert poller.ids() == ["urn:1"]
    assert site.asked("/hub") == 0
    assert "not reached by https" in poller.rejects[0]


def test_without_a_key_nothing_is_subscribed_to(
    site: Site, server: FaultServer, context: Context
) -> None:
    poller = Poller(server, context, websub_callback=None, websub_secret=None)
    assert poller.ids() == ["urn:1"]
    assert poller.connector.door is None
    assert site.asked("/hub") == 0


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"hub.mode": "unsubscribe", "hub.topic": TOPIC, "hub.challenge": "c"},
        {"hub.mode": "subscribe", "hub.topic": "https://evil.example/", "hub.challenge": "c"},
        {"hub.mode": "subscribe", "hub.topic": TOPIC},
        {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.challenge": "c" * 5_000},
        {"hub.mode": "denied", "hub.topic": TOPIC, "hub.reason": "no"},
    ],
)
def test_what_we_did_not_ask_for_is_not_confirmed(query: dict[str, str]) -> None:
    door = HubDoor(SecretStr(KEY), topics={TOPIC})
    with pytest.raises(NotAdmittedError):
        door.greet(query)


# --- pushes ---------------------------------------------------------------------------------------


def test_what_is_pushed_is_read_without_asking_the_feed_again(
    site: Site, poller: Poller, clock: MovedClock
) -> None:
    poller.pages()
    asked = site.asked("/feed")
    clock.move(timedelta(seconds=30))
    poller.pushes.push(feed(2))
    poller.pushes.push(feed(2, 3))
    assert poller.ids() == ["urn:2", "urn:3"]
    assert site.asked("/feed") == asked
    assert poller.pushes.after(poller.cursor["intake"][0], 9) == []  # type: ignore[index]
    site.numbers = [1, 2, 3]
    clock.move(timedelta(minutes=5))
    assert poller.ids() == []


def test_pushes_do_not_keep_the_feed_itself_from_being_asked(
    site: Site, poller: Poller, clock: MovedClock
) -> None:
    poller.pages()
    clock.move(timedelta(minutes=6))
    site.numbers = [1, 2, 3]
    poller.pushes.push(feed(2))
    assert poller.ids() == ["urn:2", "urn:3"]


def test_a_crash_between_two_pushes_loses_and_repeats_none(site: Site, poller: Poller) -> None:
    poller.pages()
    for number in (2, 3, 4):
        poller.pushes.push(feed(number))
    stored = poller.ids(die_after=1)
    assert stored + poller.ids() == ["urn:2", "urn:3", "urn:4"]


def test_a_push_that_is_no_feed_is_set_aside(site: Site, poller: Poller) -> None:
    poller.pages()
    poller.pushes.push(b"<html>hi</html>")
    poller.pushes.push(feed(2))
    assert poller.ids() == ["urn:2"]
    assert "a push:" in poller.rejects[0]


@pytest.mark.parametrize("method", ["sha1", "sha256", "sha384", "sha512"])
def test_only_what_the_hub_signed_comes_in(method: str) -> None:
    door, body = HubDoor(SecretStr(KEY)), feed(1)
    fits = hmac.new(KEY.encode(), body, method).hexdigest()
    same = door.admit(Push({"x-hub-signature": f"{method}={fits}"}, body))
    assert same == door.admit(Push({"x-hub-signature": f"{method}={fits.upper()}"}, body))
    other = hmac.new(b"other", body, method).hexdigest()
    bare = hashlib.new(method, body).hexdigest()
    for odd in (f"{method}={other}", f"{method}={bare}", f"md5={fits}", fits, "", f"{method}=é"):
        with pytest.raises(NotAdmittedError):
            door.admit(Push({"x-hub-signature": odd}, body))
    with pytest.raises(NotAdmittedError):
        door.admit(Push({}, body))


def test_the_hub_gets_what_the_standard_asks_for(client: httpx.Client) -> None:
    told: list[dict[str, list[str]]] = []

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            told.append(parse_qs(self.rfile.read(length).decode()))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hub) as hub:
        thread = Thread(target=hub.handle_request)
        thread.start()
        callback = "http://127.0.0.1:9/intake/blog"
        url = f"http://127.0.0.1:{hub.server_port}/"
        door = HubDoor(SecretStr(KEY))
        assert subscribe(client, url, TOPIC, callback, door, seconds=5) == ""
        thread.join()
    [form] = told
    assert int(form.pop("hub.lease_seconds")[0]) > timedelta(days=2).total_seconds()
    assert form == {
        "hub.mode": ["subscribe"],
        "hub.topic": [TOPIC],
        "hub.callback": [callback],
        "hub.secret": [KEY],
    }


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"websub_callback": "https://a.example/intake/x"}, "belong together"),
        ({"websub_secret": KEY}, "belong together"),
        ({"websub_callback": "https://a.example/x", "websub_secret": "short"}, "20 to 199"),
        ({"websub_callback": "https://a.example/x", "websub_secret": "a b" * 9}, "20 to 199"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        RssOptions.model_validate({"url": "https://a.example/feed", **options})

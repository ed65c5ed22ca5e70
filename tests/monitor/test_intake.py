"""Pushes over a real public address: on disk before they are acknowledged, and never too many."""

from __future__ import annotations

import io
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from connectors.base import Arrival
from connectors.intake import Greeting, NotAdmittedError, Push
from connectors.standardwebhooks import key_of, sign
from monitor.app import App
from monitor.inbox import Inbox
from monitor.intake import IntakeDesk, Limits
from monitor.log import set_up
from monitor.metrics import Metrics
from monitor.reception import intake_routes
from monitor.site import MAX_BODY_BYTES, SiteServer
from monitor.store import Store
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer
from tests.connectors.graphserver import APP_SECRET, PAGE, TOKEN, GraphLike, pushed, signed
from tests.fakes import FakeClock
from tests.monitor.make import fresh_store, sql, write_locked

SECRET = "whsec_" + "QUJD" * 11


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class TestDoor:
    """Lets in what says the word, under the id that it gives."""

    __test__ = False
    prompt: bool = False

    def greet(self, query: Mapping[str, str]) -> Greeting:
        if query.get("word") != "open":
            raise NotAdmittedError("say the word", status=403)
        return Greeting(query["challenge"].encode())

    def admit(self, push: Push) -> str:
        if push.headers.get("x-word") != "open":
            raise NotAdmittedError("say the word")
        return push.headers.get("x-id", "1")


@dataclass
class Counter:
    """The desk behind a real server; the test's thread is the main thread."""

    store: Store
    clock: FakeClock
    limits: Limits = field(default_factory=Limits)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.inbox = Inbox()
        self.metrics = Metrics(CollectorRegistry())
        self.desk = IntakeDesk(
            store=self.store,
            inbox=self.inbox,
            metrics=self.metrics,
            now=self.clock,
            limits=self.limits,
            monotonic=lambda: self.seconds,
        )
        self.desk.open({"our shop": TestDoor()})
        self.site = SiteServer("127.0.0.1", 0)
        self.site.bind()
        self.site.show(intake_routes(self.desk))
        self.site.start()
        self.clients = ThreadPoolExecutor(40)

    def close(self) -> None:
        self.inbox.close()
        self.site.close()
        self.clients.shutdown()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.site.port, timeout=20)
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        kind = answer.headers.get("content-type", "")
        parsed = json.loads(read) if "json" in kind else read.decode()
        return Answer(answer.status, dict(answer.headers.items()), parsed)

    def push(self, body: bytes = b"{}", identity: str = "1", **more: str) -> Callable[[], Answer]:
        headers = {"X-Word": "open", "X-Id": identity, **more}
        job = self.clients.submit(self.ask, "POST", "/intake/our%20shop", body, headers)

        def answer() -> Answer:
            while not job.done():
                self.inbox.pump(0.01)
            return job.result()

        return answer

    def read(self, number: int = 0, limit: int = 100) -> list[Arrival]:
        """As a source would, in a worker, whose cursor was stored behind ``number``."""
        intake = self.desk.of("our shop")

        def poll() -> list[Arrival]:
            intake.done(number)
            return list(intake.after(number, limit))

        job = self.clients.submit(poll)
        while not job.done():
            self.inbox.pump(0.01)
        return job.result()

    def counted(self, outcome: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "merkwacht_pushes_total", {"source": "our shop", "outcome": outcome}
        )
        return value or 0.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path, busy_seconds=0.2)
    yield made
    made.close()


@pytest.fixture
def counters(store: Store) -> Iterator[Callable[..., Counter]]:
    made: list[Counter] = []

    def make(**limits: Any) -> Counter:
        made.append(Counter(store, FakeClock(), Limits(**limits)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def counter(counters: Callable[..., Counter]) -> Counter:
    return counters()


# --- taken ----------------------------------------------------------------------------------------


def test_a_push_is_on_disk_before_it_is_acknowledged(counter: Counter) -> None:
    on_disk = "SELECT source, identity, body FROM intake"
    answer = counter.push(b'{"a": 1}')
    # Nothing is said while the main thread has not committed.
    assert sql(counter.store.path, on_disk) == []
    assert answer().status == 200
    assert sql(counter.store.path, on_disk) == [("our shop", "1", b'{"a": 1}')]
    assert answer().body == {"stored": True, "new": True}


def test_a_repeat_is_acknowledged_and_stored_once(counter: Counter) -> None:
    counter.push(b"first")()
    again = counter.push(b"first")()
    assert (again.status, again.body) == (200, {"stored": True, "new": False})
    assert len(counter.read()) == 1
    assert (counter.counted("stored"), counter.counted("repeated")) == (1, 1)


def test_a_repeat_of_what_was_read_is_still_known(counter: Counter) -> None:
    counter.push(b"first")()
    [arrival] = counter.read()
    counter.read(arrival.number)
    assert counter.push(b"first")().body["new"] is False
    assert counter.read(arrival.number) == []


def test_what_was_read_is_erased_from_the_file(counter: Counter) -> None:
    counter.push(b"written by anna")()
    [arrival] = counter.read()
    assert arrival.body == b"written by anna"
    assert counter.read() == [arrival], "until a cursor has gone past it"
    assert counter.read(arrival.number) == []
    assert sql(counter.store.path, "SELECT body FROM intake") == [(None,)]
    assert counter.read() == []


def test_an_interrupted_sender_repeats_and_nothing_is_lost_or_double(counter: Counter) -> None:
    gone = HTTPConnection("127.0.0.1", counter.site.port, timeout=20)
    gone.request("POST", "/intake/our%20shop", b"x", {"X-Word": "open", "X-Id": "7"})
    gone.close()
    answer = counter.push(b"x", "7")()
    assert answer.status == 200
    while counter.inbox.pump(0.05):
        pass
    assert [arrival.body for arrival in counter.read()] == [b"x"]


def test_pushes_are_read_in_the_order_they_came(counter: Counter) -> None:
    for number in range(5):
        counter.push(str(number).encode(), str(number))()
    first = counter.read(limit=3)
    assert [arrival.body for arrival in first] == [b"0", b"1", b"2"]
    assert [arrival.body for arrival in counter.read(first[-1].number)] == [b"3", b"4"]


# --- not taken ------------------------------------------------------------------------------------


def test_strangers_are_refused_and_leave_nothing(counter: Counter) -> None:
    answer = counter.ask("POST", "/intake/our%20shop", b"spam")
    assert (answer.status, answer.body) == (401, {"error": "say the word"})
    assert counter.read() == []
    assert counter.counted("refused") == 1


def test_strangers_do_not_fill_the_log(counters: Callable[..., Counter]) -> None:
    log = io.StringIO()
    set_up(level="info", style="json", stream=log)
    counter = counters()
    for _ in range(5):
        counter.ask("POST", "/intake/our%20shop", b"spam")
    counter.seconds += 60
    counter.ask("POST", "/intake/our%20shop", b"spam")
    assert log.getvalue().count('"push_refused"') == 2
    assert counter.counted("refused") == 6


@pytest.mark.parametrize("path", ["/intake/other", "/intake/", "/intake/our%20shop/x"])
def test_there_is_no_other_door(counter: Counter, path: str) -> None:
    assert counter.ask("POST", path, b"x", {"X-Word": "open"}).status == 404


def test_a_platform_is_greeted(counter: Counter) -> None:
    answer = counter.ask("GET", "/intake/our%20shop?word=open&challenge=1158201444")
    assert (answer.status, answer.body) == (200, "1158201444")
    assert counter.ask("GET", "/intake/our%20shop").status == 403


def test_a_body_that_is_too_large_is_refused(counter: Counter) -> None:
    assert counter.push(b"x" * MAX_BODY_BYTES)().status == 200
    connection = HTTPConnection("127.0.0.1", counter.site.port, timeout=20)
    connection.putrequest("POST", "/intake/our%20shop")
    connection.putheader("X-Word", "open")
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert len(counter.read()) == 1


def test_a_compressed_body_is_refused(counter: Counter) -> None:
    assert counter.push(b"x", **{"Content-Encoding": "gzip"})().status == 415


def test_more_than_so_many_in_a_minute_are_asked_to_come_again(
    counters: Callable[..., Counter],
) -> None:
    counter = counters(per_minute=3)
    assert [counter.push(identity=str(number))().status for number in range(3)] == [200] * 3
    answer = counter.push(identity="3")()
    assert (answer.status, answer.headers["retry-after"]) == (429, "20")
    counter.seconds += 20
    assert counter.push(identity="3")().status == 200
    assert counter.counted("too_many") == 1


def test_strangers_do_not_use_up_what_the_sender_may_push(
    counters: Callable[..., Counter],
) -> None:
    counter = counters(per_minute=1)
    for _ in range(5):
        assert counter.ask("POST", "/intake/our%20shop", b"spam").status == 401
    assert counter.push()().status == 200


@pytest.mark.parametrize("limits", [{"waiting": 2}, {"waiting_bytes": 10}], ids=str)
def test_what_nobody_reads_does_not_grow_without_bound(
    counters: Callable[..., Counter], limits: dict[str, int]
) -> None:
    counter = counters(**limits)
    assert [counter.push(b"12345", str(number))().status for number in range(2)] == [200] * 2
    answer = counter.push(b"12345", "2")()
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    counter.read(counter.read()[0].number)
    assert counter.push(b"12345", "2")().status == 200
    assert counter.push(b"12345", "3")().status == 503


def test_a_flood_is_put_off_and_not_kept_in_memory(counters: Callable[..., Counter]) -> None:
    counter = counters(at_once=2, seconds=20)
    jobs = [
        counter.clients.submit(
            counter.ask, "POST", "/intake/our%20shop", b"x", {"X-Word": "open", "X-Id": str(number)}
        )
        for number in range(30)
    ]
    # While the main thread does something else, only so many wait for it.
    refused = list(islice(as_completed(jobs), 26))
    assert [job.result().status for job in refused] == [503] * 26
    while not all(job.done() for job in jobs):
        counter.inbox.pump(0.01)
    assert [job.result().status for job in jobs].count(200) == 4
    assert len(counter.read()) == 4


def test_while_the_store_is_locked_the_sender_is_asked_to_come_again(counter: Counter) -> None:
    with write_locked(counter.store.path):
        answer = counter.push()()
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert counter.push()().body == {"stored": True, "new": True}


def test_while_the_main_thread_is_busy_the_sender_waits_for_so_long(
    counters: Callable[..., Counter],
) -> None:
    counter = counters(seconds=0.05)
    job = counter.clients.submit(
        counter.ask, "POST", "/intake/our%20shop", b"x", {"X-Word": "open"}
    )
    assert job.result().status == 503
    while counter.inbox.pump(0):
        pass
    assert counter.read() == [], "what was taken back is not stored behind the sender's back"


# --- forgotten ------------------------------------------------------------------------------------


def test_what_was_read_long_ago_and_what_nobody_reads_is_forgotten(counter: Counter) -> None:
    counter.push(b"read", "1")()
    [arrival] = counter.read()
    counter.push(b"not read", "2")()
    counter.read(arrival.number)
    counter.clock.advance(days=8)
    counter.read(arrival.number)
    left = "SELECT identity FROM intake ORDER BY id"
    assert sql(counter.store.path, left) == [("2",)]
    counter.clock.advance(days=23)
    counter.read(arrival.number)
    assert sql(counter.store.path, left) == []
    counter.push(b"new", "3")()
    assert counter.read(arrival.number)[0].number > arrival.number + 1, "numbers never come back"


# --- end to end -----------------------------------------------------------------------------------


@contextmanager
def installation(folder: Path, clock: FakeClock, extra: str = "") -> Iterator[App]:
    file = folder / "config.toml"
    file.write_text(
        f"""
        [web]
        enabled = true
        host = "127.0.0.1"
        port = 0
        public_url = "https://watch.example.com"
        [[brands]]
        name = "Acme"
        query = "acme"
        [[sources]]
        kind = "webhook"
        name = "finder"
        secret = "{SECRET}"
        interval_seconds = 3600
        {extra}
        [[channels]]
        kind = "email"
        name = "mail"
        host = "127.0.0.1"
        port = 1
        from = "merkwacht@acme.example"
        [[receivers]]
        name = "team"
        channels = [{{ use = "mail", to = ["team@acme.example"] }}]
        [[routes]]
        receivers = ["team"]
        """
    )
    with App(file, now=clock, rng=random.Random(1)) as app:
        assert app.site is not None
        app.site.bind()
        app.site.show(app.daemon.steps.routes)
        app.site.start()
        yield app


def during(app: App, ask: Callable[[], Answer]) -> Answer:
    """Ask as somebody outside would, while the test's thread does the daemon's work."""
    answers: list[Answer] = []
    sender = threading.Thread(target=lambda: answers.append(ask()))
    sender.start()
    while sender.is_alive():
        app._inbox.pump(0.01)
    return answers[0]


def http(app: App, method: str, path: str, body: bytes | None, headers: Any) -> Answer:
    assert app.site is not None
    connection = HTTPConnection("127.0.0.1", app.site.port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    read = answer.read().decode()
    connection.close()
    return Answer(answer.status, dict(answer.headers.items()), read)


def push_mention(app: App, clock: FakeClock, number: int) -> int:
    """Push as another program would."""
    body = json.dumps(
        {
            "id": str(number),
            "source": "forum",
            "text": "Acme is open today.",
            "published_at": clock().isoformat(),
        }
    ).encode()
    moment = str(int(clock().timestamp()))
    headers = {
        "webhook-id": f"msg_{number}",
        "webhook-timestamp": moment,
        "webhook-signature": sign(key_of(SECRET), f"msg_{number}", moment, body),
    }
    return during(app, lambda: http(app, "POST", "/intake/finder", body, headers)).status


def test_a_pushed_mention_is_stored_at_the_next_pass_though_the_interval_is_long(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    with installation(tmp_path, clock) as app:
        app.daemon.tick()
        assert push_mention(app, clock, 1) == 200
        clock.advance(seconds=1)
        assert app.daemon.tick().assessed == 1
        stored = sql(app.store.path, "SELECT source, platform, post_id FROM mention")
        assert stored == [("finder", "forum", "1")]


def test_what_was_acknowledged_survives_a_restart_before_it_was_read(tmp_path: Path) -> None:
    clock = FakeClock()
    with installation(tmp_path, clock) as app:
        app.daemon.tick()
        assert push_mention(app, clock, 1) == 200
    with installation(tmp_path, clock) as app:
        assert push_mention(app, clock, 1) == 200
        clock.advance(seconds=1)
        app.daemon.tick()
        clock.advance(hours=2)
        app.daemon.tick()
        assert sql(app.store.path, "SELECT post_id FROM mention") == [("1",)]
        assert sql(app.store.path, "SELECT count(*) FROM intake WHERE body IS NOT NULL") == [(0,)]


def test_a_mention_that_meta_tells_once_is_asked_for_and_stored(tmp_path: Path) -> None:
    """From Meta's first question, through a push and a restart, to a mention in the store."""
    clock = FakeClock()
    graph = GraphLike(MovedClock(clock()))
    with FaultServer(graph) as meta:
        more = f"""
        [[sources]]
        kind = "facebook"
        name = "our page"
        page_id = "{PAGE}"
        access_token = "{TOKEN}"
        app_secret = "{APP_SECRET}"
        verify_token = "a-word-of-our-own"
        base_url = "{meta.url}"
        [network]
        allow_private_addresses = ["127.0.0.1"]
        """
        told = {"item": "post", "verb": "add"}
        with installation(tmp_path, clock, more) as app:
            app.daemon.tick()
            query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=a-word-of-our-own"
            path = "/intake/our%20page"
            greeted = during(app, lambda: http(app, "GET", f"{path}?{query}", None, {}))
            assert (greeted.status, greeted.body) == (200, "1158201444")
            name = graph.post("Nooit meer, echt niet", by="77", edge="elsewhere")
            push = signed(pushed("page", PAGE, ("mention", {**told, "post_id": name})))
            for _ in range(2):  # Meta repeats itself
                headers = {"X-Hub-Signature-256": push.headers["x-hub-signature-256"]}
                answer = during(app, lambda: http(app, "POST", path, push.body, headers))  # noqa: B023
                assert answer.status == 200
            assert during(app, lambda: http(app, "POST", path, push.body, {})).status == 401
        with installation(tmp_path, clock, more) as app:
            clock.advance(minutes=10)
            assert app.daemon.tick().assessed == 1
            found = "SELECT source, platform, post_id, text FROM mention"
            number = name.split("_")[1]
            assert sql(app.store.path, found) == [
                ("our page", "facebook", number, "Nooit meer, echt niet")
            ]
            assert name in [request.path.split("/")[-1] for request in meta.requests]
            clock.advance(minutes=10)
            app.daemon.tick()
            assert sql(app.store.path, "SELECT count(*) FROM intake WHERE body IS NOT NULL") == [
                (0,)
            ]


# --- killed ---------------------------------------------------------------------------------------

_PROGRAM = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from connectors.webhook import SignedDoor
from monitor.inbox import Inbox
from monitor.intake import IntakeDesk, Limits
from monitor.log import set_up
from monitor.metrics import Metrics
from monitor.reception import intake_routes
from monitor.site import SiteServer
from monitor.store import Store

set_up(level="error", style="text")
now = lambda: datetime.now(UTC)
inbox = Inbox()
desk = IntakeDesk(
    store=Store(Path(sys.argv[1])), inbox=inbox, metrics=Metrics(CollectorRegistry()), now=now,
    limits=Limits(per_minute=100_000),
)
desk.open({"finder": SignedDoor([SecretStr(sys.argv[2])], timedelta(minutes=5), now)})
site = SiteServer("127.0.0.1", 0)
site.bind()
site.show(intake_routes(desk))
site.start()
print(site.port, flush=True)
while True:
    inbox.pump(1)
"""


def push_until_killed(port: int, first: int, acknowledged: SimpleQueue[str]) -> None:
    """Push one after the other; note what was acknowledged."""
    for number in itertools.count(first):
        identity, moment = f"msg_{number}", str(int(time.time()))
        headers = {
            "webhook-id": identity,
            "webhook-timestamp": moment,
            "webhook-signature": sign(key_of(SECRET), identity, moment, b"{}"),
        }
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/intake/finder", b"{}", headers)
            answer = connection.getresponse()
        except (OSError, HTTPException):
            return
        assert answer.status == 200
        acknowledged.put(identity)
        connection.close()


def test_what_was_acknowledged_survives_a_kill(store: Store) -> None:
    acknowledged: SimpleQueue[str] = SimpleQueue()
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(store.path), SECRET],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    port = int(program.stdout.readline())
    with ThreadPoolExecutor(4) as clients:
        for client in range(4):
            clients.submit(push_until_killed, port, 100_000 * client, acknowledged)
        heard = {acknowledged.get(timeout=60) for _ in range(60)}
        program.kill()
    program.wait()
    program.stdout.close()
    while not acknowledged.empty():
        heard.add(acknowledged.get())
    with store.read() as unit:
        kept = len(unit.intake.after("finder", 0, 10_000))
    stored = {identity for (identity,) in sql(store.path, "SELECT identity FROM intake")}
    assert len(heard) >= 60
    assert heard <= stored
    # What was on its way may be there without anybody having heard so: each client had one.
    assert kept == len(stored) <= len(heard) + 4

"""What a notification costs, from the signal to the receipt, with more and more of them in the history.

    python tests/bench/bench_delivering.py [--incidents 1000] [--history 1000 10000 100000]

For each length of history: a store with that many notifications that were delivered, of incidents that
are over; then so many new incidents of five notifications each are opened, routed and handed over to
channels that take them at once. Printed are milliseconds of processor time per notification, the ratio to
the first history, and the same (by the clock on the wall, best of 20) for single questions to the store.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import structlog
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parents[2]))

from alerts.base import Delivery, Receipt, Severity, Signal, SignalKind
from alerts.message import to_json
from alerts.routes import ReceiverOptions, RouteOptions, Via
from connectors.options import Options
from monitor.announcing import Announcer
from monitor.delivering import DeliverStep
from monitor.following import FollowStep
from monitor.inbox import Inbox
from monitor.metrics import Metrics
from monitor.store import Store, Unit
from monitor.telling import Rulebook
from tests.alerts.make import message
from tests.fakes import FakeClock

NOW = datetime(2026, 11, 18, 15, 2, tzinfo=UTC)
WAYS = 5
BATCH = 20
"""Signals that one transaction brings: what `assess` finds in a batch of posts in a bad hour."""


class Taker:
    """A channel that takes everything at once: what is measured is the way to it."""

    kind: ClassVar[str] = "taker"
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any = None) -> None:
        self.taken = 0

    @staticmethod
    def problem_with(to: Sequence[str]) -> str | None:
        return None

    def send(self, delivery: Delivery) -> Receipt:
        self.taken += 1
        return Receipt(thread={"ts": delivery.key})

    def check(self) -> str | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


def fill(path: Path, count: int) -> None:
    """Notifications of the last year, delivered, five for each incident; dead letters among them."""
    body = json.dumps(to_json(message()))
    with closing(sqlite3.connect(path)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(incident)")]
        for start in range(0, count, WAYS):
            number = start // WAYS + 1
            at = (NOW - timedelta(days=365) * (1 - start / count)).strftime("%Y-%m-%d %H:%M:%S.%f")
            known = {
                "id": number, "brand": "Zonnehoek", "kind": "leak", "severity": 3, "state": "resolved",
                "subject": f"old{number}", "opened_at": at, "last_signal_at": at, "drill": 0,
            }  # fmt: skip
            names = [name for name in columns if name in known]
            database.execute(
                f"INSERT INTO incident ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - names of columns
                [known[name] for name in names],
            )
            database.executemany(
                "INSERT INTO notification (key, incident_id, event, receiver, channel, addresses,"
                " message, state, created_at, next_attempt_at, attempts, aside, delivered_at)"
                " VALUES (?, ?, 'opened', ?, ?, '[]', ?, ?, ?, ?, 1, 0, ?)",
                [
                    (
                        f"old-{start + way}", number, f"team{way}", f"way{way}", body,
                        "dead" if (start + way) % 50 == 0 else "delivered", at, at, at,
                    )
                    for way in range(WAYS)
                ],
            )  # fmt: skip
        database.execute("ANALYZE")


def announcer(metrics: Metrics) -> Announcer:
    receivers = [
        ReceiverOptions(name=f"team{way}", channels=(Via(use=f"way{way}"),)) for way in range(WAYS)
    ]
    routes = [RouteOptions(receivers=tuple(each.name for each in receivers))]
    rules = Rulebook(
        routes=routes, receivers=receivers, language="nl", timezone="Europe/Amsterdam", handles={}
    )
    return Announcer(rules, installation="bench", metrics=metrics)


def leak(number: int, at: datetime) -> Signal:
    return Signal(
        kind=SignalKind.LEAK,
        brand="Zonnehoek",
        severity=Severity.HIGH,
        key=f"leak:new{number}",
        subject=f"new{number}",
        occurred_at=at,
        facts={"platform": "x", "category": "credentials", "leak_score": 0.97},
    )


QUESTIONS: dict[str, Callable[[Unit], object]] = {
    "heads": lambda unit: unit.outbox.heads(NOW),
    "waiting": lambda unit: unit.outbox.waiting(),
    "count_dead": lambda unit: unit.outbox.count_dead(),
    "told": lambda unit: unit.outbox.told(7),
    "planned": lambda unit: unit.outbox.planned(7, "team1", "way1"),
    "count_delivered": lambda unit: unit.outbox.count_delivered(NOW - timedelta(days=1)),
    "mates": lambda unit: unit.incidents.mates("Zonnehoek", "new1"),
}


def milliseconds(store: Store, ask: Callable[[Unit], object]) -> float:
    best = float("inf")
    for _ in range(20):
        with store.read() as unit:
            began = time.perf_counter()
            ask(unit)
            best = min(best, time.perf_counter() - began)
    return best * 1000


def run(folder: Path, history: int, incidents: int) -> Iterator[tuple[str, float]]:
    path = folder / f"{history}.db"
    Store(path).close()
    fill(path, history)
    store, clock, metrics = Store(path), FakeClock(NOW), Metrics(CollectorRegistry())
    inbox, pool = Inbox(), ThreadPoolExecutor(4)
    tells = announcer(metrics)
    channels = {f"way{way}": Taker() for way in range(WAYS)}
    follow = FollowStep(store=store, announcer=tells, now=clock)
    deliver = DeliverStep(
        store=store,
        channels=channels,
        inbox=inbox,
        pool=pool,
        metrics=metrics,
        now=clock,
        rng=random.Random(1),
        delivered=lambda: None,
        unwanted=tells.teller.unwanted,
    )
    for name, ask in QUESTIONS.items():
        yield name, milliseconds(store, ask)
    routed = handed = 0.0
    for start in range(0, incidents, BATCH):
        clock.advance(seconds=5)
        began = time.process_time()
        with store.write() as unit:
            signals = [leak(number, clock()) for number in range(start, start + BATCH)]
            tells.announce(unit, signals, clock())
        while follow.run()[0]:
            pass
        routed += time.process_time() - began
        began = time.process_time()
        while deliver.run():
            while deliver.in_flight:
                inbox.pump(1)
        handed += time.process_time() - began
    taken = sum(channel.taken for channel in channels.values())
    with store.read() as unit:
        left = unit.outbox.waiting()[0]
    if (taken, left) != (incidents * WAYS, 0):
        raise SystemExit(f"{taken} taken and {left} left of {incidents * WAYS}")
    yield "routed, per notification", routed / taken * 1000
    yield "handed over, per notification", handed / taken * 1000
    pool.shutdown()
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--incidents", type=int, default=1000)
    parser.add_argument("--history", type=int, nargs="+", default=[1000, 10_000, 100_000])
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    first: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for history in given.history:
            print(f"\n{history:,} notifications in the history, {given.incidents:,} new incidents")
            for name, value in run(Path(scratch), history, given.incidents):
                ratio = value / first.setdefault(name, value)
                print(f"  {name:32} {value:9.3f} ms   x {ratio:.2f}")


if __name__ == "__main__":
    main()

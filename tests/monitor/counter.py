"""A store with an incident that burns, a main thread that answers, and a desk in front of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from alerts.base import Incident, Severity, Signal, SignalKind
from alerts.links import Links
from alerts.routes import ReceiverOptions, RouteOptions
from monitor.announcing import Announcer, Rulebook
from monitor.desk import Desk
from monitor.inbox import Inbox
from monitor.metrics import Metrics
from tests.fakes import FakeClock
from tests.monitor.make import NOON, fresh_store, new_mention

KEY = bytes(range(32))
URL = "http://127.0.0.1"


def receiver(name: str, language: str, channel: str = "mail", to: str = "") -> ReceiverOptions:
    use = {"use": channel, "to": [to or f"{name}@example.com"]}
    return ReceiverOptions.model_validate({"name": name, "language": language, "channels": [use]})


RECEIVERS = [receiver("crisis", "nl"), receiver("ops", "en")]


class Office:
    """Everything behind a link or a button; ``desk`` is what is tested."""

    def __init__(
        self, path: Path, receivers: list[ReceiverOptions], *, text: str, link_days: float
    ) -> None:
        self.clock = FakeClock(NOON)
        self.store = fresh_store(path)
        self.inbox = Inbox()
        self.metrics = Metrics(CollectorRegistry())
        self.links = Links(KEY, public_url=URL, lifetime=timedelta(days=link_days))
        rulebook = Rulebook(
            routes=[RouteOptions(receivers=[each.name for each in receivers])],
            receivers=receivers,
            language="nl",
            timezone="Europe/Amsterdam",
            handles={},
        )
        self.announcer = Announcer(rulebook, installation="test", metrics=self.metrics)
        self.changes: list[None] = []
        self.desk = Desk(
            store=self.store,
            inbox=self.inbox,
            links=self.links,
            rulebook=rulebook,
            announcer=self.announcer,
            metrics=self.metrics,
            now=self.clock,
            changed=lambda: self.changes.append(None),
        )
        self.incident = self.open(text)

    def open(self, text: str, number: int = 1) -> Incident:
        """A further incident, over a post of its own."""
        with self.store.write() as unit:
            (mention,) = unit.mentions.add_imported([new_mention(number, text=text)], NOON)
            signal = Signal(
                kind=SignalKind.THREAT,
                brand="Zonnehoek",
                severity=Severity.HIGH,
                key=f"threat:{number}",
                subject=f"story{number}",
                occurred_at=NOON,
                mention_ids=(mention.id,),
                facts={"platform": "x", "matched": ["Zonnehoek"], "abuse_score": 0.91},
            )
            (announced,) = self.announcer.announce(unit, [signal], NOON)
        self.incident = announced.incident
        return self.incident

    def ticket(self, receiver: str = "crisis") -> str:
        return self.links.ticket_for(self.incident, receiver, self.clock())

    def now(self) -> Incident:
        with self.store.read() as unit:
            incident = unit.incidents.get(self.incident.id)
        assert incident is not None
        return incident

    def history(self) -> list[tuple[str, str, str]]:
        with self.store.read() as unit:
            return [
                (each.event, each.actor, each.note)
                for each in unit.incidents.history(self.incident.id)
                if each.event in ("acknowledged", "resolved")
            ]


@contextmanager
def office(
    path: Path,
    receivers: list[ReceiverOptions] | None = None,
    *,
    text: str = "Ik kom jullie opzoeken bij Zonnehoek.",
    link_days: float = 7,
) -> Iterator[Office]:
    made = Office(path, receivers or RECEIVERS, text=text, link_days=link_days)
    over = threading.Event()

    def pump() -> None:
        while not over.is_set():
            made.inbox.pump(0.02)

    main = threading.Thread(target=pump)
    main.start()
    try:
        yield made
    finally:
        over.set()
        main.join()
        made.inbox.close()
        made.store.close()

"""The step ``deliver`` in a room of its own: a store, channels of every kind, real servers, a clock."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from alerts import CHANNELS
from alerts.base import Channel, Incident, SignalKind
from alerts.pacing import Pacer
from alerts.routes import ReceiverOptions, RouteOptions, Via
from monitor.announcing import Announcement, Announcer
from monitor.delivering import DeliverStep
from monitor.inbox import Inbox
from monitor.metrics import Metrics
from monitor.outages import OutageWatch
from monitor.store.outbox import Sent
from monitor.telling import Rulebook
from tests.fakes import FakeClock
from tests.monitor.make import NOON, add_notification, fresh_store
from tests.monitor.servers import Answer, Mail, MailServer, WebServer

PATIENCE = 0.5
"""Seconds that channels give their servers here."""

_KEY = re.compile(r"mw-(?:daily-[\d-]+|\d+-\w+)-\w+")


class Desk:
    """Anything that takes notifications, and can be told to misbehave."""

    kind: str
    to: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        """Key and what tells a repeat from another message, in the order in which they came."""
        self.asked = 0
        self.before_answer: Callable[[], bool] | None = None
        """Done with the next message, once it is whole; says whether it counts as taken."""
        self.released = threading.Event()
        """Lets those go that hang."""

    @property
    def keys(self) -> list[str]:
        """The keys that were taken, in order."""
        return [key for key, _ in self.taken]

    def options(self) -> Mapping[str, Any]:
        """Of the channel that leads here."""
        raise NotImplementedError

    def channel(self) -> Channel:
        """As a process makes it when it starts."""
        plugin: Any = CHANNELS[self.kind]
        made: Channel = plugin(plugin.Options.model_validate(self.options()))
        return made

    def be(self, fault: str) -> None:
        """Misbehave from now on; ``""``: no more."""
        raise NotImplementedError

    def close(self) -> None:
        """Let everybody go."""
        self.released.set()


class MailDesk(Desk):
    """A mail server."""

    kind = "email"
    to = ("crisis@zonnehoek.example",)

    def __init__(self) -> None:
        super().__init__()
        self._server = MailServer(self._answer)
        self._server.up()
        self._fault = ""
        self.replies: dict[str, str] = {}
        """What it answers to some keys instead of taking the mail."""
        self.password: str | None = None
        """What a channel that is made from now on logs in with."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    def ask_for(self, password: str) -> None:
        """Take mail only from those who log in with this."""
        self._server.down()
        self._server.password = password
        self._server.up()

    def options(self) -> Mapping[str, Any]:
        login = {"username": "merkwacht", "password": self.password} if self.password else {}
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "security": "none",
            "from": "merkwacht@zonnehoek.example",
            "hello_hostname": "localhost",
            "timeout_seconds": PATIENCE,
            **login,
        }

    def be(self, fault: str) -> None:
        self._fault = fault
        self._server.hang_up = fault == "dropped"
        if fault == "refused":
            self._server.down()
        else:
            self._server.up()

    def _answer(self, mail: Mail) -> str:
        self.asked += 1
        if self.before_answer is not None and not self.before_answer():
            return "451 not taken"
        reply = self.replies.get(mail.key) or self._trouble()
        if reply is None:
            self.taken.append((mail.key, mail.message_id))
        return reply or "250 taken"

    def _trouble(self) -> str | None:
        match self._fault:
            case "silent":
                self.released.wait(30)
                return "451 too late"
            case "slow":
                self.released.wait(PATIENCE / 5)
            case "4xx":
                return "554 we do not want this"
            case "5xx":
                return "451 trouble here, come back later"
            case "429":
                return "421 too many messages, slow down"
        return None

    def close(self) -> None:
        super().close()
        self._server.down()


class WebDesk(Desk, WebServer):
    """A web server that takes what is posted. Subclasses say what channel leads to it."""

    answer = Answer(body=b"ok")
    wish = ("Retry-After", "120")

    def __init__(self) -> None:
        Desk.__init__(self)
        WebServer.__init__(self)
        self.up()
        self._fault = ""

    def be(self, fault: str) -> None:
        self._fault = fault
        if fault == "refused":
            self.down()
        else:
            self.up()

    def respond(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if not body:
            return Answer(body=b"[]")  # Alertmanager is asked what burns
        self.asked += 1
        if self.before_answer is not None and not self.before_answer():
            raise ConnectionResetError
        match self._fault:
            case "silent":
                self.released.wait(30)
                raise ConnectionResetError
            case "slow":
                self.released.wait(PATIENCE / 5)
            case "4xx":
                return Answer(400, b"invalid_payload")
            case "5xx":
                return Answer(500, b"trouble")
            case "429":
                return Answer(429, b"rate_limited", (self.wish,))
        text = json.dumps(json.loads(body), ensure_ascii=False)
        self.taken.append((_KEY.findall(text)[0], text))
        if self._fault == "dropped":
            raise ConnectionResetError
        return self.answer

    def close(self) -> None:
        super().close()
        self.down()


class SlackDesk(WebDesk):
    """Looks like an incoming webhook of Slack."""

    kind = "slack"

    def options(self) -> Mapping[str, Any]:
        return {"webhook_url": f"{self.url}/services/T0/B0/x", "timeout_seconds": PATIENCE}


class HookDesk(WebDesk):
    """A ticket system."""

    kind = "webhook"

    def options(self) -> Mapping[str, Any]:
        return {
            "url": f"{self.url}/hook",
            "secret": "whsec_" + "bWVya3dhY2h0" * 3,
            "allow_private_address": True,
            "timeout_seconds": PATIENCE,
        }


class AlertmanagerDesk(WebDesk):
    """Answers as Alertmanager does."""

    kind = "alertmanager"

    def options(self) -> Mapping[str, Any]:
        return {"urls": [self.url], "timeout_seconds": PATIENCE}


class AppriseDesk(WebDesk):
    """What apprise's ``json://`` posts to."""

    kind = "apprise"

    def options(self) -> Mapping[str, Any]:
        url = self.url.replace("http://", "json://")
        return {"url": url, "format": "text", "timeout_seconds": PATIENCE}


DESKS: Mapping[str, type[Desk]] = {
    each.kind: each for each in (MailDesk, SlackDesk, HookDesk, AlertmanagerDesk, AppriseDesk)
}


@dataclass
class Office:
    """A store with an outbox, channels by name, and the steps that look after it."""

    folder: Path
    desks: dict[str, Desk]
    stand_ins: Mapping[tuple[str, str], Via]
    pacers: Mapping[str, Pacer]
    broken_after: timedelta
    watched: bool
    """Whether somebody looks after the channels as time passes."""

    def __post_init__(self) -> None:
        self.store = fresh_store(self.folder, busy_seconds=0.05)
        self.clock = FakeClock(NOON)
        self.begin()

    def begin(self) -> None:
        """As a new process begins: with nothing but what is stored."""
        self.inbox = Inbox()
        self.pool = ThreadPoolExecutor(4)
        self.metrics = Metrics(CollectorRegistry())
        self.step = DeliverStep(
            store=self.store,
            channels={name: desk.channel() for name, desk in self.desks.items()},
            inbox=self.inbox,
            pool=self.pool,
            metrics=self.metrics,
            now=self.clock,
            delivered=lambda: None,
            rng=random.Random(1),
            stand_ins=self.stand_ins,
            pacers=self.pacers,
        )
        everybody = ReceiverOptions(
            name="operations",
            channels=tuple(Via(use=name, to=self.to(name)) for name in self.desks),
        )
        rules = Rulebook(
            routes=[RouteOptions(kinds=(SignalKind.BROKEN_CHANNEL,), receivers=("operations",))],
            receivers=[everybody],
            language="nl",
            timezone="Europe/Amsterdam",
            handles={},
        )
        self.watch = OutageWatch(
            announcer=Announcer(rules, installation="here", metrics=self.metrics),
            broken_after=dict.fromkeys(self.desks, self.broken_after),
        )

    def die(self) -> None:
        """As a killed process leaves it: what its workers were at has its end, and nobody knows."""
        self.pool.shutdown()

    def to(self, channel: str) -> tuple[str, ...]:
        """Addresses for a channel; none for one that is not there."""
        desk = self.desks.get(channel)
        return desk.to if desk is not None else ()

    @property
    def mail(self) -> MailDesk:
        """The mail server."""
        desk = self.desks["email"]
        assert isinstance(desk, MailDesk)
        return desk

    @property
    def chat(self) -> SlackDesk:
        """Slack."""
        desk = self.desks["slack"]
        assert isinstance(desk, SlackDesk)
        return desk

    def put(
        self, key: str, incident: Incident, channel: str = "email", receiver: str = "crisis"
    ) -> str:
        """Something to tell. Gives its key as the outbox has it."""
        whole = f"mw-{incident.id}-opened-{key}"
        add_notification(
            self.store,
            whole,
            incident,
            receiver=receiver,
            channel=channel,
            addresses=self.to(channel),
            now=self.clock(),
        )
        return whole

    def work(self) -> int:
        """Deliver until nothing more is due. Returns how many attempts were made."""
        attempts = 0
        while started := self.step.run():
            attempts += started
            while self.step.in_flight:
                self.inbox.pump(1)
        return attempts

    def look(self) -> list[Announcement]:
        """Look after the channels once."""
        with self.store.write() as unit:
            return self.watch.run(unit, self.clock())

    def work_for(self, **duration: float) -> int:
        """The same with the clock moved on in steps of half a minute, and channels looked after."""
        attempts = self.work()
        end = self.clock.moment + timedelta(**duration)
        while self.clock.moment < end:
            self.clock.advance(seconds=30)
            if self.watched:
                self.look()
            attempts += self.work()
        return attempts

    def sent(self, incident: Incident) -> list[Sent]:
        """What became of what there was to tell of an incident."""
        with self.store.read() as unit:
            return unit.outbox.of_incident(incident.id)

    def states(self, incident: Incident, channel: str) -> list[str]:
        """The same for one channel, in a word each."""
        return [each.state for each in self.sent(incident) if each.channel == channel]

    def troubles(self) -> list[tuple[str, str, list[tuple[str, str]]]]:
        """Incidents about channels: which, how they stand, and over which channels they were told."""
        with self.store.read() as unit:
            return [
                (
                    incident.subject,
                    incident.state.value,
                    [(each.channel, each.event) for each in unit.outbox.of_incident(incident.id)],
                )
                for incident in reversed(unit.incidents.latest(100))
                if incident.kind is SignalKind.BROKEN_CHANNEL
            ]


@contextmanager
def office(
    folder: Path,
    *kinds: str,
    stand_ins: Mapping[tuple[str, str], Via] | None = None,
    pacers: Mapping[str, Pacer] | None = None,
    broken_after: timedelta = timedelta(minutes=10),
    watched: bool = True,
) -> Iterator[Office]:
    """An office with a channel of each kind, named after it."""
    desks = {kind: DESKS[kind]() for kind in kinds}
    made = Office(folder, desks, stand_ins or {}, pacers or {}, broken_after, watched)
    try:
        yield made
    finally:
        for desk in desks.values():
            desk.close()
        made.pool.shutdown()
        made.store.close()

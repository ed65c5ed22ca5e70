"""From signals to the outbox, inside one transaction: join an incident, route, put into words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerts.base import Event, Incident, Message, Signal
from alerts.incidents import Joined, correlate
from alerts.message import Exhibit, compose, to_json
from alerts.routes import Decision, ReceiverOptions, RouteOptions, plan
from monitor.log import logger
from monitor.metrics import Metrics
from monitor.store import Unit

EXHIBITS = 60
"""How many of an incident's latest mentions are looked at to choose the samples of a message."""

_GRAVEST = (Event.RESOLVED, Event.OPENED, Event.WORSENED, Event.CONTINUES)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What happened to one incident, for logs and screens."""

    incident: Incident
    event: Event
    decisions: tuple[Decision, ...]
    title: str
    """Of the message, in the language of its first receiver; empty when nobody is told."""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Who is told, in which words: the part of the configuration that routing needs."""

    routes: Sequence[RouteOptions]
    receivers: Sequence[ReceiverOptions]
    language: str
    timezone: str
    handles: Mapping[str, frozenset[str]]
    """Per brand: its own handles, which alerts may show."""


class Announcer:
    """Turns signals into incidents and notifications."""

    def __init__(self, rulebook: Rulebook, *, installation: str, metrics: Metrics) -> None:
        self._rules = rulebook
        self._installation = installation
        self._metrics = metrics
        self._log = logger("announce")

    def announce(self, unit: Unit, signals: Iterable[Signal], now: datetime) -> list[Announcement]:
        """Let new signals join incidents and put what must be said into the outbox.

        Signals found before are passed over. Several signals of one incident give one message.
        """
        happened: dict[int, tuple[Incident, Event | None]] = {}
        for signal in signals:
            if unit.incidents.has_signal(signal.key):
                continue
            incident, event = self._place(unit, signal, now)
            self._metrics.signals.labels(signal.brand, signal.kind.value).inc()
            earlier = happened.get(incident.id, (incident, None))[1]
            happened[incident.id] = (incident, _graver(earlier, event))
        announcements = []
        for incident, event in happened.values():
            if event is not None:
                announcements.append(self.tell(unit, incident, event, now))
        return announcements

    def _place(self, unit: Unit, signal: Signal, now: datetime) -> tuple[Incident, Event | None]:
        placed = correlate(signal, unit.incidents.burning(signal.brand), now=now)
        if not isinstance(placed, Joined):
            incident = unit.incidents.open(incident_from(signal, placed.subject), now)
            self._metrics.incidents_opened.labels(signal.kind.value).inc()
            return unit.incidents.join(incident.id, signal, now), placed.event
        incident = unit.incidents.join(placed.incident.id, signal, now)
        if (incident.kind, incident.severity) != (placed.incident.kind, placed.incident.severity):
            incident = unit.incidents.worsen(
                incident.id, placed.incident.kind, placed.incident.severity, now
            )
        return incident, placed.event

    def tell(self, unit: Unit, incident: Incident, event: Event, now: datetime) -> Announcement:
        """Route one event of an incident, and put a message for each who is told into the outbox."""
        told = unit.outbox.told(incident.id)
        decisions = plan(
            incident,
            event,
            routes=self._rules.routes,
            receivers=self._rules.receivers,
            told=told,
            now=now,
        )
        languages = {receiver.name: receiver.language for receiver in self._rules.receivers}
        title = ""
        messages: dict[str, Mapping[str, object]] = {}
        for decision in decisions:
            self._record(unit, incident, event, decision, now)
            if not decision.send or decision.via is None:
                continue
            language = languages.get(decision.receiver) or self._rules.language
            if language not in messages:
                text = self._compose(unit, incident, event, decision, language)
                title = title or text.title
                messages[language] = to_json(text)
            # Dead letters count: a message after one must not carry its key.
            before = unit.outbox.planned(incident.id, decision.receiver, decision.via.use)
            unit.outbox.add(
                key=self._key(incident, event, decision.receiver, decision.via.use, before),
                incident_id=incident.id,
                event=event,
                receiver=decision.receiver,
                channel=decision.via.use,
                addresses=decision.via.to,
                message=messages[language],
                now=now,
            )
        self._log.info(
            "announced",
            incident=incident.id,
            kind=incident.kind.value,
            brand=incident.brand,
            severity=incident.severity.word,
            happened=event.value,
            told=sum(decision.send for decision in decisions),
            reasons=",".join(sorted({decision.reason.value for decision in decisions})),
        )
        return Announcement(incident, event, tuple(decisions), title)

    def _compose(
        self, unit: Unit, incident: Incident, event: Event, decision: Decision, language: str
    ) -> Message:
        pairs, total = unit.incidents.exhibits(incident.id, EXHIBITS)
        return compose(
            incident,
            event,
            decision.reason,
            signals=unit.incidents.signals(incident.id),
            exhibits=[Exhibit(mention, assessment) for mention, assessment in pairs],
            total_mentions=total,
            language=language,
            timezone=self._rules.timezone,
            keep_handles=self._rules.handles.get(incident.brand, frozenset()),
        )

    def _record(
        self, unit: Unit, incident: Incident, event: Event, decision: Decision, now: datetime
    ) -> None:
        unit.outbox.decided(
            incident.id,
            now,
            event,
            receiver=decision.receiver,
            channel=decision.via.use if decision.via else "",
            send=decision.send,
            reason=decision.reason.value,
        )
        self._metrics.decisions.labels(
            "yes" if decision.send else "no", decision.reason.value
        ).inc()

    def _key(
        self, incident: Incident, event: Event, receiver: str, channel: str, before: int
    ) -> str:
        """The idempotency key: the same for every attempt of one message, never for two messages."""
        parts = (
            self._installation,
            str(incident.id),
            # A restored backup gives ids anew: the moment keeps an old message from looking like a new one.
            incident.opened_at.isoformat(),
            event.value,
            receiver,
            channel,
            str(before),
        )
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        return f"mw-{incident.id}-{event.value}-{digest}"


def incident_from(signal: Signal, subject: str) -> Signal:
    """The signal as the store opens an incident from it: under the incident's subject."""
    return Signal(
        kind=signal.kind,
        brand=signal.brand,
        severity=signal.severity,
        key=signal.key,
        subject=subject,
        occurred_at=signal.occurred_at,
        mention_ids=signal.mention_ids,
        facts=signal.facts,
    )


def _graver(one: Event | None, other: Event | None) -> Event | None:
    for event in _GRAVEST:
        if event in (one, other):
            return event
    return None

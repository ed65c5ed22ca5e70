"""A drill: a crisis that nobody posted, told to those who would be told, and how long they took.

It goes the whole way that a real one goes: signal, incident, routes, outbox, channels, links and buttons,
clocks and the chain. Every message says that it is a drill, it joins and mutes nothing, and no figure
counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.base import Event, Severity, Signal, SignalKind
from alerts.history import Happened
from monitor.announcing import Announcer
from monitor.store import Store
from monitor.store.incidents import RefusedError


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a drill."""

    receiver: str
    channel: str
    event: str
    state: str
    """pending, delivered, dead or withdrawn."""
    after: timedelta | None
    """From the beginning of the drill until the other side took it."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a drill went, as far as it has come."""

    incident: int
    kind: SignalKind
    severity: Severity
    brand: str
    began_at: datetime
    messages: tuple[Message, ...]
    taken_by: str | None
    taken_after: timedelta | None
    ended: bool

    @property
    def told(self) -> tuple[Message, ...]:
        """The messages that ask for somebody: all but the all-clear and that somebody took it."""
        return tuple(
            each
            for each in self.messages
            if each.event in (Event.OPENED.value, Event.WORSENED.value)
        )


def begin(
    store: Store,
    announcer: Announcer,
    *,
    brand: str,
    kind: SignalKind,
    severity: Severity,
    by: str,
    now: datetime,
) -> int:
    """Raise the signal. Returns the number of the incident; the daemon delivers.

    Raises:
        RefusedError: no route leads to anybody.
    """
    with store.write() as unit:
        signal = Signal(
            kind=kind,
            brand=brand,
            severity=severity,
            key=f"drill:{now.isoformat()}:{by}",
            subject="drill",
            occurred_at=now,
            facts={"observed": 60, "expected": 4, "window_minutes": 30},
            drill=True,
        )
        [announcement] = announcer.announce(unit, [signal], now)
        if not any(decision.send for decision in announcement.decisions):
            reasons = sorted({decision.reason.value for decision in announcement.decisions})
            raise RefusedError(
                f"nobody would be told of a {kind.value} of severity {severity.word} "
                f"({', '.join(reasons)}): look with merkwacht routes test --kind {kind.value} "
                f"--severity {severity.word}"
            )
        unit.incidents.note(announcement.incident.id, now, by, Happened.NOTED, "began this drill")
        return announcement.incident.id


def course(store: Store, number: int) -> Course:
    """How a drill goes.

    Raises:
        RefusedError: there is no such incident, or it is a real one.
    """
    with store.read() as unit:
        incident, life = unit.incidents.get(number), unit.incidents.life(number)
        if incident is None or life is None:
            raise RefusedError(f"there is no incident {number}")
        if not incident.drill:
            raise RefusedError(f"incident {number} is no drill")
        sent = unit.outbox.of_incident(number)
        history = unit.incidents.entries(number)
    # Who gave it back afterwards had taken it all the same.
    taken = next((each for each in history if each.what is Happened.ACKNOWLEDGED), None)
    began = incident.opened_at
    return Course(
        incident=number,
        kind=incident.kind,
        severity=incident.severity,
        brand=incident.brand,
        began_at=began,
        messages=tuple(
            Message(
                each.receiver,
                each.channel,
                each.event,
                each.state,
                None if each.delivered_at is None else each.delivered_at - began,
            )
            for each in sent
        ),
        taken_by=None if taken is None else taken.who,
        taken_after=None if taken is None else taken.at - began,
        ended=life.resolved_at is not None,
    )


def end(store: Store, announcer: Announcer, number: int, *, by: str, now: datetime) -> bool:
    """End a drill: everybody who was told hears that it is over. False when it was already."""
    course(store, number)
    with store.write() as unit:
        if not unit.incidents.resolve(number, by, now, "the drill is over"):
            return False
        unit.flush()
        incident = unit.incidents.get(number)
        if incident is not None:
            announcer.tell(unit, incident, Event.RESOLVED, now)
        return True

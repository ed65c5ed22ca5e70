"""From signals to incidents: what belongs together is one thing to handle, told as one.

Pure: the store brings the incidents that are not over yet and keeps what comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from alerts.base import Event, Incident, IncidentState, Severity, Signal, SignalKind

CRISIS_SUBJECT = "crisis"
"""The subject of every incident made of spikes: a brand has one crisis at a time."""

CRISIS_WINDOW = timedelta(hours=6)
"""Spikes no further apart than this are one crisis."""

SPIKES = frozenset({SignalKind.VOLUME_SPIKE, SignalKind.NEGATIVITY_SPIKE, SignalKind.TOPIC_BURST})

QUIET_AFTER = MappingProxyType(
    {
        SignalKind.VOLUME_SPIKE: timedelta(hours=6),
        SignalKind.NEGATIVITY_SPIKE: timedelta(hours=6),
        SignalKind.TOPIC_BURST: timedelta(hours=6),
        SignalKind.ABUSE: timedelta(hours=24),
    }
)
"""How long a kind must be silent before its incident ends by itself. What is not listed (a leak, a
threat, a hijacked account) ends when a person says so; a silent source when it speaks again, a
broken channel when it delivers."""

_UNFINISHED = frozenset({IncidentState.OPEN, IncidentState.ACKNOWLEDGED})

_PRECEDENCE = (
    SignalKind.BUDGET,
    SignalKind.SILENT_SOURCE,
    SignalKind.BROKEN_CHANNEL,
    SignalKind.ABUSE,
    SignalKind.TOPIC_BURST,
    SignalKind.VOLUME_SPIKE,
    SignalKind.NEGATIVITY_SPIKE,
    SignalKind.LEAK,
    SignalKind.THREAT,
    SignalKind.OFFICIAL_ACCOUNT,
)
"""Which kind names an incident when signals of equal severity meet: the later one."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A signal that belongs to an incident there already is."""

    incident: Incident
    """As it is after joining: severity, kind and time of the last signal are brought up to date."""
    event: Event | None
    """``WORSENED``, ``CONTINUES``, or None for late news that changes nothing."""

    @property
    def severity(self) -> Severity:
        """The severity of the incident after joining."""
        return self.incident.severity


@dataclass(frozen=True, slots=True)
class Opened:
    """A signal that begins an incident: everything but the id, which the store gives."""

    brand: str
    kind: SignalKind
    severity: Severity
    subject: str
    opened_at: datetime
    last_signal_at: datetime

    @property
    def event(self) -> Event:
        """What receivers may hear of it."""
        return Event.OPENED

    def incident(self, incident_id: int) -> Incident:
        """The incident it becomes under ``incident_id``."""
        return Incident(
            id=incident_id,
            brand=self.brand,
            kind=self.kind,
            severity=self.severity,
            state=IncidentState.OPEN,
            subject=self.subject,
            opened_at=self.opened_at,
            last_signal_at=self.last_signal_at,
        )


def correlate(
    signal: Signal, open_incidents: Iterable[Incident], *, now: datetime
) -> Joined | Opened:
    """Find the incident that a new signal belongs to, or open one.

    Signals join on brand, group of kinds (both spikes are one group) and subject; spikes also have
    to lie within :data:`CRISIS_WINDOW`. Finished incidents are passed over, so the caller may give
    more than needed. Call it once per signal key: a repeat is the store's to recognise.
    """
    happened = min(signal.occurred_at, now)
    mates = [mate for mate in open_incidents if _belongs(signal, mate, happened)]
    if not mates:
        return Opened(
            brand=signal.brand,
            kind=signal.kind,
            severity=signal.severity,
            subject=subject_of(signal),
            opened_at=now,
            last_signal_at=happened,
        )
    # More than one can only be left over from an older program or a merge undone: the latest wins.
    mate = max(mates, key=lambda each: (each.last_signal_at, each.id))
    return _join(signal, mate, happened)


def subject_of(signal: Signal) -> str:
    """The subject of the incident that a signal belongs to. A drill shares its subject with nothing."""
    if signal.drill:
        return f"drill:{signal.key}"
    return CRISIS_SUBJECT if signal.kind in SPIKES else signal.subject


def quiet(incident: Incident, now: datetime) -> bool:
    """Whether an incident may end by itself: nothing has been heard of it for long enough."""
    at = quiet_at(incident)
    return at is not None and at <= now


def quiet_at(incident: Incident) -> datetime | None:
    """When an incident ends by itself unless something is heard of it; None: a person ends it."""
    wait = QUIET_AFTER.get(incident.kind)
    if wait is None or incident.state not in _UNFINISHED:
        return None
    return max(incident.opened_at, incident.last_signal_at) + wait


def gravest(signals: Sequence[Signal]) -> Signal:
    """The signal that names an incident. Raises ValueError for none."""
    return max(signals, key=lambda each: (_rank(each.severity, each.kind), each.key))


def _belongs(signal: Signal, incident: Incident, happened: datetime) -> bool:
    return (
        incident.state in _UNFINISHED
        and incident.drill == signal.drill
        and incident.brand == signal.brand
        and _group(incident.kind) == _group(signal.kind)
        and incident.subject == subject_of(signal)
        and (signal.kind not in SPIKES or _distance(incident, happened) <= CRISIS_WINDOW)
    )


def _distance(incident: Incident, moment: datetime) -> timedelta:
    """How far a moment lies outside the time that an incident spans so far."""
    first = min(incident.opened_at, incident.last_signal_at)
    last = max(incident.opened_at, incident.last_signal_at)
    return max(first - moment, moment - last, timedelta(0))


def _join(signal: Signal, incident: Incident, happened: datetime) -> Joined:
    worse = signal.severity > incident.severity
    names_it = _rank(signal.severity, signal.kind) > _rank(incident.severity, incident.kind)
    newer = happened > incident.last_signal_at
    event = Event.WORSENED if worse else Event.CONTINUES if newer else None
    return Joined(
        replace(
            incident,
            kind=signal.kind if names_it else incident.kind,
            severity=max(incident.severity, signal.severity),
            last_signal_at=max(incident.last_signal_at, happened),
        ),
        event,
    )


def _group(kind: SignalKind) -> str:
    return CRISIS_SUBJECT if kind in SPIKES else kind.value


def _rank(severity: Severity, kind: SignalKind) -> tuple[int, int]:
    return severity, _PRECEDENCE.index(kind)

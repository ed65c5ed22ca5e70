"""What came of a backtest: values read from its store after the fact, and their JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.base import Event, Incident, Message, Reason, Severity, SignalKind
from alerts.message import Exhibit, compose, from_json
from classifiers.base import SentimentLabel
from monitor.config import Config
from monitor.store import Store, Unit
from monitor.store.mentions import BUCKET
from monitor.store.outbox import About, Pending
from monitor.telling import EXHIBITS

_EVERYTHING = 10_000_000
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that was replayed."""

    begin: datetime
    end: datetime

    @property
    def days(self) -> float:
        """Its length, at least a step of detection."""
        return max(self.end - self.begin, BUCKET) / _DAY


@dataclass(frozen=True, slots=True)
class Notified:
    """A message that somebody would have got."""

    at: datetime
    receiver: str
    channel: str
    event: Event
    reason: str = ""
    """Why: a word of ``alerts.base.Reason``."""
    key: str = ""
    """Of the message: the same where one message tells of several incidents."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An incident that would have been opened, as it was in the end."""

    number: int
    """From 1, in the order in which they opened."""
    kind: SignalKind
    severity: Severity
    brand: str
    subject: str
    """Tells incidents of one kind apart; may hold a pseudonym: not for showing."""
    opened_at: datetime
    last_signal_at: datetime
    resolved_at: datetime | None
    """None: it still burned at the end."""
    mention_ids: tuple[str, ...]
    """As in the mention file, by time of publication."""
    notifications: tuple[Notified, ...]
    """In the order in which they would have been sent."""
    message: Message
    """What was said first; masked, as alerts are."""

    @property
    def told_at(self) -> datetime | None:
        """When somebody was first told; None: nobody was."""
        return min((each.at for each in self.notifications), default=None)

    @property
    def receivers(self) -> tuple[str, ...]:
        """Who was told, in the order of the first message to each."""
        return tuple(dict.fromkeys(each.receiver for each in self.notifications))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one configuration would have done."""

    span: Span | None
    """None: there was nothing to replay."""
    incidents: tuple[Raised, ...]
    matched: Mapping[str, int]
    """Mentions of each configured brand."""
    counts: Mapping[str, Mapping[datetime, Mapping[SentimentLabel, int]]]
    """Mentions of each brand per five minutes and sentiment."""

    @property
    def told(self) -> tuple[Raised, ...]:
        """The incidents that somebody was told of."""
        return tuple(each for each in self.incidents if each.notifications)

    @property
    def per_receiver(self) -> dict[str, int]:
        """Messages to each receiver, the most told first."""
        counts = Counter(note.receiver for note in self.messages)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def messages(self) -> list[Notified]:
        """What would have been sent: one message about several incidents counts once."""
        notes = [note for incident in self.incidents for note in incident.notifications]
        return list({note.key or (place,): note for place, note in enumerate(notes)}.values())

    @property
    def unmatched(self) -> list[str]:
        """The brands whose query matched nothing."""
        return [brand for brand, count in self.matched.items() if not count]

    def per_day(self, count: int) -> float:
        """A count as a daily rate."""
        return count / self.span.days if self.span else 0.0


class Deliveries:
    """Keeps what would have been sent, in place of channels."""

    def __init__(self) -> None:
        self.by_incident: dict[int, list[Notified]] = {}
        self.first: dict[int, Message] = {}
        """The first message about each incident."""

    def keep(self, pending: Pending, further: Sequence[About]) -> None:
        """Take one notification from the outbox, with the further incidents that it tells of."""
        note = Notified(
            at=pending.created_at,
            receiver=pending.receiver,
            channel=pending.channel,
            event=Event(pending.event),
            reason=pending.reason,
            key=pending.key,
        )
        self.by_incident.setdefault(pending.incident_id, []).append(note)
        for each in further:
            told = replace(note, event=each.event, reason=each.reason.value)
            self.by_incident.setdefault(each.incident_id, []).append(told)
        if pending.incident_id not in self.first and not further:
            self.first[pending.incident_id] = from_json(pending.message)


def read_outcome(
    store: Store,
    *,
    config: Config,
    span: Span,
    matched: Mapping[str, int],
    deliveries: Deliveries,
    handles: Mapping[str, frozenset[str]],
) -> Outcome:
    """Everything that a backtest leaves in its store."""
    with store.read() as unit:
        incidents = sorted(unit.incidents.latest(_EVERYTHING), key=lambda each: each.id)
        raised = tuple(
            _raised(unit, number, incident, deliveries, config, handles)
            for number, incident in enumerate(incidents, start=1)
        )
        counts = {
            brand: unit.mentions.counts(brand, span.begin - BUCKET, span.end + BUCKET)
            for brand in matched
        }
    return Outcome(span, raised, matched, counts)


def _raised(  # noqa: PLR0917 - one private step of the above
    unit: Unit,
    number: int,
    incident: Incident,
    deliveries: Deliveries,
    config: Config,
    handles: Mapping[str, frozenset[str]],
) -> Raised:
    exhibits, total = unit.incidents.exhibits(incident.id, _EVERYTHING)
    posts = sorted(
        (mention.post.published_at, mention.id, mention.post.id) for mention, _ in exhibits
    )
    ended = [each.at for each in unit.incidents.history(incident.id) if each.event == "resolved"]
    message = deliveries.first.get(incident.id) or compose(
        incident,
        Event.OPENED,
        Reason.NO_ROUTE,
        signals=unit.incidents.signals(incident.id),
        exhibits=[Exhibit(mention, opinion) for mention, opinion in exhibits[:EXHIBITS]],
        total_mentions=total,
        language=config.language,
        timezone=config.timezone,
        keep_handles=handles.get(incident.brand, frozenset()),
    )
    return Raised(
        number=number,
        kind=incident.kind,
        severity=incident.severity,
        brand=incident.brand,
        subject=incident.subject,
        opened_at=incident.opened_at,
        last_signal_at=incident.last_signal_at,
        resolved_at=max(ended, default=None),
        mention_ids=tuple(dict.fromkeys(post_id for _, _, post_id in posts)),
        notifications=tuple(deliveries.by_incident.get(incident.id, ())),
        message=message,
    )


# -- as JSON ---------------------------------------------------------------------------------------


def to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as the command prints it."""
    notes = len(outcome.messages)
    return {
        "incidents": [_incident_json(each) for each in outcome.incidents],
        "span": _span_json(outcome.span),
        "brands": [{"name": name, "mentions": count} for name, count in outcome.matched.items()],
        "alerts": {
            "incidents": len(outcome.incidents),
            "told": len(outcome.told),
            "notifications": notes,
            "notifications_per_day": round(outcome.per_day(notes), 3),
            "receivers": [
                {
                    "name": name,
                    "notifications": count,
                    "per_day": round(outcome.per_day(count), 3),
                }
                for name, count in outcome.per_receiver.items()
            ],
        },
    }


def _span_json(span: Span | None) -> dict[str, Any] | None:
    if span is None:
        return None
    return {"since": iso(span.begin), "until": iso(span.end), "days": round(span.days, 3)}


def _incident_json(incident: Raised) -> dict[str, Any]:
    return {
        "number": incident.number,
        "kind": incident.kind.value,
        "severity": incident.severity.word,
        "brand": incident.brand,
        "title": incident.message.title,
        "why": incident.message.summary,
        "reasons": [list(reason) for reason in incident.message.why],
        "opened_at": iso(incident.opened_at),
        "resolved_at": None if incident.resolved_at is None else iso(incident.resolved_at),
        "mention_ids": list(incident.mention_ids),
        "notifications": [
            {
                "at": iso(note.at),
                "receiver": note.receiver,
                "channel": note.channel,
                "event": note.event.value,
                "reason": note.reason,
            }
            for note in incident.notifications
        ],
    }


def iso(moment: datetime) -> str:
    """A moment as the project's files write it."""
    return moment.astimezone(UTC).isoformat()

"""Who hears of it: the types and protocols of the third stage of the journey.

A *signal* is something worth attention; signals about the same thing join one *incident*; a
*notification* is one message about an incident to one receiver through one channel, and lives in
the outbox until it is delivered. Everything here is a value: deciding is pure, remembering is the
store's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from connectors.options import Options


class SignalKind(StrEnum):
    """What a signal is about: a closed set, the same word in configuration, metrics and messages."""

    LEAK = "leak"
    THREAT = "threat"
    ABUSE = "abuse"
    VOLUME_SPIKE = "volume_spike"
    NEGATIVITY_SPIKE = "negativity_spike"
    TOPIC_BURST = "topic_burst"
    """Many voices at once use a word that this brand's public hardly ever used."""
    OFFICIAL_ACCOUNT = "official_account"
    """An official account abuses or leaks: perhaps hijacked."""
    SILENT_SOURCE = "silent_source"
    """A source has been dark for longer than allowed: for operations."""
    BROKEN_CHANNEL = "broken_channel"
    """A channel does not deliver, or gave a message up: for operations, over another channel."""
    BUDGET = "budget"
    """The money for a source is nearly or wholly spent: for operations."""


class Severity(IntEnum):
    """How bad, comparable. In text: ``name.lower()``."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """The word used in configuration, logs and messages."""
        return self.name.lower()


SeverityWord = Literal["low", "medium", "high", "critical"]
"""A severity as configurations write it."""


class IncidentState(StrEnum):
    """The life of an incident, in order."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REVIEWED = "reviewed"


class Event(StrEnum):
    """What happened to an incident that somebody may want to hear of."""

    OPENED = "opened"
    WORSENED = "worsened"
    """Its severity rose."""
    CONTINUES = "continues"
    """New signals joined after the route's cool-down."""
    RESOLVED = "resolved"


class Reason(StrEnum):
    """Why a receiver is or is not told: the same word in logs, metrics and messages."""

    OPENED = "opened"
    WORSENED = "worsened"
    CONTINUES = "continues"
    RESOLVED = "resolved"
    COOLING_DOWN = "cooling_down"
    """Told not long ago; the route's cool-down still runs."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody took it: no more pages unless it worsens."""
    NO_ROUTE = "no_route"
    NOT_TOLD_BEFORE = "not_told_before"
    """An all-clear goes only to those who were told of the incident."""
    ESCALATED = "escalated"
    """Nobody took it in time: the next step of the chain."""
    TAKEN = "taken"
    """Somebody took it: those who were told may know that they need not."""
    GIVEN_BACK = "given_back"
    """Who took it gave it back: those who were told may know that it is open again."""
    STALE = "stale"
    """Somebody took it and nothing has been heard since."""
    NOBODY_ANSWERED = "nobody_answered"
    """The chain has been gone through as often as it may."""
    REMINDER = "reminder"
    """Part of a clock has passed."""
    BREACHED = "breached"
    """A clock has run out: one step further up the chain."""
    SILENCE_ENDED = "silence_ended"
    """What muted it is over, or no longer covers it, and it still burns."""
    QUIET_HOURS_ENDED = "quiet_hours_ended"
    """It was kept for the end of the receiver's quiet hours."""
    REPEATED = "repeated"
    """It still burns and the repeat interval has passed."""
    SILENCED = "silenced"
    PART_OF_CRISIS = "part_of_crisis"
    """A crisis that this receiver knows of consists of it."""
    QUIET_HOURS = "quiet_hours"
    """Kept until the receiver's quiet hours end."""
    GROUPED = "grouped"
    """Kept for the next message that tells of several incidents."""
    NOBODY_ON_DUTY = "nobody_on_duty"
    WRONG_HOURS = "wrong_hours"
    """The step of the chain is for office hours only, or for all other hours only."""
    OVER = "over"
    """It ended before it was told."""
    STANDING_IN = "standing_in"
    """Told over a second channel, since the first does not deliver."""
    STOOD_IN = "stood_in"
    """Not told over the first channel any more: a second one told it, and it is over."""
    FIRST_IS_BACK = "first_is_back"
    """Not told over the second channel any more: the first delivered it after all."""
    CHANNEL_BROKEN = "channel_broken"
    """Not told over the very channel that it says is broken."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Something worth attention, found by a rule or a detector.

    ``key`` makes it unique for ever: finding the same thing twice gives the same key.
    ``subject`` says what it is about; signals of one brand, kind group and subject join one
    incident. ``facts`` carry the why in numbers and words, JSON-serialisable, free of leaked values.
    """

    kind: SignalKind
    brand: str
    severity: Severity
    key: str
    subject: str
    occurred_at: datetime
    mention_ids: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    drill: bool = False
    """Nothing happened: it is for practice, says so everywhere and counts nowhere."""


@dataclass(frozen=True, slots=True)
class Incident:
    """What signals about the same thing have become."""

    id: int
    brand: str
    kind: SignalKind
    """Of its gravest signal."""
    severity: Severity
    state: IncidentState
    subject: str
    opened_at: datetime
    last_signal_at: datetime
    acknowledged_by: str | None = None
    drill: bool = False
    """An exercise: told like any other, counted nowhere."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One post shown in a message: masked, shortened, author as pseudonym."""

    text: str
    platform: str
    author: str
    published_at: datetime
    url: str | None = None
    followers: int | None = None
    sentiment: str | None = None
    mention_id: int | None = None
    """Of the store: what the outbox keeps of a post goes when the post goes."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Counts against what is usual, to be drawn beside an alert. All tuples have one length."""

    start: datetime
    """Start of the first step."""
    step: timedelta
    observed: tuple[float | None, ...]
    """Count of each step; None where the sources were dark."""
    expected: tuple[float, ...]
    upper: tuple[float, ...]
    """Highest ordinary count of each step."""
    rang_at: datetime | None = None
    """When the alarm rang."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a notification says, before a channel dresses it. Plain text throughout.

    Post texts in it are untrusted: escaping them is each channel's duty, masking has been done.
    JSON round trip through :func:`alerts.message.to_json` and ``from_json``: it is what the outbox
    keeps.
    """

    incident_id: int
    brand: str
    kind: SignalKind
    severity: Severity
    event: Event
    language: str
    """``nl`` or ``en``."""
    title: str
    """One line, no line breaks: mail subject, Slack header."""
    summary: str
    """What happened, in one or two sentences."""
    since: datetime
    timezone: str
    """IANA name: times are shown in it."""
    why: tuple[tuple[str, str], ...] = ()
    """Label and value of each reason: rule, matched terms, counts against expected, model."""
    samples: tuple[Sample, ...] = ()
    more_samples: int = 0
    """How many further posts belong to it but are not shown."""
    actions: tuple[str, ...] = ()
    """What to do now, in order."""
    link: str | None = None
    """Where this receiver can see and take it, when there is a public address."""
    ticket: str | None = None
    """What a button gives back: a signed reference to incident and receiver (``alerts.links``)."""
    taken_by: str | None = None
    """Who has taken it, as it was when this was written."""
    chart: Chart | None = None
    """The last two days of a spike; drawn by channels that can show a picture."""
    drill: bool = False
    """An exercise: its title and summary say so."""
    reason: Reason | None = None
    """Why it is told."""
    incidents: tuple[int, ...] = ()
    """Of a message about several incidents: their numbers, the gravest first."""
    more_incidents: int = 0
    """How many further ones it tells of, whose numbers it does not give."""
    bulletin: bool = False
    """About no incident: title and summary are all there is. ``incident_id`` is 0, ``kind``,
    ``severity`` and ``event`` say nothing."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way through a channel."""

    message: Message
    to: Sequence[str]
    """Mail addresses or Slack channels, from the receiver's configuration; may be empty where the
    channel itself is the address (a webhook)."""
    key: str
    """Idempotency key: the same for every attempt, shown in the delivered message's headers."""
    thread: Mapping[str, Any] | None = None
    """What this channel's latest receipt for the same incident and receiver said, or None."""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a channel got back. The latest ``thread`` is kept per incident, receiver and channel."""

    thread: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None
    """What somebody should know although it was delivered: one of its addresses was refused."""


class DeliveryFault(StrEnum):
    """Why a delivery failed: a closed set for logs and metrics."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    """The server understood and will not: unknown recipient, unknown channel, message refused."""
    SERVER_ERROR = "server_error"
    INTERNAL = "internal"


class DeliveryError(Exception):
    """A delivery that failed.

    Args:
        message: what is wrong, where, what to do; no secrets, no webhook addresses.
        fault: the closed-set reason.
        permanent: True when trying again cannot help: it becomes a dead letter at once.
        retry_after: the server's own wish for the next attempt.
    """

    def __init__(
        self,
        message: str,
        *,
        fault: DeliveryFault,
        permanent: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.permanent = permanent
        self.retry_after = retry_after


class Channel(Protocol):
    """One way out: a mail server, a Slack workspace."""

    kind: ClassVar[str]
    Options: ClassVar[type[Options]]

    def __init__(self, options: Any) -> None:
        """Constructed once, with an instance of its ``Options``. Opens no connection."""
        ...

    def problem_with(self, to: Sequence[str]) -> str | None:
        """What is wrong with a receiver's addresses for this channel, or None."""
        ...

    def send(self, delivery: Delivery) -> Receipt:
        """Hand the message over; returns once the other side has taken it. Raises DeliveryError."""
        ...

    def check(self) -> str | None:
        """Try connection and credentials without sending anything. Raises DeliveryError.

        Returns a sentence for ``check --online`` where there is more, or less, to say than that the
        channel is reachable and takes our credentials.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...

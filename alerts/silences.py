"""What is muted: silences that people set, and the single mentions that a crisis consists of.

A silence has an author, a reason and an end. When the last one that covers an incident ends while it
still burns, those who missed it are told: nothing stays unheard because nobody looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import Field

from alerts.base import Event, IncidentState, Reason, Severity, SignalKind
from alerts.history import Entry, Happened, keys
from alerts.incidents import SPIKES
from alerts.routes import Told
from connectors.options import Options

MUTABLE = frozenset({Event.OPENED, Event.WORSENED, Event.CONTINUES})
"""What can be muted. An all-clear cannot: people would think that it still burns."""


class SilenceLimits(Options):
    """How far silences may go."""

    max_days: float = Field(default=7, gt=0, le=90)
    """Longest a silence may last, in days."""


class InhibitionOptions(Options):
    """What a crisis mutes."""

    kinds: tuple[SignalKind, ...] = (SignalKind.ABUSE,)
    """Kinds of incidents that may be part of a crisis; leaks, threats and own accounts never are."""
    enabled: bool = True
    """Whether a crisis mutes anything."""


@dataclass(frozen=True, slots=True)
class Target:
    """What silences and crises look at in an incident, and in the news of it."""

    brand: str
    kind: SignalKind
    severity: Severity
    sources: frozenset[str] = frozenset()
    """Where its posts were found."""
    stories: frozenset[str] = frozenset()
    mentions: frozenset[int] = frozenset()
    """The mentions that the news is about."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Something is muted until a moment. What is left empty matches everything."""

    id: int
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    brand: str = ""
    kind: SignalKind | None = None
    source: str = ""
    """Mutes what was found there only: an incident seen elsewhere as well is heard."""
    story: str = ""
    up_to: Severity = Severity.HIGH
    """Graver incidents are heard all the same."""

    def covers(self, target: Target, now: datetime) -> bool:
        """Whether it mutes that now."""
        return self.starts_at <= now < self.ends_at and self.matches(target)

    def matches(self, target: Target) -> bool:
        """Whether it is about that, whenever."""
        return (
            (not self.brand or self.brand == target.brand)
            and (self.kind is None or self.kind is target.kind)
            and (not self.source or target.sources == {self.source})
            and (not self.story or target.stories == {self.story})
            and target.severity <= self.up_to
        )


@dataclass(frozen=True, slots=True)
class Muted:
    """A notification that a silence held back."""

    receiver: str
    channel: str
    at: datetime

    @property
    def key(self) -> str:
        """The key of its resend in the history: never the same resend twice."""
        return f"silence:{self.receiver}:{self.channel}:{self.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"

    def entry(self, now: datetime) -> Entry:
        """What goes into the history when it is told again."""
        return Entry(now, Happened.TOLD, self.receiver, self.key, Reason.SILENCE_ENDED)


@dataclass(frozen=True, slots=True)
class Crisis:
    """A crisis that burns, and what it consists of."""

    incident_id: int
    brand: str
    severity: Severity
    mentions: frozenset[int]
    informed: frozenset[str]
    """Receivers who were told of it."""


def problem_with(silence: Silence, limits: SilenceLimits, now: datetime) -> str | None:
    """Why a silence is refused, as a sentence for its author; None when it may be."""
    if not silence.author.strip():
        return "a silence has an author; say who you are"
    if not silence.reason.strip():
        return "a silence has a reason; say why in a few words"
    if silence.ends_at <= max(silence.starts_at, now):
        return "the silence ends before it begins; give an end in the future"
    if silence.ends_at - silence.starts_at > timedelta(days=limits.max_days):
        return (
            f"a silence lasts {limits.max_days:g} days at most; set it anew if it is still needed"
        )
    if not (silence.brand or silence.kind or silence.source or silence.story):
        return "this would mute everything; name a brand, a kind, a source or a story"
    return None


def covering(silences: Iterable[Silence], target: Target, now: datetime) -> Silence | None:
    """The silence that mutes the target longest from now on, if any does."""
    found = [silence for silence in silences if silence.covers(target, now)]
    return max(found, key=lambda each: (each.ends_at, each.id), default=None)


def muted_until(silences: Sequence[Silence], target: Target, now: datetime) -> datetime | None:
    """When the target is no longer muted, silences that follow one another included."""
    end: datetime | None = None
    while (silence := covering(silences, target, end or now)) is not None:
        end = silence.ends_at
    return end


def heard_again(
    missed: Iterable[Muted],
    told: Sequence[Told],
    history: Sequence[Entry],
    silences: Sequence[Silence],
    target: Target,
    *,
    state: IncidentState,
    now: datetime,
) -> tuple[list[Muted], datetime | None]:
    """Who missed something while it was muted and must hear of it now; and when to ask again.

    Nobody while a silence still covers the incident, nor when somebody took it or it is over. Whoever was
    told of it since (because it became critical) missed nothing. Put :meth:`Muted.entry` of each into the
    history with its notification: what stands there is not planned again.
    """
    if state is not IncidentState.OPEN:
        return [], None
    said = keys(history)
    latest: dict[tuple[str, str], Muted] = {}
    for each in missed:
        pair = (each.receiver, each.channel)
        heard = max(
            (was.at for was in told if (was.receiver, was.channel) == pair),
            default=None,
        )
        if (heard is None or heard < each.at) and each.at <= now:
            latest[pair] = max(latest.get(pair, each), each, key=lambda one: one.at)
    again = [each for each in latest.values() if each.key not in said]
    if not again:
        return [], None
    end = muted_until(silences, target, now)
    return ([], end) if end is not None else (again, None)


def part_of(
    target: Target,
    receiver: str,
    crises: Iterable[Crisis],
    options: InhibitionOptions,
) -> Crisis | None:
    """The crisis that mutes this news towards this receiver, if any does.

    It must burn for the same brand, be graver, consist of every mention the news is about, and be known
    to the receiver: who has not heard of the crisis hears of the mention.
    """
    if not options.enabled or target.kind not in options.kinds or target.kind in _NEVER_PART:
        return None
    return next(
        (
            crisis
            for crisis in crises
            if crisis.brand == target.brand
            and crisis.severity > target.severity
            and target.mentions
            and target.mentions <= crisis.mentions
            and receiver in crisis.informed
        ),
        None,
    )


_NEVER_PART = SPIKES | {
    SignalKind.LEAK,
    SignalKind.THREAT,
    SignalKind.OFFICIAL_ACCOUNT,
    SignalKind.SILENT_SOURCE,
    SignalKind.BROKEN_CHANNEL,
    SignalKind.BUDGET,
}

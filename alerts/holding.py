"""What happens to news between "this receiver is to be told" and the outbox: muted, kept, or told.

The one place where silences, crises and quiet hours meet, in a fixed order, with one named reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from alerts.base import Event, Reason
from alerts.grouping import News
from alerts.quiet import QuietOptions, kept_until
from alerts.silences import (
    MUTABLE,
    Crisis,
    InhibitionOptions,
    Silence,
    Target,
    covering,
    muted_until,
    part_of,
)
from alerts.worktime import Calendar


class Ruling(StrEnum):
    """What becomes of news: a closed set."""

    TELL = "tell"
    """It goes to its group, and leaves as the group does."""
    KEEP = "keep"
    """It goes to its group with a moment before which it does not leave."""
    MUTE = "mute"
    """It is not told; the decision is recorded."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """News with what becomes of it, and why."""

    ruling: Ruling
    news: News
    """With ``not_before`` set when it is kept."""
    reason: Reason
    until: datetime | None = None
    """When the cause ends; None where there is none or it has no known end."""
    because: str = ""
    """For people: whose silence and why, which crisis. Free of post text."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What can stand between news and a receiver."""

    calendar: Calendar
    silences: Sequence[Silence] = ()
    crises: Sequence[Crisis] = ()
    inhibition: InhibitionOptions = field(default_factory=InhibitionOptions)


_CALM = frozenset({Reason.TAKEN, Reason.GIVEN_BACK})
"""Whoever was woken hears at night that somebody has it, and so that nobody has it any more."""


def rule_on(
    news: News,
    target: Target,
    around: Circumstances,
    *,
    quiet: QuietOptions | None,
    told_at: datetime | None,
    now: datetime,
) -> Ruled:
    """Decide what becomes of news for one receiver.

    Args:
        news: what is to be told.
        target: the incident as silences and crises see it.
        around: silences, crises and calendar.
        quiet: the receiver's quiet hours, if it has any.
        told_at: when the receiver was last told of the incident, for the all-clear.
        now: the present moment.

    Silences go before crises (a person said so), both before quiet hours (what is muted need not be
    kept). An all-clear is never muted, nor that somebody took it. What a silence held back and is told
    again, goes on to the quiet hours like everything else.
    """
    if mutable(news):
        silence = covering(around.silences, target, now)
        if silence is not None:
            return Ruled(
                Ruling.MUTE,
                news,
                Reason.SILENCED,
                muted_until(around.silences, target, now),
                f"silence {silence.id} of {silence.author}: {silence.reason}",
            )
        crisis = part_of(target, news.receiver, around.crises, around.inhibition)
        if crisis is not None:
            return Ruled(
                Ruling.MUTE,
                news,
                Reason.PART_OF_CRISIS,
                because=f"incident {crisis.incident_id}",
            )
    end = _quiet_end(news, around, quiet, told_at=told_at, now=now)
    if end is not None:
        kept = replace(news, not_before=end)
        return Ruled(Ruling.KEEP, kept, Reason.QUIET_HOURS, end)
    return Ruled(Ruling.TELL, news, news.reason)


def mutable(news: News) -> bool:
    """Whether a silence or a crisis may mute it: never an all-clear, nor that somebody took it."""
    return news.event in MUTABLE and news.reason is not Reason.TAKEN


def _quiet_end(
    news: News,
    around: Circumstances,
    quiet: QuietOptions | None,
    *,
    told_at: datetime | None,
    now: datetime,
) -> datetime | None:
    if quiet is None:
        return None
    return kept_until(
        quiet,
        around.calendar,
        kind=news.kind,
        severity=news.severity,
        relief=news.event is Event.RESOLVED or news.reason in _CALM,
        told_at=told_at,
        now=now,
    )

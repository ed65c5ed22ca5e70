"""The line a day that says that all is well: in words, about no incident. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.base import Event, Message, Severity, SignalKind
from alerts.plain import one_line
from alerts.words import words

DAY = timedelta(hours=24)
_SHOWN = 8
"""So many sources are named; of more, how many there are."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened in the last 24 hours, and how things stand."""

    mentions: int
    delivered: int
    dark: Sequence[str]
    """Sources that are not heard now."""
    incidents: int
    """That burn; drills do not count."""
    waiting: int
    """Notifications in the outbox."""
    given_up: int
    """Dead letters, of all times."""


def daily_line(figures: Figures, *, now: datetime, language: str, timezone: str) -> Message:
    """Put the figures into words. Raises ValueError for an unknown language."""
    catalogue = words(language)
    names = [one_line(name, 60) for name in figures.dark[:_SHOWN]]
    if rest := len(figures.dark) - len(names):
        names.append(f"+{catalogue.number(rest)}")
    dark = catalogue.text("daily.dark", sources=", ".join(names))
    summary = catalogue.text(
        "daily.summary",
        mentions=catalogue.count("daily.mentions", figures.mentions),
        delivered=catalogue.count("daily.delivered", figures.delivered),
        dark=dark if names else catalogue.text("daily.heard"),
        incidents=catalogue.count("daily.incidents", figures.incidents),
        waiting=catalogue.count("daily.waiting", figures.waiting),
        given_up=catalogue.count("daily.given_up", figures.given_up),
    )
    return Message(
        incident_id=0,
        brand="",
        kind=SignalKind.SILENT_SOURCE,
        severity=Severity.LOW,
        event=Event.OPENED,
        language=language,
        title=catalogue.text("daily.title"),
        summary=summary,
        since=now - DAY,
        timezone=timezone,
        bulletin=True,
    )

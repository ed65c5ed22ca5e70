"""Quiet hours of a receiver: what breaks through, and until when the rest is kept."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field, field_validator

from alerts.base import Severity, SeverityWord, SignalKind
from alerts.weekhours import MINUTES_A_DAY, ONE_DAY, Span, Stretch, stretches, week_of, zone_of
from alerts.worktime import Calendar
from connectors.options import Options

_LOOK_AHEAD_DAYS = 40
"""Quiet hours that never end are told for this long at most; then they are looked at anew."""


class QuietOptions(Options):
    """When a receiver is left in peace."""

    timezone: str = "Europe/Amsterdam"
    """IANA name of the zone that the hours are meant in."""
    hours: dict[str, tuple[str, ...]] = Field(default={"daily": ("22:00-07:00",)})
    """Quiet hours by the weekday on which they begin, as ``"mon-fri" = ["18:00-08:00"]``."""
    holidays: bool = False
    """Whether public holidays are quiet from midnight to midnight."""
    breaks_through: SeverityWord = "critical"
    """Least severity that is told all the same."""
    kinds: tuple[SignalKind, ...] = ()
    """Kinds of incidents that are told all the same, however grave."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zone_of(name)
        return name

    @field_validator("hours")
    @classmethod
    def _readable_hours(cls, table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        week = week_of(table)
        if sum(span.end - span.start for day in week for span in day) >= 7 * MINUTES_A_DAY:
            raise ValueError("it would be quiet all week long; leave some hours")
        return table

    def lets_through(self, kind: SignalKind, severity: Severity) -> bool:
        """Whether news of such an incident is told in quiet hours, too."""
        return severity >= Severity[self.breaks_through.upper()] or kind in self.kinds


def quiet_since_until(options: QuietOptions, calendar: Calendar, at: datetime) -> Stretch | None:
    """Since and until when it is quiet at that moment (UTC), adjoining hours taken together."""
    zone = zone_of(options.timezone)
    week = week_of(options.hours)
    today = at.astimezone(zone).date()
    parts: list[Stretch] = []
    for offset in range(-9, _LOOK_AHEAD_DAYS):
        day = today + ONE_DAY * offset
        spans = list(week[day.weekday()])
        if options.holidays and calendar.holiday(day):
            spans.append(Span(0, MINUTES_A_DAY))
        parts += stretches(spans, day, zone)
    joined: list[Stretch] = []
    for start, end in sorted(parts):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return next(((start, end) for start, end in joined if start <= at < end), None)


def kept_until(
    options: QuietOptions,
    calendar: Calendar,
    *,
    kind: SignalKind,
    severity: Severity,
    relief: bool,
    told_at: datetime | None,
    now: datetime,
) -> datetime | None:
    """Until when news for the receiver is kept; None when it may be told now.

    Args:
        options: the receiver's quiet hours.
        calendar: for the holidays.
        kind: of the incident.
        severity: of the incident.
        relief: it is good news: an all-clear, or somebody took it. It waits however grave the incident,
            unless the receiver was told of it during these same quiet hours: whoever was woken may
            sleep again.
        told_at: when the receiver was last told of the incident.
        now: the present moment.
    """
    found = quiet_since_until(options, calendar, now.astimezone(UTC))
    if found is None:
        return None
    if relief:
        woken = told_at is not None and told_at >= found[0]
        return None if woken else found[1]
    return None if options.lets_through(kind, severity) else found[1]

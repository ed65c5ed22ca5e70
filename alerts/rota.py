"""Who is on duty: shifts by weekday and hours, weekly alternation, overrides; gaps found beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from alerts.weekhours import (
    DAY_NAMES,
    MINUTES_A_DAY,
    ONE_DAY,
    Span,
    days_of,
    span_of,
    stretches,
    zone_of,
)
from connectors.options import Options

WEEK = 7 * MINUTES_A_DAY


class ShiftOptions(Options):
    """Hours that come back every week, and who has them."""

    days: str = "daily"
    """``mon-fri``, ``sat,sun`` or ``daily``: the days on which the shift begins."""
    hours: str = "00:00-24:00"
    """Local time, as ``09:00-17:00``; ``22:00-06:00`` ends on the next day."""
    receivers: tuple[str, ...] = Field(min_length=1)
    """Who has it: all of them together, or in turn where ``starting`` is given."""
    starting: date | None = None
    """The Monday from which the receivers take turns, the first of them first."""
    weeks_each: int = Field(default=1, ge=1, le=52)
    """How many weeks a turn lasts."""

    @field_validator("days")
    @classmethod
    def _readable_days(cls, text: str) -> str:
        days_of(text)
        return text

    @field_validator("hours")
    @classmethod
    def _readable_hours(cls, text: str) -> str:
        span_of(text)
        return text

    @field_validator("starting")
    @classmethod
    def _a_monday(cls, day: date | None) -> date | None:
        if day is not None and day.weekday() != 0:
            raise ValueError(
                f"turns change on Mondays and {day} is a {DAY_NAMES[day.weekday()]}; "
                f"write {day - ONE_DAY * day.weekday()}"
            )
        return day

    def turn(self, day: date) -> tuple[str, ...]:
        """Who has the shift that begins on that day."""
        if self.starting is None:
            return self.receivers
        weeks = (day - self.starting).days // 7
        return (self.receivers[weeks // self.weeks_each % len(self.receivers)],)


class OverrideOptions(Options):
    """Somebody else for a while: a swap, a holiday."""

    start: datetime
    """From then on; without offset: local time of the rota."""
    end: datetime
    """Until before then."""
    receivers: tuple[str, ...] = Field(min_length=1)
    """Who has it instead of everybody else."""
    reason: str = ""
    """Why, for those who look it up."""


class RotaOptions(Options):
    """Who is on duty when."""

    name: str = Field(min_length=1)
    """What steps of an escalation call it."""
    timezone: str = "Europe/Amsterdam"
    """IANA name of the zone that the hours are meant in."""
    shifts: tuple[ShiftOptions, ...] = Field(min_length=1)
    """Everybody whose shift it is, is on duty, in this order."""
    overrides: tuple[OverrideOptions, ...] = ()
    """Go before the shifts; of several at once, the last one listed counts."""
    gaps_allowed: bool = False
    """Whether there may be hours without anybody. They are an error otherwise."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zone_of(name)
        return name

    @model_validator(mode="after")
    def _sound(self) -> RotaOptions:
        zone = zone_of(self.timezone)
        for override in self.overrides:
            if _moment(override.end, zone) <= _moment(override.start, zone):
                raise ValueError(f"the override of {override.start} ends before it begins")
        if not self.gaps_allowed and (found := gaps(self)):
            raise ValueError(
                f"nobody on {', '.join(found)}; add a shift, or set gaps_allowed = true if that is meant"
            )
        return self

    @property
    def everybody(self) -> frozenset[str]:
        """Every receiver it names, for checking that they exist."""
        teams = [shift.receivers for shift in self.shifts]
        teams += [override.receivers for override in self.overrides]
        return frozenset(name for team in teams for name in team)


@dataclass(frozen=True, slots=True)
class Duty:
    """Who is on duty at a moment."""

    receivers: tuple[str, ...]
    """Empty in a gap."""
    until: datetime
    """When this may change next, UTC; at most eight days ahead."""
    override: str | None = None
    """The reason of the override that says so; None where the shifts say so."""


def on_duty(rota: RotaOptions, at: datetime) -> Duty:
    """Who is on duty at that moment. Raises ValueError for a naive moment."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no place in a rota")
    zone = zone_of(rota.timezone)
    edges = [at.astimezone(UTC) + timedelta(days=8)]
    replaced: OverrideOptions | None = None
    for override in rota.overrides:
        start, end = _moment(override.start, zone), _moment(override.end, zone)
        edges += [edge for edge in (start, end) if edge > at]
        if start <= at < end:
            replaced = override
    names: dict[str, None] = {}
    today = at.astimezone(zone).date()
    for shift in rota.shifts:
        span, days = span_of(shift.hours), days_of(shift.days)
        for day in (today - ONE_DAY, today, today + ONE_DAY):
            if day.weekday() not in days:
                continue
            for start, end in stretches((span,), day, zone):
                edges += [edge for edge in (start, end) if edge > at]
                if start <= at < end:
                    names |= dict.fromkeys(shift.turn(day))
    if replaced is not None:
        return Duty(replaced.receivers, min(edges), replaced.reason)
    return Duty(tuple(names), min(edges))


def gaps(rota: RotaOptions) -> list[str]:
    """The hours of a week that no shift covers, as ``Saturday 02:00-06:00``.

    Overrides replace people and open no gap. Counted on the clock's face: shifts that meet there meet in
    time as well.
    """
    covered = sorted(
        part
        for shift in rota.shifts
        for part in _in_week(days_of(shift.days), span_of(shift.hours))
    )
    found, reached = [], 0
    for start, end in covered:
        if start > reached:
            found.append((reached, start))
        reached = max(reached, end)
    if reached < WEEK:
        found.append((reached, WEEK))
    if len(found) > 1 and found[0][0] == 0 and found[-1][1] == WEEK:
        # One gap over the turn of the week, not two.
        first = found.pop(0)
        found[-1] = (found[-1][0], WEEK + first[1])
    return [_gap_text(start, end) for start, end in found]


def _in_week(days: tuple[int, ...], span: Span) -> Iterator[tuple[int, int]]:
    for day in days:
        start, end = day * MINUTES_A_DAY + span.start, day * MINUTES_A_DAY + span.end
        yield start, min(end, WEEK)
        if end > WEEK:
            yield 0, end - WEEK


def _gap_text(start: int, end: int) -> str:
    first, last = start // MINUTES_A_DAY, (end - 1) // MINUTES_A_DAY
    begin, stop = _clock(start % MINUTES_A_DAY), _clock((end - 1) % MINUTES_A_DAY + 1)
    if first == last:
        return f"{DAY_NAMES[first]} {begin}-{stop}"
    return f"{DAY_NAMES[first]} {begin} to {DAY_NAMES[last % 7]} {stop}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _moment(at: datetime, zone: ZoneInfo) -> datetime:
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)

"""Working time: office hours, public holidays and time zone as one calendar that counts.

Pure arithmetic on moments: the same answer whenever it is asked. Durations are real time: an office that
is open while the clock changes is open for an hour more or less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from alerts.weekhours import ONE_DAY, WHOLE_DAY, Span, Stretch, span_of, stretches, week_of, zone_of
from connectors.options import Options

if TYPE_CHECKING:
    from holidays import HolidayBase

HORIZON_DAYS = 3660
"""How far ahead working time is looked for: ten years."""

_NO_TIME = timedelta(0)
_DATE = re.compile(r"^(?:(\d{4})-)?(\d{2})-(\d{2})$")
_LEAP_YEAR = 2024
_NAMING_YEARS = range(2020, 2031)
"""Years that show every public holiday there is, also those that come every fifth year."""


class Counting(StrEnum):
    """Which time a duration is counted in."""

    WALL_CLOCK = "wall_clock"
    """All of it, day and night."""
    WORKING_DAYS = "working_days"
    """Working days from midnight to midnight."""
    OFFICE_HOURS = "office_hours"
    """Only while the office is open."""


class OfficeOptions(Options):
    """When people work."""

    timezone: str = "Europe/Amsterdam"
    """IANA name of the zone that the hours are meant in."""
    hours: dict[str, tuple[str, ...]] = Field(default={"mon-fri": ("09:00-17:00",)})
    """Office hours by weekday, as ``"mon-fri" = ["09:00-17:00"]``; a day without any is free."""
    country: Literal["NL", "BE"] | None = "NL"
    """Whose public holidays are free; none: no holidays at all."""
    subdivision: str | None = None
    """Region within the country, as the library ``holidays`` calls it."""
    also: tuple[Literal["optional", "bank", "school"], ...] = ()
    """Further kinds of holidays that are free; not every country has each."""
    work_on: tuple[str, ...] = ()
    """Names of public holidays on which people work, such as ``Goede vrijdag``."""
    days_off: tuple[str, ...] = ()
    """Further free days: ``2027-05-07``, or ``12-24`` for every year."""
    special_hours: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Other hours on a date, as ``"12-31" = ["09:00-12:00"]``. Go before everything else."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zone_of(name)
        return name

    @field_validator("hours")
    @classmethod
    def _readable_hours(cls, table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        week = week_of(table)
        if not any(week):
            raise ValueError("there are no office hours at all; give at least one day some")
        _refuse_nights(span for day in week for span in day)
        return table

    @field_validator("days_off")
    @classmethod
    def _readable_days(cls, days: tuple[str, ...]) -> tuple[str, ...]:
        for day in days:
            _check_date(day)
        return days

    @field_validator("special_hours")
    @classmethod
    def _readable_special(cls, table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for day, texts in table.items():
            _check_date(day)
            _refuse_nights(week_of({"mon": texts})[0])
        return table

    @model_validator(mode="after")
    def _known_holidays(self) -> OfficeOptions:
        if self.country is None:
            if self.subdivision or self.also or self.work_on:
                raise ValueError("subdivision, also and work_on need a country")
        elif self.subdivision or self.also or self.work_on:
            try:
                book = _book(self, years=_NAMING_YEARS)
            except (NotImplementedError, ValueError) as error:
                raise ValueError(f"holidays of {self.country}: {error}") from None
            names = {name for text in book.values() for name in text.split("; ")}
            known = {name.casefold() for name in names}
            for name in self.work_on:
                if name.casefold() not in known:
                    raise ValueError(
                        f'"{name}" is no public holiday there; known are {", ".join(sorted(names))}'
                    )
        return self


class Calendar:
    """Counts working time. Equal options give equal answers; nothing is remembered but holidays."""

    def __init__(self, options: OfficeOptions) -> None:
        self.zone = zone_of(options.timezone)
        self._options = options
        self._week = week_of(options.hours)
        self._holidays: Mapping[date, str] = {} if options.country is None else _book(options)
        self._work_on = {name.casefold() for name in options.work_on}

    def holiday(self, day: date) -> str | None:
        """The name of the public holiday that makes ``day`` free, if any."""
        text = self._holidays.get(day)
        if text is None:
            return None
        names = [name for name in text.split("; ") if name.casefold() not in self._work_on]
        return "; ".join(names) or None

    def hours(self, day: date) -> tuple[Span, ...]:
        """The office hours of a date, local; none on a free day."""
        for key in (day.isoformat(), day.strftime("%m-%d")):
            special = self._options.special_hours.get(key)
            if special is not None:
                return tuple(sorted(span_of(text) for text in special))
            if key in self._options.days_off:
                return ()
        return () if self.holiday(day) else self._week[day.weekday()]

    def is_open(self, at: datetime) -> bool:
        """Whether the office is open at that moment."""
        return any(start <= at < end for start, end in self._day(_local(at, self.zone)))

    def next_open(self, at: datetime) -> datetime:
        """That moment if the office is open, else when it opens next. Raises ValueError: never."""
        for start, end in self._from(at, Counting.OFFICE_HOURS):
            if end > at:
                return max(start, at)
        raise self._never(at)

    def add_working(
        self, start: datetime, duration: timedelta, counting: Counting = Counting.OFFICE_HOURS
    ) -> datetime:
        """The earliest moment at which ``duration`` has been counted since ``start``, in UTC.

        Raises:
            ValueError: negative duration, naive moment, or no working time within ten years.
        """
        _need_aware(start)
        if duration < _NO_TIME:
            raise ValueError("working time runs forwards: the duration must not be negative")
        start = start.astimezone(UTC)
        if duration == _NO_TIME or counting is Counting.WALL_CLOCK:
            return start + duration
        left = duration
        for opens, closes in self._from(start, counting):
            begin = max(opens, start)
            if begin >= closes:
                continue
            if left <= closes - begin:
                return begin + left
            left -= closes - begin
        raise self._never(start)

    def working_between(
        self, first: datetime, last: datetime, counting: Counting = Counting.OFFICE_HOURS
    ) -> timedelta:
        """How much is counted from ``first`` to ``last``; negative when they are in reverse.

        Undoes :meth:`add_working`: ``working_between(a, add_working(a, d)) == d``.
        """
        _need_aware(first)
        _need_aware(last)
        if last < first:
            return -self.working_between(last, first, counting)
        if counting is Counting.WALL_CLOCK:
            return last.astimezone(UTC) - first.astimezone(UTC)
        total = _NO_TIME
        day, end = _local(first, self.zone), _local(last, self.zone)
        while day <= end:
            for opens, closes in self._day(day, counting):
                total += max(min(closes, last) - max(opens, first), _NO_TIME)
            day += ONE_DAY
        return total

    def _from(self, at: datetime, counting: Counting) -> Iterator[Stretch]:
        day = _local(at, self.zone)
        for _ in range(HORIZON_DAYS):
            yield from self._day(day, counting)
            day += ONE_DAY

    def _day(self, day: date, counting: Counting = Counting.OFFICE_HOURS) -> Iterator[Stretch]:
        spans = self.hours(day)
        if spans and counting is Counting.WORKING_DAYS:
            spans = (WHOLE_DAY,)
        return stretches(spans, day, self.zone)

    def _never(self, at: datetime) -> ValueError:
        return ValueError(
            f"no working time within ten years of {at:%Y-%m-%d}; look at the office hours, "
            "days_off and special_hours"
        )


def _book(options: OfficeOptions, years: range | None = None) -> HolidayBase:
    # Imported late: it takes most of a second, and nobody without a country needs it.
    from holidays import country_holidays  # noqa: PLC0415

    return country_holidays(
        str(options.country),
        subdiv=options.subdivision,
        categories=("public", *options.also),
        years=years,
        # Without it names follow the environment of the process.
        language="nl",
    )


def _check_date(text: str) -> None:
    found = _DATE.match(text)
    year, month, day = found.groups() if found else ("", "0", "0")
    try:
        date(int(year or _LEAP_YEAR), int(month), int(day))
    except ValueError:
        raise ValueError(
            f'"{text}" is not a date; write 2027-05-07, or 12-24 for every year'
        ) from None


def _refuse_nights(spans: Iterator[Span] | tuple[Span, ...]) -> None:
    if any(span.past_midnight for span in spans):
        raise ValueError("office hours end at 24:00; give the rest of a night to the next day")


def _need_aware(at: datetime) -> None:
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no place in working time")


def _local(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()

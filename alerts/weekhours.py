"""Hours of the week as people write them, and as moments.

``mon-fri`` and ``22:00-06:00`` become weekdays and spans; a span on a date becomes two moments in UTC,
also on days when the clock changes. Shared by office hours, quiet hours and rotas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MINUTES_A_DAY = 24 * 60
ONE_DAY = timedelta(days=1)

_SPAN = re.compile(r"^(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})$")

Stretch = tuple[datetime, datetime]
"""From a moment until before another, both UTC."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Part of a day in local minutes since midnight; ``end`` over 1440 lies on the next day."""

    start: int
    end: int

    @property
    def past_midnight(self) -> bool:
        """Whether it runs into the next day."""
        return self.end > MINUTES_A_DAY


WHOLE_DAY = Span(0, MINUTES_A_DAY)
Week = tuple[tuple[Span, ...], ...]
"""Spans that begin on each weekday, Monday first."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f'"{name}" is not an IANA time zone; write it like Europe/Amsterdam'
        ) from None


def days_of(text: str) -> tuple[int, ...]:
    """Weekdays (Monday is 0) from ``mon``, ``mon-fri``, ``sat,sun``, ``fri-mon`` or ``daily``.

    Raises:
        ValueError: a day is not known.
    """
    found: list[int] = []
    for part in text.lower().replace(" ", "").split(","):
        if part == "daily":
            found += range(7)
            continue
        first, dash, last = part.partition("-")
        begin, end = _day(first, text), _day(last, text) if dash else _day(first, text)
        found += [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
    return tuple(dict.fromkeys(found))


def _day(word: str, text: str) -> int:
    if word not in DAYS:
        raise ValueError(f'"{text}" names no days; write mon-fri, "sat,sun" or daily')
    return DAYS.index(word)


def span_of(text: str) -> Span:
    """A span from ``09:00-17:00``; an end before its start lies on the next day.

    Raises:
        ValueError: not of that form, or empty.
    """
    found = _SPAN.match(text.strip())
    numbers = [int(part) for part in found.groups()] if found else []
    if not numbers or max(numbers[1], numbers[3]) > 59:  # noqa: PLR2004 - minutes of an hour
        raise ValueError(f'"{text}" is not a span of time; write it like 09:00-17:00')
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if start >= MINUTES_A_DAY or end > MINUTES_A_DAY:
        raise ValueError(f'"{text}" runs past 24:00; a night is written like 22:00-06:00')
    if start == end:
        raise ValueError(f'"{text}" is empty; a whole day is 00:00-24:00')
    return Span(start, end if end > start else end + MINUTES_A_DAY)


def week_of(table: Mapping[str, Sequence[str]]) -> Week:
    """The week from ``{"mon-fri": ["09:00-17:00"]}``.

    Raises:
        ValueError: a key or a span is not understood, or spans of one day overlap.
    """
    spans: list[list[Span]] = [[] for _ in DAYS]
    for key, texts in table.items():
        for day in days_of(key):
            spans[day] += [span_of(text) for text in texts]
    for day, found in enumerate(spans):
        found.sort()
        for one, next_ in pairwise(found):
            if next_.start < one.end:
                raise ValueError(f"two spans of {DAY_NAMES[day]} overlap; write them as one")
    return tuple(tuple(found) for found in spans)


def stretches(spans: Iterable[Span], day: date, zone: ZoneInfo) -> Iterator[Stretch]:
    """The moments of spans that begin on ``day``; one that the clock skips is left out."""
    for span in spans:
        start, end = moment(day, span.start, zone), moment(day, span.end, zone)
        if start < end:
            yield start, end


@lru_cache(maxsize=8192)
def moment(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, at which a local clock shows ``minute`` of ``day``.

    What the clock shows twice is the first of the two; what it skips is the moment of the change. So
    spans that meet on paper meet in time, on every day of the year.
    """
    naive = datetime.combine(day + ONE_DAY * (minute // MINUTES_A_DAY), time()) + timedelta(
        minutes=minute % MINUTES_A_DAY
    )
    late = naive.replace(tzinfo=zone).astimezone(UTC)
    if late.astimezone(zone).replace(tzinfo=None) == naive:
        return late
    early = naive.replace(tzinfo=zone, fold=1).astimezone(UTC)
    # The clock changes between the two: the first minute that shows the new offset.
    after = late.astimezone(zone).utcoffset()
    while late - early > timedelta(minutes=1):
        middle = early + timedelta(minutes=(late - early) // timedelta(minutes=2))
        if middle.astimezone(zone).utcoffset() == after:
            late = middle
        else:
            early = middle
    return late

"""How many posts X has for a query, without reading one: its recent counts endpoint.

Counts are asked for by the minute and told in steps of five. The latest ones are asked for again each
time, because X goes on counting for a while; what was told before is then replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.base import ConnectorError, Count, Cursor, Page, SourceFault
from connectors.marks import mark

STEP = timedelta(minutes=5)
RECOUNT = timedelta(minutes=30)
"""How far back counts are asked for again."""

_NOT_YET = timedelta(seconds=30)
"""X counts up to so long ago."""
_MOST_PAGES = 20

Ask = Callable[[str, Mapping[str, str]], Any]
"""Asks the endpoint for one search. Raises ConnectorError."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One query and the search that stands for it."""

    query: str
    search: str


def read_counts(
    wanted: Sequence[Counted], ask: Ask, cursor: Cursor | None, now: datetime, back: timedelta
) -> Iterator[Page]:
    """Yield the counts of each query since the last poll, a page for each.

    Args:
        wanted: the queries and their searches.
        ask: asks X.
        cursor: of the last page of an earlier poll.
        now: the present moment.
        back: how far back a query is counted that is new to the cursor.

    Raises:
        ConnectorError: what ``ask`` raised. A search that X refuses does not hold up the others.
    """
    until = {key_of(each): _known(cursor, each) for each in wanted}
    end = _floor(now - _NOT_YET, timedelta(minutes=1))
    refused: ConnectorError | None = None
    for each in wanted:
        known = until[key_of(each)]
        since = _floor(now - back if known is None else max(known - RECOUNT, now - back), STEP)
        try:
            counts = _count(each, ask, since, end)
        except ConnectorError as error:
            if error.fault is not SourceFault.BAD_REQUEST:
                raise
            refused = refused or error
            continue
        until[key_of(each)] = end
        yield Page((), _cursor(until), counts=counts)
    if refused is not None:
        raise refused


def count_within(
    each: Counted,
    ask: Ask,
    spans: Sequence[tuple[datetime, datetime | None]],
    since: datetime,
    now: datetime,
) -> tuple[list[Count], datetime]:
    """Count what lies within some spans of time and nowhere else.

    Args:
        each: the query and its search.
        ask: asks X.
        spans: from and up to; None: up to now. They must not overlap.
        since: what is earlier is left as it was told before; the step that it lies in is not.
        now: the present moment.

    Returns:
        The counts of all steps from ``since`` on, and up to when they are.

    Raises:
        ConnectorError: what ``ask`` raised.
    """
    begin, end = _floor(since, STEP), _floor(now - _NOT_YET, timedelta(minutes=1))
    found: Counter[datetime] = Counter()
    for start, until in spans:
        first, last = max(start, begin), min(until or end, end)
        if first < last:
            found += _tally(each.search, ask, first, last)
    return _told(each, found, begin, end), end


def _count(each: Counted, ask: Ask, since: datetime, end: datetime) -> list[Count]:
    return _told(each, _tally(each.search, ask, since, end), since, end)


def _told(each: Counted, found: Counter[datetime], since: datetime, end: datetime) -> list[Count]:
    # Also where there was nothing: that may be less than what was told before.
    steps = range((end - since) // STEP + 1)
    starts = [since + STEP * number for number in steps]
    return [Count(each.query, start, STEP, found[start]) for start in starts if start < end]


def _tally(search: str, ask: Ask, since: datetime, end: datetime) -> Counter[datetime]:
    """Posts between two moments, by step."""
    bounds = {"start_time": _iso(since), "end_time": _iso(end), "granularity": "minute"}
    found: Counter[datetime] = Counter()
    for _ in range(_MOST_PAGES):
        body = ask(search, bounds)
        try:
            for row in body.get("data", []):
                start, number = datetime.fromisoformat(row["start"]), row["tweet_count"]
                if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                    raise ValueError("no count")  # noqa: TRY301 - told with the other oddities
                found[_floor(start.astimezone(UTC), STEP)] += number
            token = body["meta"].get("next_token")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConnectorError(
                f"X: the answer holds no counts ({type(error).__name__})",
                fault=SourceFault.BAD_RESPONSE,
            ) from error
        if not isinstance(token, str) or not token:
            break
        bounds = {**bounds, "next_token": token}
    return found


def _known(cursor: Cursor | None, each: Counted) -> datetime | None:
    kept = (cursor or {}).get("counted", {}).get(key_of(each))
    return None if kept is None else datetime.fromisoformat(kept)


def _cursor(until: Mapping[str, datetime | None]) -> Cursor:
    return {"counted": {key: each.isoformat() for key, each in until.items() if each is not None}}


def key_of(each: Counted) -> str:
    """What stands for it in a cursor."""
    return mark(each.search)


def _floor(moment: datetime, step: timedelta) -> datetime:
    seconds = int(step.total_seconds())
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, UTC)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

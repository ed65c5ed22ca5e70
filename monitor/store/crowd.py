"""Shelf of the crowd: how many mentions, voices and stories there were, and what was said.

Numbers per bucket are kept as the mentions come and outlive them; what is asked of the mentions
themselves is asked of a stretch of time, never of all there is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Row,
    Select,
    TextualSelect,
    bindparam,
    case,
    literal,
    text,
)
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, func, select

from alerts.terms import Said
from classifiers.base import Confidence, Finding, LeakBand, LeakCategory, SentimentLabel
from monitor.tables import AssessmentRow, CountRow, MentionRow, UtcDateTime, VoicesRow

BUCKET = timedelta(minutes=5)
"""Width of the buckets in which mentions are counted."""
SITTING = timedelta(hours=6)
"""An author who was silent for longer begins to speak anew, and counts again."""
TELLING = timedelta(hours=24)
"""A story that was not told for longer is told anew, and counts again."""
AUDIENCES = (1_000, 10_000, 100_000, 1_000_000)
"""An author's reach is a point for each of these that the followers come to.

Points, not followers: followers are bought, missing on half of the platforms, and so unequal that
one celebrity would be a crisis by arithmetic. A million followers weigh four points, fewer than what
any sensitivity takes for a spike: one account alone can never be one.
"""


UNREAD = "unread"
"""Stands where a sentiment would: for posts that a source counts and does not show."""


def bucket_of(moment: datetime) -> datetime:
    """Start of the bucket that ``moment`` lies in."""
    seconds = int(moment.timestamp()) // int(BUCKET.total_seconds()) * int(BUCKET.total_seconds())
    return datetime.fromtimestamp(seconds, tz=moment.tzinfo)


def audience(followers: int | None) -> int:
    """Points for an audience, 0 to 4."""
    return sum((followers or 0) >= least for least in AUDIENCES)


@dataclass(slots=True)
class Bucket:
    """What was counted in one bucket."""

    mentions: int = 0
    negative: int = 0
    authors: int = 0
    """Authors who began to speak in it."""
    stories: int = 0
    """Stories that were first told in it."""
    reach: int = 0
    """Points for the audiences of these authors."""
    sources: dict[str, int] = field(default_factory=dict)
    """Mentions by source."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How many mentions there are in a stretch of time, and of how many different ones."""

    mentions: int
    authors: int
    stories: int


@dataclass(frozen=True, slots=True)
class Telling:
    """A story of a stretch of time."""

    first: int
    """Id of the mention that told it first of all, also before."""
    mentions: int
    authors: int


def _next_to(column: str) -> TextualSelect:
    """Asks for some mentions with what was counted next before and after them of the same author or story.

    In the order of what they share and of time.
    """

    def neighbour(direction: str, order: str) -> str:
        return (
            "(SELECT id FROM mention AS other"  # noqa: S608 - constants
            f" WHERE brand = mention.brand AND {column} = mention.{column}"
            f" AND counted_as IS NOT NULL AND published_at {direction}= mention.published_at"
            f" AND (published_at {direction} mention.published_at OR id {direction} mention.id)"
            f" ORDER BY published_at {order}, id {order} LIMIT 1)"
        )

    return (
        text(
            "SELECT mention.id, mention.brand, mention.published_at AS at, mention.author_followers,"  # noqa: S608 - constants
            f" mention.{column} AS same, earlier.published_at AS earlier_at, later.id AS later,"
            " later.published_at AS later_at, later.author_followers AS later_followers"
            " FROM mention"
            f" LEFT JOIN mention AS earlier ON earlier.id = {neighbour('<', 'DESC')}"
            f" LEFT JOIN mention AS later ON later.id = {neighbour('>', 'ASC')}"
            " WHERE mention.id IN :numbers ORDER BY mention.brand, same, at, mention.id"
        )
        .bindparams(bindparam("numbers", expanding=True))
        .columns(at=UtcDateTime, earlier_at=UtcDateTime, later_at=UtcDateTime)
    )


_AUTHOR, _STORY = _next_to("author"), _next_to("story")
_COUNTED = ("authors", "stories", "reach")
_ENTER = text(
    "INSERT INTO bucket_voices (brand, bucket, authors, stories, reach)"
    " VALUES (:brand, :bucket, :authors, :stories, :reach) ON CONFLICT (brand, bucket) DO UPDATE"
    " SET authors = authors + :authors, stories = stories + :stories, reach = reach + :reach"
).bindparams(bindparam("bucket", type_=UtcDateTime))


def write_rows(session: Session, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute a statement for each of some rows (its parameters), all at once; for none: not at all."""
    if rows:
        session.connection().execute(statement, rows)


def _alike(one: Row[Any], other: Row[Any]) -> bool:
    """Whether two mentions share an author or story; without an author nothing is shared."""
    return one.same is not None and (one.brand, one.same) == (other.brand, other.same)


_COUNT_UNREAD = insert(CountRow)
_COUNT_UNREAD = _COUNT_UNREAD.on_conflict_do_update(
    index_elements=["brand", "bucket", "source", "sentiment"],
    set_={"count": _COUNT_UNREAD.excluded.count},
)


_SHOW = text(
    "UPDATE bucket_count SET count = max(count - :number, 0)"
    " WHERE brand = :of AND bucket = :at AND source = :by AND sentiment = 'unread'"
).bindparams(bindparam("at", type_=UtcDateTime))


class Crowd:
    """Counts of voices, and the voices of a stretch of time, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # -- counting ------------------------------------------------------------------------------

    def enter(self, numbers: Sequence[int]) -> None:
        """Count the voices of mentions (ids) that are about to be counted for the first time."""
        if not numbers:
            return
        steps: dict[tuple[str, datetime], Counter[str]] = {}
        for brand, at, step, followers in self._beginnings(_AUTHOR, numbers, SITTING):
            cell = steps.setdefault((brand, bucket_of(at)), Counter())
            cell["authors"] += step
            cell["reach"] += step * audience(followers)
        for brand, at, step, _ in self._beginnings(_STORY, numbers, TELLING):
            steps.setdefault((brand, bucket_of(at)), Counter())["stories"] += step
        cells = [
            {"brand": brand, "bucket": bucket, **{name: cell[name] for name in _COUNTED}}
            for (brand, bucket), cell in steps.items()
        ]
        write_rows(self._session, _ENTER, cells)

    def _beginnings(
        self, next_to: TextualSelect, numbers: Sequence[int], pause: timedelta
    ) -> Iterator[tuple[str, datetime, int, int | None]]:
        """What begins with these mentions (+1), and what no longer does as they came late (-1).

        Gives brand, moment, step and followers of each.
        """
        rows = self._session.connection().execute(next_to, {"numbers": numbers}).all()
        for place, row in enumerate(rows):
            earlier = row.earlier_at
            if place and _alike(rows[place - 1], row):
                earlier = max(rows[place - 1].at, earlier or rows[place - 1].at)
            if earlier is None or row.at - earlier > pause:
                yield row.brand, row.at, 1, row.author_followers
            following = rows[place + 1] if place + 1 < len(rows) else None
            if row.later is None or (following is not None and following.later == row.later):
                continue  # nothing comes after it, or another of these comes in between
            had_begun = row.earlier_at is None or row.later_at - row.earlier_at > pause
            if had_begun and row.later_at - row.at <= pause:
                yield row.brand, row.later_at, -1, row.later_followers

    def count_unread(self, brand: str, source: str, counts: Mapping[datetime, int]) -> None:
        """Keep how many posts a source counts without showing them, by bucket (start).

        What it counted in a bucket before is replaced.
        """
        rows = [
            {"brand": brand, "bucket": at, "source": source, "sentiment": UNREAD, "count": number}
            for at, number in counts.items()
        ]
        write_rows(self._session, _COUNT_UNREAD, rows)

    def show(self, brand: str, source: str, shown: Mapping[datetime, int]) -> None:
        """Take off what was counted unread, by bucket (start), what is shown after all."""
        rows = [
            {"of": brand, "at": at, "by": source, "number": number} for at, number in shown.items()
        ]
        write_rows(self._session, _SHOW, rows)

    # -- asking --------------------------------------------------------------------------------

    def buckets(self, brand: str, since: datetime, until: datetime) -> dict[datetime, Bucket]:
        """What was counted in each bucket (start) of ``since`` <= bucket < ``until``; gaps: nothing."""
        found: dict[datetime, Bucket] = {}
        counts = select(CountRow.bucket, CountRow.source, CountRow.sentiment, CountRow.count).where(
            CountRow.brand == brand, col(CountRow.bucket) >= since, col(CountRow.bucket) < until
        )
        for at, source, sentiment, count in self._session.exec(counts):
            cell = found.get(at)
            if cell is None:
                cell = found[at] = Bucket()
            cell.mentions += count
            cell.sources[source] = cell.sources.get(source, 0) + count
            if sentiment == SentimentLabel.NEGATIVE:
                cell.negative += count
        voices = select(
            VoicesRow.bucket, VoicesRow.authors, VoicesRow.stories, VoicesRow.reach
        ).where(
            VoicesRow.brand == brand, col(VoicesRow.bucket) >= since, col(VoicesRow.bucket) < until
        )
        for at, authors, stories, reach in self._session.exec(voices):
            cell = found.setdefault(at, Bucket())
            cell.authors, cell.stories, cell.reach = authors, stories, reach
        return found

    def sources(
        self, brand: str, since: datetime, until: datetime, *, negative: bool = False
    ) -> Counter[str]:
        """Mentions by source in ``since`` <= bucket < ``until``."""
        query = (
            select(CountRow.source, func.sum(CountRow.count))
            .where(
                CountRow.brand == brand, col(CountRow.bucket) >= since, col(CountRow.bucket) < until
            )
            .group_by(CountRow.source)
        )
        if negative:
            query = query.where(CountRow.sentiment == SentimentLabel.NEGATIVE.value)
        return Counter({source: count for source, count in self._session.exec(query) if count})

    def of_source(
        self, source: str, brands: Collection[str], since: datetime, until: datetime
    ) -> dict[datetime, int]:
        """Mentions that a source brought of some brands, by bucket of ``since`` <= … < ``until``."""
        query = (
            select(CountRow.bucket, func.sum(CountRow.count))
            .where(
                col(CountRow.brand).in_(brands),
                col(CountRow.bucket) >= since,
                col(CountRow.bucket) < until,
                CountRow.source == source,
            )
            .group_by(col(CountRow.bucket))
        )
        return dict(self._session.exec(query).all())

    def spread(
        self, brand: str, since: datetime, until: datetime, *, negative: bool = False
    ) -> Spread:
        """How many mentions, authors and stories ``since`` <= moment < ``until`` has.

        Of posts that a source only counts nobody knows better than that each is a voice of its own.
        """
        query = select(
            func.count(),
            func.count(func.distinct(_author())),
            func.count(func.distinct(col(MentionRow.story))),
        ).where(*_within(brand, since, until, negative=negative))
        read = self._session.exec(query).one()
        unread = 0 if negative else self._unread(brand, since, until)
        return Spread(*(number + unread for number in read))

    def _unread(self, brand: str, since: datetime, until: datetime) -> int:
        query = select(func.coalesce(func.sum(CountRow.count), 0)).where(
            CountRow.brand == brand,
            col(CountRow.bucket) >= since,
            col(CountRow.bucket) < until,
            CountRow.sentiment == UNREAD,
        )
        return self._session.exec(query).one()

    def tellings(
        self,
        brand: str,
        since: datetime,
        until: datetime,
        *,
        negative: bool = False,
        limit: int = 3,
    ) -> list[Telling]:
        """The stories of ``since`` <= moment < ``until`` that were told most."""
        most = func.count().label("most")
        query = (
            select(MentionRow.story, most, func.count(func.distinct(_author())))
            .where(*_within(brand, since, until, negative=negative))
            .group_by(col(MentionRow.story))
            .order_by(most.desc(), func.min(MentionRow.id))
            .limit(limit)
        )
        return [
            Telling(self._first(brand, story), count, authors)
            for story, count, authors in self._session.exec(query).all()
        ]

    def _first(self, brand: str, story: str) -> int:
        query = (
            select(MentionRow.id)
            .where(MentionRow.brand == brand, MentionRow.story == story)
            .order_by(col(MentionRow.published_at), col(MentionRow.id))
            .limit(1)
        )
        first: int = self._session.exec(query).one()  # type: ignore[assignment] # stored: not None
        return first

    def said(
        self,
        brand: str,
        since: datetime,
        until: datetime,
        *,
        negative: bool = False,
        most: int = 1000,
    ) -> list[Said]:
        """What was said in ``since`` <= moment < ``until``, in order; of much an even sample.

        Posts that may be leaks are left out: what they give away must not be told on. What was
        imported has been said, too.
        """
        within = _within(brand, since, until, negative=negative)
        if not negative:
            within[-1] = col(MentionRow.assessed_by).is_not(None)
        total = self._session.exec(select(func.count()).where(*within)).one()
        stride = max(1, math.ceil(total / most))
        query: Select[Any] = (
            select(  # type: ignore[call-overload] # more columns than its overloads know
                MentionRow.published_at,
                MentionRow.text,
                _author(),
                MentionRow.story,
                AssessmentRow.language,
                AssessmentRow.findings,
            )
            .join(
                AssessmentRow,
                (col(AssessmentRow.mention_id) == col(MentionRow.id))
                & (col(AssessmentRow.version) == col(MentionRow.assessed_by)),
            )
            .where(*within, AssessmentRow.leak_band == LeakBand.LOW.value)
            .order_by(col(MentionRow.published_at), col(MentionRow.id))
        )
        if stride > 1:
            query = query.where(col(MentionRow.id) % stride == 0)
        return [
            Said(at, text, author, story, language, _findings(findings))
            for at, text, author, story, language, findings in self._session.connection().execute(
                query
            )
        ]


def _within(
    brand: str, since: datetime, until: datetime, *, negative: bool
) -> list[ColumnElement[bool]]:
    """The counted mentions of a stretch, by the index of brand and moment."""
    counted = col(MentionRow.counted_as)
    return [
        col(MentionRow.brand) == brand,
        col(MentionRow.published_at) >= since,
        col(MentionRow.published_at) < until,
        counted == SentimentLabel.NEGATIVE.value if negative else counted.is_not(None),
    ]


def _author() -> ColumnElement[str]:
    """Who wrote a mention; one without an author has one of its own."""
    author = col(MentionRow.author)
    return case(
        (author.is_(None), literal("?").concat(col(MentionRow.id))),
        else_=author,
    )


def _findings(kept: Sequence[Mapping[str, Any]]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            **{
                **item,
                "category": LeakCategory(item["category"]),
                "confidence": Confidence(item["confidence"]),
            }
        )
        for item in kept
    )

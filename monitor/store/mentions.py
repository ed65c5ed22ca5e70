"""Shelf of the mentions: posts that matched, their assessments, and counts of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, literal_column, text, update
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlmodel import Session, col, func, select

from classifiers.base import (
    Abuse,
    AbuseLabel,
    Assessment,
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    Sentiment,
    SentimentLabel,
)
from connectors.base import Engagement, Mention, Post
from connectors.querytext import fold
from connectors.webaddress import page_key
from monitor.store.copies import Copies
from monitor.store.crowd import BUCKET, UNREAD, Crowd, bucket_of, write_rows
from monitor.store.evidence import Evidence
from monitor.store.excerpts import Excerpts
from monitor.store.stories import Stories
from monitor.tables import (
    QUEUED,
    AnchorRow,
    AssessmentRow,
    CountRow,
    DetectorRow,
    IncidentMentionRow,
    IncidentRow,
    MentionRow,
    PictureRow,
    SightingRow,
    VersionRow,
)

__all__ = [
    "BUCKET",
    "Added",
    "Detector",
    "Mentions",
    "NewMention",
    "Queued",
    "Voice",
    "bucket_of",
    "pair",
    "to_assessment",
    "to_mention",
]


@dataclass(frozen=True, slots=True)
class NewMention:
    """A post that matched, ready to be stored: ``post.author`` is already a pseudonym."""

    brand: str
    source: str
    post: Post
    matched: tuple[str, ...]
    story: str
    """The story it begins if it is no reshare of another."""
    official: bool = False
    imported: bool = False
    anchors: tuple[str, ...] = ()
    """Keys under which an earlier telling may be found (``connectors.story``); without them its story is
    taken as given."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of some mentions."""

    new: Counter[str]
    """Stored for the first time, by brand."""
    edited: int = 0
    """Known, and saying something else now."""
    doubled: int = 0
    """Copies of an article that another source had brought."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A mention that waits for its assessment."""

    mention: Mention
    imported: bool
    tries: int
    """Assessments begun and not finished."""
    pictured: str = ""
    """Text in its pictures, as far as it was read."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A stored spike detector: it has consumed every bucket before ``settled_until``."""

    version: str
    settled_until: datetime
    snapshot: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Voice:
    """What the topic detector needs of a mention."""

    published_at: datetime
    text: str
    author: str | None
    story: str


# Statements that go out with many rows at once. Made here: putting one together costs more than a row.
_ADD = insert(MentionRow)
_ADD_OR_UPDATE = _ADD.on_conflict_do_update(
    index_elements=["brand", "platform", "post_id"],
    set_={
        "likes": func.max(MentionRow.likes, _ADD.excluded.likes),
        "shares": func.max(MentionRow.shares, _ADD.excluded.shares),
        "replies": func.max(MentionRow.replies, _ADD.excluded.replies),
    },
)
_REVISED = (
    update(MentionRow)
    .where(col(MentionRow.id) == bindparam("number"))
    .values(
        text=bindparam("said"),
        edited_at=bindparam("moment"),
        matched=bindparam("found"),
        versions=col(MentionRow.versions) + 1,
        assessed_by=None,
        tries=0,
        failed=False,
    )
)
_NUMBERS: Any = bindparam("numbers", expanding=True)
_EMPTY = (
    update(MentionRow)
    .where(col(MentionRow.id).in_(_NUMBERS))
    .values(
        text="",
        url=None,
        author=None,
        author_followers=None,
        matched=[],
        page=None,
        thread=None,
        pictured=None,
        deleted_at=bindparam("now"),
    ),
    delete(VersionRow).where(col(VersionRow.mention_id).in_(_NUMBERS)),
    delete(SightingRow).where(col(SightingRow.mention_id).in_(_NUMBERS)),
    delete(AnchorRow).where(col(AnchorRow.mention_id).in_(_NUMBERS)),
    delete(PictureRow).where(col(PictureRow.mention_id).in_(_NUMBERS)),
)
_BEGUN = (
    update(MentionRow)
    .where(col(MentionRow.id) == bindparam("number"))
    .values(tries=bindparam("begun"))
)
_STANDING = (
    select(  # type: ignore[call-overload] # more columns than its overloads know
        MentionRow.id,
        MentionRow.brand,
        MentionRow.source,
        MentionRow.published_at,
        MentionRow.imported,
        MentionRow.counted_as,
        AssessmentRow.sentiment,
    )
    .outerjoin(
        AssessmentRow,
        (col(AssessmentRow.mention_id) == col(MentionRow.id))
        & (col(AssessmentRow.version) == bindparam("version")),
    )
    .where(col(MentionRow.id).in_(bindparam("numbers", expanding=True)))
)
_ASSESSED = (
    update(MentionRow)
    .where(col(MentionRow.id) == bindparam("number"))
    .values(assessed_by=bindparam("version"), counted_as=bindparam("counted"), tries=0)
)
_COUNT = insert(CountRow)
_COUNT = _COUNT.on_conflict_do_update(
    index_elements=["brand", "bucket", "source", "sentiment"],
    set_={"count": col(CountRow.count) + _COUNT.excluded.count},
)
_KEEP_DETECTOR = insert(DetectorRow)
_KEEP_DETECTOR = _KEEP_DETECTOR.on_conflict_do_update(
    index_elements=["brand", "series"],
    set_={
        "version": _KEEP_DETECTOR.excluded.version,
        "settled_until": _KEEP_DETECTOR.excluded.settled_until,
        "snapshot": _KEEP_DETECTOR.excluded.snapshot,
    },
)


MOST_VERSIONS = 20
"""A post that says something else at every look is no longer followed after so many."""


class Mentions:
    """Rows of mentions, assessments and counts within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # -- coming in -----------------------------------------------------------------------------

    def add(self, mentions: Sequence[NewMention], now: datetime) -> Added:
        """Store each mention once.

        Known ones get newer engagement; one that was edited gets its new text, keeps the old one as a
        version and is assessed anew. The article that another source brought is not stored again.
        """
        stored = {(row.brand, row.platform, row.post_id): row for row in self._stored(mentions)}
        edited = self._revise(mentions, stored, now)
        fresh = {_key(item): item for item in reversed(mentions) if _key(item) not in stored}
        doubled = Copies(self._session).sort_out(
            [(item.brand, item.source, item.post) for item in fresh.values()], now
        )
        new = [item for key, item in reversed(fresh.items()) if key not in doubled]
        told = self._told(new)
        self._insert(
            _ADD_OR_UPDATE,
            [told.get(_key(item), item) for item in mentions if _key(item) not in doubled],
            now,
        )
        self._keep_stories(new, told)
        return Added(Counter(item.brand for item in new), edited, len(doubled))

    def newest(self) -> int:
        """The number of the newest mention; 0 where there is none."""
        return self._session.exec(select(func.max(MentionRow.id))).one() or 0

    def add_imported(self, mentions: Sequence[NewMention], now: datetime) -> list[Mention]:
        """Store mentions that were brought in by hand: never alerted. Returns the new ones."""
        stored = {(row.brand, row.platform, row.post_id): row.id for row in self._stored(mentions)}
        first = {_key(item): item for item in reversed(mentions) if _key(item) not in stored}
        fresh = list(first.values())[::-1]
        told = self._told(fresh)
        self._insert(
            _ADD.on_conflict_do_nothing(),
            [replace(told.get(_key(item), item), imported=True) for item in fresh],
            now,
        )
        self._keep_stories(fresh, told)
        known = set(stored.values())
        new = [row for row in self._stored(mentions) if row.id not in known]
        return [to_mention(row) for row in sorted(new, key=lambda row: row.id)]

    def withdraw(
        self, posts: Collection[tuple[str, str]], brands: Collection[str], now: datetime
    ) -> int:
        """Honour what a platform deleted: nothing of the posts stays but what was counted.

        What is evidence of an incident stays there. An empty row is left behind, so that a source that
        still has the post does not bring it back.

        Args:
            posts: platform and id of each.
            brands: whose mentions they may be.
            now: when we heard of it.

        Returns:
            How many mentions were emptied.
        """
        gone: list[int] = []
        for brand in brands:
            for platform in dict.fromkeys(platform for platform, _ in posts):
                query = select(MentionRow.id).where(
                    MentionRow.brand == brand,
                    MentionRow.platform == platform,
                    col(MentionRow.post_id).in_(
                        [ident for where, ident in posts if where == platform]
                    ),
                    col(MentionRow.deleted_at).is_(None),
                )
                gone += self._session.connection().execute(query).scalars()
        return self._empty(gone, now)

    def withdraw_accounts(
        self, accounts: Collection[tuple[str, str]], brands: Collection[str], now: datetime
    ) -> int:
        """Honour that accounts were closed: all their posts go as in :meth:`withdraw`.

        Args:
            accounts: platform and account, with which and a slash the ids of its posts begin.
            brands: whose mentions they may be.
            now: when we heard of it.

        Returns:
            How many mentions were emptied.
        """
        gone: list[int] = []
        for brand in brands:
            for platform, account in dict.fromkeys(accounts):
                query = select(MentionRow.id).where(
                    MentionRow.brand == brand,
                    MentionRow.platform == platform,
                    col(MentionRow.post_id) > f"{account}/",
                    col(MentionRow.post_id) < f"{account}0",  # the sign after the slash
                    col(MentionRow.deleted_at).is_(None),
                )
                gone += self._session.connection().execute(query).scalars()
        return self._empty(gone, now)

    def withdraw_unsaid(
        self,
        brand: str,
        posts: Collection[Post],
        was_about: Callable[[str], bool],
        now: datetime,
    ) -> int:
        """Honour edits after which posts are not about a brand any more: they go as in :meth:`withdraw`.

        What they say now is none of the brand's business; evidence of an incident says both.

        Args:
            brand: which one.
            posts: as they are now, with ``edited_at``; those that are not stored are passed over.
            was_about: whether a text is about the brand by its words.
            now: when we heard of it.

        Returns:
            How many mentions were emptied.
        """
        now_said = {(post.platform, post.id): post for post in posts}
        gone: list[int] = []
        for platform in dict.fromkeys(platform for platform, _ in now_said):
            query = select(MentionRow).where(
                MentionRow.brand == brand,
                MentionRow.platform == platform,
                col(MentionRow.post_id).in_([key for where, key in now_said if where == platform]),
                col(MentionRow.deleted_at).is_(None),
            )
            for row in self._session.connection().execute(query).all():
                post = now_said[platform, row.post_id]
                if _is_later(post, row) and was_about(row.text):
                    Evidence(self._session).keep_change(row.id, post.text, now)
                    gone.append(row.id)
        return self._empty(gone, now)

    def _empty(self, gone: Sequence[int], now: datetime) -> int:
        for start in range(0, len(gone), 500):
            numbers = gone[start : start + 500]
            for statement in _EMPTY:
                self._session.connection().execute(statement, {"numbers": numbers, "now": now})
            Excerpts(self._session).forget(numbers)
        return len(gone)

    def _revise(
        self,
        mentions: Sequence[NewMention],
        stored: Mapping[tuple[str, str, str], Row[Any]],
        now: datetime,
    ) -> int:
        """Give mentions that were edited their new text; returns how many."""
        latest = {}
        for item in mentions:
            row = stored.get(_key(item))
            if row is not None and was_edited(row, item):
                latest[row.id] = (row, item)
        if not latest:
            return 0
        thought = {
            row.mention_id: {
                "version": row.version,
                "sentiment": row.sentiment,
                "leak_band": row.leak_band,
                "leak_score": row.leak_score,
                "abuse": row.abuse,
            }
            for row in self._session.connection().execute(
                select(AssessmentRow).where(col(AssessmentRow.mention_id).in_(latest))
            )
        }
        write_rows(
            self._session,
            insert(VersionRow),
            [
                {
                    "mention_id": number,
                    "text": row.text,
                    "said_from": row.edited_at or row.published_at,
                    "replaced_at": now,
                    "assessment": thought.get(number),
                }
                for number, (row, _) in latest.items()
            ],
        )
        self._session.connection().execute(
            delete(AssessmentRow).where(col(AssessmentRow.mention_id).in_(latest))
        )
        write_rows(
            self._session,
            _REVISED,
            [
                {
                    "number": number,
                    "said": item.post.text,
                    "moment": min(item.post.edited_at or now, now),
                    "found": list(item.matched),
                }
                for number, (_, item) in latest.items()
            ],
        )
        for number, (_, item) in latest.items():
            Evidence(self._session).keep_change(number, item.post.text, now)
        return len(latest)

    def _told(self, fresh: Sequence[NewMention]) -> dict[tuple[str, str, str], NewMention]:
        """New mentions with the stories that they tell, by key; those without anchors are left out."""
        found = {}
        for brand in dict.fromkeys(item.brand for item in fresh):
            items = [item for item in fresh if item.brand == brand and item.anchors]
            stories = Stories(self._session).of(
                brand, [(item.post.text, item.anchors) for item in items]
            )
            for item, story in zip(items, stories, strict=True):
                # Only who begins a story is kept under its keys.
                mine = item.anchors if story == item.story else ()
                found[_key(item)] = replace(item, story=story, anchors=mine)
        return found

    def _keep_stories(
        self, fresh: Sequence[NewMention], told: Mapping[tuple[str, str, str], NewMention]
    ) -> None:
        Stories(self._session).keep(
            (item.brand, item.post.platform, item.post.id, told[_key(item)].anchors)
            for item in fresh
            if _key(item) in told
        )

    def _insert(self, statement: Insert, mentions: Sequence[NewMention], now: datetime) -> None:
        write_rows(self._session, statement, [_mention_values(item, now) for item in mentions])

    def _stored(self, mentions: Sequence[NewMention]) -> Iterator[Row[Any]]:
        """The rows of those that are in the store."""
        ids: dict[tuple[str, str], set[str]] = {}
        for item in mentions:
            ids.setdefault((item.brand, item.post.platform), set()).add(item.post.id)
        # Brand by brand and platform by platform: asked for triples, SQLite reads the whole table.
        for (brand, platform), wanted in ids.items():
            ordered = sorted(wanted)
            for start in range(0, len(ordered), 500):
                query = select(MentionRow).where(
                    MentionRow.brand == brand,
                    MentionRow.platform == platform,
                    col(MentionRow.post_id).in_(ordered[start : start + 500]),
                )
                yield from self._session.connection().execute(query)

    # -- assessing -----------------------------------------------------------------------------

    def queue(self, limit: int) -> list[Queued]:
        """The oldest mentions without an assessment."""
        query = select(MentionRow).where(text(QUEUED)).order_by(col(MentionRow.id)).limit(limit)
        rows = self._session.connection().execute(query)
        return [
            Queued(to_mention(row), row.imported, row.tries, row.pictured or "") for row in rows
        ]

    def begin_assessment(self, queued: Sequence[Queued]) -> None:
        """Leave a mark that these are being assessed: one that kills the process is found by it.

        ``tries`` of each item is what it is said to be, which may be less than what is stored.
        """
        begun = [{"number": item.mention.id, "begun": item.tries + 1} for item in queued]
        write_rows(self._session, _BEGUN, begun)

    def oldest_queued(self, brand: str) -> datetime | None:
        """When the oldest waiting mention of a brand was published."""
        return self.queued_since().get(brand)

    def queued_since(self) -> dict[str, datetime]:
        """When the oldest waiting mention of each brand that has one was published."""
        # The plus keeps SQLite from the index by brand: for one brand's earliest it would walk along
        # all dates of the brand until it meets one that is queued.
        query = (
            select(MentionRow.brand, func.min(MentionRow.published_at))
            .where(text(QUEUED), col(MentionRow.imported).is_(False))
            .group_by(literal_column("+brand"))
        )
        return dict(self._session.exec(query).all())

    def queue_length(self) -> int:
        """How many mentions wait for an assessment."""
        query = select(func.count()).select_from(MentionRow).where(text(QUEUED))
        return self._session.exec(query).one()

    def assess(self, opinions: Mapping[int, Assessment], version: str, at: datetime) -> set[int]:
        """Keep the assessments of some mentions, by id, and count the mentions.

        A mention stands in the counts once, under the sentiment of its latest assessment. One that
        was deleted meanwhile is passed over.

        Args:
            opinions: of some hundred mentions at most.
            version: of the classifiers.
            at: when they were assessed.

        Returns:
            The ids of those that this version had not assessed before.
        """
        asked = {"version": version, "numbers": list(opinions)}
        rows = self._session.connection().execute(_STANDING, asked).all()
        new = {row.id for row in rows if row.sentiment is None}
        kept = [_assessment_values(number, version, at, opinions[number]) for number in sorted(new)]
        write_rows(self._session, insert(AssessmentRow), kept)
        entering: list[int] = []
        counts: Counter[tuple[str, datetime, str, str]] = Counter()
        standing = []
        for row in rows:
            # What is kept counts: after a change of models and back, that is the earlier assessment.
            sentiment = row.sentiment or opinions[row.id].sentiment.label.value
            counted = row.counted_as if row.imported else sentiment
            standing.append({"number": row.id, "version": version, "counted": counted})
            if counted == row.counted_as:
                continue
            cell = (row.brand, bucket_of(row.published_at), row.source)
            counts[*cell, sentiment] += 1
            if row.counted_as is None:
                entering.append(row.id)
            else:
                counts[*cell, row.counted_as] -= 1
        Crowd(self._session).enter(entering)
        self._count(counts)
        write_rows(self._session, _ASSESSED, standing)
        return new

    def fail(self, mention_id: int) -> None:
        """Take a mention out of the queue that cannot be assessed."""
        self._session.connection().execute(
            update(MentionRow).where(col(MentionRow.id) == mention_id).values(failed=True)
        )

    def _count(self, steps: Mapping[tuple[str, datetime, str, str], int]) -> None:
        cells = [
            {"brand": brand, "bucket": at, "source": source, "sentiment": sentiment, "count": step}
            for (brand, at, source, sentiment), step in steps.items()
        ]
        write_rows(self._session, _COUNT, cells)

    # -- detecting -----------------------------------------------------------------------------

    def counts(
        self, brand: str, since: datetime, until: datetime
    ) -> dict[datetime, dict[SentimentLabel, int]]:
        """Mentions per bucket (start) and sentiment, in ``since`` <= bucket < ``until``."""
        query = select(CountRow).where(
            CountRow.brand == brand,
            col(CountRow.bucket) >= since,
            col(CountRow.bucket) < until,
            CountRow.sentiment != UNREAD,
        )
        counts: dict[datetime, dict[SentimentLabel, int]] = {}
        for row in self._session.exec(query):
            cell = counts.setdefault(row.bucket, dict.fromkeys(SentimentLabel, 0))
            cell[SentimentLabel(row.sentiment)] += row.count
        return counts

    def detector(self, brand: str, series: str) -> Detector | None:
        """The stored detector of a series."""
        query = select(DetectorRow.version, DetectorRow.settled_until, DetectorRow.snapshot).where(
            DetectorRow.brand == brand, DetectorRow.series == series
        )
        row = self._session.exec(query).first()
        return None if row is None else Detector(*row)

    def detectors(self, brand: str) -> dict[str, Detector]:
        """The stored detectors of a brand by series."""
        query = select(
            DetectorRow.series, DetectorRow.version, DetectorRow.settled_until, DetectorRow.snapshot
        ).where(DetectorRow.brand == brand)
        return {
            series: Detector(version, settled_until, snapshot)
            for series, version, settled_until, snapshot in self._session.exec(query)
        }

    def keep_detectors(self, brand: str, detectors: Mapping[str, Detector]) -> None:
        """Store detectors of a brand, by series, as they are now: they may go on reading."""
        kept = [
            {
                "brand": brand,
                "series": series,
                "version": detector.version,
                "settled_until": detector.settled_until,
                "snapshot": dict(detector.snapshot),
            }
            for series, detector in detectors.items()
        ]
        write_rows(self._session, _KEEP_DETECTOR, kept)

    def voices(self, brand: str, since: datetime, until: datetime) -> list[Voice]:
        """The assessed mentions published in ``since`` <= moment < ``until``, in order."""
        query = (
            select(MentionRow.published_at, MentionRow.text, MentionRow.author, MentionRow.story)
            .where(
                MentionRow.brand == brand,
                col(MentionRow.published_at) >= since,
                col(MentionRow.published_at) < until,
                col(MentionRow.assessed_by).is_not(None),
            )
            .order_by(col(MentionRow.published_at), col(MentionRow.id))
        )
        return [Voice(*row) for row in self._session.connection().execute(query)]

    def ids_between(
        self,
        brand: str,
        since: datetime,
        until: datetime,
        *,
        sentiment: SentimentLabel | None = None,
        limit: int = 500,
    ) -> list[int]:
        """Ids of the latest mentions published in ``since`` <= moment < ``until``."""
        query = select(MentionRow.id).where(
            MentionRow.brand == brand,
            col(MentionRow.published_at) >= since,
            col(MentionRow.published_at) < until,
        )
        if sentiment is not None:
            query = query.join(AssessmentRow, col(AssessmentRow.mention_id) == MentionRow.id).where(
                AssessmentRow.sentiment == sentiment.value,
                AssessmentRow.version == MentionRow.assessed_by,
            )
        query = query.order_by(col(MentionRow.published_at).desc()).limit(limit)
        found: list[int] = list(self._session.exec(query))  # type: ignore[arg-type] # stored: not None
        return found

    def ids_saying(self, brand: str, since: datetime, until: datetime, term: str) -> list[int]:
        """Ids of the mentions of ``since`` <= moment < ``until`` that hold a term, in any case."""
        query = (
            select(MentionRow.id)
            .where(
                MentionRow.brand == brand,
                col(MentionRow.published_at) >= since,
                col(MentionRow.published_at) < until,
                col(MentionRow.text).icontains(term, autoescape=True),
            )
            .order_by(col(MentionRow.published_at).desc())
            .limit(500)
        )
        return list(self._session.exec(query))  # type: ignore[arg-type] # stored: not None

    def share_of(self, mention_ids: Sequence[int], sentiment: SentimentLabel) -> float:
        """The part (0 to 1) of some mentions whose assessment has a sentiment."""
        if not mention_ids:
            return 0.0
        query = (
            select(func.count())
            .select_from(AssessmentRow)
            .join(MentionRow, col(MentionRow.id) == AssessmentRow.mention_id)
            .where(
                col(AssessmentRow.mention_id).in_(mention_ids),
                AssessmentRow.version == MentionRow.assessed_by,
                AssessmentRow.sentiment == sentiment.value,
            )
        )
        return self._session.exec(query).one() / len(mention_ids)

    # -- going out -----------------------------------------------------------------------------

    def each(
        self, since: datetime | None, until: datetime | None
    ) -> Iterator[tuple[Mention, Assessment | None]]:
        """All mentions of ``since`` <= moment < ``until`` with their assessments, in order."""
        query = (
            select(MentionRow, AssessmentRow)
            .outerjoin(
                AssessmentRow,
                (col(AssessmentRow.mention_id) == col(MentionRow.id))
                & (col(AssessmentRow.version) == col(MentionRow.assessed_by)),
            )
            .order_by(col(MentionRow.published_at), col(MentionRow.id))
            .execution_options(yield_per=500)
        )
        if since is not None:
            query = query.where(col(MentionRow.published_at) >= since)
        if until is not None:
            query = query.where(col(MentionRow.published_at) < until)
        for mention, assessment in self._session.exec(query):
            yield pair(mention, assessment)

    def said(self, since: datetime) -> Iterator[tuple[Mention, str]]:
        """All mentions from ``since`` on with what their pictures say ("": nothing), in order."""
        query = (
            select(MentionRow)
            .where(col(MentionRow.published_at) >= since)
            .order_by(col(MentionRow.published_at), col(MentionRow.id))
            .execution_options(yield_per=500)
        )
        for row in self._session.exec(query):
            yield to_mention(row), row.pictured or ""

    def total(self) -> int:
        """How many mentions there are."""
        return self._session.exec(select(func.count()).select_from(MentionRow)).one()

    def purge(
        self,
        before: datetime,
        *,
        keep_states: Collection[str],
        limit: int,
        source: str | None = None,
    ) -> int:
        """Delete up to ``limit`` mentions published before a moment; returns how many.

        Those that incidents in ``keep_states`` are about stay. Of one ``source``: those that were *read*
        before it, since what platforms limit is how long we keep a post, and it may be old when it comes.
        """
        old = (
            [col(MentionRow.published_at) < before]
            if source is None
            else [MentionRow.source == source, col(MentionRow.seen_at) < before]
        )
        held = (
            select(IncidentMentionRow.mention_id)
            .join(IncidentRow, col(IncidentRow.id) == IncidentMentionRow.incident_id)
            .where(col(IncidentRow.state).in_(keep_states))
        )
        query = select(MentionRow.id).where(*old, col(MentionRow.id).not_in(held)).limit(limit)
        chosen = self._session.connection().execute(query).scalars().all()
        if not chosen:
            return 0
        Excerpts(self._session).forget(chosen)
        statement = delete(MentionRow).where(col(MentionRow.id).in_(chosen))
        return self._session.connection().execute(statement).rowcount


def pair(
    mention: MentionRow, assessment: AssessmentRow | None
) -> tuple[Mention, Assessment | None]:
    """The values of a mention's row and of its assessment's, if there is one."""
    return to_mention(mention), None if assessment is None else to_assessment(assessment)


def to_mention(row: MentionRow | Row[Any]) -> Mention:
    """The value of a mention's row."""
    if row.id is None:
        raise LookupError("the mention has not been stored yet")
    return Mention(
        id=row.id,
        brand=row.brand,
        post=Post(
            platform=row.platform,
            id=row.post_id,
            text=row.text,
            published_at=row.published_at,
            url=row.url,
            author=row.author,
            author_followers=row.author_followers,
            language=row.language,
            engagement=Engagement(row.likes, row.shares, row.replies),
            edited_at=row.edited_at,
            thread=row.thread,
        ),
        matched=tuple(row.matched),
        story=row.story,
        official=row.official,
    )


def to_assessment(row: AssessmentRow) -> Assessment:
    """The value of an assessment's row."""
    return Assessment(
        language=row.language,
        sentiment=Sentiment(
            SentimentLabel(row.sentiment),
            {SentimentLabel(label): score for label, score in row.sentiment_scores.items()},
        ),
        leak=Leak(
            LeakBand(row.leak_band),
            row.leak_score,
            LeakCategory(row.leak_likely),
            tuple(
                replace(
                    Finding(**item),
                    category=LeakCategory(item["category"]),
                    confidence=Confidence(item["confidence"]),
                )
                for item in row.findings
            ),
        ),
        abuse=Abuse(AbuseLabel(row.abuse), row.abuse_score),
    )


def _assessment_values(
    mention_id: int, version: str, at: datetime, assessment: Assessment
) -> dict[str, Any]:
    return {
        "mention_id": mention_id,
        "version": version,
        "at": at,
        "language": assessment.language,
        "sentiment": assessment.sentiment.label.value,
        "sentiment_scores": {
            label.value: score for label, score in assessment.sentiment.scores.items()
        },
        "leak_band": assessment.leak.band.value,
        "leak_score": assessment.leak.score,
        "leak_likely": assessment.leak.likely.value,
        "findings": [
            {
                "detector": finding.detector,
                "category": finding.category.value,
                "start": finding.start,
                "end": finding.end,
                "confidence": finding.confidence.value,
                **({} if finding.label is None else {"label": finding.label}),
            }
            for finding in assessment.leak.findings
        ],
        "abuse": assessment.abuse.label.value,
        "abuse_score": assessment.abuse.score,
    }


def was_edited(row: Row[Any], item: NewMention) -> bool:
    """Whether a post that is known says something else now, and not only in another source's words."""
    post = item.post
    if row.deleted_at is not None or row.versions >= MOST_VERSIONS:
        return False
    if post.edited_at is not None and row.edited_at is not None and post.edited_at <= row.edited_at:
        return False
    if post.edited_at is None and row.source != item.source:
        return False
    return fold(post.text).split() != fold(row.text).split()


def _is_later(post: Post, row: Row[Any]) -> bool:
    """Whether a post as it came is a later version than what is stored of it."""
    return post.edited_at is not None and post.edited_at > (row.edited_at or row.published_at)


def _key(item: NewMention) -> tuple[str, str, str]:
    return item.brand, item.post.platform, item.post.id


def _mention_values(item: NewMention, now: datetime) -> dict[str, Any]:
    post = item.post
    return {
        "brand": item.brand,
        "platform": post.platform,
        "post_id": post.id,
        "source": item.source,
        "url": post.url,
        "author": post.author,
        "author_followers": post.author_followers,
        "official": item.official,
        # A date in the future would hide the mention from detection until that day.
        "published_at": min(post.published_at, now),
        "seen_at": now,
        "language": post.language,
        "text": post.text,
        "likes": post.engagement.likes,
        "shares": post.engagement.shares,
        "replies": post.engagement.replies,
        "matched": list(item.matched),
        "story": item.story,
        "imported": item.imported,
        "page": page_key(post.url) if post.url else None,
        "edited_at": None if post.edited_at is None else min(post.edited_at, now),
        "thread": post.thread,
        "versions": 0,
        "tries": 0,
        "failed": False,
    }

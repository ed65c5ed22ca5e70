"""Shelf of the judgements: what people say of mentions, and which mentions wait for a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, ScalarSelect, text
from sqlmodel import Session, col, func, select

from classifiers.base import AbuseLabel, Assessment, LeakBand, LeakCategory, SentimentLabel
from connectors.base import Mention
from monitor.store.mentions import pair, to_assessment, to_mention
from monitor.tables import NOTABLE, AssessmentRow, FeedbackRow, MentionRow


class Verdict(StrEnum):
    """What a person says of a mention."""

    LEAK = "leak"
    NO_LEAK = "no-leak"
    WITHDRAWN = "withdrawn"
    """What was said before does not count any more."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A person's word on one mention; what they left open is None."""

    mention_id: int
    verdict: Verdict
    by: str
    at: datetime
    category: LeakCategory | None = None
    sentiment: SentimentLabel | None = None
    abuse: AbuseLabel | None = None
    note: str = ""
    version: str | None = None
    """Of the assessment that it judges; None: there was none."""
    band: LeakBand | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A mention with the judgement that counts, and the assessment that it judged."""

    mention: Mention
    judgement: Judgement
    assessment: Assessment | None


class Feedback:
    """Rows of judgements within one transaction. They are only ever added."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def judge(self, judgement: Judgement) -> Judgement | None:
        """Add a judgement of the mention's present assessment. Returns the one that counted so far.

        Raises:
            LookupError: there is no such mention, or nothing to take back.
        """
        mention = self._session.get(MentionRow, judgement.mention_id)
        if mention is None:
            raise LookupError(f"there is no mention {judgement.mention_id}")
        before = self.of(judgement.mention_id)
        if judgement.verdict is Verdict.WITHDRAWN and before is None:
            raise LookupError(f"mention {judgement.mention_id} has not been judged")
        query = select(AssessmentRow).where(
            AssessmentRow.mention_id == judgement.mention_id,
            AssessmentRow.version == mention.assessed_by,
        )
        assessment = self._session.exec(query).first()
        self._session.add(
            FeedbackRow(
                mention_id=judgement.mention_id,
                at=judgement.at,
                judged_by=judgement.by,
                verdict=judgement.verdict.value,
                category=judgement.category,
                sentiment=judgement.sentiment,
                abuse=judgement.abuse,
                note=judgement.note,
                version=assessment.version if assessment else None,
                band=assessment.leak_band if assessment else None,
                score=assessment.leak_score if assessment else None,
            )
        )
        self._session.flush()
        return before

    def of(self, mention_id: int) -> Judgement | None:
        """The judgement of a mention that counts."""
        rows = self.history(mention_id)
        return rows[-1] if rows and rows[-1].verdict is not Verdict.WITHDRAWN else None

    def history(self, mention_id: int) -> list[Judgement]:
        """All that was said of a mention, oldest first."""
        query = (
            select(FeedbackRow)
            .where(FeedbackRow.mention_id == mention_id)
            .order_by(col(FeedbackRow.id))
        )
        return [_to_judgement(row) for row in self._session.exec(query)]

    def judged(self, since: datetime | None, until: datetime | None) -> Iterator[Judged]:
        """The judged mentions published in ``since`` <= moment < ``until``, oldest first."""
        latest = select(func.max(FeedbackRow.id)).group_by(col(FeedbackRow.mention_id))
        query = (
            select(MentionRow, FeedbackRow, AssessmentRow)
            .join(FeedbackRow, col(FeedbackRow.mention_id) == col(MentionRow.id))
            .outerjoin(
                AssessmentRow,
                (col(AssessmentRow.mention_id) == col(MentionRow.id))
                & (col(AssessmentRow.version) == col(FeedbackRow.version)),
            )
            .where(
                col(FeedbackRow.id).in_(latest),
                col(FeedbackRow.verdict) != Verdict.WITHDRAWN.value,
            )
            .order_by(col(MentionRow.published_at), col(MentionRow.id))
        )
        if since is not None:
            query = query.where(col(MentionRow.published_at) >= since)
        if until is not None:
            query = query.where(col(MentionRow.published_at) < until)
        for mention, row, assessment in self._session.exec(query):
            said_of, opinion = pair(mention, assessment)
            yield Judged(said_of, _to_judgement(row), opinion)

    def waiting(self, limit: int, *, escalated: bool = False) -> list[tuple[Mention, Assessment]]:
        """The newest mentions in the band of review that nobody has judged.

        Posts of own accounts are not among them: what they say is thereby public.

        Args:
            limit: at most so many.
            escalated: whether those that were escalated are wanted too.
        """
        query = (
            select(MentionRow, AssessmentRow)
            .join(AssessmentRow, col(AssessmentRow.mention_id) == col(MentionRow.id))
            .where(*_unjudged(escalated=escalated))
            .order_by(col(MentionRow.published_at).desc(), col(MentionRow.id).desc())
            .limit(limit)
        )
        return [
            (to_mention(mention), to_assessment(row)) for mention, row in self._session.exec(query)
        ]

    def count_waiting(self, *, escalated: bool = False) -> dict[str, int]:
        """How many mentions wait as in :meth:`waiting`, by brand."""
        query = (
            select(MentionRow.brand, func.count())
            .join(AssessmentRow, col(AssessmentRow.mention_id) == col(MentionRow.id))
            .where(*_unjudged(escalated=escalated))
            .group_by(col(MentionRow.brand))
        )
        return dict(self._session.exec(query).all())


def _unjudged(*, escalated: bool) -> list[ColumnElement[bool]]:
    bands = [LeakBand.REVIEW.value, *([LeakBand.ESCALATE.value] if escalated else [])]
    newest: ScalarSelect[str] = (
        select(FeedbackRow.verdict)
        .where(col(FeedbackRow.mention_id) == col(MentionRow.id))
        .order_by(col(FeedbackRow.id).desc())
        .limit(1)
        .correlate(MentionRow)
        .scalar_subquery()
    )
    return [
        text(NOTABLE),  # type: ignore[list-item] # SQLAlchemy takes it; in these words for the index
        col(AssessmentRow.leak_band).in_(bands),
        col(AssessmentRow.version) == col(MentionRow.assessed_by),
        col(MentionRow.official).is_(False),
        func.coalesce(newest, Verdict.WITHDRAWN.value) == Verdict.WITHDRAWN.value,
    ]


def _to_judgement(row: FeedbackRow) -> Judgement:
    return Judgement(
        mention_id=row.mention_id,
        verdict=Verdict(row.verdict),
        by=row.judged_by,
        at=row.at,
        category=None if row.category is None else LeakCategory(row.category),
        sentiment=None if row.sentiment is None else SentimentLabel(row.sentiment),
        abuse=None if row.abuse is None else AbuseLabel(row.abuse),
        note=row.note,
        version=row.version,
        band=None if row.band is None else LeakBand(row.band),
        score=row.score,
    )

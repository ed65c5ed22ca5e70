"""Shelf of the evidence: what escalated posts said, kept although the original changes or goes.

Each piece carries a digest over its content and the piece before it. When its time has come the
content is overwritten and the digests stay, so that the chain still shows what was there when.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, col, func, select

from alerts.base import IncidentState
from alerts.ledger import EMPTY, Finding, Flaw, Head, content_digest, exhibit_digest
from monitor.store.excerpts import FORGOTTEN, Excerpts
from monitor.store.history import read_head
from monitor.tables import AssessmentRow, EvidenceRow, IncidentRow, MentionRow, MetaRow

LIMIT = 500
"""Posts of one incident that are kept as evidence: of a flood the first ones."""

_HEAD = "evidence_head"
_GONE = FORGOTTEN
"""In place of the content: its digest, and when it was overwritten."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One post as it was when it was kept. ``author`` is a pseudonym."""

    id: int
    incident_id: int
    mention_id: int
    at: datetime
    content: Mapping[str, Any]
    """Empty when it was forgotten."""
    sha256: str
    """Of the content by itself."""
    forgotten_at: str | None = None

    @property
    def text(self) -> str:
        """As posted, and on the next line what its pictures say; not masked."""
        said = str(self.content.get("text", ""))
        pictured = self.content.get("pictured")
        return f"{said}\n{pictured}" if pictured else said


class Evidence:
    """Pieces of evidence within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def keep(self, incident_id: int, mention_ids: Collection[int], now: datetime) -> int:
        """Keep posts that belong to an incident, each once.

        Of one incident at most :data:`LIMIT` posts are kept. Returns how many were added.
        """
        room = LIMIT - self.count(incident_id) if mention_ids else 0
        ordered = sorted(mention_ids)
        added = 0
        for start in range(0, len(ordered), LIMIT):
            if added >= room:
                break
            posts = self._posts(incident_id, ordered[start : start + LIMIT])[: room - added]
            self._add(
                incident_id,
                [(mention.id or 0, _content(mention, assessment)) for mention, assessment in posts],
                now,
            )
            added += len(posts)
        return added

    def keep_change(self, mention_id: int, text: str, now: datetime) -> int:
        """A post that is evidence says something else now: keep that as well.

        Returns how many incidents it is evidence of and says something new to.
        """
        query = (
            select(EvidenceRow)
            .where(EvidenceRow.mention_id == mention_id)
            .order_by(col(EvidenceRow.id))
        )
        latest = {row.incident_id: row for row in self._session.exec(query)}
        changed = 0
        for incident_id, row in latest.items():
            if _GONE not in row.content and row.content.get("text") != text:
                content = {**row.content, "text": text, "changed": True}
                content.pop("assessment", None)
                self._add(incident_id, [(mention_id, content)], now)
                changed += 1
        return changed

    def count(self, incident_id: int) -> int:
        """How many pieces an incident has."""
        query = select(func.count()).select_from(EvidenceRow)
        return self._session.exec(query.where(EvidenceRow.incident_id == incident_id)).one()

    def of(self, incident_ids: Collection[int]) -> list[Kept]:
        """The evidence of incidents, in the order in which it was kept."""
        query = (
            select(EvidenceRow)
            .where(col(EvidenceRow.incident_id).in_(incident_ids))
            .order_by(col(EvidenceRow.id))
        )
        return [_to_kept(row) for row in self._session.exec(query)]

    def there(self, mention_ids: Collection[int]) -> set[int]:
        """Which of these posts are still in the store, and not deleted by their platform."""
        query = select(MentionRow.id).where(
            col(MentionRow.id).in_(mention_ids), col(MentionRow.deleted_at).is_(None)
        )
        return {number for number in self._session.exec(query) if number is not None}

    def forget(
        self, before: datetime, now: datetime, *, limit: int, source: str | None = None
    ) -> dict[int, int]:
        """Overwrite the evidence of incidents that ended before a moment; how many pieces of each.

        What still burns keeps all of it, however old. The digests stay. Of one ``source``: pieces that
        were kept before the moment, whenever their incident ended.
        """
        old = (
            [col(IncidentRow.resolved_at) < before]
            if source is None
            else [
                col(EvidenceRow.at) < before,
                col(EvidenceRow.content)["source"].as_string() == source,
            ]
        )
        over = (IncidentState.RESOLVED.value, IncidentState.REVIEWED.value)
        query = (
            select(EvidenceRow)
            .join(IncidentRow, col(IncidentRow.id) == EvidenceRow.incident_id)
            .where(
                col(IncidentRow.state).in_(over),
                *old,
                col(EvidenceRow.content)[_GONE].as_string().is_(None),
            )
            .order_by(col(EvidenceRow.id))
            .limit(limit)
        )
        rows = list(self._session.exec(query))
        found = self._overwrite(rows, now)
        Excerpts(self._session).release({row.mention_id for row in rows})
        return found

    def forget_author(self, author: str, now: datetime) -> dict[int, int]:
        """Overwrite what one author (a pseudonym) posted; how many pieces of each incident.

        What messages show of it goes as well.
        """
        query = select(EvidenceRow).where(col(EvidenceRow.content)["author"].as_string() == author)
        rows = list(self._session.exec(query))
        found = self._overwrite(rows, now)
        Excerpts(self._session).forget({row.mention_id for row in rows})
        return found

    def verify(self, noted: Head | None = None) -> Finding:
        """Go through all evidence and find the first piece that does not fit."""
        reached = EMPTY
        met = noted is None or noted == EMPTY
        query = select(EvidenceRow).order_by(col(EvidenceRow.id))
        for row in self._session.exec(query.execution_options(yield_per=200)):
            if _sealed(reached.digest, row) != row.digest:
                why = f"piece {row.id} of the evidence does not follow from what stood before it"
                return Finding(reached, Flaw(row.id, row.incident_id, why), met)
            reached = Head(reached.lines + 1, row.digest)
            met = met or reached == noted
        kept = self._session.get(MetaRow, _HEAD)
        if (kept.value if kept else str(EMPTY)) != str(reached):
            why = f"evidence is gone at the end: {reached.lines} pieces are there"
            return Finding(reached, Flaw(None, None, why), met)
        if not met:
            why = "the head that was noted earlier is not part of this evidence"
            return Finding(reached, Flaw(None, None, why), passed=False)
        return Finding(reached, None)

    def _add(
        self, incident_id: int, posts: Sequence[tuple[int, dict[str, Any]]], now: datetime
    ) -> None:
        if not posts:
            return
        last, kept = self._end()
        head, rows = read_head(kept), []
        for mention_id, content in posts:
            last += 1
            sealed = exhibit_digest(
                head.digest,
                number=last,
                incident_id=incident_id,
                mention_id=mention_id,
                at=now,
                content=content_digest(content),
            )
            head = Head(head.lines + 1, sealed)
            rows.append(
                {
                    "id": last,
                    "incident_id": incident_id,
                    "mention_id": mention_id,
                    "at": now,
                    "content": content,
                    "digest": sealed,
                }
            )
        self._session.flush()
        self._session.connection().execute(insert(EvidenceRow), rows)
        kept.value = str(head)

    def _end(self) -> tuple[int, MetaRow]:
        """The highest number and the row of the head. Asked anew: others may have added meanwhile."""
        kept = self._session.get(MetaRow, _HEAD)
        if kept is None:
            kept = MetaRow(key=_HEAD, value=str(EMPTY))
            self._session.add(kept)
            self._session.flush()
        highest = self._session.exec(select(func.max(EvidenceRow.id))).one() or 0
        return max(highest, read_head(kept).lines), kept

    def _posts(
        self, incident_id: int, mention_ids: Collection[int]
    ) -> list[tuple[MentionRow, AssessmentRow | None]]:
        """Those of the posts that are not kept yet."""
        kept = select(EvidenceRow.mention_id).where(EvidenceRow.incident_id == incident_id)
        query = (
            select(MentionRow, AssessmentRow)
            .outerjoin(
                AssessmentRow,
                (col(AssessmentRow.mention_id) == col(MentionRow.id))
                & (col(AssessmentRow.version) == col(MentionRow.assessed_by)),
            )
            .where(
                col(MentionRow.id).in_(mention_ids),
                col(MentionRow.id).not_in(kept),
                col(MentionRow.deleted_at).is_(None),
            )
            .order_by(col(MentionRow.id))
        )
        return [(mention, assessment) for mention, assessment in self._session.exec(query)]

    @staticmethod
    def _overwrite(rows: Collection[EvidenceRow], now: datetime) -> dict[int, int]:
        found: dict[int, int] = {}
        for row in rows:
            if _GONE in row.content:
                continue
            row.content = {
                _GONE: now.isoformat(timespec="seconds"),
                "sha256": content_digest(row.content),
            }
            found[row.incident_id] = found.get(row.incident_id, 0) + 1
        return found


def _content(mention: MentionRow, assessment: AssessmentRow | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "brand": mention.brand,
        "platform": mention.platform,
        "post": mention.post_id,
        "source": mention.source,
        "url": mention.url,
        "author": mention.author,
        "followers": mention.author_followers,
        "official": mention.official,
        "published_at": mention.published_at.isoformat(),
        "seen_at": mention.seen_at.isoformat(),
        "language": mention.language,
        "text": mention.text,
        "likes": mention.likes,
        "shares": mention.shares,
        "replies": mention.replies,
        "matched": list(mention.matched),
        "story": mention.story,
    }
    if mention.pictured:
        found["pictured"] = mention.pictured
    if mention.thread is not None:
        found["thread"] = mention.thread
    if assessment is not None:
        found["assessment"] = {
            "version": assessment.version,
            "sentiment": assessment.sentiment,
            "leak_band": assessment.leak_band,
            "leak_score": assessment.leak_score,
            "leak_likely": assessment.leak_likely,
            "findings": assessment.findings,
            "abuse": assessment.abuse,
            "abuse_score": assessment.abuse_score,
        }
    return found


def _sealed(before: str, row: EvidenceRow) -> str:
    gone = _GONE in row.content
    return exhibit_digest(
        before,
        number=row.id or 0,
        incident_id=row.incident_id,
        mention_id=row.mention_id,
        at=row.at,
        content=str(row.content.get("sha256")) if gone else content_digest(row.content),
    )


def _to_kept(row: EvidenceRow) -> Kept:
    gone = row.content.get(_GONE)
    return Kept(
        id=row.id or 0,
        incident_id=row.incident_id,
        mention_id=row.mention_id,
        at=row.at,
        content={} if gone else row.content,
        sha256=str(row.content["sha256"]) if gone else content_digest(row.content),
        forgotten_at=None if gone is None else str(gone),
    )

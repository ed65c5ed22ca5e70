"""Shelf of the excerpts: what messages in the outbox show of posts, which goes when the posts go.

A message that was sent stays as a record of who was told what and when, but a piece of a post in it is
kept no longer than the post: when the mention is purged, deleted by its platform or erased, the piece
goes, and is counted with the posts that are not shown. Where the post is evidence, the piece stays as
long as the evidence. A message that nobody has got yet loses it at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, col, select

from monitor.tables import EvidenceRow, MentionRow, NotificationRow, NotificationSampleRow

FORGOTTEN = "forgotten"
"""The key of evidence that was overwritten."""


class Excerpts:
    """What messages show of posts, within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, notification_id: int, message: Mapping[str, Any]) -> None:
        """Remember which posts a new message shows."""
        shown = {sample.get("mention_id") for sample in message.get("samples", ())} - {None}
        if shown:
            self._session.connection().execute(
                insert(NotificationSampleRow),
                [{"notification_id": notification_id, "mention_id": each} for each in shown],
            )

    def forget(self, mention_ids: Collection[int]) -> int:
        """Take what messages show of posts that are gone out of them; returns out of how many.

        What was delivered keeps its pieces of posts that are still held as evidence.
        """
        if not mention_ids:
            return 0
        link = NotificationSampleRow
        query = select(link).where(col(link.mention_id).in_(mention_ids))
        links: dict[int, list[NotificationSampleRow]] = {}
        for each in self._session.exec(query):
            links.setdefault(each.notification_id, []).append(each)
        held = self._held({each.mention_id for found in links.values() for each in found})
        changed = 0
        for number, found in links.items():
            row = self._session.get_one(NotificationRow, number)
            was_sent = row.delivered_at is not None
            gone = [each for each in found if not (was_sent and each.mention_id in held)]
            if gone:
                row.message = _without(row.message, {each.mention_id for each in gone})
                changed += 1
            for each in gone:
                self._session.delete(each)
        return changed

    def release(self, mention_ids: Collection[int]) -> int:
        """The same once posts are no longer held as evidence: of those that are gone themselves."""
        if not mention_ids:
            return 0
        there = select(MentionRow.id).where(
            col(MentionRow.id).in_(mention_ids), col(MentionRow.deleted_at).is_(None)
        )
        return self.forget(set(mention_ids) - set(self._session.exec(there)))

    def _held(self, mention_ids: Collection[int]) -> set[int]:
        query = select(EvidenceRow.mention_id).where(
            col(EvidenceRow.mention_id).in_(mention_ids),
            col(EvidenceRow.content)[FORGOTTEN].as_string().is_(None),
        )
        return set(self._session.exec(query)) if mention_ids else set()


def _without(message: Mapping[str, Any], mention_ids: Collection[int]) -> dict[str, Any]:
    shown = message["samples"]
    kept = [sample for sample in shown if sample.get("mention_id") not in mention_ids]
    more = message.get("more_samples", 0) + len(shown) - len(kept)
    return {**message, "samples": kept, "more_samples": more}

"""Shelf of the pictures that wait to be read for their text. A row goes when it was read or given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, select

from monitor.store.mentions import NewMention
from monitor.tables import AssessmentRow, MentionRow, PictureRow

MOST_TRIES = 4
MOST_OF_ONE = 4
"""Pictures of one post."""

_AGAIN = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""After a try that does not come back. Kept before it begins: a picture that kills the process is
tried as often as any."""

_LONGEST = 20_000
"""Characters of all pictures of one post together."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One that is to be read now."""

    id: int
    mention_id: int
    url: str
    tries: int
    """This one included."""

    @property
    def is_last_try(self) -> bool:
        """Whether it is given up if this fails."""
        return self.tries >= MOST_TRIES


class Pictures:
    """Pictures within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def wait(self, mentions: Sequence[NewMention], now: datetime) -> int:
        """Put the pictures of those that were stored at ``now`` in line. Returns how many."""
        rows = []
        for item in mentions:
            if not item.post.images:
                continue
            query = select(MentionRow.id).where(
                MentionRow.brand == item.brand,
                MentionRow.platform == item.post.platform,
                MentionRow.post_id == item.post.id,
                MentionRow.seen_at == now,
            )
            for number in self._session.connection().execute(query).scalars():
                rows += [
                    {"mention_id": number, "url": url, "due_at": now, "tries": 0}
                    for url in dict.fromkeys(item.post.images[:MOST_OF_ONE])
                ]
        if rows:
            self._session.connection().execute(insert(PictureRow).on_conflict_do_nothing(), rows)
        return len(rows)

    def begin(self, now: datetime, limit: int) -> list[Picture]:
        """Take the next ones that are due, leaving a mark that they were begun."""
        query = (
            select(PictureRow)
            .where(PictureRow.due_at <= now)
            .order_by(col(PictureRow.due_at), col(PictureRow.id))
            .limit(limit)
        )
        taken = []
        for row in self._session.connection().execute(query).all():
            picture = Picture(row.id or 0, row.mention_id, row.url, row.tries + 1)
            if row.tries >= MOST_TRIES:  # its last try never came back
                self.drop(picture)
                continue
            self._session.connection().execute(
                update(PictureRow)
                .where(col(PictureRow.id) == row.id)
                .values(due_at=now + _AGAIN[row.tries], tries=picture.tries)
            )
            taken.append(picture)
        return taken

    def found(self, picture: Picture, text: str) -> bool:
        """Keep what was read, and have the mention assessed anew where that is something.

        Returns whether it is; False for a mention that was deleted meanwhile.
        """
        self.drop(picture)
        standing = col(MentionRow.id) == picture.mention_id, col(MentionRow.deleted_at).is_(None)
        query = select(MentionRow.pictured).where(*standing)
        row = self._session.connection().execute(query).one_or_none()
        if row is None or not text:
            return False
        whole = "\n".join(filter(None, (row.pictured, text)))[:_LONGEST]
        again = {"assessed_by": None, "tries": 0, "failed": False}
        for statement in (
            update(MentionRow).where(*standing).values(pictured=whole, **again),
            delete(AssessmentRow).where(col(AssessmentRow.mention_id) == picture.mention_id),
        ):
            self._session.connection().execute(statement)
        return True

    def drop(self, picture: Picture) -> None:
        """It is read, or given up: its address goes."""
        self._session.connection().execute(
            delete(PictureRow).where(col(PictureRow.id) == picture.id)
        )

    def later(self, picture: Picture, due_at: datetime) -> None:
        """Try it again at a moment that the server asked for."""
        self._session.connection().execute(
            update(PictureRow).where(col(PictureRow.id) == picture.id).values(due_at=due_at)
        )

"""Shelf of the copies: the same article in another source is one mention, seen more than once.

Copies share the page that they link to (``connectors.webaddress.page_key``) and most of their words: a
live page to which many different items link makes them no copies of one another. What one source brings
twice is told apart by its own ids, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, col, select

from connectors.base import Post
from connectors.story import same_story
from connectors.webaddress import page_key
from monitor.store.crowd import write_rows
from monitor.tables import MentionRow, SightingRow

_AT_ONCE = 500
_SEEN = insert(SightingRow).on_conflict_do_nothing()


@dataclass(frozen=True, slots=True)
class Sighting:
    """One more source that brought a mention."""

    source: str
    platform: str
    post_id: str
    at: datetime


class Copies:
    """Rows of sightings within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def sort_out(
        self, arrivals: Sequence[tuple[str, str, Post]], now: datetime
    ) -> list[tuple[str, str, str]]:
        """Record which of some new posts are copies of what another source brought.

        Args:
            arrivals: brand, source and post of each.
            now: when they were seen.

        Returns:
            Brand, platform and id of the copies.
        """
        pages = [page_key(post.url) if post.url else None for _, _, post in arrivals]
        known = self._known({page for page in pages if page is not None})
        rows = []
        found = []
        for (brand, source, post), page in zip(arrivals, pages, strict=True):
            for number, other, words in known.get((brand, page or ""), ()):
                if other != source and same_story(words, post.text):
                    rows.append(
                        {
                            "mention_id": number,
                            "source": source,
                            "platform": post.platform,
                            "post_id": post.id,
                            "at": now,
                        }
                    )
                    found.append((brand, post.platform, post.id))
                    break
        write_rows(self._session, _SEEN, rows)
        return found

    def of(self, mention_id: int) -> list[Sighting]:
        """Where else a mention was seen, in the order in which it was."""
        query = (
            select(SightingRow)
            .where(SightingRow.mention_id == mention_id)
            .order_by(col(SightingRow.at), col(SightingRow.source))
        )
        return [
            Sighting(row.source, row.platform, row.post_id, row.at)
            for row in self._session.exec(query)
        ]

    def _known(self, pages: set[str]) -> dict[tuple[str, str], list[tuple[int, str, str]]]:
        """Id, source and text of the mentions that link to some pages, by brand and page."""
        ordered = sorted(pages)
        found: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
        for start in range(0, len(ordered), _AT_ONCE):
            query = select(  # type: ignore[call-overload] # more columns than its overloads know
                MentionRow.id, MentionRow.brand, MentionRow.page, MentionRow.source, MentionRow.text
            ).where(col(MentionRow.page).in_(ordered[start : start + _AT_ONCE]))
            for row in self._session.connection().execute(query):
                found.setdefault((row.brand, row.page), []).append((row.id, row.source, row.text))
        return found

"""Shelf of the stories: which of them a new mention tells again.

Every story is kept under the few keys of the mention that began it (``connectors.story``). A new mention
is looked up under its own keys, and compared in full with what is found; so the cost does not grow with
the history. It lives in the database: a restart knows what was told before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import text
from sqlmodel import Session, col, select

from connectors.story import same_story
from monitor.store.crowd import write_rows
from monitor.tables import AnchorRow, MentionRow

_AT_ONCE = 500
"""Keys asked for in one statement."""

# The one who comes first keeps a key: two stories that share one are told apart by their words.
_KEEP = text(
    "INSERT OR IGNORE INTO story_anchor (brand, anchor, mention_id)"
    " SELECT brand, :anchor, id FROM mention"
    " WHERE brand = :brand AND platform = :platform AND post_id = :post_id"
)


class Stories:
    """Rows of stories within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, brand: str, told: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
        """The stories of new mentions of a brand; those before count for those behind.

        Args:
            brand: whose.
            told: the text of each, with its anchors.
        """
        known = self._known(brand, {key for _, keys in told for key in keys})
        found = []
        for words, keys in told:
            candidates = dict(known[key] for key in keys if key in known)
            story = next(
                (story for story, other in candidates.items() if same_story(other, words)), None
            )
            if story is None:
                story = keys[0]
                known |= {key: (story, words) for key in keys if key not in known}
            found.append(story)
        return found

    def keep(self, begun: Iterable[tuple[str, str, str, Sequence[str]]]) -> None:
        """Keep stories under their keys.

        Args:
            begun: brand, platform, id and anchors of the posts that began one.
        """
        rows = [
            {"brand": brand, "platform": platform, "post_id": ident, "anchor": key}
            for brand, platform, ident, keys in begun
            for key in keys
        ]
        write_rows(self._session, _KEEP, rows)

    def _known(self, brand: str, keys: set[str]) -> dict[str, tuple[str, str]]:
        """Story and text of those that began one, by key."""
        ordered = sorted(keys)
        found: dict[str, tuple[str, str]] = {}
        for start in range(0, len(ordered), _AT_ONCE):
            query = (
                select(AnchorRow.anchor, MentionRow.story, MentionRow.text)
                .join(MentionRow, col(MentionRow.id) == AnchorRow.mention_id)
                .where(
                    AnchorRow.brand == brand,
                    col(AnchorRow.anchor).in_(ordered[start : start + _AT_ONCE]),
                )
            )
            rows = self._session.connection().execute(query)
            found |= {key: (story, words) for key, story, words in rows}
        return found

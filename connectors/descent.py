"""How far searches were read that answer newest first and are gone down page by page.

The cursor of such a source: for each search, how far it was read and the descent that is under way,
and marks of the posts delivered last, so that what is read again is not delivered again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field

from connectors.base import Cursor, Post

MOST_REMEMBERED = 500


@dataclass(slots=True)
class Descent:
    """How far one search was read: ``since`` and what is older is done.

    A descent that is under way began at ``top`` and goes on below ``below``. All three are places in
    the source's own terms: ids, or moments as ISO 8601. ``start`` (ISO 8601) bounds the first one.
    """

    start: str
    since: str | None = None
    top: str | None = None
    below: str | None = None


@dataclass(slots=True)
class Progress:
    """The whole cursor of a source."""

    descents: dict[str, Descent]
    seen: dict[str, None] = field(default_factory=dict)

    @classmethod
    def read(cls, cursor: Cursor | None) -> Progress:
        """From the cursor that :meth:`cursor` gave; None: nothing was read yet."""
        cursor = cursor or {}
        descents = {key: Descent(**kept) for key, kept in cursor.get("descents", {}).items()}
        return cls(descents, dict.fromkeys(cursor.get("seen", ())))

    def keep_only(self, keys: Collection[str]) -> None:
        """Forget searches that the configuration no longer holds."""
        self.descents = {key: each for key, each in self.descents.items() if key in keys}

    def descent(self, key: str, start: str) -> Descent:
        """That of one search, begun at ``start`` if it is new."""
        return self.descents.setdefault(key, Descent(start))

    def unseen(self, posts: Sequence[Post]) -> list[Post]:
        """The posts that were not delivered lately."""
        return [post for post in posts if _mark(post) not in self.seen]

    def remember(self, posts: Sequence[Post]) -> None:
        """Mark posts as delivered."""
        self.seen.update(dict.fromkeys(map(_mark, posts)))
        for mark in list(self.seen)[:-MOST_REMEMBERED]:
            del self.seen[mark]

    def cursor(self) -> Cursor:
        """All of it as JSON values."""
        return {
            "descents": {key: asdict(each) for key, each in self.descents.items()},
            "seen": list(self.seen),
        }


def _mark(post: Post) -> str:
    """A mark of this version of a post: what was edited since counts as new."""
    return hashlib.blake2b(f"{post.id} {post.edited_at}".encode(), digest_size=8).hexdigest()

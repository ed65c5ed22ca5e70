"""Keeps how far a source went down searches that answer newest first, by places of its own.

The cursor, and no more, of sources that drive themselves (Mastodon, Bluesky): which way leads down, and
whether a server goes in circles, only they can tell. For each search: how far it was read, the descent that
is under way, and marks of the posts delivered last, so that what is read again is not delivered again. Where
the moments of posts suffice, ``connectors.newestfirst`` does the whole reading.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field

from connectors.base import Cursor, Post
from connectors.marks import version_of

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
        return [post for post in posts if version_of(post) not in self.seen]

    def remember(self, posts: Sequence[Post]) -> None:
        """Mark posts as delivered."""
        self.seen.update(dict.fromkeys(map(version_of, posts)))
        for mark in list(self.seen)[:-MOST_REMEMBERED]:
            del self.seen[mark]

    def cursor(self) -> Cursor:
        """All of it as JSON values."""
        return {
            "descents": {key: asdict(each) for key, each in self.descents.items()},
            "seen": list(self.seen),
        }

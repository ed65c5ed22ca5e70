"""The mentions of a backtest, sorted by time on disk, and what the models think of their texts.

A SQLite file of its own in a temporary folder: however large the mention files are, memory stays
small. Authors are pseudonyms before they get here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connectors.base import Engagement, Post
from monitor.database import explained
from monitor.store.mentions import NewMention

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BATCH = 1000
_CACHE_KIB = 65536

_SCHEMA = """
CREATE TABLE mention (
    setting INTEGER NOT NULL, at INTEGER NOT NULL, number INTEGER NOT NULL,
    brand TEXT NOT NULL, platform TEXT NOT NULL, post_id TEXT NOT NULL, text TEXT NOT NULL,
    url TEXT, author TEXT, author_followers INTEGER, language TEXT,
    likes INTEGER NOT NULL, shares INTEGER NOT NULL, replies INTEGER NOT NULL,
    matched TEXT NOT NULL, story TEXT NOT NULL, official INTEGER NOT NULL,
    UNIQUE (setting, brand, platform, post_id)
);
CREATE TABLE opinion (space TEXT NOT NULL, key BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (space, key)) WITHOUT ROWID;
"""
_FIELDS = (
    "brand, platform, post_id, text, url, author, author_followers, language, "
    "likes, shares, replies, matched, story, official"
)


class Spool:
    """What is to be replayed, for each setting (configuration) in order of time. A context manager.

    Raises (from every method):
        StoreError: the disk is full or failing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[tuple[Any, ...]] = []
        self._number = 0
        with explained(path):
            self._database = sqlite3.connect(path, isolation_level=None)
            # Nothing of it is wanted after a crash.
            self._database.executescript(
                "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                f"PRAGMA cache_size=-{_CACHE_KIB}; {_SCHEMA}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    # -- mentions ------------------------------------------------------------------------------

    def add(self, setting: int, mention: NewMention) -> None:
        """Take in a mention; the first of a brand, platform and id counts."""
        post = mention.post
        self._number += 1
        self._waiting.append(
            (
                setting,
                (post.published_at - _EPOCH) // _MICROSECOND,
                self._number,
                mention.brand,
                post.platform,
                post.id,
                post.text,
                post.url,
                post.author,
                post.author_followers,
                post.language,
                post.engagement.likes,
                post.engagement.shares,
                post.engagement.replies,
                json.dumps(mention.matched),
                json.dumps([mention.story, *mention.anchors]),
                mention.official,
            )
        )
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        marks = ",".join("?" * 17)
        with explained(self._path):
            self._database.execute("BEGIN")
            self._database.executemany(
                f"INSERT OR IGNORE INTO mention VALUES ({marks})",  # noqa: S608 - marks only
                self._waiting,
            )
            self._database.execute("COMMIT")
        self._waiting.clear()

    def sort(self) -> None:
        """All mentions are in: let them be read in order of time."""
        self._flush()
        with explained(self._path):
            self._database.execute("CREATE INDEX in_order ON mention (setting, at, number)")

    def counts(self, setting: int) -> dict[str, int]:
        """How many mentions there are, by brand."""
        query = "SELECT brand, count(*) FROM mention WHERE setting = ? GROUP BY brand"
        with explained(self._path):
            return dict(self._database.execute(query, (setting,)).fetchall())

    def platforms(self, setting: int) -> list[str]:
        """The platforms that occur, sorted."""
        query = "SELECT DISTINCT platform FROM mention WHERE setting = ? ORDER BY 1"
        with explained(self._path):
            return [name for (name,) in self._database.execute(query, (setting,))]

    def mentions(self, setting: int) -> Iterator[NewMention]:
        """The mentions of a setting, by time and then as they came in."""
        place = (-(2**62), 0)
        query = (
            f"SELECT at, number, {_FIELDS} FROM mention WHERE setting = ? AND (at, number) > (?, ?) "  # noqa: S608 - columns only
            "ORDER BY at, number LIMIT ?"
        )
        while True:
            with explained(self._path):
                rows = self._database.execute(query, (setting, *place, _BATCH)).fetchall()
            if not rows:
                return
            for row in rows:
                yield _mention(row)
            place = rows[-1][0], rows[-1][1]

    # -- opinions ------------------------------------------------------------------------------

    def remember(self, space: str, opinions: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep opinions by key."""
        with explained(self._path):
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT OR REPLACE INTO opinion VALUES (?, ?, ?)",
                [(space, key, body) for key, body in opinions],
            )
            self._database.execute("COMMIT")

    def recall(self, space: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The opinions that are known, by key."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, body FROM opinion WHERE space = ? AND key IN ({marks})"  # noqa: S608 - marks only
            with explained(self._path):
                found.update(self._database.execute(query, (space, *some)).fetchall())
        return found


def _mention(row: tuple[Any, ...]) -> NewMention:
    at, _, brand, platform, post_id, text, url, author, followers, language, *rest = row
    likes, shares, replies, matched, told, official = rest
    story, *keys = json.loads(told)
    return NewMention(
        brand=brand,
        source=platform,
        post=Post(
            platform=platform,
            id=post_id,
            text=text,
            published_at=_EPOCH + at * _MICROSECOND,
            url=url,
            author=author,
            author_followers=followers,
            language=language,
            engagement=Engagement(likes, shares, replies),
        ),
        matched=tuple(json.loads(matched)),
        story=story,
        official=bool(official),
        anchors=tuple(keys),
    )

"""The demo's script: 600 posts in time order, and the answers to what is hidden in them."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
X_EPOCH_MS = 1_288_834_974_657
"""The moment from which X counts the milliseconds inside its post ids."""


@dataclass(frozen=True, slots=True)
class StreamPost:
    """One line of the mention file."""

    id: str
    platform: str
    url: str
    author: str
    followers: int
    published_at: datetime
    """Aware, UTC, to the second."""
    language: str
    text: str
    likes: int
    shares: int
    replies: int
    number: int
    """Place in the file, from 0."""

    @property
    def snowflake(self) -> int:
        """The id X would give: grows with time, and is different for every post of the stream."""
        milliseconds = int(self.published_at.timestamp() * 1000) - X_EPOCH_MS
        return (milliseconds << 22) | self.number

    @property
    def source_id(self) -> str:
        """The id under which its platform serves it: a number on X, a ``tag:`` URI in feeds."""
        if self.platform == "x":
            return str(self.snowflake)
        return f"tag:{self.platform.replace('_', '-')}.example.com,2026:{self.id}"


class Stream:
    """All posts, and which of them are out at a moment.

    Args:
        posts: in order of time.
    """

    def __init__(self, posts: Sequence[StreamPost]) -> None:
        self.posts = tuple(posts)
        self._by_platform: dict[str, list[StreamPost]] = {}
        for post in self.posts:
            self._by_platform.setdefault(post.platform, []).append(post)
        self._ids = {(post.platform, post.source_id): post.id for post in self.posts}

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms that occur, sorted."""
        return tuple(sorted(self._by_platform))

    def until(self, now: datetime, platform: str) -> list[StreamPost]:
        """The posts of ``platform`` that are out at ``now``, oldest first."""
        posts = self._by_platform.get(platform, [])
        return posts[: bisect_right(posts, now, key=lambda post: post.published_at)]

    def next_after(self, now: datetime) -> datetime | None:
        """When the next post comes out, on any platform; None when all are out."""
        place = bisect_right(self.posts, now, key=lambda post: post.published_at)
        return self.posts[place].published_at if place < len(self.posts) else None

    def file_id(self, platform: str, source_id: str) -> str | None:
        """The file's id of a post as a connector knows it; None when it is none of ours."""
        return self._ids.get((platform, source_id))


def load_stream(path: Path = DATA / "mentions.jsonl") -> Stream:
    """Read a mention file (JSON Lines).

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is no mention; the message names the line.
    """
    posts = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            try:
                posts.append(_post(json.loads(line), number))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number + 1}: not a mention ({error})") from error
    return Stream(sorted(posts, key=lambda post: (post.published_at, post.number)))


def _post(row: dict[str, Any], number: int) -> StreamPost:
    return StreamPost(
        id=row["id"],
        platform=row["source"],
        url=row["url"],
        author=row["author"],
        followers=row["author_followers"],
        published_at=datetime.fromisoformat(row["published_at"]).astimezone(UTC),
        language=row["lang"],
        text=row["text"],
        likes=row["likes"],
        shares=row["shares"],
        replies=row["replies"],
        number=number,
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """What is hidden in the week, by the file's ids."""

    leaks: frozenset[str]
    threats: frozenset[str]
    """Threats and the one abusive post."""
    hijack: str
    """The official post that is no longer the brand's own."""
    homonyms: frozenset[str]
    """Posts about another thing of the same name: nobody should hear of them."""
    crisis: frozenset[str]
    crisis_start: datetime
    crisis_end: datetime


def load_answers(path: Path = DATA / "answers.json") -> Answers:
    """Read the answers that belong to the mention file.

    Raises:
        OSError: the file cannot be read.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    crisis = data["crisis"]
    return Answers(
        leaks=frozenset(leak["id"] for leak in data["leaks"]),
        threats=frozenset(threat["id"] for threat in data["threats"]),
        hijack=data["hijack"],
        homonyms=frozenset(data["irrelevant_homonyms"]),
        crisis=frozenset(crisis["ids"]),
        crisis_start=datetime.fromisoformat(crisis["start"]).astimezone(UTC),
        crisis_end=datetime.fromisoformat(crisis["end"]).astimezone(UTC),
    )

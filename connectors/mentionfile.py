"""One line of a mention file (JSON Lines) to a post and back.

Shared by the ``file`` connector and by ``merkwacht import``, ``export`` and ``backtest``. The keys
of a line are ``id, source, url, author, author_followers, published_at, lang, text, likes, shares,
replies``, for a post that was changed ``edited_at``, and for one in a conversation its address as
``thread``; others are ignored, so that an export with assessments can be read again. A line with
``id``, ``source`` and ``"deleted": true`` says that the platform deleted the post.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from connectors.base import Cursor, Engagement, Page, Post, Reject
from connectors.plaintext import clean, language_tag, one_line, web_url

_Count = Annotated[int, Field(ge=0, le=2**53)]


class MentionLineError(ValueError):
    """A line that is no mention; the message is one clause that names what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Says that a platform deleted a post."""

    platform: str
    id: str


@dataclass(slots=True)
class Lot:
    """What some lines of a source hold."""

    posts: list[Post] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.posts) + len(self.rejects) + len(self.deleted)

    def add(self, found: Post | Deleted) -> None:
        """Take in what a line says."""
        if isinstance(found, Deleted):
            self.deleted.append((found.platform, found.id))
        else:
            self.posts.append(found)

    def page(self, cursor: Cursor) -> Page:
        """The page of these lines."""
        return Page(self.posts, cursor, self.rejects, deleted=self.deleted)


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=500)]
    source: Annotated[str, Field(min_length=1, max_length=50)]
    text: str
    published_at: AwareDatetime
    edited_at: AwareDatetime | None = None
    url: str | None = None
    author: str | None = None
    author_followers: _Count | None = None
    lang: str | None = None
    likes: _Count | None = None
    shares: _Count | None = None
    replies: _Count | None = None
    thread: str | None = None


class _DeletedLine(BaseModel):
    model_config = _Line.model_config

    id: Annotated[str, Field(min_length=1, max_length=500)]
    source: Annotated[str, Field(min_length=1, max_length=50)]


def parse_line(line: str | bytes) -> Post:
    """Read one line that is a mention.

    Text is cleaned of what cannot be stored; an address that is no web address is dropped.

    Raises:
        MentionLineError: not JSON, a key missing, a value of the wrong kind, a deletion.
    """
    found = read_line(line)
    if isinstance(found, Deleted):
        raise MentionLineError("says that a post was deleted, which only a source can say")
    return found


def read_line(line: str | bytes) -> Post | Deleted:
    """Read one line of a source, which may also say that a post was deleted.

    Raises:
        MentionLineError: not JSON, a key missing, a value of the wrong kind.
    """
    try:
        text = line.decode("utf-8-sig") if isinstance(line, bytes) else line
        value: Any = json.loads(text)
    except UnicodeDecodeError:
        raise MentionLineError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise MentionLineError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (RecursionError, ValueError):
        raise MentionLineError("not JSON of a sensible depth and size") from None
    return read_object(value)


def read_object(value: Any) -> Post | Deleted:
    """Turn the JSON object of one line into a post, or into what says that one was deleted.

    Raises:
        MentionLineError: no object, a key missing, a value of the wrong kind.
    """
    if not isinstance(value, dict):
        raise MentionLineError("not a JSON object")
    try:
        if value.get("deleted") is True:
            gone = _DeletedLine.model_validate(_storable(value))
            return Deleted(gone.source, gone.id)
        line = _Line.model_validate(_storable(value))
        published_at = line.published_at.astimezone(UTC)
        edited_at = None if line.edited_at is None else line.edited_at.astimezone(UTC)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise MentionLineError("; ".join(problems)[:500]) from None
    except OverflowError:
        raise MentionLineError(
            "published_at or edited_at: beyond the years that can be counted"
        ) from None
    return Post(
        platform=line.source,
        id=line.id,
        text=clean(line.text),
        published_at=published_at,
        url=_without_handle(web_url(line.url)),
        author=line.author or None,
        author_followers=line.author_followers,
        language=language_tag(line.lang),
        engagement=Engagement(line.likes or 0, line.shares or 0, line.replies or 0),
        edited_at=edited_at,
        thread=_without_handle(web_url(line.thread)),
    )


_STATUS = re.compile(
    r"^https://(?P<host>(?:www\.|mobile\.)?(?:x|twitter)\.com)/\w+/status/(?P<id>\d+)"
)


def _without_handle(url: str | None) -> str | None:
    """A link to a post on X that does not carry its author's handle: it leads to the same post."""
    found = _STATUS.match(url) if url else None
    return f"https://{found['host']}/i/web/status/{found['id']}" if found else url


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """Clean the short texts; JSON may smuggle in half characters and line breaks."""
    short = {"id": 501, "source": 51, "author": 200, "lang": 40}
    return {
        key: one_line(item, short[key])
        if key in short and isinstance(item, str)
        else clean(item)
        if isinstance(item, str)
        else item
        for key, item in value.items()
        if key in _Line.model_fields
    }


def to_object(post: Post) -> dict[str, Any]:
    """Give the JSON object for ``post``: the inverse of :func:`read_object`."""
    found: dict[str, Any] = {
        "id": post.id,
        "source": post.platform,
        "url": post.url,
        "author": post.author,
        "author_followers": post.author_followers,
        "published_at": _iso(post.published_at),
        "lang": post.language,
        "text": post.text,
        "likes": post.engagement.likes,
        "shares": post.engagement.shares,
        "replies": post.engagement.replies,
    }
    if post.edited_at is not None:
        found["edited_at"] = _iso(post.edited_at)
    if post.thread is not None:
        found["thread"] = post.thread
    return found


def to_line(post: Post) -> str:
    """Write ``post`` as one line, without the line break."""
    return json.dumps(to_object(post), ensure_ascii=False)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()

"""The questions that citizens ask the town hall, newest first, as its JSON list gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar

from pydantic import Field

from connectors.base import ConnectorError, Context, Cursor, Page, Post, Reject, SourceFault
from connectors.http import fetch_limited, redact_url, status_error
from connectors.options import Options as BaseOptions


class TownhallOptions(BaseOptions):
    """The list of questions of one town."""

    url: str = Field(pattern=r"^https?://")
    """Address of the list. Required."""
    max_bytes: int = Field(default=1_000_000, ge=1_024)
    """Largest answer that is accepted, in bytes after decompression. Default 1000000."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one poll may take, redirects included. Default 30."""


class TownhallConnector:
    """One town's list. It keeps nothing between polls but what its cursor says."""

    kind: ClassVar[str] = "townhall"
    Options: ClassVar[type[BaseOptions]] = TownhallOptions

    def __init__(self, options: TownhallOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """The questions that came after the last one seen, as one page."""
        last = int((cursor or {}).get("last", 0))
        posts: list[Post] = []
        rejects: list[Reject] = []
        for item in self._questions():
            try:
                number = int(item["number"])
                if number <= last:
                    continue
                posts.append(
                    Post(
                        platform="townhall",
                        id=str(number),
                        text=str(item["question"]),
                        published_at=datetime.fromisoformat(item["asked_at"]).astimezone(UTC),
                        url=item.get("url"),
                    )
                )
            except (KeyError, TypeError, ValueError) as error:
                # One bad item is set aside and counted; the others go on.
                rejects.append(Reject(f"not a question: {error!r}", str(item)[:500]))
        seen = max([last, *(int(post.id) for post in posts)])
        yield Page(posts=posts, cursor={"last": seen}, rejects=rejects)

    def _questions(self) -> list[Any]:
        answer = fetch_limited(
            self._context.http,
            self._options.url,
            headers={"Accept": "application/json"},
            max_bytes=self._options.max_bytes,
            total_seconds=self._options.timeout_seconds,
        )
        if answer.status != HTTPStatus.OK:
            raise status_error(answer, now=self._context.now())
        try:
            questions = json.loads(answer.body)["questions"]
        except (ValueError, KeyError, TypeError, RecursionError):
            questions = None
        if not isinstance(questions, list):
            raise ConnectorError(
                f"{redact_url(self._options.url)}: no list of questions; look at it in a browser",
                fault=SourceFault.BAD_RESPONSE,
            )
        return questions

    def close(self) -> None:
        """Nothing to let go of: the HTTP client belongs to the daemon."""

"""Hacker News: stories and comments through the search that Algolia runs for it.

The search needs no key. It knows no OR, so each clause of a query is a search of its own; a query
that no clause can stand for is answered by reading everything, which is little. One answer never
goes back further than a thousand hits, so pages are bounded by time, not by number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from connectors.base import (
    Asked,
    ConnectorError,
    Context,
    Cursor,
    Engagement,
    Page,
    Post,
    Reject,
    SourceFault,
)
from connectors.counts import count_of
from connectors.http import Fetched, fetch_limited, redact_url, status_error
from connectors.newestfirst import Answer, Pace, Span, read_through
from connectors.options import Options as BaseOptions
from connectors.plaintext import clean, from_html, one_line, web_url
from connectors.query import Query
from connectors.querycover import Clause, cover

_PREFIX = "*"
"""Behind a search: its last word is only the beginning of a word."""
_EVERYTHING = ""
_LONGEST_SEARCH = 400
_LINK = re.compile(r'<a\s[^>]*?href="([^"]*)"[^>]*>[^<]*</a>', re.IGNORECASE)
_REMEDIES: Mapping[SourceFault, str] = {
    SourceFault.RATE_LIMITED: "it takes 10,000 calls an hour from one address: raise "
    "interval_seconds, or use fewer terms in the brands' queries",
    SourceFault.FORBIDDEN: "it needs no key, so this address or our User-Agent is blocked: set "
    "network.contact and ask hn@ycombinator.com",
    SourceFault.UNAUTHORIZED: "it needs no key: look whether base_url leads to hn.algolia.com",
    SourceFault.NOT_FOUND: "look whether base_url is https://hn.algolia.com/api/v1",
}


class HackerNewsOptions(BaseOptions):
    """Options of a source of kind ``hackernews``."""

    kind: Literal["hackernews"] = "hackernews"
    base_url: str = Field(
        default="https://hn.algolia.com/api/v1", pattern=r"^https?://[^\s/?#]+[^\s?#]*$"
    )
    """Where the search is, for gateways and tests. Default "https://hn.algolia.com/api/v1"."""
    comments: bool = True
    """Whether comments are read, not only stories and polls. Default true."""
    page_size: int = Field(default=100, ge=10, le=1_000)
    """Posts asked for in one call. Default 100."""
    max_pages: int = Field(default=10, ge=1, le=100)
    """Calls that one poll may make for each search; the rest waits for the next poll.
    Default 10."""
    max_searches: int = Field(default=20, ge=1, le=200)
    """Searches that the queries may become; if they need more, everything is read instead.
    Default 20."""
    backfill_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    """Hours to look back when a search runs for the first time. Default 24."""
    overlap_minutes: float = Field(default=60.0, ge=0, le=24 * 60)
    """Minutes before the newest post that are read again, for posts indexed late. Default 60."""
    max_bytes: int = Field(default=10 * 2**20, ge=1024, le=100 * 2**20)
    """Largest answer that is accepted, in bytes after decompression. Default 10485760."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""


class HackerNewsConnector:
    """Searches Hacker News for the queries of the brands that this source is polled for."""

    kind: ClassVar[str] = "hackernews"
    Options: ClassVar[type[BaseOptions]] = HackerNewsOptions

    def __init__(self, options: HackerNewsOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._where = redact_url(options.base_url)

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`."""
        pace = Pace(
            calls=self._options.max_pages,
            backfill=timedelta(hours=self._options.backfill_hours),
            overlap=timedelta(minutes=self._options.overlap_minutes),
        )
        return read_through(self._searches(), self._ask, cursor, self._context.now(), pace)

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    @staticmethod
    def asked(query: Query) -> Asked:
        """The searches for one query; "" reads everything. See :class:`connectors.base.Searches`."""
        clauses = cover(query)
        if clauses is None:
            return Asked([_EVERYTHING])
        return Asked([_written(clause) for clause in clauses])

    def _searches(self) -> list[str]:
        """Give the searches that find at least what the queries match; "" reads everything."""
        if not self._context.queries:
            raise ConnectorError(
                f"source {self._context.name}: no brand is assigned to it, so there is nothing to "
                "search for: add it to the sources of a brand",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            )
        wanted: dict[str, None] = {}
        for query in self._context.queries:
            wanted.update(dict.fromkeys(self.asked(query).searches))
        if _EVERYTHING in wanted:
            return [_EVERYTHING]
        return list(wanted) if len(wanted) <= self._options.max_searches else [_EVERYTHING]

    def _ask(self, search: str, span: Span) -> Answer:
        bounds = [f"created_at_i>={span.since}"]
        if span.token is not None:
            bounds.append(f"created_at_i<={int(span.token)}")
        fetched = fetch_limited(
            self._context.http,
            f"{self._options.base_url.rstrip('/')}/search_by_date",
            params={
                "query": search.removesuffix(_PREFIX),
                "tags": "(story,poll,comment)" if self._options.comments else "(story,poll)",
                "numericFilters": ",".join(bounds),
                "hitsPerPage": str(self._options.page_size),
                # As written: no guessed spellings, which would fill the answer with other words.
                "typoTolerance": "false",
                "queryType": "prefixLast" if search.endswith(_PREFIX) else "prefixNone",
                # Without the title of the story, which each of its comments would be found by.
                "restrictSearchableAttributes": "title,story_text,comment_text,url,author",
                "attributesToHighlight": "",
            },
            headers={"Accept": "application/json"},
            max_bytes=self._options.max_bytes,
            total_seconds=self._options.timeout_seconds,
        )
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            raise _refusal(fetched, self._context.now())
        return self._read(fetched.body, span)

    def _read(self, body: bytes, span: Span) -> Answer:
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._bad_response(f"is not JSON ({type(error).__name__})") from error
        hits = parsed.get("hits") if isinstance(parsed, dict) else None
        if not isinstance(hits, list):
            raise self._bad_response("is not a page of search results")
        now = self._context.now()
        posts: list[Post] = []
        rejects: list[Reject] = []
        moments: list[int] = []
        for hit in hits:
            try:
                moments.append(_seconds(hit))
                posts.append(_post(hit, now))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"a post that Algolia describes in an unknown way: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(hit)[:2_000], 500)))
        token = None
        if len(hits) >= self._options.page_size and moments:
            token, crowded = _onward(min(moments), span)
            if crowded:
                rejects.append(Reject(crowded, f"created_at_i={min(moments)}"))
        return Answer(
            posts,
            newest=max(moments, default=None),
            oldest=min(moments, default=None),
            token=token,
            rejects=rejects,
        )

    def _bad_response(self, what: str) -> ConnectorError:
        return ConnectorError(f"{self._where}: the answer {what}", fault=SourceFault.BAD_RESPONSE)


def _onward(oldest: int, span: Span) -> tuple[str, str]:
    """Give where the next page begins: in the second of the oldest hit, which may hold more."""
    if span.token is None or oldest < int(span.token):
        return str(oldest), ""
    return str(oldest - 1), "more posts in one second than fit a page: raise page_size"


def _written(clause: Clause) -> str:
    """Write a clause as a search: all of its words; one that is a beginning goes last."""
    whole = [piece.text for piece in clause if not piece.prefix]
    begun = [piece.text for piece in clause if piece.prefix][:1]
    words = " ".join([*whole, *begun])
    if len(words) > _LONGEST_SEARCH:
        return words[:_LONGEST_SEARCH].rpartition(" ")[0] or words[:_LONGEST_SEARCH] + _PREFIX
    return words + _PREFIX if begun else words


def _refusal(fetched: Fetched, now: datetime) -> ConnectorError:
    """Read Algolia's own words, and say what to do about them."""
    try:
        problem = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        problem = None
    said = problem.get("message") if isinstance(problem, dict) else None
    plain = status_error(fetched, now=now)
    words = [one_line(said, 200) if isinstance(said, str) else "", _REMEDIES.get(plain.fault, "")]
    return status_error(fetched, now=now, detail="; ".join(word for word in words if word))


def _seconds(hit: Mapping[str, Any]) -> int:
    moment = hit["created_at_i"]
    if not isinstance(moment, int) or not 0 < moment < 2**33:
        raise ValueError("no moment")
    return moment


def _post(hit: Mapping[str, Any], now: datetime) -> Post:
    """Turn a hit into a post. Raises what odd values raise."""
    ident = str(hit["objectID"])
    if not (ident.isascii() and ident.isdigit() and len(ident) < 20):  # noqa: PLR2004 - digits
        raise ValueError("no id")
    text = _text(hit)
    if not text:
        raise ValueError("no text")
    return Post(
        platform="hackernews",
        id=ident,
        text=text,
        published_at=min(datetime.fromtimestamp(_seconds(hit), UTC), now),
        url=f"https://news.ycombinator.com/item?id={ident}",
        author=one_line(hit.get("author") or "", 200) or None,
        engagement=Engagement(
            likes=count_of(hit.get("points")), replies=count_of(hit.get("num_comments"))
        ),
        thread=_thread(hit.get("story_id"), ident),
    )


def _thread(story: Any, ident: str) -> str | None:
    """Address of the story that a comment stands under."""
    if not isinstance(story, int) or story <= 0 or str(story) == ident:
        return None
    return f"https://news.ycombinator.com/item?id={story}"


def _text(hit: Mapping[str, Any]) -> str:
    """Give what somebody wrote: a comment, or a title with text and link."""
    comment = hit.get("comment_text")
    if comment:
        return _from_markup(comment)
    parts = [one_line(from_html(hit.get("title") or ""), 500)]
    parts.append(_from_markup(hit.get("story_text") or ""))
    parts.append(web_url(hit.get("url")) or "")
    return clean("\n".join(part for part in parts if part))


def _from_markup(markup: str) -> str:
    """Make text of Hacker News' markup; it shows long links abridged, so take their targets."""
    return from_html(_LINK.sub(r"\1", markup))

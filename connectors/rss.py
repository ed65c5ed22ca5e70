"""RSS and Atom feeds: news sites, blogs, forums, Google Alerts, whatever publishes one.

Reads what ``feedparser`` can make of a feed, however malformed, over the guarded client. It asks
only for what changed (ETag, Last-Modified), keeps to the publisher's wishes for pauses, and
delivers each entry once, also when a publisher gives all entries new ids.
"""

from __future__ import annotations

import calendar
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import feedparser
from pydantic import Field

from connectors.base import (
    ConnectorError,
    Context,
    Cursor,
    Engagement,
    Page,
    Post,
    Reject,
    SourceFault,
)
from connectors.http import (
    Fetched,
    bounded_wish,
    fetch_limited,
    parse_retry_after,
    redact_url,
    server_time,
    status_error,
)
from connectors.options import Options as BaseOptions
from connectors.plaintext import clean, from_html, language_tag, one_line, web_url

_ACCEPT = (
    "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1"
)
_PAGE_ENTRIES = 200
_LEAST_REMEMBERED = 1_000
_LONGEST_ID = 400
_LONGEST_AUTHOR = 200
_NOT_MODIFIED = 304


class RssOptions(BaseOptions):
    """Options of a source of kind ``rss``."""

    kind: Literal["rss"] = "rss"
    url: str = Field(pattern=r"^https?://[^\s/]+\S*$", max_length=2_000)
    """Address of the feed, http or https. Required."""
    platform: str = Field(default="news", pattern=r"^[a-z][a-z0-9_-]{0,49}$")
    """What the posts count as: where they were said. Default "news"."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}(-[a-z0-9]{2,8})*$")
    """Language of all entries, as "nl" or "en-gb", for feeds that do not say or say it wrongly.
    Default: what the feed says."""
    max_bytes: int = Field(default=10 * 2**20, ge=1024, le=100 * 2**20)
    """Largest feed that is accepted, in bytes after decompression. Default 10485760."""
    max_entries: int = Field(default=10_000, ge=1, le=100_000)
    """Entries that are read of one feed; those behind them are left out. Default 10000."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one poll may take, redirects included. Default 30."""


class RssConnector:
    """Polls one feed."""

    kind: ClassVar[str] = "rss"
    Options: ClassVar[type[BaseOptions]] = RssOptions

    def __init__(self, options: RssOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._where = redact_url(options.url)
        self._host = (urlsplit(options.url).hostname or "").lower()

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the entries that were not there before. See :class:`connectors.base.Connector`."""
        memory = _Memory.read(cursor, self._options.url)
        now = self._context.now()
        fetched = self._get(memory)
        if fetched.status == _NOT_MODIFIED:
            yield Page((), memory.cursor(), next_poll_after=_wish(fetched, {}, now))
            return
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            raise status_error(fetched, now=now)
        feed = parse_feed(fetched, self._where)
        wish = _wish(fetched, feed.channel, now)
        entries = [
            _Entry.read(entry, self._host) for entry in feed.entries[: self._options.max_entries]
        ]
        rejects = self._left_out(feed)
        fresh = memory.unknown(entries)
        # Validators count only once every page is stored: a crash in between must not meet a 304.
        for start in range(0, len(fresh) - _PAGE_ENTRIES, _PAGE_ENTRIES):
            chunk = fresh[start : start + _PAGE_ENTRIES]
            memory.remember(chunk)
            yield self._page(chunk, feed, now, memory)
        rest = fresh[(max(len(fresh), 1) - 1) // _PAGE_ENTRIES * _PAGE_ENTRIES :]
        memory.remember(rest)
        memory.settle(entries, None if feed.cut_off else fetched)
        yield self._page(rest, feed, now, memory, rejects=rejects, wish=wish)

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    def _get(self, memory: _Memory) -> Fetched:
        return fetch_limited(
            self._context.http,
            self._options.url,
            headers={"Accept": _ACCEPT, **memory.conditions()},
            max_bytes=self._options.max_bytes,
            total_seconds=self._options.timeout_seconds,
        )

    def _left_out(self, feed: ParsedFeed) -> tuple[Reject, ...]:
        most = self._options.max_entries
        if len(feed.entries) <= most:
            return ()
        return (
            Reject(
                f"the feed holds {len(feed.entries)} entries, of which the first {most} are read",
                self._where,
            ),
        )

    def _page(
        self,
        entries: Sequence[_Entry],
        feed: ParsedFeed,
        now: datetime,
        memory: _Memory,
        *,
        rejects: Sequence[Reject] = (),
        wish: timedelta | None = None,
    ) -> Page:
        posts: list[Post] = []
        unread = list(rejects)
        for entry in entries:
            if entry.text:
                posts.append(self._post(entry, feed, now))
            else:
                unread.append(Reject("an entry without any text", entry.id[:500]))
        return Page(posts, memory.cursor(), unread, wish)

    def _post(self, entry: _Entry, feed: ParsedFeed, now: datetime) -> Post:
        published = entry.published or now
        return Post(
            platform=self._options.platform,
            id=entry.id,
            text=entry.text,
            # A post is not seen before it is said: dates in the future are mistakes of the feed.
            published_at=min(published, now),
            url=entry.url,
            author=entry.author,
            language=self._options.language or entry.language or feed.language,
            engagement=Engagement(replies=entry.replies),
        )


# --- what a feed says -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """What ``feedparser`` made of an answer."""

    entries: Sequence[Mapping[str, Any]]
    channel: Mapping[str, Any]
    cut_off: bool
    """The document ends in the middle: its last entry was left out, it may be half an entry."""

    @property
    def language(self) -> str | None:
        """The feed's own language, or None."""
        return language_tag(_text(self.channel, "language"))


def parse_feed(fetched: Fetched, where: str) -> ParsedFeed:
    """Make entries of a body, as tolerant as ``feedparser`` is.

    Args:
        fetched: a successful answer; its Content-Type decides on the character set.
        where: how messages call the feed.

    Raises:
        ConnectorError: the body is no feed, or one of which nothing is readable.
    """
    headers = {"content-location": fetched.url}
    for name in ("content-type", "content-language"):
        if name in fetched.headers:
            headers[name] = fetched.headers[name]
    try:
        # As a stream: given bare text, feedparser would take it for a file name or an address.
        # Markup is made harmless by turning it into text below, so it need not be sanitised first.
        parsed: Mapping[str, Any] = feedparser.parse(
            io.BytesIO(fetched.body),
            response_headers=headers,
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as e:
        # What its tolerant parser lets through on hostile input; the feed is at fault, not we.
        raise _no_feed(where, f"cannot be read ({type(e).__name__})") from e
    entries: Sequence[Mapping[str, Any]] = parsed["entries"]
    cut_off = bool(parsed.get("bozo")) and not _is_closed(fetched.body)
    if cut_off:
        entries = entries[:-1]
    if not entries and (cut_off or not parsed.get("version")):
        raise _no_feed(where, _looks_like(fetched, cut_off=cut_off))
    return ParsedFeed(entries, parsed["feed"], cut_off)


def _no_feed(where: str, what: str) -> ConnectorError:
    return ConnectorError(f"{where}: the answer {what}", fault=SourceFault.BAD_RESPONSE)


def _looks_like(fetched: Fetched, *, cut_off: bool) -> str:
    start = fetched.body[:2_000].lower()
    kind = one_line(fetched.headers.get("content-type", "no type"), 80)
    if not fetched.body.strip():
        return "is empty"
    if b"<html" in start or b"<!doctype html" in start:
        return f"is a web page, not a feed ({kind}); give the address of the feed itself"
    if cut_off and any(root in start for root in (b"<rss", b"<feed", b"<rdf")):
        return "is cut off before its first entry ends"
    return f"is not a feed ({kind})"


def _is_closed(body: bytes) -> bool:
    """Whether the document ends with the end of a feed (zero bytes: UTF-16 and UTF-32)."""
    end = body[-4_096:].replace(b"\0", b"").lower()
    return any(tag in end for tag in (b"</rss", b"</feed", b"</rdf", b":feed>", b":rss>", b"</cdf"))


def _wish(fetched: Fetched, channel: Mapping[str, Any], now: datetime) -> timedelta | None:
    """The publisher's wish for the next poll: Retry-After, or the feed's own ttl in minutes."""
    pause = parse_retry_after(fetched.headers.get("retry-after"), server_time(fetched.headers, now))
    ttl = _text(channel, "ttl")
    if pause is None and ttl.isascii() and ttl.isdigit():
        return bounded_wish(timedelta(minutes=min(int(ttl[:9]), 10_000))) or None
    return pause


# --- what an entry says ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry in our terms. ``known_id`` and ``known_content`` are its fingerprints."""

    id: str
    text: str
    url: str | None
    author: str | None
    language: str | None
    published: datetime | None
    replies: int
    known_id: str
    known_content: str

    @classmethod
    def read(cls, entry: Mapping[str, Any], host: str) -> _Entry:
        title = _readable(entry.get("title_detail"), entry.get("title"))
        body, language = _body(entry)
        text = _joined(title, body)
        url = web_url(_text(entry, "link"))
        content = _fingerprint(url or body, title)
        ident = _identity(entry, host, content)
        return cls(
            id=ident,
            text=text,
            url=url,
            author=_author(entry),
            language=language,
            published=_moment(entry),
            replies=_count(entry.get("slash_comments") or entry.get("thr_total")),
            known_id=_fingerprint(ident),
            known_content=content,
        )


def _identity(entry: Mapping[str, Any], host: str, content: str) -> str:
    """Give an id that no other publisher uses.

    Addresses, tags and URNs are unique by their nature; bare numbers are so per host only.
    """
    given = one_line(_text(entry, "id"), _LONGEST_ID * 4)
    if not given:
        return f"{host}#{content}"
    if len(given) > _LONGEST_ID:
        return f"{host}#{_fingerprint(given)}"
    worldwide = given.startswith(("http://", "https://", "tag:", "urn:"))
    return given if worldwide else f"{host}#{given}"


def _body(entry: Mapping[str, Any]) -> tuple[str, str | None]:
    """Give the fullest of contents and summary as text, with the language it claims."""
    candidates = [
        part
        for part in (*_dicts(entry.get("content")), *_dicts([entry.get("summary_detail")]))
        if _text(part, "type") in {"", "text/plain", "text/html", "application/xhtml+xml"}
    ]
    read = [(_readable(part, None), _text(part, "language")) for part in candidates]
    text, language = max(read, key=lambda pair: len(pair[0]), default=("", ""))
    return text, language_tag(language)


def _readable(detail: Any, fallback: Any) -> str:
    """Give the text of one construct: markup becomes text, plain text stays as it is."""
    if not isinstance(detail, Mapping):
        return from_html(fallback) if isinstance(fallback, str) else ""
    value = _text(detail, "value")
    if _text(detail, "type") == "text/plain" and "<" not in value:
        return clean(value)
    return from_html(value)


def _joined(title: str, body: str) -> str:
    """Put the title above the body, unless the body begins with it (as social feeds do)."""
    title = " ".join(title.split())
    stem = title.rstrip(".… ")
    if not title or " ".join(body[: 4 * len(title) + 40].split()).startswith(stem):
        return body or title
    return f"{title}\n{body}" if body else title


def _author(entry: Mapping[str, Any]) -> str | None:
    detail = entry.get("author_detail")
    name = _text(detail, "name") if isinstance(detail, Mapping) else ""
    return one_line(name or _text(entry, "author"), _LONGEST_AUTHOR) or None


def _moment(entry: Mapping[str, Any]) -> datetime | None:
    for name in ("published_parsed", "updated_parsed", "created_parsed"):
        value = entry.get(name)
        if value is not None:
            try:
                return datetime.fromtimestamp(calendar.timegm(value), UTC)
            except (ValueError, OverflowError, OSError, TypeError):
                continue
    return None


def _count(value: Any) -> int:
    text = str(value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - digits


def _text(mapping: Mapping[str, Any], name: str) -> str:
    value = mapping.get(name)
    return value if isinstance(value, str) else ""


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value or () if isinstance(one, Mapping)]


def _fingerprint(*parts: str) -> str:
    joined = "\0".join(part.strip() for part in parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=8).hexdigest()


# --- what was seen before -------------------------------------------------------------------------


class _Memory:
    """The cursor: validators of the last whole answer, and fingerprints of entries delivered.

    An entry is known by its id, or by its content if the id that came with that content before has
    gone from the feed: then the publisher changed its ids. Two entries that share link and title
    but both stay in the feed are two entries.
    """

    def __init__(self, feed: str, validators: Mapping[str, str], seen: Sequence[str]) -> None:
        self._feed = feed
        self._validators = dict(validators)
        self._seen = dict.fromkeys(seen)

    @classmethod
    def read(cls, cursor: Cursor | None, url: str) -> _Memory:
        """Read ``cursor``; validators are forgotten when the configuration names another feed."""
        feed = _fingerprint(url)
        if not cursor:
            return cls(feed, {}, ())
        same = cursor.get("feed") == feed
        return cls(feed, cursor.get("validators", {}) if same else {}, cursor.get("seen", ()))

    def cursor(self) -> Cursor:
        return {"feed": self._feed, "validators": self._validators, "seen": list(self._seen)}

    def conditions(self) -> dict[str, str]:
        """Request headers that let the server say "nothing new"."""
        return dict(self._validators)

    def unknown(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Give the entries not delivered before, in the order of the feed."""
        ids = {pair[:16] for pair in self._seen}
        owners: dict[str, set[str]] = {}
        for pair in self._seen:
            owners.setdefault(pair[16:], set()).add(pair[:16])
        present = {entry.known_id for entry in entries}
        fresh: dict[str, _Entry] = {}
        for entry in entries:
            renamed = bool(owners.get(entry.known_content, set()) - present)
            if entry.known_id not in ids and not renamed:
                fresh.setdefault(entry.known_id, entry)
        return list(fresh.values())

    def remember(self, entries: Sequence[_Entry]) -> None:
        self._seen.update((entry.known_id + entry.known_content, None) for entry in entries)

    def settle(self, entries: Sequence[_Entry], fetched: Fetched | None) -> None:
        """After a whole poll: keep what the feed still shows, then the youngest of the rest."""
        for pair in [entry.known_id + entry.known_content for entry in entries]:
            self._seen.pop(pair, None)
            self._seen[pair] = None
        most = max(_LEAST_REMEMBERED, 2 * len(entries))
        self._seen = dict.fromkeys(list(self._seen)[-most:])
        self._validators = {}
        for ask, told in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
            value = fetched.headers.get(told, "") if fetched else ""
            if value.isascii() and value.isprintable() and 0 < len(value) < _LONGEST_ID:
                self._validators[ask] = value

"""RSS and Atom feeds: news sites, blogs, forums, Google Alerts, whatever publishes one.

Reads what ``feedparser`` can make of a feed, however malformed, over the guarded client. It asks
only for what changed (ETag, Last-Modified), keeps to the publisher's wishes for pauses and to the feed's
own rhythm, and delivers each entry once, also when a publisher gives all entries new ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from connectors import feedworker
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
from connectors.feedreader import Entry, Feed, fingerprint
from connectors.http import (
    Fetched,
    fetch_limited,
    parse_retry_after,
    redact_url,
    server_time,
    status_error,
)
from connectors.intake import Place, items
from connectors.options import Options as BaseOptions
from connectors.options import is_one_word
from connectors.websub import HubDoor, is_due, subscribe

_ACCEPT = (
    "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1"
)
_PAGE_ENTRIES = 200
_LEAST_REMEMBERED = 1_000
_LONGEST_VALIDATOR = 400
_NOT_MODIFIED = 304
_MOMENTS = 11
_LEAST_MOMENTS = 4
_LOOKS = 4
"""How often a feed is looked at between two of its entries."""
_PUSH_SPARES = timedelta(minutes=5)
"""After a push the feed itself is left alone if it was asked so short a time ago."""
_SHORTEST_KEY, _LONGEST_KEY = 20, 200
_WIDTH = 16
"""Digits of a fingerprint."""

_REMEDIES = {
    SourceFault.UNAUTHORIZED: "the feed wants a login: give url as https://user:password@host/…, or take the "
    "address with a key that the publisher shows to subscribers",
    SourceFault.PAYMENT_REQUIRED: "it is for subscribers: ask the publisher for an address with a key",
    SourceFault.FORBIDDEN: "the publisher keeps programs out: set network.contact so that it can see who "
    "asks, raise interval_seconds, or ask it to let us in",
    SourceFault.NOT_FOUND: "look for the feed's address on the publisher's site",
}


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
    slowest_seconds: int = Field(default=900, ge=0, le=86_400)
    """Longest pause in seconds that a quiet feed, or its ttl, may slow polls down to; 0: never
    slower than interval_seconds. Default 900."""
    websub_callback: str | None = Field(default=None, pattern=r"^https?://[^\s/]+/\S+$")
    """Public address of this source's intake, as "https://watch.example.com/intake/NAME", for feeds
    that push their news (WebSub). Default: none, nothing is subscribed to."""
    websub_secret: SecretStr | None = None
    """Key that pushes are signed with: 20 to 199 random characters. Also as `websub_secret_file`, or
    from the environment or a systemd credential. Default none."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one poll may take, redirects included. Default 30."""

    @model_validator(mode="after")
    def _subscribes_safely(self) -> Self:
        if (self.websub_callback is None) != (self.websub_secret is None):
            raise ValueError("websub_callback and websub_secret belong together")
        key = "" if self.websub_secret is None else self.websub_secret.get_secret_value()
        if key and not (_SHORTEST_KEY <= len(key) < _LONGEST_KEY and is_one_word(key)):
            raise ValueError("websub_secret must be 20 to 199 plain characters, at random")
        return self


class RssConnector:
    """Polls one feed."""

    kind: ClassVar[str] = "rss"
    Options: ClassVar[type[BaseOptions]] = RssOptions
    remedies: ClassVar[Mapping[SourceFault, str]] = _REMEDIES
    """What to do when the publisher refuses."""

    def __init__(self, options: RssOptions, context: Context) -> None:
        self._options = options
        self._context = context
        secret = options.websub_secret
        self.door = None if secret is None else HubDoor(secret)
        """Lets in what the feed's hub pushes; None without a key."""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the entries that were not there before. See :class:`connectors.base.Connector`."""
        memory = _Memory.read(cursor, self._options.url)
        now = self._context.now()
        if self.door is not None:
            pushed = False
            for page in self._pushed(memory, now):
                pushed = True
                yield page
            if pushed and memory.asked_within(_PUSH_SPARES, now):
                return
        fetched = self._get(memory)
        if self.door is not None:
            memory.asked = int(now.timestamp())
        if fetched.status == _NOT_MODIFIED:
            rejects = self._subscribe(memory, now)
            yield Page((), memory.cursor(), rejects, self._pause(fetched, memory, now))
            return
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            remedy = self.remedies.get(status_error(fetched, now=now).fault, "")
            raise status_error(fetched, now=now, detail=remedy)
        feed = self._read(fetched)
        fresh = memory.unknown(feed.entries)
        memory.rhythm.hear(feed, fresh, now)
        # Validators count only once every page is stored: a crash in between must not meet a 304.
        while len(fresh) > _PAGE_ENTRIES:
            chunk, fresh = fresh[:_PAGE_ENTRIES], fresh[_PAGE_ENTRIES:]
            memory.remember(chunk)
            posts, rejects = self._posts(chunk, feed, now)
            yield Page(posts, memory.cursor(), rejects)
        memory.remember(fresh)
        memory.settle(feed, fetched)
        posts, rejects = self._posts(fresh, feed, now)
        rejects += self._left_out(feed)
        rejects += self._subscribe(memory, now)
        yield Page(posts, memory.cursor(), rejects, self._pause(fetched, memory, now))

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    # --- pushes ---

    def _pushed(self, memory: _Memory, now: datetime) -> Iterator[Page]:
        """What the hub has pushed: a part of the feed each time."""
        for body, _, place in items(self._context.intake, memory.place, lambda one: [one.body]):
            memory.place = place
            if body is None:
                continue
            try:
                feed = self._parse(body, {}, self._options.url)
            except ConnectorError as error:
                yield Page((), memory.cursor(), [Reject(f"a push: {error}", "")])
                continue
            fresh = memory.unknown(feed.entries)
            memory.remember(fresh)
            posts, rejects = self._posts(fresh, feed, now)
            yield Page(posts, memory.cursor(), rejects)

    def _subscribe(self, memory: _Memory, now: datetime) -> list[Reject]:
        """Ask the feed's hub for pushes, once a day; says what is wrong."""
        callback = self._options.websub_callback
        if self.door is None or callback is None or memory.hub is None:
            return []
        if not is_due(memory.subscribed, now):
            return []
        memory.subscribed = int(now.timestamp())
        trouble = subscribe(
            self._context.http,
            memory.hub,
            memory.topic or self._options.url,
            callback,
            self.door,
            seconds=self._options.timeout_seconds,
        )
        where = redact_url(self._options.url)
        return [Reject(f"the feed cannot be subscribed to: {trouble}", where)] if trouble else []

    # --- the feed itself ---

    def _get(self, memory: _Memory) -> Fetched:
        return fetch_limited(
            self._context.http,
            self._options.url,
            headers={"Accept": _ACCEPT, **memory.conditions()},
            max_bytes=self._options.max_bytes,
            total_seconds=self._options.timeout_seconds,
        )

    def _read(self, fetched: Fetched) -> Feed:
        told = ("content-type", "content-language")
        headers = {name: fetched.headers[name] for name in told if name in fetched.headers}
        return self._parse(fetched.body, headers, fetched.url)

    def _parse(self, body: bytes, headers: Mapping[str, str], url: str) -> Feed:
        return feedworker.SHARED.read(
            body,
            headers,
            url=url,
            host=(urlsplit(self._options.url).hostname or "").lower(),
            most=self._options.max_entries,
            where=redact_url(self._options.url),
        )

    def _pause(self, fetched: Fetched, memory: _Memory, now: datetime) -> timedelta | None:
        """When to ask again: as the server says, else as the feed's rhythm suggests."""
        told = parse_retry_after(
            fetched.headers.get("retry-after"), server_time(fetched.headers, now)
        )
        if told is not None:
            return told
        seconds = min(memory.rhythm.pause(now), self._options.slowest_seconds)
        return timedelta(seconds=seconds) if seconds else None

    def _left_out(self, feed: Feed) -> list[Reject]:
        if feed.total <= len(feed.entries):
            return []
        reason = f"the feed holds {feed.total} entries, the first {len(feed.entries)} are read"
        return [Reject(reason, redact_url(self._options.url))]

    def _posts(
        self, entries: Sequence[Entry], feed: Feed, now: datetime
    ) -> tuple[list[Post], list[Reject]]:
        posts = [self._post(entry, feed, now) for entry in entries if entry.text]
        rejects = [
            Reject("an entry without any text", entry.id) for entry in entries if not entry.text
        ]
        return posts, rejects

    def _post(self, entry: Entry, feed: Feed, now: datetime) -> Post:
        return Post(
            platform=self._options.platform,
            id=entry.id,
            text=entry.text,
            published_at=_published(entry.published, now),
            url=entry.url,
            author=entry.author,
            language=self._options.language or entry.language or feed.language,
            engagement=Engagement(replies=entry.replies),
        )


def _published(seconds: int | None, now: datetime) -> datetime:
    """Give the date of an entry: now if it has none, or one that lies in the future by mistake."""
    try:
        return now if seconds is None else min(datetime.fromtimestamp(seconds, UTC), now)
    except (ValueError, OverflowError, OSError):
        return now


# --- how often it changes -------------------------------------------------------------------------


@dataclass(slots=True)
class _Rhythm:
    """How often a feed changes: by its own word, and as observed."""

    ttl: int = 0
    """Seconds that the publisher wants a copy to be kept."""
    period: int = 0
    """Seconds between two changes, by the publisher's word."""
    moments: list[int] = field(default_factory=list)
    """When its latest entries were published, in seconds since 1970, in order."""

    def hear(self, feed: Feed, fresh: Sequence[Entry], now: datetime) -> None:
        """Take in what a whole feed says."""
        self.ttl = 60 * (feed.ttl_minutes or 0)
        self.period = 60 * (feed.period_minutes or 0)
        moments = [int(_published(entry.published, now).timestamp()) for entry in fresh]
        self.moments = sorted([*self.moments, *moments])[-_MOMENTS:]

    def pause(self, now: datetime) -> int:
        """Seconds to wait by ttl and rhythm; 0: no wish.

        A quarter of the usual time between two entries, but no more than a quarter of the time since
        the last one: a feed that wakes up is read often at once.
        """
        usual = self.period
        if len(self.moments) >= _LEAST_MOMENTS:
            between = median(later - one for one, later in pairwise(self.moments))
            usual = min(int(between), max(int(now.timestamp()) - self.moments[-1], 0))
        return max(self.ttl, usual // _LOOKS)


# --- what was seen before -------------------------------------------------------------------------


class _Memory:
    """The cursor: validators of the last whole answer, and fingerprints of entries delivered.

    An entry is known by its id, or by its content if the id that came with that content before has
    gone from the feed: then the publisher changed its ids. Two entries that share link and title
    but both stay in the feed are two entries.
    """

    def __init__(
        self,
        feed: str,
        validators: Mapping[str, str],
        seen: Sequence[str],
        rhythm: Mapping[str, Any] | None = None,
    ) -> None:
        self.rhythm = _Rhythm(**(rhythm or {}))
        self.place = Place()
        """How far the intake was read."""
        self.hub: str | None = None
        """Where the feed's news can be subscribed to, and under which name."""
        self.topic: str | None = None
        self.asked: int | None = None
        """When the feed itself was asked last, in seconds since 1970."""
        self.subscribed: int | None = None
        """When its hub was."""
        self._feed = feed
        self._validators = dict(validators)
        self._seen = dict.fromkeys(seen)

    @classmethod
    def read(cls, cursor: Cursor | None, url: str) -> _Memory:
        """Read ``cursor``; validators are forgotten when the configuration names another feed."""
        feed = fingerprint(url)
        if not cursor:
            return cls(feed, {}, ())
        same = cursor.get("feed") == feed
        validators = cursor.get("validators", {}) if same else {}
        rhythm = cursor.get("rhythm") if same else None
        memory = cls(feed, validators, cursor.get("seen", ()), rhythm)
        memory.place = Place.read(cursor.get("intake"))
        if same:
            memory.hub, memory.topic = cursor.get("hub"), cursor.get("topic")
            memory.asked, memory.subscribed = cursor.get("asked"), cursor.get("subscribed")
        return memory

    def asked_within(self, pause: timedelta, now: datetime) -> bool:
        """Whether the feed itself was asked so short a time ago."""
        return self.asked is not None and now.timestamp() - self.asked < pause.total_seconds()

    def cursor(self) -> Cursor:
        return {
            "feed": self._feed,
            "validators": self._validators,
            "seen": list(self._seen),
            "rhythm": asdict(self.rhythm),
            "intake": self.place.kept(),
            "hub": self.hub,
            "topic": self.topic,
            "asked": self.asked,
            "subscribed": self.subscribed,
        }

    def conditions(self) -> dict[str, str]:
        """Request headers that let the server say "nothing new"."""
        return dict(self._validators)

    def unknown(self, entries: Sequence[Entry]) -> list[Entry]:
        """Give the entries not delivered before, in the order of the feed."""
        known = {pair[:_WIDTH] for pair in self._seen}
        owners: dict[str, set[str]] = {}
        for pair in self._seen:
            owners.setdefault(pair[_WIDTH:], set()).add(pair[:_WIDTH])
        present = {fingerprint(entry.id) for entry in entries}
        fresh: dict[str, Entry] = {}
        for entry in entries:
            ident = fingerprint(entry.id)
            renamed = bool(owners.get(entry.content, set()) - present)
            if ident not in known and not renamed:
                fresh.setdefault(ident, entry)
        return list(fresh.values())

    def remember(self, entries: Sequence[Entry]) -> None:
        """Count ``entries`` as delivered, and as the youngest of all."""
        for entry in entries:
            pair = fingerprint(entry.id) + entry.content
            self._seen.pop(pair, None)
            self._seen[pair] = None

    def settle(self, feed: Feed, fetched: Fetched) -> None:
        """After a whole poll: keep what the feed still shows, then the youngest of the rest."""
        self.remember(feed.entries)
        self.hub, self.topic = feed.hub, feed.topic
        most = max(_LEAST_REMEMBERED, 2 * len(feed.entries))
        self._seen = dict.fromkeys(list(self._seen)[-most:])
        self._validators = {}
        for ask, told in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
            value = fetched.headers.get(told, "")
            fit = value.isascii() and value.isprintable() and 0 < len(value) < _LONGEST_VALIDATOR
            if fit and not feed.cut_off:
                self._validators[ask] = value

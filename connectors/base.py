"""What a source delivers: the types and the protocol of the first stage of the journey.

A connector turns one configured source (a feed, a search on X, a folder of files) into pages of
:class:`Post`. It owns the meaning of its cursor and nothing else: it stores nothing, matches
nothing, retries nothing. The store commits a page's posts together with its cursor, so a crash
repeats one page at most and post ids make the repeat harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import httpx

    from connectors.options import Options
    from connectors.query import Query

Cursor = Mapping[str, Any]
"""Where a source was left: JSON that only its connector understands (ETag, since_id, offset)."""

Clock = Callable[[], datetime]
"""Gives the present moment, timezone-aware in UTC. Comes in through constructors, never ambient."""


@dataclass(frozen=True, slots=True)
class Engagement:
    """Reactions to a post as counted when it was collected."""

    likes: int = 0
    shares: int = 0
    replies: int = 0


@dataclass(frozen=True, slots=True)
class Post:
    """One public utterance, as a connector delivers it.

    ``platform`` is where it was said (``x``, ``news``, ``reddit``: the field ``source`` of mention
    files) and, together with ``id``, identifies the post for ever. ``author`` is the handle as the
    platform gives it; it becomes a pseudonym before anything is stored.
    """

    platform: str
    id: str
    text: str
    published_at: datetime
    """Aware, UTC."""
    url: str | None = None
    author: str | None = None
    author_followers: int | None = None
    language: str | None = None
    """As the source claims it (BCP 47, lower case), or None."""
    engagement: Engagement = field(default_factory=Engagement)
    edited_at: datetime | None = None
    """When its author last changed it, aware, UTC; None: never, or the source does not say."""
    about_brand: bool = False
    """Whether it is about the brand by where it was said, whatever its words: a review of it, a
    comment on its own channel, a report by a colleague."""
    thread: str | None = None
    """Address of what it answers or stands under: the post that began the conversation, a story, a
    video. None: it answers nothing, or the source does not say."""
    images: tuple[str, ...] = ()
    """Addresses of pictures attached to it, a few at most. Kept only until their text was read, where
    that is wanted."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A post that matches a brand's query, as later stages see it: the author is a pseudonym."""

    id: int
    """Row id in the store."""
    brand: str
    post: Post
    """With ``author`` replaced by its pseudonym."""
    matched: tuple[str, ...]
    """The terms of the query that were found, as written in the query."""
    story: str
    """Key shared by near-duplicates (reshares) of one another."""
    official: bool = False
    """Whether an official account of the brand wrote it."""


@dataclass(frozen=True, slots=True)
class Reject:
    """An item of a page that could not become a post. Kept and counted, never silently dropped."""

    reason: str
    """One clause that names what was wrong with the item."""
    excerpt: str
    """At most 500 characters of the item, for the person who looks into it."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many posts a source has for a query, where it counts them without showing them."""

    query: str
    """The brand's query, as in the configuration."""
    start: datetime
    """Aware, UTC."""
    width: timedelta
    """Of the stretch that was counted: at most five minutes, and not across a full five minutes."""
    number: int


@dataclass(frozen=True, slots=True)
class Page:
    """One step through a source: its posts and the cursor that continues after them."""

    posts: Sequence[Post]
    cursor: Cursor
    rejects: Sequence[Reject] = ()
    next_poll_after: timedelta | None = None
    """The source's own wish (Retry-After, ttl, a drained quota) for the pause before the next poll."""
    deleted: Sequence[tuple[str, str]] = ()
    """Platform and id of posts that the platform says were deleted."""
    closed: Sequence[tuple[str, str]] = ()
    """Platform and account of accounts that are no more, where ids of posts begin with the account and
    a slash: all their posts were deleted."""
    counts: Sequence[Count] = ()
    """Of posts that are not shown; each replaces what the source counted there before."""
    spent: Mapping[str, int] = field(default_factory=dict)
    """What the source bills, or takes off a quota, for this page: ``post``, ``user``, ``media``,
    ``request``, ``search``, ``unit``."""
    heard_until: datetime | None = None
    """Aware, UTC; of a poll's last page: up to when its source was read, where what was said since is left
    for the next poll. None: up to the present."""

    @property
    def is_empty(self) -> bool:
        """Whether it brings nothing but a cursor."""
        news = (self.posts, self.rejects, self.deleted, self.closed, self.counts, self.spent)
        return not any(news)


class SourceFault(StrEnum):
    """Why a poll failed: a closed set, used alike in logs, metrics and coverage."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """Refused, reset, no such host."""
    BLOCKED_ADDRESS = "blocked_address"
    """The address is private and the configuration does not allow that."""
    RATE_LIMITED = "rate_limited"
    UNAUTHORIZED = "unauthorized"
    """401: the token is wrong or expired."""
    FORBIDDEN = "forbidden"
    """403: permission or plan too small."""
    PAYMENT_REQUIRED = "payment_required"
    NOT_FOUND = "not_found"
    """404, 410, a missing file."""
    SERVER_ERROR = "server_error"
    BAD_REQUEST = "bad_request"
    """The source refused our query as malformed."""
    BLOCKED = "blocked"
    """It answers, but not with what it has: its canary is missing."""
    BEHIND = "behind"
    """It is read, but not up to the present yet."""
    BAD_RESPONSE = "bad_response"
    """Not what this source should answer: wrong type, truncated, hostile."""
    TOO_LARGE = "too_large"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    INTERNAL = "internal"
    """A defect of ours, logged with its traceback."""


class Darkness(StrEnum):
    """Why a source was not heard for a while: a closed set, coarse enough for a report."""

    REFUSED = "refused"
    """It does not let us in, or does not know what we ask for: a person has to act."""
    BLOCKED = "blocked"
    """It answers as if there were nothing, or may not be reached from here."""
    QUOTA = "quota"
    """What it allows us for now is used up."""
    BEHIND = "behind"
    """It is read, but not up to the present yet."""
    ERROR = "error"
    """It, or the way to it, was out of order."""
    PAUSED = "paused"
    """It is not in the configuration, or not enabled."""
    DOWN = "down"
    """This program was not running."""


def darkness_of(fault: SourceFault) -> Darkness:
    """The reason of a stretch in which polls failed with ``fault``."""
    return _DARKNESS.get(fault, Darkness.ERROR)


_DARKNESS: Mapping[SourceFault, Darkness] = {
    SourceFault.UNAUTHORIZED: Darkness.REFUSED,
    SourceFault.FORBIDDEN: Darkness.REFUSED,
    SourceFault.NOT_FOUND: Darkness.REFUSED,
    SourceFault.BAD_REQUEST: Darkness.REFUSED,
    SourceFault.BLOCKED: Darkness.BLOCKED,
    SourceFault.BLOCKED_ADDRESS: Darkness.BLOCKED,
    SourceFault.RATE_LIMITED: Darkness.QUOTA,
    SourceFault.PAYMENT_REQUIRED: Darkness.QUOTA,
    SourceFault.BEHIND: Darkness.BEHIND,
}


class ConnectorError(Exception):
    """A poll that failed, in terms of who must act.

    Args:
        message: what is wrong, where, and what to do; free of secrets.
        fault: the closed-set reason.
        permanent: True when only a person can mend it (a token, a wrong address): polled again
            only at a slow pace.
        retry_after: the source's own wish for the next try.
    """

    def __init__(
        self,
        message: str,
        *,
        fault: SourceFault,
        permanent: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.permanent = permanent
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Arrival:
    """What somebody pushed to a source, as it came in. Stored before it was acknowledged."""

    number: int
    """Grows with each arrival; the place in the intake that a cursor keeps."""
    received_at: datetime
    body: bytes


class Intake(Protocol):
    """What was pushed to one source. It lies there until a cursor has gone past it."""

    def after(self, number: int, limit: int) -> Sequence[Arrival]:
        """Give the oldest arrivals behind ``number``, at most ``limit``."""
        ...

    def done(self, number: int) -> None:
        """Say that a cursor which was *committed* leads past ``number``: so far all is erased."""
        ...


class Budget(Protocol):
    """What a source may still spend. Knows of a page once it was committed."""

    def left(self) -> Decimal:
        """Money that is left for now, of the day or the month, whichever has less; never below 0."""
        ...

    def cost(self, units: Mapping[str, int]) -> Decimal:
        """What some units cost, in the same currency."""
        ...


@runtime_checkable
class Priced(Protocol):
    """A connector whose source sends a bill, and that keeps to a budget."""

    currency: ClassVar[str]
    prices: ClassVar[Mapping[str, Decimal]]
    """Of a unit, by the public list. Every unit that its pages say they spent."""

    @staticmethod
    def least(options: Any) -> Mapping[str, int]:
        """The units of the smallest page with posts: with less money left it reads no more."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What every connector is given besides its own options."""

    name: str
    """The source's name in the configuration."""
    now: Clock
    http: httpx.Client
    """The one guarded client (time-out, size cap, no private addresses): see ``connectors.http``."""
    queries: Sequence[Query] = ()
    """The queries of the brands this source is polled for, for sources that search."""
    intake: Intake | None = None
    """What was pushed to this source; None where nothing listens (a check, a test)."""
    budget: Budget | None = None
    """To be asked before whatever costs money; None: there is no limit."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source is asked for one query."""

    searches: Sequence[str]
    """In the source's own words; "" asks for everything it has."""
    missed: Sequence[str] = ()
    """Terms that the source cannot look for, so that posts with nothing else stay unseen."""


@runtime_checkable
class Searches(Protocol):
    """A connector that asks its source only for what the brands' queries look for."""

    @staticmethod
    def asked(query: Query) -> Asked:
        """What the source is asked for one query; but for what is missed it finds at least as much.

        Raises ValueError, with the reason and what to do, where the source cannot be asked.
        """
        ...


class Connector(Protocol):
    """One configured source. Constructed once with ``(options, context)``, polled for ever.

    ``fetch`` is called in a worker thread, never twice at a time for one source. It yields pages as
    it gets them; each is committed before the next is asked for. An exception that is no
    :class:`ConnectorError` counts as our defect.
    """

    kind: ClassVar[str]
    Options: ClassVar[type[Options]]

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new since ``cursor`` (None: never polled). Raises ConnectorError."""
        ...

    def close(self) -> None:
        """Let go of files and connections. Called once."""
        ...

"""X (formerly Twitter): the recent search of its API v2, paid per post that is read.

``tweepy`` knows the API; its requests go out through the guarded client, since tweepy itself knows
only one host, has no limits of size, and writes the token to its debug log. Nothing here sleeps:
limits come back as errors with the time at which to try again.

X answers newest first, a page at a time. So that a crash in the middle of an answer loses nothing,
the cursor keeps the newest id seen and, as *gaps*, what lies below it and was not read yet. New
posts always come before old gaps: in a storm the latest is what matters.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal

import httpx
from pydantic import Field, SecretStr, field_validator

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
from connectors.counts import count_or_none
from connectors.http import (
    Fetched,
    bounded_wish,
    fetch_limited,
    redact_url,
    server_time,
    status_error,
)
from connectors.marks import mark
from connectors.options import Options as BaseOptions
from connectors.options import is_one_word
from connectors.plaintext import clean, language_tag, one_line, web_url
from connectors.query import Query
from connectors.xcounts import RECOUNT, Counted, count_within, key_of, read_counts

_REACH = timedelta(days=7) - timedelta(minutes=5)
"""How far back recent search looks: seven days, less what clocks may differ by."""

_ID_EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657_000, tzinfo=UTC)
"""Ids count milliseconds from here, in all but their lowest 22 bits."""

_LEAST_LOOK_BACK = timedelta(minutes=2)
"""X refuses to search from a moment that is not yet past for it."""

_LEAST_PAGE = 10
_MOST_GAPS = 20
_MAX_BYTES = 8 * 2**20
_TWEET_FIELDS = (
    "created_at",
    "lang",
    "public_metrics",
    "author_id",
    "note_tweet",
    "conversation_id",
)
_USER_FIELDS = ("username", "public_metrics")
_MEDIA_FIELDS = ("type", "alt_text", "url", "preview_image_url")
_MOST_MEDIA = 4
"""Pictures and films that one post can have."""

_REMEDIES = {
    SourceFault.UNAUTHORIZED: "the bearer token is wrong, was regenerated or belongs to a suspended app: "
    "copy it anew from the app's keys on developer.x.com",
    SourceFault.FORBIDDEN: "the app has to belong to a project whose plan has the recent search: look at "
    "project and plan on developer.x.com",
    SourceFault.PAYMENT_REQUIRED: "the credits are used up: buy some on developer.x.com, or lower "
    "max_posts_per_day so that they last",
}


class XOptions(BaseOptions):
    """Options of a source of kind ``x``."""

    kind: Literal["x"] = "x"
    bearer_token: SecretStr
    """App-only bearer token of a project on developer.x.com. Required. Also as
    `bearer_token_file`, or from the environment or a systemd credential."""
    mode: Literal["posts", "counts"] = "posts"
    """"posts" reads posts; "counts" only asks how many there are, for volume without paying for
    them. Default "posts"."""
    base_url: str = Field(default="https://api.x.com", pattern=r"^https?://[^\s/?#]+[^\s?#]*$")
    """Where the API is, for gateways and tests. Default "https://api.x.com"."""
    page_size: int = Field(default=100, ge=_LEAST_PAGE, le=100)
    """Posts asked for in one call. Default 100."""
    max_pages: int = Field(default=5, ge=1, le=100)
    """Calls that one poll may make for each search; the rest waits for the next poll. Default 5."""
    max_posts_per_day: int = Field(default=5_000, ge=_LEAST_PAGE)
    """Posts that may be read, and paid, in a day (UTC). Default 5000."""
    backfill_hours: float = Field(default=24.0, ge=0, le=167)
    """Hours to look back when a search runs for the first time, of at most 7 days. Default 24."""
    languages: tuple[str, ...] = ()
    """Only posts in these languages by X's own judgement, as ["nl", "en"]. Default: all."""
    include_reposts: bool = False
    """Whether plain reposts are read too; each is paid like a post. Default false."""
    expand_authors: bool = True
    """Whether to read handle and follower count of authors; each author is paid. Without them
    official accounts are not recognised and reach is unknown. Default true."""
    expand_media: bool = False
    """Whether to read the descriptions of attached pictures and films; each of them is on X's price
    list, up to four a post. Default false."""
    approximate: bool = False
    """Whether to search for the rest of a query that X cannot express, such as wildcards in an OR,
    instead of refusing it. Default false."""
    query_suffix: str = Field(default="", max_length=200)
    """Further operators of X's search added to each search, as "-is:nullcast". Default none."""
    max_query_characters: int = Field(default=512, ge=64, le=4_096)
    """Longest search that the account's plan allows, in characters. Default 512."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("bearer_token")
    @classmethod
    def _is_one_word(cls, token: SecretStr) -> SecretStr:
        if not is_one_word(token.get_secret_value()):
            raise ValueError("a bearer token is one word of plain characters; copy it again")
        return token

    @field_validator("languages")
    @classmethod
    def _are_languages(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if language_tag(tag) != tag or len(tag) > 5:  # noqa: PLR2004 - as in zh-tw
                raise ValueError(f"{tag!r} is no language code such as nl or en")
        return tags


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of a search's results, newest first: what lies above ``since`` and below ``until``.

    Ids are texts of digits. ``start`` (ISO 8601) bounds it below where no id is known yet.
    ``token`` continues the answer that ended at ``oldest``.
    """

    since: str | None = None
    start: str | None = None
    until: str | None = None
    oldest: str | None = None
    token: str | None = None


@dataclass(slots=True)
class _State:
    """How far one search has come."""

    start: str
    newest: str | None = None
    gaps: list[_Span] = field(default_factory=list)

    def head(self, earliest: datetime) -> _Span:
        """What was posted since the last poll."""
        if self.newest is not None:
            return _Span(since=self.newest)
        return _Span(start=max(self.start, _iso(earliest)))


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page of results in our terms."""

    posts: list[Post]
    rejects: list[Reject]
    newest: str | None
    oldest: str | None
    token: str | None
    billed: Mapping[str, int]
    """Posts, users and, where they are read, media."""


class _SpentError(Exception):
    """No money is left for a page of posts."""


class XConnector:
    """Searches X for the queries of the brands that this source is polled for."""

    kind: ClassVar[str] = "x"
    Options: ClassVar[type[BaseOptions]] = XOptions
    currency: ClassVar[str] = "USD"
    prices: ClassVar[Mapping[str, Decimal]] = {
        "post": Decimal("0.005"),
        "user": Decimal("0.010"),
        "media": Decimal("0.005"),
        "request": Decimal(0),
    }
    """X's list of 2026. A request is one for counts."""

    def __init__(self, options: XOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._spent: Counter[str] = Counter()
        """Billed, and not told with a page yet."""
        self._where = redact_url(options.base_url)
        self._api = _guarded_tweepy(options, context)

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`.

        A search that X refuses does not hold up the others; it is reported at the end.
        """
        if self._options.mode == "counts":
            yield from self._counts(cursor)
            return
        progress = _Progress.read(cursor, self._context.now())
        searches = self._searches()
        progress.keep_only(list(searches))
        refused: ConnectorError | None = None
        for search in searches:
            try:
                yield from self._poll(search, progress)
            except _SpentError:
                yield from self._count_unread(searches, progress)
                break
            except ConnectorError as error:
                if error.fault is not SourceFault.BAD_REQUEST:
                    raise
                refused = refused or error
        if refused is not None:
            raise refused

    @staticmethod
    def least(options: XOptions) -> Mapping[str, int]:
        """What the smallest page may be billed for. See :class:`connectors.base.Priced`."""
        if options.mode == "counts":
            return {"request": 1}
        return {unit: count * _LEAST_PAGE for unit, count in _dearest(options).items()}

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    # --- what to search for ---

    @staticmethod
    def asked(query: Query) -> Asked:
        """The search for one query. See :class:`connectors.base.Searches`."""
        search = query.search_x(approximate=False)
        return Asked([search.expression], search.missed)

    def _searches(self) -> dict[str, list[Counted]]:
        """Give the queries of all brands as few searches as fit X's limit of length.

        With each search the queries that it finds, as they are counted.
        """
        suffix = self._suffix()
        room = self._room(suffix)
        wanted: dict[str, list[Counted]] = {}
        expressions = self._expressions(room - len("()"))
        for query, expression in zip(self._context.queries, expressions, strict=True):
            counted = Counted(query.source, f"({expression}){suffix}")
            wanted.setdefault(expression, []).append(counted)
        groups: dict[str, list[Counted]] = {}
        last = ""
        for expression, found in wanted.items():
            joined = f"{last} OR ({expression})" if groups else ""
            if groups and len(joined) <= room:
                groups[joined] = [*groups.pop(last), *found]
                last = joined
            else:
                last = f"({expression})"
                groups[last] = found
        return {
            f"({group}){suffix}" if " OR (" in group else group + suffix: list(dict.fromkeys(found))
            for group, found in groups.items()
        }

    def _room(self, suffix: str) -> int:
        return self._options.max_query_characters - len(suffix) - len("()")

    def _expressions(self, room: int) -> Iterator[str]:
        """Give what stands for each query, in their order."""
        if not self._context.queries:
            raise ConnectorError(
                f"source {self._context.name}: no brand is assigned to it, so there is nothing to "
                "search for: add it to the sources of a brand",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            )
        for query in self._context.queries:
            try:
                yield query.compile_x(room, approximate=self._options.approximate)
            except ValueError as error:
                raise ConnectorError(
                    f"source {self._context.name}: the query {query.source!r} cannot be asked of "
                    f"X: {error}",
                    fault=SourceFault.BAD_REQUEST,
                    permanent=True,
                ) from error

    def _suffix(self) -> str:
        parts = [] if self._options.include_reposts else ["-is:retweet"]
        languages = [f"lang:{tag}" for tag in self._options.languages]
        if languages:
            parts.append(languages[0] if len(languages) == 1 else f"({' OR '.join(languages)})")
        parts.append(self._options.query_suffix.strip())
        return "".join(f" {part}" for part in parts if part)

    # --- only counting ---

    def _counts(self, cursor: Cursor | None) -> Iterator[Page]:
        """Count for each query by itself: what is counted together belongs to no brand."""
        suffix = self._suffix()
        expressions = self._expressions(self._room(suffix))
        wanted = [
            Counted(query.source, f"({expression}){suffix}")
            for query, expression in zip(self._context.queries, expressions, strict=True)
        ]
        wanted = list(dict.fromkeys(wanted))  # brands may share a query
        now = self._context.now()
        back = max(timedelta(hours=self._options.backfill_hours), RECOUNT)
        for page in read_counts(wanted, self._ask_counts, cursor, now, min(back, _REACH)):
            yield replace(page, next_poll_after=self._pause(), spent=self._bill())

    def _count_unread(
        self, searches: Mapping[str, Sequence[Counted]], progress: _Progress
    ) -> Iterator[Page]:
        """Count what there is no money to read, where it lies: nothing that was read counts twice."""
        now = self._context.now()
        refused: ConnectorError | None = None
        for search, queries in searches.items():
            state = progress.state(search, now - self._look_back())
            spans = [_times(span, now - _REACH) for span in (state.head(now - _REACH), *state.gaps)]
            for each in queries:
                since = min(start for start, _ in spans)
                if (known := progress.counted.get(key_of(each))) is not None:
                    since = max(since, datetime.fromisoformat(known) - RECOUNT)
                try:
                    counts, end = count_within(each, self._ask_counts, spans, since, now)
                except ConnectorError as error:
                    if error.fault is not SourceFault.BAD_REQUEST:
                        raise
                    refused = refused or error
                    continue
                progress.counted[key_of(each)] = end.isoformat()
                yield Page(
                    (),
                    progress.cursor(),
                    next_poll_after=self._pause(),
                    counts=counts,
                    spent=self._bill(),
                )
        if refused is not None:
            raise refused

    def _ask_counts(self, search: str, bounds: Mapping[str, str]) -> Any:
        self._pay_for_counts()
        # tweepy's own method for it knows no pages.
        params = {"query": search, **bounds}
        try:
            return self._api.request("GET", "/2/tweets/counts/recent", params=params).json()
        except (ValueError, RecursionError) as error:
            raise self._bad_response(f"is not JSON ({type(error).__name__})") from error

    # --- one search ---

    def _poll(self, search: str, progress: _Progress) -> Iterator[Page]:
        now = self._context.now()
        state = progress.state(search, now - self._look_back())
        todo = [state.head(now - _REACH), *state.gaps]
        first = True
        for _ in range(self._options.max_pages):
            span = todo.pop(0)
            size = self._affordable(search, span, progress)
            answer, span, lost = self._ask(search, span, size, is_head=first)
            if first and span.since is None:
                state.newest, state.start = None, span.start or state.start
            first = False
            progress.spent += answer.billed["post"]
            progress.counted.clear()
            self._spent.update(answer.billed)
            if answer.newest is not None:
                state.newest = _newer(state.newest, answer.newest)
            if answer.token is not None:
                oldest = answer.oldest or span.oldest
                todo.insert(0, replace(span, oldest=oldest, token=answer.token))
            state.gaps = _few(todo)
            yield Page(
                answer.posts,
                progress.cursor(),
                [*answer.rejects, *lost],
                self._pause(),
                spent=self._bill(),
            )
            if not todo:
                return

    def _look_back(self) -> timedelta:
        return max(timedelta(hours=self._options.backfill_hours), _LEAST_LOOK_BACK)

    def _bill(self) -> dict[str, int]:
        """What was spent since the last page."""
        spent, self._spent = self._spent, Counter()
        return dict(spent)

    def _affordable(self, search: str, span: _Span, progress: _Progress) -> int:
        """Give the size of the next page.

        Raises ConnectorError when the posts of the day are read, _SpentError when the money is spent.
        """
        left = self._options.max_posts_per_day - progress.spent
        if left >= _LEAST_PAGE:
            size = min(self._options.page_size, left, self._paid())
            if size < _LEAST_PAGE:
                raise _SpentError
            return size
        raise ConnectorError(
            f"source {self._context.name}: the {self._options.max_posts_per_day} posts allowed for "
            f"today (UTC) are read{self._unread(search, span)}; raise max_posts_per_day if that is "
            "worth its price",
            fault=SourceFault.RATE_LIMITED,
            retry_after=bounded_wish(_next_day(self._context.now()) - self._context.now()),
        )

    def _pay_for_counts(self) -> None:
        """Note a request for counts. Raises ConnectorError where there is no money even for that."""
        budget = self._context.budget
        if budget is not None and budget.cost({"request": 1}):
            cost = budget.cost({**self._spent, "request": self._spent["request"] + 1})
            if cost > budget.left():
                raise ConnectorError(
                    f"source {self._context.name}: its budget is spent, and counting costs money "
                    "too; raise the budget if that is worth its price",
                    fault=SourceFault.RATE_LIMITED,
                )
        self._spent["request"] += 1

    def _paid(self) -> int:
        """How many posts of a page there is money for, were each the dearest there can be."""
        budget = self._context.budget
        if budget is None:
            return self._options.page_size
        price = budget.cost(_dearest(self._options))
        if not price:
            return self._options.page_size
        return int((budget.left() - budget.cost(self._spent)) // price)

    def _unread(self, search: str, span: _Span) -> str:
        """Say how much is left unread by X's own count, which reads no posts; or nothing."""
        try:
            self._pay_for_counts()
            below = replace(span, until=span.oldest or span.until)
            body = self._api.get_recent_tweets_count(search, **_bounds(below))
        except (ConnectorError, ValueError):
            return ""
        meta = body.get("meta") if isinstance(body, dict) else None
        total = meta.get("total_tweet_count") if isinstance(meta, dict) else None
        return f", and X counts {total} more" if isinstance(total, int) else ""

    def _ask(
        self, search: str, span: _Span, size: int, *, is_head: bool
    ) -> tuple[_Answer, _Span, list[Reject]]:
        """Fetch one page, falling back where X no longer accepts the bounds of ``span``.

        A token may have expired: the same place is then found by id. An id may be older than the
        seven days that X searches: time takes its place, and the loss is reported.
        """
        horizon = _iso(self._context.now() - _REACH)
        by_id = replace(span, until=span.oldest or span.until, oldest=None, token=None)
        by_time = replace(by_id, since=None, start=max(span.start or horizon, horizon))
        for attempt in dict.fromkeys([span, by_id, by_time]):
            try:
                answer = self._page(search, attempt, size)
            except ConnectorError as error:
                if error.fault is not SourceFault.BAD_REQUEST:
                    raise
                refusal = error
            else:
                lost = attempt.start != span.start
                return answer, attempt, [_lost(span, horizon)] if lost else []
        if is_head:
            raise refusal
        # The newest posts were just answered, so the search is well-formed: the gap is too old.
        billed = {"post": 0, "user": 0}
        nothing = _Answer([], [], newest=None, oldest=None, token=None, billed=billed)
        return nothing, span, [_lost(span, horizon)]

    def _page(self, search: str, span: _Span, size: int) -> _Answer:
        authors, media = self._options.expand_authors, self._options.expand_media
        expansions = [*["author_id"] * authors, *["attachments.media_keys"] * media]
        try:
            body = self._api.search_recent_tweets(
                search,
                max_results=size,
                tweet_fields=[*_TWEET_FIELDS, *["attachments"] * media],
                expansions=expansions or None,
                user_fields=list(_USER_FIELDS) if authors else None,
                media_fields=list(_MEDIA_FIELDS) if media else None,
                next_token=span.token,
                **_bounds(span),
            )
        except (ValueError, RecursionError) as error:
            raise self._bad_response(f"is not JSON ({type(error).__name__})") from error
        return self._read(body)

    # --- what X answers ---

    def _read(self, body: Any) -> _Answer:
        if not isinstance(body, dict) or not isinstance(body.get("meta"), dict):
            raise self._bad_response("is not a page of search results")
        items, meta = body.get("data", []), body["meta"]
        if not isinstance(items, list):
            raise self._bad_response("holds no list of posts")
        includes = body.get("includes")
        authors, media = _authors(includes), _media(includes)
        posts: list[Post] = []
        rejects: list[Reject] = []
        for item in items:
            try:
                posts.append(_post(item, authors, media))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"a post that X describes in an unknown way: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(item)[:2_000], 500)))
        ids = [post.id for post in posts]
        ids += [one for key in ("newest_id", "oldest_id") if _is_id(one := meta.get(key))]
        token = meta.get("next_token")
        return _Answer(
            posts,
            rejects,
            newest=max(ids, key=int, default=None),
            oldest=min(ids, key=int, default=None),
            token=token if isinstance(token, str) and token else None,
            billed={
                "post": len(items),
                "user": len(_included(includes, "users")),
                **(
                    {"media": len(_included(includes, "media"))}
                    if self._options.expand_media
                    else {}
                ),
            },
        )

    def _bad_response(self, what: str) -> ConnectorError:
        return ConnectorError(f"{self._where}: the answer {what}", fault=SourceFault.BAD_RESPONSE)

    def _pause(self) -> timedelta | None:
        """When the calls of this quarter of an hour are used up: until there are new ones."""
        headers: httpx.Headers = self._api.last_headers
        if headers.get("x-rate-limit-remaining") != "0":
            return None
        return _until_reset(headers, self._context.now())


# --- the way out ----------------------------------------------------------------------------------


def _guarded_tweepy(options: XOptions, context: Context) -> Any:
    """Make a tweepy client that asks through the guarded client and raises ConnectorError."""
    import tweepy  # noqa: PLC0415 - half a second and 20 MB that only users of X should pay

    class GuardedClient(tweepy.Client):  # type: ignore[misc] # tweepy brings no types
        last_headers = httpx.Headers()

        def request(
            self,
            method: str,  # noqa: ARG002 - searches are all GET
            route: str,
            params: Mapping[str, Any] | None = None,
            json: Any = None,  # noqa: ARG002
            user_auth: bool = False,  # noqa: ARG002, FBT001, FBT002 - tweepy's own signature
        ) -> httpx.Response:
            fetched = fetch_limited(
                context.http,
                options.base_url.rstrip("/") + route,
                params={name: str(value) for name, value in (params or {}).items()},
                headers={
                    "Authorization": f"Bearer {options.bearer_token.get_secret_value()}",
                    "Accept": "application/json",
                },
                max_bytes=_MAX_BYTES,
                total_seconds=options.timeout_seconds,
                max_redirects=0,
            )
            self.last_headers = fetched.headers
            if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
                raise _refusal(fetched, context.now())
            return httpx.Response(fetched.status, content=fetched.body)

    return GuardedClient(return_type=dict, wait_on_rate_limit=False)


def _refusal(fetched: Fetched, now: datetime) -> ConnectorError:
    """Read X's problem report: its title and detail, and the time at which its limits reset."""
    try:
        problem = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    words = [problem.get("title"), problem.get("detail")]
    errors = problem.get("errors")
    if isinstance(errors, list):
        words += [one.get("message") for one in errors[:2] if isinstance(one, dict)]
    detail = one_line(": ".join(word for word in words if isinstance(word, str)), 300)
    remedy = _REMEDIES.get(status_error(fetched, now=now).fault, "")
    told = "; ".join(part for part in (detail, remedy) if part)
    error = status_error(fetched, now=now, detail=told)
    if error.fault is SourceFault.RATE_LIMITED:
        if "usage cap" in detail.lower() or "UsageCapExceeded" in detail:
            # Not the pace but the month: waiting a quarter of an hour changes nothing.
            return ConnectorError(
                f"{error}; the month's cap is reached: raise it on developer.x.com, or wait for the "
                "next month",
                fault=SourceFault.PAYMENT_REQUIRED,
                permanent=True,
            )
        error.retry_after = error.retry_after or _until_reset(fetched.headers, now)
    return error


def _until_reset(headers: httpx.Headers, now: datetime) -> timedelta | None:
    text = headers.get("x-rate-limit-reset", "")
    if not (text.isascii() and text.isdigit()):
        return None
    seconds = int(text[:12]) - server_time(headers, now).timestamp()
    return bounded_wish(timedelta(seconds=max(seconds, 0) + 1))


# --- posts ----------------------------------------------------------------------------------------


def _post(
    item: Mapping[str, Any],
    authors: Mapping[str, Mapping[str, Any]],
    media: Mapping[str, Mapping[str, Any]],
) -> Post:
    """Turn a post of the API into ours. Raises what odd values raise."""
    ident = item["id"]
    if not _is_id(ident):
        raise ValueError("no id")
    note = item.get("note_tweet")
    text = note["text"] if isinstance(note, Mapping) and note.get("text") else item["text"]
    attached = _attached(item.get("attachments"), media)
    parts = [text, *(one.get("alt_text") or "" for one in attached)]
    author_id = item.get("author_id")
    author = authors.get(str(author_id), {})
    metrics = item.get("public_metrics") or {}
    began = item.get("conversation_id")
    return Post(
        platform="x",
        id=ident,
        # X writes &, < and > as entities, also in JSON.
        text=clean("\n".join(part for each in parts if (part := clean(html.unescape(each))))),
        published_at=_moment(item.get("created_at"), ident),
        # Without the handle: an address must not carry the author's name past the pseudonym.
        url=f"https://x.com/i/web/status/{ident}",
        author=author.get("username") or (str(author_id) if author_id else None),
        author_followers=count_or_none((author.get("public_metrics") or {}).get("followers_count")),
        language=_language(item.get("lang")),
        engagement=Engagement(
            likes=count_or_none(metrics.get("like_count")) or 0,
            shares=(count_or_none(metrics.get("retweet_count")) or 0)
            + (count_or_none(metrics.get("quote_count")) or 0),
            replies=count_or_none(metrics.get("reply_count")) or 0,
        ),
        images=tuple(
            url
            for one in attached
            if (url := web_url(one.get("url") or one.get("preview_image_url")))
        ),
        thread=f"https://x.com/i/web/status/{began}" if _is_id(began) and began != ident else None,
    )


def _dearest(options: XOptions) -> Mapping[str, int]:
    """What one post is billed for at most: an author that no other has, and all that it can hold."""
    units = {"post": 1}
    if options.expand_authors:
        units["user"] = 1
    if options.expand_media:
        units["media"] = _MOST_MEDIA
    return units


def _included(includes: Any, what: str) -> Sequence[Any]:
    found = includes.get(what) if isinstance(includes, dict) else None
    return found if isinstance(found, list) else ()


def _authors(includes: Any) -> dict[str, Mapping[str, Any]]:
    return {
        str(user["id"]): user
        for user in _included(includes, "users")
        if isinstance(user, dict) and "id" in user and isinstance(user.get("username"), str)
    }


def _media(includes: Any) -> dict[str, Mapping[str, Any]]:
    return {
        one["media_key"]: one
        for one in _included(includes, "media")
        if isinstance(one, dict) and isinstance(one.get("media_key"), str)
    }


def _attached(
    attachments: Any, media: Mapping[str, Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """The pictures and films of a post, in its order."""
    keys = attachments.get("media_keys") if isinstance(attachments, Mapping) else None
    return [media[key] for key in (keys if isinstance(keys, list) else ()) if key in media]


def _moment(text: Any, ident: str) -> datetime:
    """Give the time of a post; its id holds it too, to the millisecond."""
    if text is None:
        return _ID_EPOCH + timedelta(milliseconds=int(ident) >> 22)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without zone")
    return moment.astimezone(UTC)


def _language(value: Any) -> str | None:
    """X marks posts of mere hashtags, links or emoji with codes that begin with q."""
    tag = language_tag(value) if isinstance(value, str) else None
    if tag is None or tag.startswith("q") or tag == "art":
        return None
    return {"in": "id", "iw": "he"}.get(tag, tag)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 25  # noqa: PLR2004 - digits


# --- the cursor -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Progress:
    """The whole cursor: a state for each search, and what was read today."""

    today: str
    spent: int
    states: dict[str, _State]
    counted: dict[str, str]
    """Up to when each query was counted, since posts were last read."""

    @classmethod
    def read(cls, cursor: Cursor | None, now: datetime) -> _Progress:
        cursor = cursor or {}
        today = now.astimezone(UTC).date().isoformat()
        spent = cursor.get("spent", {})
        states = {
            key: _State(
                start=state["start"],
                newest=state["newest"],
                gaps=[_Span(**gap) for gap in state["gaps"]],
            )
            for key, state in cursor.get("searches", {}).items()
        }
        read = spent.get("posts", 0) if spent.get("day") == today else 0
        return cls(today, read, states, dict(cursor.get("counted", {})))

    def keep_only(self, searches: Sequence[str]) -> None:
        """Forget searches that the configuration no longer holds."""
        keys = {mark(search) for search in searches}
        self.states = {key: state for key, state in self.states.items() if key in keys}

    def state(self, search: str, start: datetime) -> _State:
        return self.states.setdefault(mark(search), _State(start=_iso(start)))

    def cursor(self) -> Cursor:
        return {
            "searches": {key: asdict(state) for key, state in self.states.items()},
            "spent": {"day": self.today, "posts": self.spent},
            "counted": dict(self.counted),
        }


def _bounds(span: _Span) -> dict[str, str | None]:
    return {"since_id": span.since, "start_time": span.start, "until_id": span.until}


def _times(span: _Span, horizon: datetime) -> tuple[datetime, datetime | None]:
    """From when to when a span reaches, in whole seconds: by them X counts."""
    start = horizon if span.start is None else datetime.fromisoformat(span.start)
    if span.since is not None:
        start = _moment(None, span.since).replace(microsecond=0) + timedelta(seconds=1)
    below = span.oldest or span.until
    until = None if below is None else _moment(None, below).replace(microsecond=0)
    return max(start, horizon), until


def _newer(one: str | None, other: str) -> str:
    return other if one is None else max(one, other, key=int)


def _few(gaps: Sequence[_Span]) -> list[_Span]:
    """Keep the cursor small: join the oldest gaps, at the price of reading what lies between."""
    few = list(gaps)
    while len(few) > _MOST_GAPS:
        older, newer = few.pop(), few.pop()
        few.append(_Span(since=older.since, start=older.start, until=newer.oldest or newer.until))
    return few


def _lost(span: _Span, horizon: str) -> Reject:
    where = f"since_id={span.since} start={span.start} until_id={span.oldest or span.until}"
    return Reject(
        f"posts from before {horizon} that were not read in time: X no longer searches them", where
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_day(moment: datetime) -> datetime:
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=1)

"""Bluesky: its search for posts, with an app password or, where it lets strangers in, without.

Requests go straight through the guarded client: docs/decisions/0017 says why no library is used.

Answers come newest first. A *descent* reads from the newest post down to what is known already; it
may take several polls, and a crash in it repeats one page. Within a poll Bluesky's own page marks
are followed; the next poll goes on from the time that was reached. Posts may be indexed late, so
each descent reaches a little below the last one, and what was delivered there is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

import httpx
from pydantic import Field, SecretStr, field_validator, model_validator

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
from connectors.blueskyprofiles import AT_ONCE, asking_for, followers_of, profiles_in
from connectors.blueskyrecord import (
    HIDDEN,
    URI,
    address_of,
    author_of,
    id_of,
    images_of,
    is_in,
    labels_of,
    languages_of,
    text_of,
    thread_of,
)
from connectors.counts import count_of
from connectors.descent import Descent, Progress
from connectors.http import (
    Fetched,
    bounded_wish,
    fetch_limited,
    post_limited,
    redact_url,
    server_time,
    status_error,
)
from connectors.marks import mark
from connectors.options import Options as BaseOptions
from connectors.plaintext import language_tag, one_line
from connectors.query import Query
from connectors.querysearches import MOST_SEARCHES, searches

_PAGE = 100
"""Posts that a search gives at once at most."""

_FULL = _PAGE // 2
"""A page of so many posts may have one after it, though none is announced."""

_MAX_BYTES = 8 * 2**20
_LOGGED_IN_AT = "https://bsky.social"
_OPEN_TO_STRANGERS = "https://api.bsky.app"
_SEARCH = "app.bsky.feed.searchPosts"
_HANDLE = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_STALE = frozenset({"ExpiredToken", "InvalidToken", "AuthenticationRequired", "AuthMissing"})
_HOW_TO_LOG_IN = (
    "make an app password at Bluesky under Settings, Privacy and security, App passwords"
)


class BlueskyOptions(BaseOptions):
    """Options of a source of kind ``bluesky``."""

    kind: Literal["bluesky"] = "bluesky"
    identifier: str | None = Field(default=None, min_length=3, max_length=253)
    """Handle of the account to search with, as "name.bsky.social". Default none: as a stranger,
    which Bluesky often refuses."""
    app_password: SecretStr | None = None
    """App password of that account. Default none."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$")
    """The account's own server, for accounts that are not at Bluesky's. Default
    "https://bsky.social", and "https://api.bsky.app" without an account."""
    searches: tuple[str, ...] = Field(default=(), max_length=MOST_SEARCHES)
    """What to search for, one text for each search. Default: what the brands' queries need."""
    languages: tuple[str, ...] = ()
    """Only posts that say to be in one of these languages, as ["nl", "en"]. Default: all."""
    skip_labels: tuple[str, ...] = ("spam",)
    """Posts and authors that moderators gave one of these labels are left out. Default ["spam"]."""
    max_pages: int = Field(default=5, ge=1, le=100)
    """Calls, of 100 posts each, that one poll may make for each search; the rest waits for the next
    poll. Default 5."""
    backfill_hours: float = Field(default=24.0, ge=0, le=720)
    """Hours to look back when a search runs for the first time. Default 24."""
    overlap_minutes: float = Field(default=10.0, ge=0, le=1_440)
    """Minutes that each poll looks back again for posts that were indexed late. Default 10."""
    followers: bool = True
    """Whether the followers of authors are asked for, as reach: a call for each 25 authors of what the
    queries find. Default true."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("languages")
    @classmethod
    def _are_languages(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if language_tag(tag) != tag or "-" in tag:
                raise ValueError(f"{tag!r} is no language code such as nl or en")
        return tags

    @field_validator("searches")
    @classmethod
    def _are_searches(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(text.strip() for text in texts):
            raise ValueError("a search is a text that is not empty")
        return tuple(dict.fromkeys(text.strip() for text in texts))

    @model_validator(mode="after")
    def _logs_in_with_both(self) -> BlueskyOptions:
        if (self.identifier is None) != (self.app_password is None):
            raise ValueError("identifier and app_password belong together: give both or neither")
        return self


@dataclass(frozen=True, slots=True)
class _Session:
    """What a login gave: one token for two hours, one to get the next with. Kept in memory only."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page of a search in our terms."""

    posts: list[Post]
    rejects: list[Reject]
    newest: datetime | None
    oldest: datetime | None
    token: str | None
    is_last: bool
    headers: httpx.Headers


class BlueskyConnector:
    """Searches Bluesky for the queries of the brands that this source is polled for."""

    kind: ClassVar[str] = "bluesky"
    Options: ClassVar[type[BaseOptions]] = BlueskyOptions

    def __init__(self, options: BlueskyOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._base = (
            options.base_url
            or (_OPEN_TO_STRANGERS if options.identifier is None else _LOGGED_IN_AT)
        ).rstrip("/")
        self._session: _Session | None = None

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`.

        A search that Bluesky refuses does not hold up the others; it is reported at the end.
        """
        progress = Progress.read(cursor)
        texts = self._searches()
        progress.keep_only({mark(text) for text in texts})
        refused: ConnectorError | None = None
        for text in texts:
            try:
                yield from self._poll(text, progress)
            except ConnectorError as error:
                if error.fault is not SourceFault.BAD_REQUEST:
                    raise
                refused = refused or error
        if refused is not None:
            raise refused

    def close(self) -> None:
        """Forget the session; the client belongs to whoever made it."""
        self._session = None

    # --- what to search for ---

    @staticmethod
    def asked(query: Query) -> Asked:
        """The searches for one query. See :class:`connectors.base.Searches`."""
        found = searches(query.plan, _handle)
        return Asked(found.texts, found.missed)

    def _searches(self) -> Sequence[str]:
        if self._options.searches:
            return self._options.searches
        found: dict[str, None] = {}
        for query in self._context.queries:
            try:
                found.update(dict.fromkeys(self.asked(query).searches))
            except ValueError as error:
                raise self._unusable(
                    f"the query {query.source!r} cannot be asked: {error}"
                ) from error
        if not found:
            raise self._unusable(
                "no brand is assigned to it, or their queries hold no plain word, so there is "
                "nothing to search for: add it to the sources of a brand, or set searches"
            )
        if len(found) > MOST_SEARCHES:
            raise self._unusable(
                f"the queries of its brands need {len(found)} searches, {MOST_SEARCHES} are "
                "allowed: spread the brands over several sources"
            )
        return list(found)

    def _unusable(self, what: str) -> ConnectorError:
        return ConnectorError(
            f"source {self._context.name}: {what}", fault=SourceFault.BAD_REQUEST, permanent=True
        )

    # --- one search ---

    def _poll(self, text: str, progress: Progress) -> Iterator[Page]:
        back = timedelta(hours=self._options.backfill_hours)
        state = progress.descent(mark(text), _iso(self._context.now() - back))
        token: str | None = None
        begun = state.below
        for _ in range(self._options.max_pages):
            answer = self._ask(text, state, begun, token)
            posts = progress.unseen(answer.posts)
            if answer.newest is not None:
                state.top = max(filter(None, (state.top, _iso(answer.newest))))
            token = answer.token if self._options.identifier else None
            lower = _lower(answer, state)
            arrived = answer.is_last or (lower is None and (token is None or not posts))
            if arrived:
                state.since = max(filter(None, (state.since, state.top)), default=None)
                state.top = state.below = None
            else:
                state.below = lower or state.below
            pause = self._pause(answer.headers)
            progress.remember(posts)
            told = self._with_followers(posts) if pause is None else posts
            yield Page(told, progress.cursor(), answer.rejects, pause)
            if arrived or pause is not None:
                return

    def _ask(self, text: str, state: Descent, begun: str | None, token: str | None) -> _Answer:
        """Fetch the next page: by the mark of the last one where there is one, else by time.

        A mark belongs to the bounds with which this poll began. Where Bluesky no longer accepts it,
        the same place is found by time.
        """
        if token is not None:
            try:
                return self._read(self._get({**self._params(text, state, begun), "cursor": token}))
            except ConnectorError as error:
                if error.fault not in {SourceFault.BAD_REQUEST, SourceFault.FORBIDDEN}:
                    raise
        return self._read(self._get(self._params(text, state, state.below)))

    def _params(self, text: str, state: Descent, until: str | None) -> dict[str, str]:
        overlap = timedelta(minutes=self._options.overlap_minutes)
        since = state.start
        if state.since is not None:
            since = max(since, _iso(datetime.fromisoformat(state.since) - overlap))
        params = {"q": text, "sort": "latest", "limit": str(_PAGE), "since": since}
        if until is not None:
            params["until"] = until
        if len(self._options.languages) == 1:
            params["lang"] = self._options.languages[0]
        return params

    # --- what Bluesky answers ---

    def _read(self, fetched: Fetched) -> _Answer:
        body = _json(fetched)
        items = body.get("posts") if isinstance(body, dict) else None
        if not isinstance(items, list):
            raise self._bad_response(fetched, "holds no list of posts")
        posts: dict[str, Post] = {}
        rejects: list[Reject] = []
        times: list[datetime] = []
        for item in items[: 2 * _PAGE]:
            try:
                times.append(_sorted_at(item))
                post = self._post(item)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"a post that Bluesky describes in an odd way: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(item)[:2_000], 500)))
            else:
                if post is not None:
                    posts.setdefault(post.id, post)
        token = body.get("cursor")
        token = token if isinstance(token, str) and 0 < len(token) <= 1_000 else None  # noqa: PLR2004
        return _Answer(
            list(posts.values()),
            rejects,
            newest=max(times, default=None),
            oldest=min(times, default=None),
            token=token,
            is_last=not items or (token is None and len(items) < _FULL),
            headers=fetched.headers,
        )

    def _post(self, item: Mapping[str, Any]) -> Post | None:
        """Turn a post view into a post; None for what is left out. Raises what odd values raise."""
        found = URI.fullmatch(item["uri"])
        if found is None:
            raise ValueError("no address of a post")
        did, key = found[1], found[2]
        record, author = item["record"], item["author"]
        labels = labels_of(item) | labels_of(author) | labels_of(record.get("labels"), of="values")
        if labels & (HIDDEN | set(self._options.skip_labels)):
            return None
        languages = languages_of(record)
        if not is_in(languages, self._options.languages):
            return None
        handle = author.get("handle")
        return Post(
            platform="bluesky",
            id=id_of(did, key),
            text=text_of(record, item.get("embed")),
            published_at=min(_sorted_at(item), self._context.now()),
            url=address_of(did, key),
            author=author_of(did, handle),
            language=languages[0] if languages else None,
            engagement=Engagement(
                likes=count_of(item.get("likeCount")),
                shares=count_of(item.get("repostCount")) + count_of(item.get("quoteCount")),
                replies=count_of(item.get("replyCount")),
            ),
            thread=thread_of(record.get("reply")),
            images=images_of(did, record.get("embed")),
        )

    # --- reach ---

    def _with_followers(self, posts: Sequence[Post]) -> list[Post]:
        """The posts with the followers of their authors, which the search leaves out.

        Asked for is what somebody will look at. It holds up nothing: without it a post comes without.
        """
        numbers = {post.id: post.id.partition("/")[0] for post in posts if self._is_wanted(post)}
        wanted = list(dict.fromkeys(numbers.values()))
        found: dict[str, Mapping[str, Any]] = {}
        try:
            for start in range(0, len(wanted), AT_ONCE):
                method = asking_for(wanted[start : start + AT_ONCE])
                found |= profiles_in(self._checked(self._call(method, {}, self._session)))
        except ConnectorError:
            pass  # what was found before it is kept
        return [
            replace(post, author_followers=followers_of(found.get(numbers.get(post.id, ""), {})))
            for post in posts
        ]

    def _is_wanted(self, post: Post) -> bool:
        return self._options.followers and any(
            query.match(post.text, author=post.author) for query in self._context.queries
        )

    def _bad_response(self, fetched: Fetched, what: str) -> ConnectorError:
        return ConnectorError(
            f"{redact_url(fetched.url)}: the answer {what}", fault=SourceFault.BAD_RESPONSE
        )

    def _pause(self, headers: httpx.Headers) -> timedelta | None:
        """When the calls of these minutes are used up: until there are new ones."""
        if headers.get("ratelimit-remaining") != "0":
            return None
        return _until_reset(headers, self._context.now())

    # --- the way out ---

    def _get(self, params: Mapping[str, str]) -> Fetched:
        """Search, logging in before or anew where that is needed."""
        if self._options.identifier is None:
            return self._checked(self._call(_SEARCH, params, None))
        fresh = self._session is None
        session = self._session or self._log_in()
        fetched = self._call(_SEARCH, params, session)
        if not fresh and _error_of(fetched) in _STALE:
            fetched = self._call(_SEARCH, params, self._renewed(session))
        return self._checked(fetched)

    def _call(self, method: str, params: Mapping[str, str], session: _Session | None) -> Fetched:
        headers = {"Accept": "application/json"}
        if session is not None:
            headers["Authorization"] = f"Bearer {session.access}"
        return fetch_limited(
            self._context.http,
            f"{self._base}/xrpc/{method}",
            params=params,
            headers=headers,
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )

    def _renewed(self, session: _Session) -> _Session:
        """The next session: by the token for it, or by logging in when that has expired too."""
        self._session = None
        fetched = self._send("com.atproto.server.refreshSession", b"", token=session.refresh)
        if fetched.status == 200:  # noqa: PLR2004 - HTTP OK
            return self._keep(fetched)
        if fetched.status not in {400, 401, 403}:
            raise self._refusal(fetched)
        return self._log_in()

    def _log_in(self) -> _Session:
        password = self._options.app_password
        body = {
            "identifier": self._options.identifier,
            "password": password.get_secret_value() if password else "",
        }
        fetched = self._send("com.atproto.server.createSession", json.dumps(body).encode())
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            error = self._refusal(fetched)
            if error.fault is SourceFault.BAD_REQUEST:
                error.fault = SourceFault.UNAUTHORIZED
            raise error
        return self._keep(fetched)

    def _keep(self, fetched: Fetched) -> _Session:
        body = _json(fetched)
        tokens = [
            body.get(key) if isinstance(body, dict) else None for key in ("accessJwt", "refreshJwt")
        ]
        if not all(isinstance(token, str) and _is_word(token) for token in tokens):
            raise self._bad_response(fetched, "is no session; is base_url the account's server?")
        self._session = _Session(str(tokens[0]), str(tokens[1]))
        return self._session

    def _send(self, method: str, body: bytes, *, token: str | None = None) -> Fetched:
        headers = {"Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return post_limited(
            self._context.http,
            f"{self._base}/xrpc/{method}",
            body,
            headers=headers,
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
        )

    def _checked(self, fetched: Fetched) -> Fetched:
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            raise self._refusal(fetched)
        return fetched

    def _refusal(self, fetched: Fetched) -> ConnectorError:
        """Say what Bluesky said, and what to do about it."""
        now = self._context.now()
        name, said = _problem(fetched)
        words = ": ".join(part for part in (name, said) if part)
        remedy = self._remedy(fetched.status, name)
        detail = "; ".join(part for part in (words, remedy) if part)
        error = status_error(fetched, now=now, detail=detail)
        if name in _STALE | {"AuthFactorTokenRequired", "AccountTakedown"}:
            # Bluesky says this with 400 or with 401.
            return ConnectorError(str(error), fault=SourceFault.UNAUTHORIZED, permanent=True)
        if error.fault is SourceFault.RATE_LIMITED:
            error.retry_after = error.retry_after or _until_reset(fetched.headers, now)
        return error

    def _remedy(self, status: int, name: str) -> str:
        """What the operator can do, or nothing."""
        if name == "AccountTakedown":
            return "Bluesky has closed this account: see its mail"
        if status in {401, 403} and self._options.identifier is None:
            return f"it keeps strangers out: {_HOW_TO_LOG_IN}, and give identifier and app_password"
        if name in _STALE or name == "AuthFactorTokenRequired" or status == 401:  # noqa: PLR2004
            return f"identifier or app_password is wrong or was revoked: {_HOW_TO_LOG_IN}"
        if status == 403:  # noqa: PLR2004
            return "may the account search, and is base_url its own server?"
        if status == 404:  # noqa: PLR2004
            return "is base_url the address of a Bluesky server, without a path?"
        return ""


def _handle(name: str) -> list[str]:
    """Ways to find an account: its name in the text, and what it wrote itself."""
    if "@" in name:
        return [re.split(r"[@.]", name)[0]]
    if "." in name:
        return [f'"{name}"', f"from:{name}"]
    full = f"{name}.bsky.social"
    wide = [name] if re.fullmatch(r"\w+", name) else []
    return [*wide, f'"{full}"', *([f"from:{full}"] if _HANDLE.fullmatch(full) else [])]


def _lower(answer: _Answer, state: Descent) -> str | None:
    """Before which moment the descent goes on, if that is before where it was.

    Whole seconds, since servers may cut moments down to them: a second is read again, not cut in
    two, unless it alone fills a page.
    """
    if answer.oldest is None:
        return None
    second = answer.oldest.replace(microsecond=0)
    for moment in (second + timedelta(seconds=1), second):
        if state.below is None or _iso(moment) < state.below:
            return _iso(moment)
    return None


def _json(fetched: Fetched) -> Any:
    try:
        return json.loads(fetched.body)
    except (ValueError, RecursionError) as error:
        raise ConnectorError(
            f"{redact_url(fetched.url)}: the answer is not JSON ({type(error).__name__})",
            fault=SourceFault.BAD_RESPONSE,
        ) from error


def _problem(fetched: Fetched) -> tuple[str, str]:
    """Name and words of an error report."""
    try:
        body = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return "", ""
    name, said = body.get("error"), body.get("message")
    return (
        one_line(name, 60) if isinstance(name, str) else "",
        one_line(said, 200) if isinstance(said, str) else "",
    )


def _error_of(fetched: Fetched) -> str:
    return "" if fetched.status == 200 else _problem(fetched)[0]  # noqa: PLR2004 - HTTP OK


def _is_word(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _until_reset(headers: httpx.Headers, now: datetime) -> timedelta | None:
    text = headers.get("ratelimit-reset", "")
    if not (text.isascii() and text.isdigit()):
        return None
    seconds = int(text[:12]) - server_time(headers, now).timestamp()
    return bounded_wish(timedelta(seconds=max(seconds, 0) + 1))


# --- posts ----------------------------------------------------------------------------------------


def _sorted_at(item: Mapping[str, Any]) -> datetime:
    """When a post was written, but not later than it was seen: what the search sorts by."""
    indexed = datetime.fromisoformat(item["indexedAt"])
    if indexed.tzinfo is None:
        raise ValueError("a time without zone")
    try:
        created = datetime.fromisoformat(item["record"]["createdAt"])
    except (KeyError, TypeError, ValueError):
        created = indexed  # its author's own word, which may be anything
    if created.tzinfo is None:
        created = indexed
    return min(created.astimezone(UTC), indexed.astimezone(UTC))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

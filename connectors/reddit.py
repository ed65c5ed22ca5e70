"""Reddit: its search for submissions, and all that is new in chosen subreddits.

An app-only login gives a token that is kept for the hours it is good for. Reddit's listings answer
newest first, a hundred at a time, and end after about a thousand: whatever lies beyond is told as a
gap. Why no client library: decision 18. Nothing here sleeps.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

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
from connectors.counts import count_of
from connectors.http import (
    Fetched,
    bounded_wish,
    fetch_limited,
    post_limited,
    redact_url,
    status_error,
)
from connectors.newestfirst import Answer, Pace, Span, read_through
from connectors.options import Options as BaseOptions
from connectors.options import is_one_word
from connectors.plaintext import clean, one_line, web_url
from connectors.query import Query
from connectors.querycover import Clause, Piece, cover

_OK = 200
_UNAUTHORIZED = 401
_PAGE = 100
_NEAR_LIMIT = 900
"""Listings end after about a thousand items; removed ones among them are not shown."""
_LONGEST_SEARCH = 500
_MAX_BYTES = 8 * 2**20
_SEARCH = "search "
_EARLIER = timedelta(minutes=1)
"""A token is renewed this long before it expires."""
_GONE = frozenset({"[deleted]", "[removed]"})
_NAME = re.compile(r"t[13]_[0-9a-z]{1,16}")
_SUBREDDIT = re.compile(r"[A-Za-z0-9_]{2,50}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{3,20}")
_SUBMISSION, _COMMENT = "t3", "t1"

_REMEDIES: Mapping[SourceFault, str] = {
    SourceFault.RATE_LIMITED: "one client may make about 100 calls a minute: raise "
    "interval_seconds, or lower max_pages",
    SourceFault.UNAUTHORIZED: "compare client_id and client_secret with the app on "
    "reddit.com/prefs/apps: it must be of type 'script' or 'web app', and not be revoked",
    SourceFault.FORBIDDEN: "either Reddit has not approved the app (apps need its approval since "
    "November 2025), or a subreddit in subreddits is private: take that one out",
    SourceFault.NOT_FOUND: "a subreddit in subreddits is banned or does not exist: correct its name",
}


class RedditOptions(BaseOptions):
    """Options of a source of kind ``reddit``."""

    kind: Literal["reddit"] = "reddit"
    client_id: str = Field(pattern=r"^[\x21-\x39\x3b-\x7e]{5,100}$")
    """Id of the app on reddit.com/prefs/apps: the line below its name. Required."""
    client_secret: SecretStr
    """Secret of the app. Required. Also as `client_secret_file`, or from the environment or a
    systemd credential."""
    account: str = Field(pattern=r"^[A-Za-z0-9_-]{3,20}$")
    """Reddit name, without u/, of whoever answers for the app: Reddit wants it in the User-Agent.
    Required."""
    search: bool = True
    """Whether all of Reddit is searched for submissions. Default true."""
    subreddits: tuple[str, ...] = ()
    """Subreddits, without r/, whose new submissions are all read. Default none."""
    comments: bool = False
    """Whether the comments in these subreddits are read too. Default false."""
    approximate: bool = False
    """Whether a word is searched for where the query has that word with a wildcard, which Reddit
    does not know, instead of refusing the query. Default false."""
    max_pages: int = Field(default=10, ge=1, le=10)
    """Calls, of 100 items, that one poll may make for each search or listing. Default 10."""
    backfill_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    """Hours to look back when a search or listing is read for the first time. Default 24."""
    overlap_minutes: float = Field(default=60.0, ge=0, le=24 * 60)
    """Minutes before the newest post that are read again, for posts that are approved or indexed
    late. Default 60."""
    base_url: str = Field(
        default="https://oauth.reddit.com", pattern=r"^https?://[^\s/?#]+[^\s?#]*$"
    )
    """Where the API is, for gateways and tests. Default "https://oauth.reddit.com"."""
    login_url: str = Field(
        default="https://www.reddit.com/api/v1/access_token",
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
    )
    """Where tokens are given. Default "https://www.reddit.com/api/v1/access_token"."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("client_secret")
    @classmethod
    def _is_one_word(cls, secret: SecretStr) -> SecretStr:
        if not is_one_word(secret.get_secret_value()):
            raise ValueError("the secret of an app is one word of plain characters; copy it again")
        return secret

    @field_validator("subreddits")
    @classmethod
    def _are_subreddits(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _SUBREDDIT.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a subreddit: write it without r/")
        return names

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if not self.search and not self.subreddits:
            raise ValueError("with search = false there must be subreddits to read")
        if self.comments and not self.subreddits:
            raise ValueError("comments are read of subreddits only: Reddit cannot search them")
        return self


class RedditConnector:
    """Searches Reddit for the brands' queries, and reads subreddits."""

    kind: ClassVar[str] = "reddit"
    Options: ClassVar[type[BaseOptions]] = RedditOptions

    def __init__(self, options: RedditOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._login = _Login(options, context)

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`."""
        pace = Pace(
            calls=self._options.max_pages,
            backfill=timedelta(hours=self._options.backfill_hours),
            overlap=timedelta(minutes=self._options.overlap_minutes),
        )
        return read_through(self._listings(), self._ask, cursor, self._context.now(), pace)

    def close(self) -> None:
        """The client belongs to whoever made it; the token is forgotten with this object."""

    def _listings(self) -> list[str]:
        """Give what to read: searches, each behind a mark, and paths of listings."""
        listings: list[str] = []
        if self._options.search:
            listings += [_SEARCH + search for search in self._searches()]
        if self._options.subreddits:
            path = f"/r/{'+'.join(self._options.subreddits)}"
            listings.append(f"{path}/new")
            if self._options.comments:
                listings.append(f"{path}/comments")
        return listings

    def _searches(self) -> list[str]:
        """Give the queries of all brands as few searches as fit Reddit's limit of length."""
        if not self._context.queries:
            raise ConnectorError(
                f"source {self._context.name}: no brand is assigned to it, so there is nothing to "
                "search for: add it to the sources of a brand",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            )
        wanted = [part for query in self._context.queries for part in self._expressions(query)]
        searches: list[str] = []
        for part in dict.fromkeys(wanted):
            joined = f"{searches[-1]} OR {part}" if searches else part
            if searches and len(joined) <= _LONGEST_SEARCH:
                searches[-1] = joined
            else:
                searches.append(part)
        return searches

    @staticmethod
    def asked(query: Query) -> Asked:
        """The searches for one query. See :class:`connectors.base.Searches`."""
        return Asked(_expressions(query, approximate=False))

    def _expressions(self, query: Query) -> list[str]:
        try:
            return _expressions(query, approximate=self._options.approximate)
        except ValueError as error:
            raise ConnectorError(
                f"source {self._context.name}: Reddit cannot search for the query "
                f"{query.source!r}: {error}, or read subreddits with search = false",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            ) from error

    # --- one page ---

    def _ask(self, listing: str, span: Span) -> Answer:
        after, _, read = (span.token or "").partition(" ")
        path, params = listing, {"limit": str(_PAGE), "raw_json": "1"}
        if listing.startswith(_SEARCH):
            path = "/search"
            params |= {"q": listing.removeprefix(_SEARCH), "sort": "new", "t": "all"}
            params |= {"type": "link", "include_over_18": "on"}
        if after:
            params |= {"after": after, "count": read}
        fetched = self._get(path, params)
        return self._read(fetched, span, int(read or 0))

    def _get(self, path: str, params: Mapping[str, str]) -> Fetched:
        fetched = self._get_once(path, params)
        if fetched.status == _UNAUTHORIZED:  # revoked, or expired by Reddit's clock: once anew
            self._login.forget()
            fetched = self._get_once(path, params)
        if fetched.status != _OK:
            raise _refusal(fetched, self._context.now())
        return fetched

    def _get_once(self, path: str, params: Mapping[str, str]) -> Fetched:
        return fetch_limited(
            self._context.http,
            self._options.base_url.rstrip("/") + path,
            params=params,
            headers={
                "Authorization": f"Bearer {self._login.token()}",
                "User-Agent": _user_agent(self._options, self._context),
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )

    def _read(self, fetched: Fetched, span: Span, read: int) -> Answer:
        body = _json(fetched)
        data = body.get("data") if isinstance(body, dict) else None
        children = data.get("children") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(children, list):
            raise _bad_response(fetched, "is not a listing")
        posts: list[Post] = []
        rejects: list[Reject] = []
        moments: list[int] = []
        now = self._context.now()
        for child in children:
            try:
                moments.append(_seconds(child["data"]))
                post = _post(child["kind"], child["data"], now)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"an item that Reddit describes in an unknown way: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(child)[:2_000], 500)))
            else:
                posts += [post] if post is not None else []
        read += len(children)
        after = data.get("after")
        token = f"{after} {read}" if isinstance(after, str) and _NAME.fullmatch(after) else None
        broken_off = not children and span.token is not None and span.known is not None
        return Answer(
            posts,
            newest=max(moments, default=None),
            oldest=min(moments, default=None),
            token=token,
            rejects=rejects,
            cut_short=token is None and (read >= _NEAR_LIMIT or broken_off),
            pause=_pause(fetched.headers),
        )


# --- what to search for ---------------------------------------------------------------------------


def _expressions(query: Query, *, approximate: bool) -> list[str]:
    clauses = cover(query)
    if clauses is not None:
        parts = [_written(clause, approximate=approximate) for clause in clauses]
        if all(parts):
            return [part for part in parts if part]
    raise ValueError(
        "it has no wildcards. Add a plain word that every such post holds, write the spellings "
        "out with OR, set approximate = true"
    )


def _written(clause: Clause, *, approximate: bool) -> str | None:
    """Write a clause in Reddit's search syntax; None where only wildcards could be searched for."""
    usable: Sequence[Piece] = [piece for piece in clause if not piece.prefix]
    if not usable:
        if not approximate:
            return None
        usable = clause
    parts: list[str] = []
    for piece in usable:
        quoted = '"' + piece.text.replace('"', " ") + '"'
        if piece.handle and _ACCOUNT.fullmatch(piece.text):
            parts.append(f"({quoted} OR author:{piece.text})")
        else:
            parts.append(quoted)
    return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"


# --- the way out ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Login:
    """The app-only token: asked for when first needed, and again shortly before it expires."""

    options: RedditOptions
    context: Context
    _token: str | None = None
    _until: datetime | None = None

    def token(self) -> str:
        """Give a token that is good for now. Raises ConnectorError."""
        now = self.context.now()
        if self._token is None or self._until is None or now >= self._until:
            self._token, seconds = self._ask()
            self._until = now + timedelta(seconds=seconds) - _EARLIER
        return self._token

    def forget(self) -> None:
        """Have the next call ask for another token."""
        self._token = None

    def _ask(self) -> tuple[str, int]:
        pair = f"{self.options.client_id}:{self.options.client_secret.get_secret_value()}"
        fetched = post_limited(
            self.context.http,
            self.options.login_url,
            b"grant_type=client_credentials",
            headers={
                "Authorization": f"Basic {b64encode(pair.encode()).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": _user_agent(self.options, self.context),
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=self.options.timeout_seconds,
        )
        if 300 <= fetched.status < 400:  # noqa: PLR2004 - HTTP redirects
            raise ConnectorError(
                f"{redact_url(fetched.url)}: the login redirects, and the app's secret follows no "
                "redirect: correct login_url",
                fault=SourceFault.TOO_MANY_REDIRECTS,
            )
        if fetched.status != _OK:
            raise _refusal(fetched, self.context.now())
        body = _json(fetched)
        token = body.get("access_token") if isinstance(body, dict) else None
        if isinstance(body, dict) and isinstance(body.get("error"), str):
            raise ConnectorError(
                f"{redact_url(fetched.url)}: Reddit refuses the login "
                f"({one_line(body['error'], 80)}); {_REMEDIES[SourceFault.UNAUTHORIZED]}",
                fault=SourceFault.UNAUTHORIZED,
                permanent=True,
            )
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,4000}", token):
            raise _bad_response(fetched, "holds no token")
        seconds = body.get("expires_in")
        return token, seconds if isinstance(seconds, int) and 0 < seconds < 2**31 else 3_600


def _user_agent(options: RedditOptions, context: Context) -> str:
    """Say who asks as Reddit wants it: unique, with the account that answers for it."""
    return f"{context.http.headers.get('User-Agent', 'Merkwacht')} (by /u/{options.account})"


def _json(fetched: Fetched) -> Any:
    try:
        return json.loads(fetched.body)
    except (ValueError, RecursionError) as error:
        raise _bad_response(fetched, f"is not JSON ({type(error).__name__})") from error


def _bad_response(fetched: Fetched, what: str) -> ConnectorError:
    return ConnectorError(
        f"{redact_url(fetched.url)}: the answer {what}", fault=SourceFault.BAD_RESPONSE
    )


def _refusal(fetched: Fetched, now: datetime) -> ConnectorError:
    """Read Reddit's own words and the end of its time window, and say what to do."""
    try:
        problem = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        problem = None
    told = problem if isinstance(problem, dict) else {}
    said = [told.get("message"), told.get("reason")]
    words = ": ".join(one_line(word, 100) for word in said if isinstance(word, str) and word)
    fault = status_error(fetched, now=now).fault
    detail = "; ".join(part for part in (words, _REMEDIES.get(fault, "")) if part)
    error = status_error(fetched, now=now, detail=detail)
    if fault is SourceFault.RATE_LIMITED:
        error.retry_after = error.retry_after or _until_reset(fetched.headers)
    return error


def _pause(headers: httpx.Headers) -> timedelta | None:
    """When the calls of this time window are used up: until there are new ones."""
    remaining = _number(headers.get("x-ratelimit-remaining"))
    return _until_reset(headers) if remaining is not None and remaining < 1 else None


def _until_reset(headers: httpx.Headers) -> timedelta | None:
    seconds = _number(headers.get("x-ratelimit-reset"))
    return None if seconds is None else bounded_wish(timedelta(seconds=seconds + 1))


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) else None


# --- posts ----------------------------------------------------------------------------------------


def _seconds(data: Mapping[str, Any]) -> int:
    moment = data["created_utc"]
    if not isinstance(moment, int | float) or not 0 < moment < 2**33:
        raise ValueError("no moment")
    return int(moment)


def _post(kind: str, data: Mapping[str, Any], now: datetime) -> Post | None:
    """Turn a submission or comment into a post; None if it was taken away by now.

    Raises what odd values raise.
    """
    name = data["name"]
    if kind not in {_SUBMISSION, _COMMENT} or not _NAME.fullmatch(name):
        raise ValueError("neither submission nor comment")
    if _is_gone(data):
        return None
    text = clean(data["body"]) if kind == _COMMENT else _submission(data)
    if not text:
        raise ValueError("no text")
    author = data.get("author")
    ident = name.partition("_")[2]
    path, thread = ident, None
    if kind == _COMMENT:
        above = data["link_id"].removeprefix("t3_")
        path = f"{above}/_/{ident}"
        thread = web_url(f"https://www.reddit.com/comments/{above}/")
    return Post(
        platform="reddit",
        id=name,
        text=text,
        published_at=min(datetime.fromtimestamp(_seconds(data), UTC), now),
        # Without the subreddit: that of a profile is the author's name.
        url=web_url(f"https://www.reddit.com/comments/{path}/"),
        author=one_line(author, 100) if author and author not in _GONE else None,
        engagement=Engagement(
            likes=count_of(data.get("score")),
            shares=count_of(data.get("num_crossposts")),
            replies=count_of(data.get("num_comments")),
        ),
        thread=thread,
    )


def _is_gone(data: Mapping[str, Any]) -> bool:
    """Whether its author, a moderator or Reddit took it away; what is left of it is not read."""
    text = data.get("body") or data.get("selftext") or ""
    return bool(data.get("removed_by_category")) or text.strip() in _GONE


def _submission(data: Mapping[str, Any]) -> str:
    """Give title, text and link; those of the original where it is a crosspost."""
    original: Mapping[str, Any] = data
    parents = data.get("crosspost_parent_list")
    if isinstance(parents, list) and parents and isinstance(parents[0], dict):
        original = parents[0]
    parts = [one_line(data["title"], 500)]
    if not _is_gone(original):
        title = one_line(original.get("title") or "", 500)
        parts += [title] if title != parts[0] else []
        parts.append(original.get("selftext") or "")
        link = None if original.get("is_self") else web_url(original.get("url"))
        parts.append(link if link is not None and not _is_reddits(link) else "")
    return clean("\n".join(part.strip() for part in parts if part.strip()))


def _is_reddits(link: str) -> bool:
    """Whether ``link`` leads to Reddit itself: a picture, a gallery, the post."""
    host = (urlsplit(link).hostname or "").lower()
    return host.endswith((".reddit.com", ".redd.it")) or host in {"reddit.com", "redd.it"}

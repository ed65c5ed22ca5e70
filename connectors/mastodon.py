"""Mastodon: hashtag timelines of one or more servers, and their search where there is a token.

Requests go straight through the guarded client: docs/decisions/0017 says why no library is used.

A stream is one hashtag or one search on one server. Answers come newest first. A *descent* reads
from the newest post down to what is known already; it may take several polls, and a crash in it
repeats one page. Only when it has arrived does the next one begin at what is newest then. Posts of
other servers are filed by the time at which they were written, not received, so each descent
reaches a little below the last one, and what was delivered there before is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, quote, urlsplit

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
from connectors.counts import count_or_none
from connectors.descent import Descent, Progress
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
from connectors.plaintext import clean, from_html, language_tag, one_line, web_url
from connectors.query import Query
from connectors.querysearches import hashtags, searches

_PAGE = 40
"""Posts that a server gives at once at most."""

_FULL = _PAGE // 2
"""A page of so many posts may have one after it: servers leave out what its asker has blocked."""

_MAX_BYTES = 8 * 2**20
_MOST_HASHTAGS = 50
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_DIGITS = re.compile(r"[0-9]{15,20}")
"""An id that holds its time: milliseconds since 1970, then 16 bits."""

_OWN_PATH = re.compile(r"/(?:ap/)?users/[^/]+/statuses/([0-9]+)")
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
_UNPROCESSABLE = 422


class InstanceOptions(BaseOptions):
    """One server; an address alone means one without a token."""

    url: str = Field(pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$")
    """Address of the server, as "https://mastodon.social". Required."""
    access_token: SecretStr | None = None
    """Token of an account on that server with the scopes read:statuses and read:search, needed for
    its search. Default none."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_an_address(cls, data: Any) -> Any:
        return {"url": data} if isinstance(data, str) else data

    @field_validator("access_token")
    @classmethod
    def _is_one_word(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not is_one_word(token.get_secret_value()):
            raise ValueError("an access token is one word of plain characters; copy it again")
        return token


class MastodonOptions(BaseOptions):
    """Options of a source of kind ``mastodon``."""

    kind: Literal["mastodon"] = "mastodon"
    instances: tuple[InstanceOptions, ...] = Field(min_length=1, max_length=20)
    """Servers to ask, each as "https://…" or { url = "https://…", access_token_file = "…" }.
    Required."""
    hashtags: tuple[str, ...] = ()
    """Hashtags to read, without #. Default: those that the brands' queries suggest."""
    search: bool = True
    """Whether servers with a token are searched too, for posts without hashtag. Default true."""
    max_pages: int = Field(default=5, ge=1, le=100)
    """Calls, of 40 posts each, that one poll may make for each hashtag or search; the rest waits
    for the next poll. Default 5."""
    backfill_hours: float = Field(default=24.0, ge=0, le=720)
    """Hours to look back when a hashtag or search is read for the first time. Default 24."""
    overlap_minutes: float = Field(default=10.0, ge=0, le=1_440)
    """Minutes that each poll looks back again for posts that reached the server late. Default 10."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("hashtags")
    @classmethod
    def _are_hashtags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(dict.fromkeys(tag.strip().removeprefix("#") for tag in tags))
        for tag in plain:
            if not re.fullmatch(r"\w{1,100}", tag) or tag.isdigit():
                raise ValueError(f"{tag[:40]!r} is no hashtag: letters, digits and _ only")
        if len(plain) > _MOST_HASHTAGS:
            raise ValueError(f"at most {_MOST_HASHTAGS} hashtags, each costs a request per poll")
        return plain


@dataclass(frozen=True, slots=True)
class _Stream:
    """A hashtag or a search on one server."""

    instance: InstanceOptions
    path: str
    query: str | None = None
    """What is searched for; None for a hashtag."""

    @property
    def key(self) -> str:
        return mark(f"{self.instance.url.rstrip('/')} {self.path} {self.query}")


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page of a stream in our terms."""

    posts: list[Post]
    rejects: list[Reject]
    newest: str | None
    oldest: str | None
    earliest: datetime | None
    """When the oldest post was written."""
    below: str | None
    """Where to go on; None: there is nothing more."""
    headers: httpx.Headers


class MastodonConnector:
    """Reads the brands' hashtags, and searches for them, on the servers of its options."""

    kind: ClassVar[str] = "mastodon"
    Options: ClassVar[type[BaseOptions]] = MastodonOptions

    def __init__(self, options: MastodonOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`.

        A server that fails does not hold up the others; it is reported at the end.
        """
        progress = Progress.read(cursor)
        streams = self._streams()
        progress.keep_only({stream.key for group in streams for stream in group})
        failures: list[ConnectorError] = []
        for group in streams:
            try:
                for stream in group:
                    yield from self._poll(stream, progress)
            except ConnectorError as error:
                failures.append(error)
        if failures:
            raise _joined(failures, all_failed=len(failures) == len(streams))

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    # --- what to read ---

    def _streams(self) -> list[list[_Stream]]:
        """Give the streams of each server."""
        tags = self._options.hashtags or self._tags()
        texts = self._texts() if self._options.search else ()
        searched = any(instance.access_token for instance in self._options.instances) and texts
        if not tags and not searched:
            raise ConnectorError(
                f"source {self._context.name}: no brand is assigned to it, or their queries hold "
                "no word that could be a hashtag: add it to the sources of a brand, or set hashtags",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            )
        return [
            [
                *(_Stream(one, f"/api/v1/timelines/tag/{quote(tag, safe='')}") for tag in tags),
                *(_Stream(one, "/api/v2/search", text) for text in texts if one.access_token),
            ]
            for one in self._options.instances
        ]

    @staticmethod
    def asked(query: Query) -> Asked:
        """Hashtags and searches for one query. See :class:`connectors.base.Searches`."""
        tags = [f"#{tag}" for tag in hashtags(query.plan)]
        found = searches(query.plan, _handle)
        return Asked(tuple(dict.fromkeys([*tags, *found.texts])), found.missed)

    def _tags(self) -> Sequence[str]:
        found = dict.fromkeys(
            tag for query in self._context.queries for tag in hashtags(query.plan)
        )
        if len(found) <= _MOST_HASHTAGS:
            return list(found)
        raise ConnectorError(
            f"source {self._context.name}: the queries of its brands suggest {len(found)} hashtags, "
            f"{_MOST_HASHTAGS} are allowed: choose some with the option hashtags",
            fault=SourceFault.BAD_REQUEST,
            permanent=True,
        )

    def _texts(self) -> Sequence[str]:
        found: dict[str, None] = {}
        for query in self._context.queries:
            try:
                found.update(dict.fromkeys(searches(query.plan, _handle).texts))
            except ValueError as error:
                raise ConnectorError(
                    f"source {self._context.name}: the query {query.source!r} cannot be searched "
                    f"for: {error}; or set search = false",
                    fault=SourceFault.BAD_REQUEST,
                    permanent=True,
                ) from error
        # The timeline of a hashtag holds more than a search for it.
        return [text for text in found if not re.fullmatch(r"#\w+", text)]

    # --- one stream ---

    def _poll(self, stream: _Stream, progress: Progress) -> Iterator[Page]:
        back = timedelta(hours=self._options.backfill_hours)
        state = progress.descent(
            stream.key, (self._context.now() - back).astimezone(UTC).isoformat()
        )
        for _ in range(self._options.max_pages):
            answer = self._ask(stream, state)
            posts = progress.unseen(answer.posts)
            if answer.newest is not None:
                state.top = _higher(state.top, answer.newest)
            if state.since is None:
                start = datetime.fromisoformat(state.start)
                posts = [post for post in posts if post.published_at >= start]
                if answer.earliest is not None and answer.earliest < start:
                    answer = replace(answer, below=None)
            state.below = self._onward(answer, state)
            if state.below is None:
                state.since = _higher(state.since, state.top) if state.top else state.since
                state.top = None
            pause = self._pause(answer.headers)
            progress.remember(posts)
            yield Page(posts, progress.cursor(), answer.rejects, pause)
            if state.below is None or pause is not None:
                return

    def _onward(self, answer: _Answer, state: Descent) -> str | None:
        """Where the descent goes on, if that is below where it was: a server may go in circles."""
        for below in (answer.below, answer.oldest if answer.below else None):
            if below is not None and (state.below is None or _order(below) < _order(state.below)):
                return below
        return None

    def _ask(self, stream: _Stream, state: Descent) -> _Answer:
        fetched = self._get(stream, self._params(stream, state))
        try:
            body = json.loads(fetched.body)
        except (ValueError, RecursionError) as error:
            raise _bad_response(fetched, f"is not JSON ({type(error).__name__})") from error
        if stream.query is not None:
            body = body.get("statuses") if isinstance(body, dict) else None
        if not isinstance(body, list):
            raise _bad_response(fetched, "holds no list of posts")
        return self._read(stream, body, fetched.headers)

    def _params(self, stream: _Stream, state: Descent) -> dict[str, str]:
        params = {"limit": str(_PAGE)}
        floor = None if state.since is None else self._floor(state.since)
        if stream.query is not None:
            params |= {"q": stream.query, "type": "statuses"}
        if floor is not None:
            params["since_id" if stream.query is None else "min_id"] = floor
        if state.below is not None:
            params["max_id"] = state.below
        return params

    def _floor(self, since: str) -> str:
        """The id above which to read: a little below what was read, for those who come late."""
        if not _DIGITS.fullmatch(since):
            return since
        overlap = timedelta(minutes=self._options.overlap_minutes) // timedelta(milliseconds=1)
        return str(max(int(since) - (overlap << 16), 0)) if overlap else since

    def _get(self, stream: _Stream, params: Mapping[str, str]) -> Fetched:
        headers = {"Accept": "application/json"}
        token = stream.instance.access_token
        if token is not None:
            headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        fetched = fetch_limited(
            self._context.http,
            stream.instance.url.rstrip("/") + stream.path,
            params=params,
            headers=headers,
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            raise _refusal(fetched, stream, self._context.now())
        return fetched

    # --- what a server answers ---

    def _read(self, stream: _Stream, items: Sequence[Any], headers: httpx.Headers) -> _Answer:
        posts: dict[str, Post] = {}
        rejects: list[Reject] = []
        ids: list[str] = []
        times: list[datetime] = []
        for item in items[: 2 * _PAGE]:
            try:
                ids.append(_ident(item))
                times.append(_moment(item["created_at"]))
                post = _post(item, stream.instance, self._context.now())
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"a post that the server describes in an odd way: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(item)[:2_000], 500)))
            else:
                if post is not None:
                    posts.setdefault(post.id, post)
        oldest = min(ids, key=_order, default=None)
        return _Answer(
            list(posts.values()),
            rejects,
            newest=max(ids, key=_order, default=None),
            oldest=oldest,
            earliest=min(times, default=None),
            below=None if oldest is None else _below(stream, oldest, len(items), headers),
            headers=headers,
        )

    def _pause(self, headers: httpx.Headers) -> timedelta | None:
        """When the calls of these five minutes are used up: until there are new ones."""
        if headers.get("x-ratelimit-remaining") != "0":
            return None
        return _until_reset(headers, self._context.now())


def _handle(name: str) -> list[str]:
    """Posts that mention an account hold its name; what it wrote can be asked for by full name."""
    plain = re.split(r"[@.]", name)[0]
    return [plain, f"from:@{name}"] if "@" in name else [plain]


def _below(stream: _Stream, oldest: str, count: int, headers: httpx.Headers) -> str | None:
    """Where the page after one of ``count`` posts begins; None: there is none."""
    if stream.query is not None:
        if count == 0 or not _DIGITS.fullmatch(oldest):
            return oldest if count else None
        # The search cuts ids down to whole seconds: a second is read again, not cut in two.
        second = (int(oldest) >> 16) // 1_000 + 1
        return str((second * 1_000) << 16) if count >= _FULL else None
    link = headers.get("link", "")
    if found := _NEXT.search(link):
        # Only the number is taken: where to send the token is not for the answer to say.
        value = parse_qs(urlsplit(found[1]).query).get("max_id", [oldest])[0]
        return value if _ID.fullmatch(value) else oldest
    return oldest if not link and count >= _FULL else None


def _order(ident: str) -> tuple[int, str]:
    """The order of ids: by length, then as texts; both for numbers and for other servers' ids."""
    return len(ident), ident


def _higher(one: str | None, other: str) -> str:
    return other if one is None else max(one, other, key=_order)


# --- refusals -------------------------------------------------------------------------------------


def _bad_response(fetched: Fetched, what: str) -> ConnectorError:
    return ConnectorError(
        f"{redact_url(fetched.url)}: the answer {what}; is this a Mastodon server?",
        fault=SourceFault.BAD_RESPONSE,
    )


def _refusal(fetched: Fetched, stream: _Stream, now: datetime) -> ConnectorError:
    """Say what the server said, and what to do about it."""
    try:
        problem = json.loads(fetched.body[:100_000])
    except (ValueError, RecursionError):
        problem = None
    said = problem.get("error") if isinstance(problem, dict) else None
    words = one_line(said, 200) if isinstance(said, str) else ""
    remedy = _remedy(fetched.status, stream)
    error = status_error(
        fetched, now=now, detail="; ".join(part for part in (words, remedy) if part)
    )
    if fetched.status == _UNPROCESSABLE:
        missing = stream.instance.access_token is None
        return ConnectorError(
            str(error),
            fault=SourceFault.UNAUTHORIZED if missing else SourceFault.BAD_REQUEST,
            permanent=True,
        )
    if error.fault is SourceFault.RATE_LIMITED:
        error.retry_after = error.retry_after or _until_reset(fetched.headers, now)
    return error


def _remedy(status: int, stream: _Stream) -> str:
    """What the operator can do about a refusal, or nothing."""
    if stream.query is None:
        scope, otherwise = "read:statuses", ""
    else:
        scope, otherwise = "read:search", "; or set search = false"
    log_in = (
        "this server shows posts only to who logs in: make an application under Preferences, "
        f"Development on it, with the scope {scope}, and give its token as access_token"
    )
    if stream.instance.access_token is None:
        remedies = {401: log_in, 403: log_in, _UNPROCESSABLE: log_in}
    else:
        remedies = {
            401: "the access token is wrong or was revoked: make a new one under Preferences, "
            f"Development, with the scope {scope}{otherwise}",
            403: f"the token needs the scope {scope}, and its account must not be limited"
            f"{otherwise}",
            _UNPROCESSABLE: f"the server does not take this request: is it too old?{otherwise}",
        }
    remedies[404] = "is url the address of a Mastodon server, without a path?"
    return remedies.get(status, "")


def _until_reset(headers: httpx.Headers, now: datetime) -> timedelta | None:
    try:
        reset = _moment(headers.get("x-ratelimit-reset"))
    except (TypeError, ValueError, OverflowError):
        return None
    left = (reset - server_time(headers, now)).total_seconds()
    return bounded_wish(timedelta(seconds=max(left, 0) + 1))


def _joined(failures: Sequence[ConnectorError], *, all_failed: bool) -> ConnectorError:
    """One error for all servers. While one of them works, the source is not given up."""
    first, *others = failures
    more = f" (and {len(others)} more of its servers failed)" if others else ""
    return ConnectorError(
        f"{first}{more}",
        fault=first.fault,
        permanent=all_failed and all(error.permanent for error in failures),
        retry_after=first.retry_after,
    )


# --- posts ----------------------------------------------------------------------------------------


def _post(item: Mapping[str, Any], instance: InstanceOptions, now: datetime) -> Post | None:
    """Turn a status into a post; None for what is not meant for everybody.

    Raises what odd values raise.
    """
    status = item.get("reblog") or item  # a boost counts as the post that it passes on
    account = status["account"]
    if status["visibility"] != "public" or account.get("noindex") is True:
        return None
    name = account["acct"]
    host = urlsplit(instance.url).hostname or ""
    return Post(
        platform="mastodon",
        id=_stable_id(status["uri"], account["username"]),
        text=_text(status),
        # A clock may be ahead, of that server or of ours.
        published_at=min(_moment(status["created_at"]), now),
        url=_link(status, account["username"], instance),
        author=one_line(name if "@" in name else f"{name}@{host}", 300),
        author_followers=count_or_none(account.get("followers_count")),
        language=language_tag(status.get("language")),
        engagement=Engagement(
            likes=count_or_none(status.get("favourites_count")) or 0,
            shares=(count_or_none(status.get("reblogs_count")) or 0)
            + (count_or_none(status.get("quotes_count")) or 0),
            replies=count_or_none(status.get("replies_count")) or 0,
        ),
        edited_at=None if status.get("edited_at") is None else _moment(status["edited_at"]),
        thread=_answered(status.get("in_reply_to_id"), instance),
        images=_images(status.get("media_attachments") or ()),
    )


def _answered(ident: Any, instance: InstanceOptions) -> str | None:
    """Address of the post that one answers, on the server that showed it to us."""
    if not isinstance(ident, str) or not _ID.fullmatch(ident):
        return None
    return f"{instance.url.rstrip('/')}/statuses/{ident}"


def _text(status: Mapping[str, Any]) -> str:
    """What its author wrote: the warning before it, the post, a poll's choices, texts of images."""
    parts = [clean(status.get("spoiler_text") or ""), from_html(status["content"])]
    poll = status.get("poll") or {}
    parts += [clean(option["title"]) for option in poll.get("options") or ()]
    media = status.get("media_attachments") or ()
    parts += [clean(one.get("description") or "") for one in media]
    return clean("\n".join(part for part in parts if part))


def _images(media: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Addresses of the pictures; of a film that of its first one."""
    addresses = (
        web_url(one.get("url") if one.get("type") == "image" else one.get("preview_url"))
        for one in media
        if one.get("type") in {"image", "gifv", "video"}
    )
    return tuple(address for address in addresses if address)


def _stable_id(uri: str, username: str) -> str:
    """Give an id that is the same on every server, and that does not name the author."""
    parts = urlsplit(uri)
    if not parts.hostname or not parts.path.strip("/"):
        raise ValueError("no uri")
    found = _OWN_PATH.fullmatch(parts.path)
    if found:
        return f"{parts.hostname}/{found[1]}"
    if _names(uri, username) or len(uri) > 200 or not uri.isprintable():  # noqa: PLR2004 - characters
        digest = hashlib.blake2b(uri.encode(errors="replace"), digest_size=12).hexdigest()
        return f"{parts.hostname}/{digest}"
    return f"{parts.hostname}{parts.path}{'?' if parts.query else ''}{parts.query}"


def _link(status: Mapping[str, Any], username: str, instance: InstanceOptions) -> str:
    """An address of the post that does not carry the author's name past the pseudonym."""
    url = web_url(status.get("url"))
    if url is not None and not _names(url, username):
        return url
    return f"{instance.url.rstrip('/')}/statuses/{_ident(status)}"


def _names(address: str, username: str) -> bool:
    return username.casefold() in urlsplit(address).path.casefold() or "/@" in address


def _ident(item: Mapping[str, Any]) -> str:
    ident = item["id"]
    if not isinstance(ident, str) or not _ID.fullmatch(ident):
        raise ValueError("no id")
    return ident


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without zone")
    return moment.astimezone(UTC)

"""An endpoint of the shape of X's recent search (API v2), answering from the demo's stream.

Every search is answered with all posts of the platform, as if the query had named the brand alone:
telling the shop from the sunny corner is the matcher's work, and the demo must not do it for it.
What surrounds the query (paging, ``since_id``, fields, expansions, the seven days, refusals) is as
on X, so that the real client and the real connector can be put in front of it.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2s
from typing import Any

from monitor.demo.stream import X_EPOCH_MS, Stream, StreamPost

REACH = timedelta(days=7)
"""How far back recent search looks."""
RATE_LIMIT = 450
MAX_QUERY = 512
_PROBLEMS = "https://api.twitter.com/2/problems"
_PAGE_SIZES = range(10, 101)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the wire: status and JSON body."""

    status: int
    body: Mapping[str, Any]


class InvalidParameterError(Exception):
    """A parameter that X would refuse.

    Args:
        name: of the parameter.
        value: as given.
        message: what is wrong with it.
    """

    def __init__(self, name: str, value: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.value = value


def recent_search(
    stream: Stream, now: datetime, parameters: Mapping[str, str], authorization: str, token: str
) -> Answer:
    """Answer ``GET /2/tweets/search/recent``.

    Args:
        stream: where the posts come from.
        now: posts up to this moment are out.
        parameters: of the query string.
        authorization: the header of that name.
        token: the bearer token that is accepted.
    """
    if not secrets.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        return Answer(401, _problem("Unauthorized", "Unauthorized", 401))
    try:
        found = _select(stream, now, parameters)
        size = _integer(parameters, "max_results", 10)
        if size not in _PAGE_SIZES:
            raise _bad(parameters, "max_results", f"[{size}] is not between 10 and 100")
    except InvalidParameterError as error:
        return Answer(400, _refusal(error))
    return Answer(200, _page(found, size, parameters))


def _select(stream: Stream, now: datetime, parameters: Mapping[str, str]) -> list[StreamPost]:
    """The posts that are asked for, newest first."""
    query = parameters.get("query", "").strip()
    if not query:
        raise _bad(parameters, "query", "can not be empty")
    if len(query) > MAX_QUERY:
        raise _bad(parameters, "query", f"is longer than {MAX_QUERY} characters")
    oldest = now - REACH
    after = _snowflake(oldest)
    if "start_time" in parameters:
        start = _moment(parameters, "start_time")
        if start < oldest:
            raise _bad(parameters, "start_time", "must be within the last 7 days")
        after = _snowflake(start)
    if "since_id" in parameters:
        since = _integer(parameters, "since_id", 0)
        if since < _snowflake(oldest):
            raise _bad(parameters, "since_id", "must be a post id created within the last 7 days")
        after = since + 1
    before = _integer(parameters, "until_id", 1 << 63)
    if "end_time" in parameters:
        before = min(before, _snowflake(_moment(parameters, "end_time")))
    cursor = parameters.get("next_token", parameters.get("pagination_token"))
    if cursor is not None:
        try:
            before = min(before, int(cursor, 36))
        except ValueError:
            raise _bad(parameters, "next_token", "is not a token of ours") from None
    posts = stream.until(now, "x")
    return [post for post in reversed(posts) if after <= post.snowflake < before]


def _page(found: Sequence[StreamPost], size: int, parameters: Mapping[str, str]) -> dict[str, Any]:
    posts = found[:size]
    if not posts:
        return {"meta": {"result_count": 0}}
    fields = _list(parameters, "tweet.fields")
    meta: dict[str, Any] = {
        "newest_id": posts[0].source_id,
        "oldest_id": posts[-1].source_id,
        "result_count": len(posts),
    }
    if len(found) > size:
        meta["next_token"] = _base36(posts[-1].snowflake)
    body: dict[str, Any] = {"data": [_tweet(post, fields) for post in posts], "meta": meta}
    if "author_id" in _list(parameters, "expansions"):
        authors = {_author_id(post): post for post in posts}
        wanted = _list(parameters, "user.fields")
        body["includes"] = {"users": [_user(post, wanted) for post in authors.values()]}
    return body


def _tweet(post: StreamPost, fields: frozenset[str]) -> dict[str, Any]:
    every: dict[str, Any] = {
        "author_id": _author_id(post),
        "created_at": post.published_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "lang": post.language,
        "conversation_id": post.source_id,
        "public_metrics": {
            "like_count": post.likes,
            "retweet_count": post.shares,
            "reply_count": post.replies,
            "quote_count": 0,
            "bookmark_count": 0,
            "impression_count": 0,
        },
    }
    # X escapes these three in the texts it gives, whoever asks.
    text = html.escape(post.text, quote=False)
    tweet = {"id": post.source_id, "text": text, "edit_history_tweet_ids": [post.source_id]}
    return tweet | {name: value for name, value in every.items() if name in fields}


def _user(post: StreamPost, fields: frozenset[str]) -> dict[str, Any]:
    user: dict[str, Any] = {"id": _author_id(post), "name": post.author, "username": post.author}
    if "public_metrics" in fields:
        user["public_metrics"] = {
            "followers_count": post.followers,
            "following_count": 0,
            "tweet_count": 1,
            "listed_count": 0,
        }
    return user


def _author_id(post: StreamPost) -> str:
    """A number that stays the same for an author."""
    return str(int.from_bytes(blake2s(post.author.lower().encode(), digest_size=7).digest()))


def _snowflake(moment: datetime) -> int:
    """The smallest id of a post of that moment."""
    return max(int(moment.timestamp() * 1000) - X_EPOCH_MS, 0) << 22


def _list(parameters: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(filter(None, parameters.get(name, "").split(",")))


def _integer(parameters: Mapping[str, str], name: str, default: int) -> int:
    value = parameters.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= 19):  # noqa: PLR2004 - digits of 2**63
        raise _bad(parameters, name, f"[{value[:40]}] is not a number")
    return int(value)


def _moment(parameters: Mapping[str, str], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(parameters[name])
    except ValueError:
        raise _bad(parameters, name, "is not an RFC 3339 date") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


def _bad(parameters: Mapping[str, str], name: str, what: str) -> InvalidParameterError:
    message = f"Invalid '{name}': the `{name}` query parameter value {what}"
    return InvalidParameterError(name, parameters.get(name, ""), message)


def _problem(title: str, detail: str, status: int) -> dict[str, Any]:
    return {"title": title, "type": "about:blank", "status": status, "detail": detail}


def _refusal(error: InvalidParameterError) -> dict[str, Any]:
    return {
        "errors": [{"parameters": {error.name: [error.value[:200]]}, "message": str(error)}],
        "title": "Invalid Request",
        "detail": "One or more parameters to your request was invalid.",
        "type": f"{_PROBLEMS}/invalid-request",
    }

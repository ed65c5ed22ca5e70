"""YouTube: comments on one's own channels and on videos about the brand, through the Data API v3.

Every call counts against a quota that ends the day (Pacific time): calls are counted here as well,
and what is one's own is read first. Finding videos has a quota of its own. Comments come newest
thread first; threads of the last hours are read again, for replies and edits. Decision 20 tells why
no client library.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

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
from connectors.googleerror import reason_of
from connectors.http import Fetched, bounded_wish, fetch_limited, redact_url, status_error
from connectors.newestfirst import Answer, Pace, Span, read_through
from connectors.options import Options as BaseOptions
from connectors.options import is_one_word
from connectors.plaintext import clean, one_line
from connectors.query import Query
from connectors.querycover import Clause, cover

_PACIFIC = ZoneInfo("America/Los_Angeles")
_OK = 200
_PAGE = 100
_FOUND_PAGE = 50
_LONGEST_SEARCH = 300
_MAX_BYTES = 8 * 2**20
_LONGEST_TOKEN = 2_000
_MOST_THREADS = 2_000
_STATISTICS_PAGE = 50
_MOST_CHANNELS = 5_000
_OWN_SHARE = 5
"""One part in so many of the day's units is kept for one's own channels."""
_CHANNEL, _VIDEO = "channel ", "video "
_ID = re.compile(r"[A-Za-z0-9_.-]{5,100}")
_CHANNEL_ID = r"UC[A-Za-z0-9_-]{22}"
_GONE = frozenset({"commentsDisabled", "videoNotFound", "notFound", "forbidden"})
"""Why a found video has no comments to read; of an own channel a person must hear it."""
_DAY_IS_OVER = frozenset({"quotaExceeded", "dailyLimitExceeded"})
_TOO_FAST = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_KEY_REMEDY = "copy the API key again from console.cloud.google.com, APIs & Services, Credentials"
_REMEDIES = {
    "accessNotConfigured": "enable the YouTube Data API v3 for the project of the key",
    "SERVICE_DISABLED": "enable the YouTube Data API v3 for the project of the key",
    "ipRefererBlocked": "the key is restricted to other addresses: allow this server's",
    "channelNotFound": "look whether channels holds channel ids, as UC…, not handles",
    "commentsDisabled": "comments are switched off there",
}
_PLAIN_REMEDIES = {
    401: _KEY_REMEDY,
    403: "look whether the key may use the YouTube Data API v3 from here",
}
"""Where Google gives no reason."""


class YoutubeOptions(BaseOptions):
    """Options of a source of kind ``youtube``."""

    kind: Literal["youtube"] = "youtube"
    api_key: SecretStr
    """API key of a project with the YouTube Data API v3. Required. Also as `api_key_file`, or from
    the environment or a systemd credential."""
    channels: tuple[str, ...] = ()
    """Ids (UC…) of the brand's own channels, whose comments are all read. Default none."""
    search: bool = True
    """Whether videos about the brand are searched for, and their comments read. Default true."""
    search_every_minutes: float = Field(default=60.0, ge=15, le=24 * 60)
    """Minutes between two searches for videos. Default 60."""
    searches_per_day: int = Field(default=90, ge=1, le=10_000)
    """Searches allowed in a day of the quota; Google grants 100. Default 90."""
    units_per_day: int = Field(default=9_000, ge=10, le=10_000_000)
    """Other calls allowed in a day of the quota; Google grants 10,000 units. A fifth is kept for
    channels. Default 9000."""
    max_videos: int = Field(default=20, ge=1, le=500)
    """Found videos whose comments are read, the latest first. Default 20."""
    watch_hours: float = Field(default=72.0, ge=1, le=24 * 90)
    """Hours after its upload that the comments on a found video are read. Default 72."""
    followers: bool = True
    """Whether the subscribers of an author's channel are asked for, as reach: a call for each 50
    authors that are new today. Default true."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2}$")
    """Language whose videos the search prefers, as "nl". Default: none."""
    max_pages: int = Field(default=5, ge=1, le=100)
    """Calls, of 100 threads, that one poll may make for each channel or video. Default 5."""
    backfill_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    """Hours to look back when a channel or the search is read for the first time. Default 24."""
    overlap_hours: float = Field(default=24.0, ge=0, le=24 * 30)
    """Hours before the newest comment whose threads are read again, for replies and edits.
    Default 24."""
    base_url: str = Field(
        default="https://www.googleapis.com/youtube/v3", pattern=r"^https?://[^\s/?#]+[^\s?#]*$"
    )
    """Where the API is, for gateways and tests. Default "https://www.googleapis.com/youtube/v3"."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("api_key")
    @classmethod
    def _is_one_word(cls, key: SecretStr) -> SecretStr:
        if not is_one_word(key.get_secret_value()):
            raise ValueError("an API key is one word of plain characters; copy it again")
        return key

    @field_validator("channels")
    @classmethod
    def _are_channels(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        for channel in channels:
            if not re.fullmatch(_CHANNEL_ID, channel):
                raise ValueError(
                    f"{channel!r} is no channel id: it begins with UC and has 24 characters; "
                    "youtube.com/account_advanced shows it"
                )
        return channels

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if not self.search and not self.channels:
            raise ValueError("with search = false there must be channels to read")
        return self


@dataclass(slots=True)
class _State:
    """The cursor, save how far comments were read."""

    day: str
    """Of the quota, in Pacific time."""
    units: int = 0
    searches: int = 0
    searched: int | None = None
    """When videos were last searched for, in seconds since 1970."""
    videos: dict[str, int] = field(default_factory=dict)
    """Found videos whose comments are read, with the time of their upload."""
    replies: dict[str, int] = field(default_factory=dict)
    """Threads of which all replies were read, with their number."""

    @classmethod
    def read(cls, cursor: Cursor | None, now: datetime) -> _State:
        day = now.astimezone(_PACIFIC).date().isoformat()
        state = cls(**(cursor or {}).get("state", {"day": day}))
        return state if state.day == day else replace(state, day=day, units=0, searches=0)


class YoutubeConnector:
    """Reads comments, and finds videos to read comments on."""

    kind: ClassVar[str] = "youtube"
    Options: ClassVar[type[BaseOptions]] = YoutubeOptions

    def __init__(self, options: YoutubeOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._state = _State("")
        self._spent: Counter[str] = Counter()
        """Taken off the quota, and not told with a page yet."""
        self._channels: dict[str, int | None] = {}
        """Subscribers of channels, as far as asked for on the day of ``_counted_on``."""
        self._counted_on = ""

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`."""
        now = self._context.now()
        self._state = _State.read(cursor, now)
        reading: Cursor = (cursor or {}).get("reading", {})
        refused: ConnectorError | None = None
        if self._options.search and self._is_time_to_search(now):
            try:
                posts, rejects = self._find(now)
            except ConnectorError as error:
                refused = error  # comments can be read all the same
            else:
                yield Page(posts, self._cursor(reading), rejects, spent=self._bill())
        pace = Pace(
            calls=self._options.max_pages,
            backfill=timedelta(hours=self._options.backfill_hours),
            overlap=timedelta(hours=self._options.overlap_hours),
        )
        places = [_CHANNEL + channel for channel in self._options.channels]
        places += [_VIDEO + video for video in self._watched(now)]
        for page in read_through(places, self._ask, reading, now, pace):
            yield replace(page, cursor=self._cursor(page.cursor), spent=self._bill())
        if refused is not None:
            raise refused
        if not places:
            yield Page((), self._cursor(reading), spent=self._bill())

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    def _bill(self) -> dict[str, int]:
        """What was taken off the quota since the last page."""
        spent, self._spent = self._spent, Counter()
        return dict(spent)

    def _cursor(self, reading: Cursor) -> Cursor:
        return {"state": asdict(self._state), "reading": reading}

    # --- finding videos ---

    def _is_time_to_search(self, now: datetime) -> bool:
        pause = timedelta(minutes=self._options.search_every_minutes).total_seconds()
        last = self._state.searched
        due = last is None or now.timestamp() - last >= pause
        return due and self._state.searches < self._options.searches_per_day

    def _find(self, now: datetime) -> tuple[list[Post], list[Reject]]:
        """Search for videos; they are posts themselves."""
        last = self._state.searched
        back = timedelta(
            hours=self._options.backfill_hours if last is None else self._options.overlap_hours
        )
        since = (now if last is None else datetime.fromtimestamp(last, UTC)) - back
        posts: list[Post] = []
        authors: dict[str, object] = {}
        rejects: list[Reject] = []
        for search in self._searches():
            if self._state.searches >= self._options.searches_per_day:
                break
            self._state.searches += 1
            self._spent["search"] += 1
            try:
                body = self._search(search, since)
            except ConnectorError as error:
                if error.fault is not SourceFault.RATE_LIMITED or error.retry_after is None:
                    raise
                self._state.searches = max(self._state.searches, self._options.searches_per_day)
                rejects.append(
                    Reject(
                        "no more searches for videos today: lower searches_per_day", search[:500]
                    )
                )
                break
            for item in body:
                try:
                    post = _video(item, now)
                except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    rejects.append(_odd(item, error))
                    continue
                if post.id not in self._state.videos:
                    posts.append(post)
                    authors[post.id] = item["snippet"].get("channelId")
                    self._state.videos[post.id] = int(post.published_at.timestamp())
        self._state.searched = int(now.timestamp())
        return self._with_followers(posts, authors), rejects

    def _search(self, search: str, since: datetime) -> list[Any]:
        params = {
            "part": "snippet",
            "type": "video",
            "order": "date",
            "maxResults": str(_FOUND_PAGE),
            "publishedAfter": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "q": search,
        }
        if self._options.language is not None:
            params["relevanceLanguage"] = self._options.language
        return self._items(self._get("/search", params))[0]

    @staticmethod
    def asked(query: Query) -> Asked:
        """The searches for one query. See :class:`connectors.base.Searches`."""
        written = [_written(clause) for clause in cover(query) or [()]]
        if not all(written):
            raise ValueError(
                "it has no wildcards. Add a plain word that every such post holds, or write the "
                "spellings out with OR"
            )
        return Asked(written)

    def _searches(self) -> list[str]:
        """Give the queries of all brands as few searches; "|" is YouTube's OR."""
        if not self._context.queries:
            raise ConnectorError(
                f"source {self._context.name}: no brand is assigned to it, so there is nothing to "
                "search for: add it to the sources of a brand",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            )
        wanted: dict[str, None] = {}
        for query in self._context.queries:
            try:
                wanted.update(dict.fromkeys(self.asked(query).searches))
            except ValueError as error:
                raise ConnectorError(
                    f"source {self._context.name}: YouTube cannot search for the query "
                    f"{query.source!r}: {error}, or set search = false",
                    fault=SourceFault.BAD_REQUEST,
                    permanent=True,
                ) from error
        searches: list[str] = []
        for part in wanted:
            joined = f"{searches[-1]}|{part}" if searches else part
            if searches and len(joined) <= _LONGEST_SEARCH:
                searches[-1] = joined
            else:
                searches.append(part)
        return searches

    def _watched(self, now: datetime) -> list[str]:
        """The found videos whose comments are read: the latest ones, while they are fresh."""
        earliest = now.timestamp() - self._options.watch_hours * 3_600
        by_age = sorted(self._state.videos.items(), key=lambda one: -one[1])
        forget = (
            now.timestamp()
            - max(
                self._options.watch_hours, self._options.backfill_hours, self._options.overlap_hours
            )
            * 3_600
            - timedelta(days=1).total_seconds()
        )
        self._state.videos = {video: moment for video, moment in by_age if moment >= forget}
        fresh = [video for video, moment in by_age if moment >= earliest]
        return fresh[: self._options.max_videos]

    # --- reading comments ---

    def _ask(self, place: str, span: Span) -> Answer:
        kept = self._options.units_per_day // _OWN_SHARE if self._options.channels else 0
        if place.startswith(_VIDEO) and self._state.units >= self._options.units_per_day - kept:
            # What is left of today is for one's own channels; where it was left is kept.
            return Answer((), token=span.token)
        try:
            body, token = self._items(self._threads(place, span.token))
        except _InvalidTokenError:
            body, token = self._items(self._threads(place, None))
        except _GoneError:
            return Answer(())
        posts: list[Post] = []
        authors: dict[str, object] = {}
        rejects: list[Reject] = []
        moments: list[int] = []
        now = self._context.now()
        own = place.startswith(_CHANNEL)
        for item in body:
            try:
                moments.append(_seconds(item["snippet"]["topLevelComment"]))
                for comment in [item["snippet"]["topLevelComment"], *self._replies(item)]:
                    replies = item["snippet"].get("totalReplyCount", 0)
                    is_first = comment["id"] == item["snippet"]["topLevelComment"]["id"]
                    post = _comment(comment, item["snippet"], now, replies if is_first else 0)
                    posts.append(replace(post, about_brand=own))
                    authors[post.id] = (comment["snippet"].get("authorChannelId") or {}).get(
                        "value"
                    )
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                rejects.append(_odd(item, error))
        return Answer(
            self._with_followers(posts, authors),
            newest=max(moments, default=None),
            oldest=min(moments, default=None),
            token=token,
            rejects=rejects,
        )

    def _threads(self, place: str, token: str | None) -> Fetched:
        which = "allThreadsRelatedToChannelId" if place.startswith(_CHANNEL) else "videoId"
        params = {
            "part": "snippet,replies",
            which: place.partition(" ")[2],
            "order": "time",
            "maxResults": str(_PAGE),
            "textFormat": "plainText",
        }
        if token is not None:
            params["pageToken"] = token
        return self._counted("/commentThreads", params)

    def _replies(self, thread: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The replies of a thread: it brings a few along, the rest is asked for once they change."""
        given = (thread.get("replies") or {}).get("comments") or []
        total = thread["snippet"].get("totalReplyCount", 0)
        ident = thread["id"]
        if not isinstance(total, int) or total <= len(given):
            return list(given)
        if self._state.replies.get(ident) == total or not _ID.fullmatch(str(ident)):
            return list(given)
        params = {
            "part": "snippet",
            "parentId": str(ident),
            "maxResults": str(_PAGE),
            "textFormat": "plainText",
        }
        try:
            found, _ = self._items(self._counted("/comments", params))
        except ConnectorError as error:
            if error.fault is not SourceFault.NOT_FOUND:
                raise
            return list(given)  # taken away in the meantime
        self._state.replies[ident] = total
        for old in list(self._state.replies)[:-_MOST_THREADS]:
            del self._state.replies[old]
        return found

    # --- reach ---

    def _with_followers(self, posts: Sequence[Post], authors: Mapping[str, object]) -> list[Post]:
        """Give the posts with the subscribers of their authors' channels, where they show them.

        Asked for is what somebody will look at: of others' videos only what a query finds. It holds up
        nothing: without it, or with the day's units nearly gone, a post comes without.

        Args:
            posts: of one answer.
            authors: the channel of each, by the id of the post.
        """
        if not self._options.followers:
            return list(posts)
        if self._counted_on != self._state.day or len(self._channels) > _MOST_CHANNELS:
            self._counted_on, self._channels = self._state.day, {}
        wanted = dict.fromkeys(
            channel
            for post in posts
            if isinstance(channel := authors.get(post.id), str)
            and re.fullmatch(_CHANNEL_ID, channel)
            and channel not in self._channels
            and (post.about_brand or self._is_wanted(post))
        )
        for start in range(0, len(wanted), _STATISTICS_PAGE):
            if not self._ask_subscribers(list(wanted)[start : start + _STATISTICS_PAGE]):
                break
        return [
            replace(post, author_followers=self._channels.get(str(authors.get(post.id))))
            for post in posts
        ]

    def _is_wanted(self, post: Post) -> bool:
        return any(query.match(post.text, author=post.author) for query in self._context.queries)

    def _ask_subscribers(self, channels: Sequence[str]) -> bool:
        """Ask for the subscribers of up to 50 channels; whether it is worth asking for more."""
        if self._state.units >= self._options.units_per_day * (_OWN_SHARE - 1) // _OWN_SHARE:
            return False
        params = {
            "part": "statistics",
            "id": ",".join(channels),
            "maxResults": str(_STATISTICS_PAGE),
        }
        try:
            found, _ = self._items(self._counted("/channels", params))
        except ConnectorError:
            return False
        self._channels |= dict.fromkeys(channels)  # those that are gone are not asked for again
        for item in found:
            if isinstance(item, dict) and item.get("id") in self._channels:
                self._channels[item["id"]] = _subscribers(item.get("statistics"))
        return True

    # --- the way out ---

    def _counted(self, path: str, params: Mapping[str, str]) -> Fetched:
        """Ask, if the day's units allow it."""
        if self._state.units >= self._options.units_per_day:
            raise ConnectorError(
                f"source {self._context.name}: the {self._options.units_per_day} calls allowed for "
                "today (Pacific time) are used up; raise units_per_day if Google grants more, or "
                "interval_seconds",
                fault=SourceFault.RATE_LIMITED,
                retry_after=self._until_tomorrow(),
            )
        self._state.units += 1
        self._spent["unit"] += 1
        return self._get(path, params)

    def _get(self, path: str, params: Mapping[str, str]) -> Fetched:
        fetched = fetch_limited(
            self._context.http,
            self._options.base_url.rstrip("/") + path,
            params=params,
            headers={
                "X-Goog-Api-Key": self._options.api_key.get_secret_value(),
                "Accept": "application/json",
            },
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )
        if fetched.status != _OK:
            raise self._refusal(fetched, params)
        return fetched

    def _items(self, fetched: Fetched) -> tuple[list[Any], str | None]:
        """The list in an answer, and what continues it."""
        try:
            body = json.loads(fetched.body)
        except (ValueError, RecursionError) as error:
            raise _bad_response(fetched, f"is not JSON ({type(error).__name__})") from error
        items = body.get("items") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(items, list):
            raise _bad_response(fetched, "holds no list of items")
        token = body.get("nextPageToken")
        return items, token if isinstance(token, str) and 0 < len(token) < _LONGEST_TOKEN else None

    def _refusal(self, fetched: Fetched, params: Mapping[str, str]) -> Exception:
        """Read Google's own reason, and say what to do about it."""
        reason, said = reason_of(fetched.body)
        now = self._context.now()
        remedy = _REMEDIES.get(reason, "") if reason else _PLAIN_REMEDIES.get(fetched.status, "")
        detail = "; ".join(part for part in (said, remedy) if part)
        error = status_error(fetched, now=now, detail=detail)
        if reason == "invalidPageToken" and "pageToken" in params:
            return _InvalidTokenError()
        if reason == "processingFailure":  # how it calls its own moments of weakness
            return ConnectorError(str(error), fault=SourceFault.SERVER_ERROR)
        if reason in {"API_KEY_INVALID", "keyInvalid", "keyExpired"}:
            return ConnectorError(
                f"{error}; {_KEY_REMEDY}", fault=SourceFault.UNAUTHORIZED, permanent=True
            )
        if reason in _DAY_IS_OVER:
            return ConnectorError(
                f"{error}; Google's quota for today (Pacific time) is used up",
                fault=SourceFault.RATE_LIMITED,
                retry_after=self._until_tomorrow(),
            )
        if reason in _TOO_FAST:
            return ConnectorError(
                f"{error}; raise interval_seconds",
                fault=SourceFault.RATE_LIMITED,
                retry_after=error.retry_after,
            )
        return _GoneError() if reason in _GONE and "videoId" in params else error

    def _until_tomorrow(self) -> timedelta:
        now = self._context.now().astimezone(_PACIFIC)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return bounded_wish(midnight.astimezone(UTC) - now.astimezone(UTC))


class _InvalidTokenError(Exception):
    """The place where an answer was left is no longer known: it has to be read from its start."""


class _GoneError(Exception):
    """A found video has no comments to read, and that will not change soon."""


def _bad_response(fetched: Fetched, what: str) -> ConnectorError:
    return ConnectorError(
        f"{redact_url(fetched.url)}: the answer {what}", fault=SourceFault.BAD_RESPONSE
    )


# --- posts ----------------------------------------------------------------------------------------


def _written(clause: Clause) -> str:
    """Write a clause as a search: all of its words, without those of which only the beginning is known."""
    words = [piece.text for piece in clause if not piece.prefix]
    return " ".join(f'"{word}"' if " " in word else word for word in words)[:_LONGEST_SEARCH]


def _video(item: Mapping[str, Any], now: datetime) -> Post:
    """Turn a found video into a post. Raises what odd values raise."""
    ident, snippet = _ident(item["id"]["videoId"]), item["snippet"]
    parts = [html.unescape(snippet[name]) for name in ("title", "description")]
    return Post(
        platform="youtube",
        id=ident,
        text=_nonempty(clean("\n".join(part for part in parts if part))),
        published_at=min(_moment(snippet["publishedAt"]), now),
        url=f"https://www.youtube.com/watch?v={ident}",
        author=one_line(html.unescape(snippet.get("channelTitle") or ""), 200) or None,
    )


def _comment(
    comment: Mapping[str, Any], thread: Mapping[str, Any], now: datetime, replies: Any
) -> Post:
    """Turn a comment into a post. Raises what odd values raise."""
    ident, snippet = _ident(comment["id"]), comment["snippet"]
    published, updated = _moment(snippet["publishedAt"]), snippet.get("updatedAt")
    edited = published if updated is None else _moment(updated)
    video = snippet.get("videoId") or thread.get("videoId")
    channel = snippet.get("channelId") or thread.get("channelId")
    place = f"watch?v={_ident(video)}&" if video else f"channel/{_ident(channel)}/community?"
    return Post(
        platform="youtube",
        id=ident,
        text=_nonempty(clean(snippet["textDisplay"])),
        published_at=min(published, now),
        url=f"https://www.youtube.com/{place}lc={ident}",
        author=one_line(snippet.get("authorDisplayName") or "", 200) or None,
        engagement=Engagement(likes=count_of(snippet.get("likeCount")), replies=count_of(replies)),
        edited_at=min(edited, now) if edited > published else None,
        thread=f"https://www.youtube.com/watch?v={_ident(video)}" if video else None,
    )


def _subscribers(statistics: object) -> int | None:
    """How many a channel shows; Google rounds the number and writes it as text."""
    if not isinstance(statistics, dict) or statistics.get("hiddenSubscriberCount"):
        return None
    text = statistics.get("subscriberCount")
    return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{1,15}", text) else None


def _seconds(comment: Mapping[str, Any]) -> int:
    return int(_moment(comment["snippet"]["publishedAt"]).timestamp())


def _odd(item: Any, error: Exception) -> Reject:
    reason = f"an item that YouTube describes in an unknown way: {type(error).__name__}"
    return Reject(reason, one_line(json.dumps(item)[:2_000], 500))


def _nonempty(text: str) -> str:
    if not text:
        raise ValueError("no text")
    return text


def _ident(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("no id")
    return value


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without zone")
    return moment.astimezone(UTC)

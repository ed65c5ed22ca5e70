"""Bluesky's Jetstream: every post of the network as it is written, and what is deleted, matched here.

A poll is a walk along the stream: from where the last one left it to the present, page by page, and
then away (docs/decisions/0023 says why). What no query asks for is let go at once. The place in the
stream is a moment; each walk begins a little before it, and what was delivered there is left out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import Field, field_validator

from connectors.base import (
    ConnectorError,
    Context,
    Cursor,
    Page,
    Post,
    Reject,
    SourceFault,
)
from connectors.blueskyprofiles import AT_ONCE, MAX_BYTES, asking_for, followers_of, profiles_in
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
from connectors.descent import Progress
from connectors.http import fetch_limited, redact_url, server_time, status_error
from connectors.options import Options as BaseOptions
from connectors.plaintext import language_tag, one_line
from connectors.websocket import Listening, listening

_POSTS = "app.bsky.feed.post"
_CLOSED = frozenset({"deleted", "takendown"})
"""What becomes of an account so that its posts must go. Suspended and deactivated ones may come back."""

_REACH = timedelta(hours=36)
"""How far back the public servers replay."""

_LOST = timedelta(minutes=10)
"""The network is never silent for so long: where the stream begins later than asked, it was cut."""

_AHEAD = timedelta(days=1)
"""How wrong the clocks may be: a place further in the future would never be reached."""

_REST_SECONDS = 0.1
_LINGER_SECONDS = 2.0
"""In the present a walk ends at the first rest, and after so long at the latest: where our clock is
behind, it thus still gets on."""

_MESSAGE_BYTES = 1_000_000
_PAGE = 200
_PAGE_EVENTS = 20_000


class JetstreamOptions(BaseOptions):
    """Options of a source of kind ``jetstream``."""

    kind: Literal["jetstream"] = "jetstream"
    urls: tuple[str, ...] = Field(
        default=(
            "wss://jetstream2.us-east.bsky.network/subscribe",
            "wss://jetstream1.us-east.bsky.network/subscribe",
            "wss://jetstream2.us-west.bsky.network/subscribe",
            "wss://jetstream1.us-west.bsky.network/subscribe",
        ),
        min_length=1,
        max_length=20,
    )
    """Servers of the stream; after a failure the next one is asked. Default: Bluesky's four."""
    languages: tuple[str, ...] = ()
    """Only posts that say to be in one of these languages, as ["nl", "en"]. Default: all."""
    accounts: tuple[str, ...] = Field(default=(), max_length=1_000)
    """Numbers of accounts whose posts come whatever they say, such as the brand's own, as
    ["did:plc:…"]. Default none."""
    skip_labels: tuple[str, ...] = ("spam",)
    """Posts and authors that say, or of whom moderators say, one of these labels are left out.
    Default ["spam"]."""
    profiles: bool = True
    """Whether to look up handle, followers and labels of the authors of what was found. Default
    true."""
    profiles_url: str = Field(
        default="https://public.api.bsky.app", pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$"
    )
    """Where profiles are looked up. Default "https://public.api.bsky.app"."""
    backfill_hours: float = Field(default=1.0, ge=0, le=36)
    """Hours to look back at the first poll, as far as the server replays. Default 1."""
    overlap_seconds: float = Field(default=10.0, ge=0, le=3_600)
    """Seconds that each poll looks back again. Default 10."""
    max_seconds: float = Field(default=120.0, gt=0, le=3_600)
    """Seconds that one poll may read; the rest waits for the next one. Default 120."""
    quiet_seconds: float = Field(default=10.0, gt=0, le=600)
    """After so many seconds without a message the stream is taken to have nothing more. Default
    10."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds until the server answers. Default 30."""

    @field_validator("urls")
    @classmethod
    def _are_streams(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not url.startswith(("wss://", "ws://")) or "?" in url or "#" in url:
                raise ValueError(f"{redact_url(url)} is no address as wss://host/subscribe")
        return urls

    @field_validator("languages")
    @classmethod
    def _are_languages(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if language_tag(tag) != tag or "-" in tag:
                raise ValueError(f"{tag!r} is no language code such as nl or en")
        return tags

    @field_validator("accounts")
    @classmethod
    def _are_numbers(cls, accounts: tuple[str, ...]) -> tuple[str, ...]:
        for account in accounts:
            if URI.fullmatch(f"at://{account}/{_POSTS}/1") is None:
                raise ValueError(f"{account!r} is no number of an account as did:plc:…")
        return accounts


@dataclass(slots=True)
class _Batch:
    """What was read since the last page."""

    posts: dict[str, Post] = field(default_factory=dict)
    deleted: dict[tuple[str, str], None] = field(default_factory=dict)
    closed: dict[tuple[str, str], None] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    events: int = 0

    @property
    def is_full(self) -> bool:
        kept = len(self.posts) + len(self.rejects) + (len(self.deleted) + len(self.closed)) // 5
        return kept >= _PAGE or self.events >= _PAGE_EVENTS


class JetstreamConnector:
    """Reads the stream of all posts for the queries of the brands that this source is polled for."""

    kind: ClassVar[str] = "jetstream"
    Options: ClassVar[type[BaseOptions]] = JetstreamOptions

    def __init__(self, options: JetstreamOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._accounts = frozenset(options.accounts)
        self._server = 0

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what was said and deleted since. See :class:`connectors.base.Connector`."""
        if not self._context.queries and not self._accounts:
            raise ConnectorError(
                f"source {self._context.name}: no brand is assigned to it, so there is nothing to "
                "look for: add it to the sources of a brand",
                fault=SourceFault.BAD_REQUEST,
                permanent=True,
            )
        now = self._context.now()
        place = _place(cursor)
        begin = place or now - timedelta(hours=self._options.backfill_hours)
        progress = Progress.read({"seen": (cursor or {}).get("seen", ())})
        try:
            with listening(
                self._context.http,
                self._address(begin - timedelta(seconds=self._options.overlap_seconds)),
                now=now,
                answer_seconds=self._options.timeout_seconds,
                total_seconds=self._options.timeout_seconds + self._options.max_seconds,
                max_message_bytes=_MESSAGE_BYTES,
                remedy="is it the address of a Jetstream server, and may this network reach it?",
            ) as stream:
                walk = _Walk(begin, server_time(stream.headers, now), is_first=place is None)
                yield from self._walk(stream, walk, progress)
        except ConnectorError:
            self._server += 1
            raise

    def close(self) -> None:
        """A connection lasts no longer than a poll; the client belongs to whoever made it."""

    def _address(self, since: datetime) -> str:
        """Where to listen. A server is asked for the same moment as any other: all count by time."""
        url = self._options.urls[self._server % len(self._options.urls)]
        asked = {
            "wantedCollections": _POSTS,
            "maxMessageSizeBytes": _MESSAGE_BYTES,
            "cursor": _micros(since),
        }
        return f"{url}?{urlencode(asked)}"

    def _walk(self, stream: Listening, walk: _Walk, progress: Progress) -> Iterator[Page]:
        """From where the stream was left to the present, or as far as the time allows."""
        batch = _Batch()
        for message in self._messages(stream, walk):
            self._take(message, walk, batch)
            if batch.is_full:
                yield self._page(batch, walk, progress)
                batch = _Batch()
        last = self._page(batch, walk, progress)
        if walk.trouble is None and not walk.is_finished:
            last = replace(last, heard_until=walk.place)
            if not walk.is_cut_short:
                self._server += 1  # this one itself hears nothing any more
        yield last
        if walk.trouble is not None:
            raise walk.trouble

    def _messages(self, stream: Listening, walk: _Walk) -> Iterator[bytes]:
        # Wall time on purpose: it bounds how long a worker is busy, whatever the clock says.
        deadline = time.monotonic() + self._options.max_seconds
        patience = self._options.quiet_seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = stream.receive(min(left, patience))
            except ConnectorError as error:
                # What came before it is kept. In the present it changes nothing: we were leaving.
                walk.trouble = None if walk.is_present else error
                return
            if message is None and left > patience:
                return
            if message is None:
                break
            yield message
            if walk.is_present and patience != _REST_SECONDS:
                patience = _REST_SECONDS
                deadline = min(deadline, time.monotonic() + _LINGER_SECONDS)
        walk.is_cut_short = True

    # --- one event ---

    def _take(self, message: bytes, walk: _Walk, batch: _Batch) -> None:
        batch.events += 1
        try:
            event = json.loads(message)
            lost = walk.step(_moment(event["time_us"]))
            if lost is not None:
                batch.rejects.append(lost)
            if event["kind"] == "commit" and event["commit"]["collection"] == _POSTS:
                self._commit(event["did"], event["commit"], _moment(event["time_us"]), batch)
            elif event["kind"] == "account":
                account = event["account"]
                if account["active"] is False and account.get("status") in _CLOSED:
                    batch.closed["bluesky", _key(event["did"], "1").split("/")[0]] = None
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            reason = f"an event that the stream describes in an odd way: {type(error).__name__}"
            batch.rejects.append(
                Reject(reason, one_line(message[:2_000].decode(errors="replace"), 500))
            )

    def _commit(self, did: str, commit: Mapping[str, Any], moment: datetime, batch: _Batch) -> None:
        ident = _key(did, commit["rkey"])
        if commit["operation"] == "delete":
            batch.posts.pop(ident, None)
            batch.deleted["bluesky", ident] = None
            return
        post = self._post(did, commit, moment)
        if post is not None:
            batch.posts[ident] = post
        elif commit["operation"] == "update":
            # By a label or a language: it is none that may be shown, or that anybody looks for, any more.
            batch.posts.pop(ident, None)
            batch.deleted["bluesky", ident] = None

    def _post(self, did: str, commit: Mapping[str, Any], moment: datetime) -> Post | None:
        """Turn a record into a post; None for what nobody looks for. Raises what odd values raise."""
        record = commit["record"]
        text = text_of(record, None)
        # What an edit has taken out of a post is for those to know who keep it.
        wanted = commit["operation"] == "update" or self._is_wanted(did, text)
        if not wanted or labels_of(record.get("labels"), of="values") & self._unwanted:
            return None
        languages = languages_of(record)
        if not is_in(languages, self._options.languages):
            return None
        moment = min(moment, self._context.now())
        return Post(
            platform="bluesky",
            id=id_of(did, commit["rkey"]),
            text=text,
            published_at=min(_written(record, moment), moment),
            url=address_of(did, commit["rkey"]),
            author=did,
            language=languages[0] if languages else None,
            edited_at=moment if commit["operation"] == "update" else None,
            thread=thread_of(record.get("reply")),
            images=images_of(did, record.get("embed")),
        )

    def _is_wanted(self, did: str, text: str) -> bool:
        return did in self._accounts or any(
            query.match(text, author=did) for query in self._context.queries
        )

    @property
    def _unwanted(self) -> frozenset[str]:
        return HIDDEN | set(self._options.skip_labels)

    # --- one page ---

    def _page(self, batch: _Batch, walk: _Walk, progress: Progress) -> Page:
        posts = progress.unseen(list(batch.posts.values()))
        told = self._with_authors(posts) if self._options.profiles else posts
        progress.remember(posts)
        return Page(
            told,
            {"time_us": _micros(walk.place), "seen": progress.cursor()["seen"]},
            batch.rejects,
            deleted=list(batch.deleted),
            closed=list(batch.closed),
        )

    def _with_authors(self, posts: Sequence[Post]) -> list[Post]:
        """The posts with handles and followers, without those of authors who want to be left out."""
        wanted = [
            post.author or "" for post in posts if self._is_wanted(post.author or "", post.text)
        ]
        numbers = list(dict.fromkeys(wanted))
        profiles: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(numbers), AT_ONCE):
            profiles |= self._profiles(numbers[start : start + AT_ONCE])
        told = []
        for post in posts:
            did = post.author or ""
            profile = profiles.get(did, {})
            if labels_of(profile) & self._unwanted:
                continue
            told.append(
                replace(
                    post,
                    author=author_of(did, profile.get("handle")),
                    author_followers=followers_of(profile),
                )
            )
        return told

    def _profiles(self, numbers: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        base = self._options.profiles_url.rstrip("/")
        fetched = fetch_limited(
            self._context.http,
            f"{base}/xrpc/{asking_for(numbers)}",
            headers={"Accept": "application/json"},
            max_bytes=MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
            max_redirects=0,
        )
        if fetched.status != 200:  # noqa: PLR2004 - HTTP OK
            raise status_error(
                fetched,
                now=self._context.now(),
                detail="profiles of authors are looked up there; without profiles = true the "
                "source goes on with their numbers",
            )
        return profiles_in(fetched)


class _Walk:
    """How far along the stream we are.

    Args:
        place: where we left it.
        present: the moment that it has reached when there is nothing more to catch up with.
        is_first: whether the place is only where we would like to begin.
    """

    def __init__(self, place: datetime, present: datetime, *, is_first: bool) -> None:
        self.place = place
        self.trouble: ConnectorError | None = None
        """What ended it early."""
        self.is_cut_short = False
        """Whether its time was up."""
        self._present = present
        self._begun = is_first

    @property
    def is_present(self) -> bool:
        """Whether everything is read that was there when we came."""
        return self.place >= self._present

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left for the next one: the present is reached, or as good as.

        A server that has nothing more, and last spoke of long ago, hears the network no more itself.
        """
        return self.is_present or (not self.is_cut_short and self.place >= self._present - _LOST)

    def step(self, moment: datetime) -> Reject | None:
        """Go on to ``moment``. Gives what was lost, where the stream begins too late."""
        begun, self._begun = self._begun, True
        lost = None
        if not begun and moment > self.place + _LOST:
            hours = _REACH / timedelta(hours=1)
            lost = Reject(
                f"what was said on Bluesky before {moment:%Y-%m-%d %H:%M} (UTC) and not read in "
                f"time: the stream reaches back about {hours:g} hours",
                f"from {self.place:%Y-%m-%d %H:%M} (UTC)",
            )
        self.place = max(self.place, min(moment, self._present + _AHEAD))
        return lost


def _key(did: str, key: str) -> str:
    """Our id of a post. Raises ValueError where these are no parts of one."""
    if URI.fullmatch(f"at://{did}/{_POSTS}/{key}") is None:
        raise ValueError("no address of a post")
    return id_of(did, key)


def _place(cursor: Cursor | None) -> datetime | None:
    """Where the stream was left; None where it was not read yet."""
    kept = (cursor or {}).get("time_us")
    return _moment(kept) if isinstance(kept, int) else None


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)


def _micros(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _written(record: Mapping[str, Any], seen: datetime) -> datetime:
    """When its author says it was written; when it was seen, where that is no moment."""
    try:
        moment = datetime.fromisoformat(record["createdAt"])
    except (KeyError, TypeError, ValueError):
        return seen
    return seen if moment.tzinfo is None else moment.astimezone(UTC)

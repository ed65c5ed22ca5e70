"""Apple's App Store: reviews of apps, from the feed that Apple publishes for each app and country.

The feed holds the 500 latest reviews, on ten pages, the latest change first. An edited review comes to
the front again under its old id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

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
from connectors.http import Fetched, fetch_limited, redact_url, status_error
from connectors.newestfirst import Answer, Pace, Span, read_through
from connectors.options import Options as BaseOptions
from connectors.plaintext import one_line
from connectors.review import starred

_OK = 200
_LAST_PAGE = 10
_MAX_BYTES = 4 * 2**20
_REMEDIES: Mapping[SourceFault, str] = {
    SourceFault.NOT_FOUND: "look whether apps holds the number in the address of the app's page "
    "(…/id123456789), and whether it is sold in every one of countries",
    SourceFault.BAD_REQUEST: "look whether apps and countries are right",
    SourceFault.UNAUTHORIZED: "it needs no login: look whether base_url leads to itunes.apple.com",
    SourceFault.FORBIDDEN: "Apple refuses this address: raise interval_seconds to some hours",
    SourceFault.RATE_LIMITED: "raise interval_seconds: the feed changes a few times a day",
}


class AppstoreOptions(BaseOptions):
    """Options of a source of kind ``appstore``."""

    kind: Literal["appstore"] = "appstore"
    apps: tuple[str, ...] = Field(min_length=1, max_length=50)
    """Numbers of the apps, as in the addresses of their pages: "…/id123456789". Required."""
    countries: tuple[str, ...] = ("nl",)
    """Countries whose reviews are read, as ["nl", "be"]. Default ["nl"]."""
    max_pages: int = Field(default=3, ge=1, le=_LAST_PAGE)
    """Calls, of 50 reviews, that one poll may make for each app and country. Default 3."""
    backfill_hours: float = Field(default=24.0, ge=0, le=24 * 366)
    """Hours to look back when an app is read for the first time. Default 24."""
    base_url: str = Field(default="https://itunes.apple.com", pattern=r"^https?://[^\s/?#]+$")
    """Where the feeds are, for gateways and tests. Default "https://itunes.apple.com"."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one call may take. Default 30."""

    @field_validator("apps")
    @classmethod
    def _are_numbers(cls, apps: tuple[str, ...]) -> tuple[str, ...]:
        for app in apps:
            if not re.fullmatch(r"[0-9]{5,15}", app):
                raise ValueError(f"{app!r} is no number of an app: write it without id")
        return apps

    @field_validator("countries")
    @classmethod
    def _are_countries(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        for country in countries:
            if not re.fullmatch(r"[a-z]{2}", country):
                raise ValueError(f"{country!r} is no country code such as nl or be")
        if not countries:
            raise ValueError("name at least one country")
        return countries


class AppstoreConnector:
    """Reads the reviews of some apps in some countries."""

    kind: ClassVar[str] = "appstore"
    Options: ClassVar[type[BaseOptions]] = AppstoreOptions

    def __init__(self, options: AppstoreOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what is new, newest first. See :class:`connectors.base.Connector`."""
        pace = Pace(
            calls=self._options.max_pages,
            backfill=timedelta(hours=self._options.backfill_hours),
            overlap=timedelta(hours=1),
        )
        places = [
            f"{country} {app}" for country in self._options.countries for app in self._options.apps
        ]
        return read_through(places, self._ask, cursor, self._context.now(), pace)

    def close(self) -> None:
        """The client belongs to whoever made it; nothing else is held."""

    def _ask(self, place: str, span: Span) -> Answer:
        country, _, app = place.partition(" ")
        page = int(span.token or 1)
        fetched = self._get(country, app, page)
        entries = self._entries(fetched)
        if not entries and page == 1 and span.known is not None:
            # There were reviews, and they do not all vanish: this is how the feed fails.
            raise ConnectorError(
                f"{redact_url(fetched.url)}: the feed is empty, though it held reviews before; "
                "Apple's feed does this at times, for hours",
                fault=SourceFault.BLOCKED,
            )
        posts: list[Post] = []
        rejects: list[Reject] = []
        moments: list[int] = []
        now = self._context.now()
        for entry in entries:
            try:
                if "im:name" in entry:  # the app itself, which used to be the first entry
                    continue
                moments.append(int(_moment(entry).timestamp()))
                posts.append(_post(entry, country, app, now))
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"a review that Apple describes oddly: {type(error).__name__}"
                rejects.append(Reject(reason, one_line(json.dumps(entry)[:2_000], 500)))
        more = bool(entries) and page < _LAST_PAGE
        return Answer(
            posts,
            newest=max(moments, default=None),
            oldest=min(moments, default=None),
            token=str(page + 1) if more else None,
            rejects=rejects,
            cut_short=bool(entries) and page == _LAST_PAGE,
        )

    def _get(self, country: str, app: str, page: int) -> Fetched:
        base = self._options.base_url.rstrip("/")
        fetched = fetch_limited(
            self._context.http,
            f"{base}/{country}/rss/customerreviews/page={page}/id={app}/sortby=mostrecent/json",
            headers={"Accept": "application/json"},
            max_bytes=_MAX_BYTES,
            total_seconds=self._options.timeout_seconds,
        )
        if fetched.status != _OK:
            now = self._context.now()
            fault = status_error(fetched, now=now).fault
            raise status_error(fetched, now=now, detail=_REMEDIES.get(fault, ""))
        return fetched

    def _entries(self, fetched: Fetched) -> list[Any]:
        """The entries of a page: a list, a single one by itself, or none at all."""
        try:
            feed = json.loads(fetched.body)["feed"]
            entries = feed.get("entry", [])
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise ConnectorError(
                f"{redact_url(fetched.url)}: the answer is no feed of reviews "
                f"({type(error).__name__})",
                fault=SourceFault.BAD_RESPONSE,
            ) from error
        return entries if isinstance(entries, list) else [entries]


def _post(entry: Mapping[str, Any], country: str, app: str, now: datetime) -> Post:
    """Turn an entry into a post. Raises what odd values raise."""
    ident = _label(entry, "id")
    if not re.fullmatch(r"[0-9]{1,20}", ident):
        raise ValueError("no id")
    changed = min(_moment(entry), now)
    author = entry.get("author") or {}
    votes = _label(entry, "im:voteSum", "0")
    return Post(
        platform="appstore",
        id=ident,
        text=starred(
            int(_label(entry, "im:rating")), _label(entry, "title"), _label(entry, "content")
        ),
        published_at=changed,
        # A review has no page of its own; without its number all would seem to be one page.
        url=f"https://apps.apple.com/{country}/app/id{app}?see-all=reviews&review={ident}",
        author=one_line(_label(author, "name", ""), 200) or None,
        engagement=Engagement(likes=int(votes) if votes.isascii() and votes.isdigit() else 0),
        # The feed tells only the last change, so a change of an old review is an edit of it.
        edited_at=changed,
        about_brand=True,
    )


def _label(entry: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = entry.get(name)
    if value is None and default is not None:
        return default
    label = value["label"] if isinstance(value, Mapping) else None
    if not isinstance(label, str):
        raise ValueError(f"no {name}")
    return label


def _moment(entry: Mapping[str, Any]) -> datetime:
    moment = datetime.fromisoformat(_label(entry, "updated"))
    if moment.tzinfo is None:
        raise ValueError("a time without zone")
    return moment.astimezone(UTC)

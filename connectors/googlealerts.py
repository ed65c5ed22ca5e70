"""Google Alerts by feed: what Google newly found in news, blogs and the web for a search term.

It is a feed like any other (:mod:`connectors.rss`) whose links lead through a redirect of Google
and whose ids are Google's own. Here each entry gets the address of the article itself, and that is
its id as well: the same article found by two alerts is one post.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from connectors.base import ConnectorError, Context, Cursor, Page, SourceFault
from connectors.feedreader import Entry, Feed, fingerprint
from connectors.http import Fetched
from connectors.options import Options as BaseOptions
from connectors.rss import RssConnector, RssOptions
from connectors.webaddress import canonical, unwrap

_LONGEST_ID = 400
_REMEDIES = {
    SourceFault.NOT_FOUND: "the alert was deleted, or no longer delivers to a feed: on "
    "google.com/alerts set 'Deliver to' to 'RSS feed' and copy the new address into url",
    SourceFault.FORBIDDEN: "Google refuses this address: raise interval_seconds to an hour, and "
    "look whether the feed opens in a browser without login",
    SourceFault.UNAUTHORIZED: "such a feed needs no login: copy its address from "
    "google.com/alerts again",
    SourceFault.RATE_LIMITED: "raise interval_seconds: Google refreshes alerts a few times a day",
    SourceFault.BAD_RESPONSE: "look whether url is the address of the feed (…/alerts/feeds/…), "
    "not of the page of alerts",
}


class GoogleAlertsOptions(BaseOptions):
    """Options of a source of kind ``googlealerts``."""

    kind: Literal["googlealerts"] = "googlealerts"
    url: str = Field(pattern=r"^https?://[^\s/]+\S*$", max_length=2_000)
    """Address of the alert's feed, as "https://www.google.com/alerts/feeds/…/…". Required."""
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}(-[a-z0-9]{2,8})*$")
    """Language of all entries, as "nl", for an alert that is limited to one. Default: unknown."""
    max_bytes: int = Field(default=2 * 2**20, ge=1024, le=100 * 2**20)
    """Largest feed that is accepted, in bytes after decompression. Default 2097152."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one poll may take, redirects included. Default 30."""


class GoogleAlertsConnector(RssConnector):
    """Polls the feed of one alert."""

    kind: ClassVar[str] = "googlealerts"
    Options: ClassVar[type[BaseOptions]] = GoogleAlertsOptions
    remedies: ClassVar[Mapping[SourceFault, str]] = {}
    """Those of other feeds do not help here."""

    def __init__(self, options: GoogleAlertsOptions, context: Context) -> None:
        feed = RssOptions(
            url=options.url,
            language=options.language,
            max_bytes=options.max_bytes,
            timeout_seconds=options.timeout_seconds,
        )
        super().__init__(feed, context)

    def fetch(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the entries that were not there before. See :class:`connectors.base.Connector`."""
        try:
            yield from super().fetch(cursor)
        except ConnectorError as error:
            remedy = _REMEDIES.get(error.fault)
            if remedy is None:
                raise
            raise ConnectorError(
                f"{error}; {remedy}",
                fault=error.fault,
                permanent=error.permanent,
                retry_after=error.retry_after,
            ) from error

    def _read(self, fetched: Fetched) -> Feed:
        feed = super()._read(fetched)
        return replace(feed, entries=tuple(_unwrapped(entry) for entry in feed.entries))


def _unwrapped(entry: Entry) -> Entry:
    """Give ``entry`` the address of its article, as link and as id; alerts name no author."""
    url = unwrap(entry.url) if entry.url else None
    if url is None:
        return replace(entry, author=None)
    url = canonical(url)
    ident = url if len(url) <= _LONGEST_ID else f"{urlsplit(url).hostname}#{fingerprint(url)}"
    # By its link alone: Google marks other words in the title for each alert.
    return replace(entry, id=ident, url=url, author=None, content=fingerprint(url))

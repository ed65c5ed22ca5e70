"""Which page of the documentation tells how to get access to a source, and what to do when it refuses."""

from __future__ import annotations

from connectors import BUILT_IN
from connectors.base import ConnectorError, Darkness, SourceFault, darkness_of

_ELSEWHERE = {
    "file": "docs/connectors.md#file-mention-files",
    "jetstream": "docs/sources/bluesky.md#jetstream-every-post-as-it-is-written",
    "rss": "docs/connectors.md#rss-feeds",
    "x": "docs/connectors.md#x-the-search-on-x",
}
_FOR_A_PERSON = frozenset({Darkness.REFUSED, Darkness.BLOCKED})


def guide(kind: str) -> str | None:
    """The page about a kind of source; None for kinds that other packages bring."""
    if kind not in BUILT_IN:
        return None
    return _ELSEWHERE.get(kind) or f"docs/sources/{kind}.md"


def advised(error: ConnectorError, kind: str) -> ConnectorError:
    """The error with the page to read, where only a person can mend it; else as it is."""
    page = guide(kind)
    needs_somebody = (
        error.permanent
        or error.fault is SourceFault.PAYMENT_REQUIRED
        or darkness_of(error.fault) in _FOR_A_PERSON
    )
    if page is None or page in str(error) or not needs_somebody:
        return error
    told = ConnectorError(
        f"{error} (see {page})",
        fault=error.fault,
        permanent=error.permanent,
        retry_after=error.retry_after,
    )
    told.__cause__ = error
    return told

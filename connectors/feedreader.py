"""What a feed says: from the bytes of a feed to its entries as plain values.

Runs in a process of its own (see :mod:`connectors.feedworker`): tolerant parsing of hostile text
takes, at worst, time that grows with the square of its size, and nothing but the end of a process
ends it. To start fast and stay small it imports the standard library, ``feedparser`` and
``plaintext``, nothing else of the project.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import json
import re
import resource
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO
from urllib.parse import urljoin

from connectors.plaintext import clean, from_html, language_tag, one_line, web_url

_LONGEST_ID = 400
_LONGEST_AUTHOR = 200
_LONGEST_ENTITY = 1_000
_ENTITY = re.compile(
    rb"<!ENTITY\s{1,9}[\w.-]{1,80}\s{1,9}"
    rb"""(?:"((?:[^"&]|&#){0,1001}&?)|'((?:[^'&]|&#){0,1001}&?))"""
)
_DAY = 24 * 60
_PERIODS = {
    "hourly": 60,
    "daily": _DAY,
    "weekly": 7 * _DAY,
    "monthly": 30 * _DAY,
    "yearly": 365 * _DAY,
}
_READABLE_TYPES = frozenset({"", "text/plain", "text/html", "application/xhtml+xml"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, its markup already turned into text."""

    id: str
    text: str
    content: str
    """Fingerprint of link and title: stays when a publisher changes its ids."""
    url: str | None
    author: str | None
    language: str | None
    published: int | None
    """Seconds since 1970, None where missing or unreadable."""
    replies: int


@dataclass(frozen=True, slots=True)
class Feed:
    """What could be read of a feed. ``problem`` says why it is none, and is empty if it is one."""

    problem: str = ""
    entries: tuple[Entry, ...] = ()
    total: int = 0
    """Entries in the document, of which ``entries`` may hold only the first."""
    cut_off: bool = False
    """The document ends in the middle: its last entry, perhaps half an entry, was left out."""
    language: str | None = None
    ttl_minutes: int | None = None
    """How long the publisher says that the feed may be kept."""
    period_minutes: int | None = None
    """How often the publisher says that the feed changes (sy:updatePeriod)."""
    hub: str | None = None
    """Where news can be subscribed to (WebSub)."""
    topic: str | None = None
    """What the feed calls itself there."""


def read_feed(body: bytes, headers: Mapping[str, str], *, url: str, host: str, most: int) -> Feed:
    """Read a feed as tolerantly as ``feedparser`` does.

    Args:
        body: as received, after decompression.
        headers: of the response: ``content-type`` may name the character set.
        url: where it came from, to complete relative links.
        host: of the configured address, to tell ids of different publishers apart.
        most: entries to read.
    """
    if _multiplies(body):
        return Feed(problem="declares entities that multiply, as only hostile documents do")
    import feedparser  # noqa: PLC0415 - the worker process alone needs it

    # As a stream: given bare text, feedparser would take it for a file name or an address.
    # All markup becomes text below, so it need not be sanitised first. Nor is the feed's address
    # given: feedparser would join it with everything that looks like a link.
    parsed: Mapping[str, Any] = feedparser.parse(
        io.BytesIO(body),
        response_headers=dict(headers),
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    entries: Sequence[Mapping[str, Any]] = parsed["entries"]
    cut_off = bool(parsed.get("bozo")) and not _is_closed(body)
    if cut_off:
        entries = entries[:-1]
    if not entries and (cut_off or not parsed.get("version")):
        return Feed(problem=_looks_like(body, headers, cut_off=cut_off))
    channel = parsed["feed"]
    return Feed(
        entries=tuple(_entry(entry, url, host) for entry in entries[:most]),
        total=len(entries),
        cut_off=cut_off,
        language=language_tag(_text(channel, "language")),
        ttl_minutes=_count(channel.get("ttl")) or None,
        period_minutes=_period(channel),
        hub=_related(channel, "hub"),
        topic=_related(channel, "self"),
    )


def fingerprint(*parts: str) -> str:
    """Sixteen hexadecimal digits that stand for ``parts``."""
    joined = "\0".join(part.strip() for part in parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=8).hexdigest()


def _multiplies(body: bytes) -> bool:
    """Whether the head declares entities made of entities, or long ones: XML bombs.

    The parser would survive them too, after some seconds.
    """
    root = re.search(rb"<\w", body)
    head = body[: root.start()] if root else body
    values = (found[1] or found[2] or b"" for found in _ENTITY.finditer(head))
    return any(len(value) > _LONGEST_ENTITY or value.endswith(b"&") for value in values)


def _looks_like(body: bytes, headers: Mapping[str, str], *, cut_off: bool) -> str:
    start = body[:2_000].replace(b"\0", b"").lower()
    kind = one_line(headers.get("content-type", "no type"), 80)
    if not start.strip():
        return "is empty"
    if b"<html" in start or b"<!doctype html" in start:
        return f"is a web page, not a feed ({kind}); give the address of the feed itself"
    if cut_off and any(root in start for root in (b"<rss", b"<feed", b"<rdf")):
        return "is cut off before its first entry ends"
    return f"is not a feed ({kind})"


def _is_closed(body: bytes) -> bool:
    """Whether the document ends with the end of a feed (zero bytes: UTF-16 and UTF-32)."""
    end = body[-4_096:].replace(b"\0", b"").lower()
    return any(tag in end for tag in (b"</rss", b"</feed", b"</rdf", b":feed>", b":rss>", b"</cdf"))


# --- entries --------------------------------------------------------------------------------------


def _entry(entry: Mapping[str, Any], base: str, host: str) -> Entry:
    title = " ".join(_readable(entry.get("title_detail")).split())
    body, language = _body(entry)
    url = _link(entry, base)
    content = fingerprint(url or body, title)
    return Entry(
        id=_identity(entry, host, content),
        text=_joined(title, body),
        content=content,
        url=url,
        author=_author(entry),
        language=language,
        published=_moment(entry),
        replies=_count(entry.get("slash_comments")) or _count(entry.get("thr_total")),
    )


def _link(entry: Mapping[str, Any], base: str) -> str | None:
    link = _text(entry, "link")
    with suppress(ValueError):
        return web_url(urljoin(base, link)) if link else None
    return None


def _identity(entry: Mapping[str, Any], host: str, content: str) -> str:
    """Give an id that no other publisher uses.

    Addresses, tags and URNs are unique by their nature; bare numbers are so per host only.
    """
    given = one_line(_text(entry, "id"), 4 * _LONGEST_ID)
    if not given:
        return f"{host}#{content}"
    if len(given) > _LONGEST_ID:
        return f"{host}#{fingerprint(given)}"
    worldwide = given.startswith(("http://", "https://", "tag:", "urn:"))
    return given if worldwide else f"{host}#{given}"


def _body(entry: Mapping[str, Any]) -> tuple[str, str | None]:
    """Give the fullest of contents and summary as text, with the language it claims."""
    found: tuple[str, str | None] = ("", None)
    contents = entry.get("content")
    for part in [*(contents if isinstance(contents, list) else ()), entry.get("summary_detail")]:
        if isinstance(part, Mapping) and _text(part, "type") in _READABLE_TYPES:
            text = _readable(part)
            if len(text) > len(found[0]):
                found = text, language_tag(_text(part, "language"))
    return found


def _readable(detail: Any) -> str:
    """Give the text of one construct: markup becomes text, plain text stays as it is."""
    if not isinstance(detail, Mapping):
        return ""
    value = _text(detail, "value")
    if _text(detail, "type") == "text/plain":
        return clean(value)
    return from_html(value)


def _joined(title: str, body: str) -> str:
    """Put the title above the body, unless the body begins with it (as social feeds do)."""
    stem = title.rstrip(".… ")
    if not title or " ".join(body[: 2 * len(title) + 40].split()).startswith(stem):
        return body or title
    return f"{title}\n{body}" if body else title


def _author(entry: Mapping[str, Any]) -> str | None:
    detail = entry.get("author_detail")
    name = _text(detail, "name") if isinstance(detail, Mapping) else ""
    return one_line(name or _text(entry, "author"), _LONGEST_AUTHOR) or None


def _moment(entry: Mapping[str, Any]) -> int | None:
    for name in ("published_parsed", "updated_parsed", "created_parsed"):
        value = entry.get(name)
        if value is not None:
            with suppress(ValueError, OverflowError, TypeError):
                return calendar.timegm(value)
    return None


def _related(channel: Mapping[str, Any], relation: str) -> str | None:
    """The first web address that the feed names in this relation to it."""
    links = channel.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and _text(link, "rel") == relation:
            return web_url(_text(link, "href"))
    return None


def _period(channel: Mapping[str, Any]) -> int | None:
    """The time between two changes, by the syndication module of RSS."""
    minutes = _PERIODS.get(_text(channel, "sy_updateperiod").strip().lower())
    if minutes is None:
        return None
    return max(minutes // (_count(channel.get("sy_updatefrequency")) or 1), 1)


def _count(value: Any) -> int:
    text = str(value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - digits


def _text(mapping: Mapping[str, Any], name: str) -> str:
    value = mapping.get(name)
    return value if isinstance(value, str) else ""


# --- the process ----------------------------------------------------------------------------------

LENGTH = struct.Struct("!Q")
"""Before each message between the processes: its length in bytes."""

ERROR = "error"
"""The key of an answer that says that reading failed: the name of the exception."""


def serve(memory_bytes: int) -> None:
    """Read feeds that come in through stdin until it closes; called in the worker process.

    A request is a message of JSON (the arguments of :func:`read_feed`) and one of the body; the
    answer is one message of JSON (a :class:`Feed`).
    """
    for ignored in (signal.SIGINT, signal.SIGTERM):  # meant for the daemon, which closes stdin
        signal.signal(ignored, signal.SIG_IGN)
    with suppress(ValueError, OSError):  # not every system lets itself be limited
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    while (request := _receive(incoming)) is not None:
        body = _receive(incoming) or b""
        try:
            answer = asdict(read_feed(body, **json.loads(request)))
        except Exception as error:  # noqa: BLE001 - parsers raise anything on hostile input; the caller names it
            answer = {ERROR: type(error).__name__}
        message = json.dumps(answer).encode()
        outgoing.write(LENGTH.pack(len(message)) + message)
        outgoing.flush()


def _receive(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None

"""Lists of feeds as feed readers export them (OPML): which feeds there are, and what they are called.

Outlines may be nested, and hold feeds more than once. Documents that declare entities are refused:
no reader writes them, and nothing that a document refers to is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.parsers import expat

from connectors.plaintext import one_line, web_url
from connectors.webaddress import canonical

MOST_FEEDS = 10_000
_DEEPEST = 100


class OpmlError(Exception):
    """The document is no list of feeds; the message says why."""


@dataclass(frozen=True, slots=True)
class ListedFeed:
    """One feed of the list."""

    url: str
    title: str
    """As the list calls it; may be empty."""
    folders: tuple[str, ...] = ()
    """The outlines that it stands in, outermost first."""


@dataclass(frozen=True, slots=True)
class FeedList:
    """What a list holds."""

    feeds: tuple[ListedFeed, ...]
    """Each once, in order."""
    repeated: int = 0
    """Feeds that stood there again."""
    unusable: tuple[str, ...] = ()
    """Titles of outlines whose feed has no address on the web."""


def read_opml(data: bytes) -> FeedList:
    """Read an OPML document.

    Args:
        data: the file as it is.

    Raises:
        OpmlError: it is not well-formed, declares entities, or holds no outlines.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat's own signature
    except expat.ExpatError as error:
        raise OpmlError(f"is not well-formed XML: {error}") from None
    except (LookupError, ValueError) as error:
        raise OpmlError(f"cannot be read: {one_line(str(error), 200)}") from None
    if reader.root != "opml":
        raise OpmlError(f"is not OPML but <{one_line(reader.root, 40)}>")
    return FeedList(tuple(reader.feeds.values()), reader.repeated, tuple(reader.unusable))


def _refuse(*_: object) -> None:
    raise OpmlError("declares entities, which no list of feeds needs")


class _Reader:
    """Collects outlines as the parser comes by them."""

    def __init__(self) -> None:
        self.root = ""
        self.feeds: dict[str, ListedFeed] = {}
        self.repeated = 0
        self.unusable: list[str] = []
        self._within: list[str | None] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.root = self.root or tag.lower()
        if len(self._within) >= _DEEPEST:
            raise OpmlError(f"is nested more than {_DEEPEST} deep")
        given = {name.lower(): value for name, value in attributes.items()}
        title = one_line(given.get("title") or given.get("text") or "", 200)
        folder: str | None = None
        if tag.lower() == "outline":
            if "xmlurl" in given:
                self._add(given["xmlurl"], title)
            else:
                folder = title or None
        self._within.append(folder)

    def end(self, _: str) -> None:
        self._within.pop()

    def _add(self, address: str, title: str) -> None:
        # Old readers wrote feed: in front of the address, or in its place.
        bare = address.strip().removeprefix("feed:")
        url = web_url(f"http:{bare}" if bare.startswith("//") else bare)
        if url is None:
            self.unusable.append(title or one_line(address, 100))
        elif canonical(url) in self.feeds:
            self.repeated += 1
        elif len(self.feeds) >= MOST_FEEDS:
            raise OpmlError(f"holds more than {MOST_FEEDS} feeds")
        else:
            folders = tuple(one for one in self._within if one)
            self.feeds[canonical(url)] = ListedFeed(url, title, folders)

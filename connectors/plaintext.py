"""From what sources send to text that can be stored, matched and shown: no markup, no odd signs."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

LONGEST_TEXT = 50_000
"""Characters of a post that are kept. A long article fits; a bomb does not."""

LONGEST_URL = 2_000

_UNWANTED = re.compile(
    "[\ud800-\udfff]"  # halves of broken emoji: no database takes them
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # control characters
)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")
_HIDDEN = frozenset({"script", "style", "template"})
_BREAKING = frozenset(
    {"address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption"}
    | {"figure", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main"}
    | {"nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"}
)


def clean(text: str) -> str:
    """Replace what cannot be stored or printed, trim, and cap at ``LONGEST_TEXT`` characters."""
    return _UNWANTED.sub("\N{REPLACEMENT CHARACTER}", text[: 2 * LONGEST_TEXT]).strip()[
        :LONGEST_TEXT
    ]


def one_line(text: str, longest: int) -> str:
    """Like :func:`clean`, on one line of at most ``longest`` characters."""
    return " ".join(clean(text[: 8 * longest]).split())[:longest]


def from_html(markup: str) -> str:
    """Give the text that a reader of ``markup`` would see, one line for each block."""
    reader = _TextReader()
    reader.feed(markup[: 10 * LONGEST_TEXT])
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return clean("\n".join(line for line in lines if line))


def web_url(value: str | None) -> str | None:
    """Give ``value`` if it is a web address fit for a link, else None (``javascript:``, a path)."""
    url = (value or "").strip()
    if not url or len(url) > LONGEST_URL or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme.lower() in {"http", "https"} and parts.hostname else None


def language_tag(value: str | None) -> str | None:
    """Give ``value`` as a lower-case BCP 47 tag, or None if it is none or says "unknown"."""
    tag = (value or "").strip().lower().replace("_", "-")
    return tag if _LANGUAGE.fullmatch(tag) and tag not in {"und", "zxx", "mul"} else None


_Attributes = list[tuple[str, str | None]]


class _TextReader(HTMLParser):
    """Collects text, leaving out what a browser would not show."""

    # The signatures are those of the standard library; attributes carry no text.

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden_by: str | None = None

    def handle_starttag(self, tag: str, attrs: _Attributes) -> None:  # noqa: ARG002
        if self._hidden_by is None and tag in _HIDDEN:
            self._hidden_by = tag
        elif tag in _BREAKING:
            self.parts.append("\n")

    def handle_startendtag(self, tag: str, attrs: _Attributes) -> None:  # noqa: ARG002
        if tag in _BREAKING:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden_by:
            self._hidden_by = None
        elif tag in _BREAKING:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._hidden_by is None:
            self.parts.append(data.replace("\n", " "))

"""Untrusted text made fit to be shown: no control characters, no invisible reordering.

What it looks like in a channel (escaping, mentions, links) is that channel's duty; this is only
what holds everywhere.
"""

from __future__ import annotations

import re
import unicodedata

_BREAKS = re.compile(r"\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that reorder what is read: with them a link or a name can be made to look like another."""
_SPACES = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def plain(text: str) -> str:
    """Keep words and line breaks (line feeds), drop everything that steers instead of says."""
    text = _BIDI.sub("", _BREAKS.sub("\n", text))
    text = "".join(char if char == "\n" or _is_visible(char) else " " for char in text)
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def one_line(text: str, limit: int = 200) -> str:
    """The same on one line of at most ``limit`` characters: for titles, names, headers."""
    return shorten(" ".join(plain(text).split()), limit)


def shorten(text: str, limit: int) -> str:
    """Cut to at most ``limit`` characters, at a word if that costs little; an ellipsis shows it."""
    if len(text) <= limit:
        return text
    cut = text[: max(limit - 1, 0)]
    head, space, tail = cut.rpartition(" ")
    if space and len(tail) <= limit // 5:
        cut = head
    return cut.rstrip() + "…"


def _is_visible(char: str) -> bool:
    # Cf stays: it holds the joiner that emoji are made with. Cs cannot be encoded as UTF-8.
    return unicodedata.category(char) not in {"Cc", "Cs"}

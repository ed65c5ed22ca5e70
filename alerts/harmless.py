"""Untrusted text for places whose markup is not known: it says the same and does nothing.

A message that goes through another system ends up in chat rooms, pages and mails of which we know
nothing. What tags, mentions and links are made of is therefore taken apart before it leaves. The
result is plain text: where a markup is known, escaping for it comes on top.
"""

from __future__ import annotations

import re

from alerts.plain import plain, shorten

_JOINER = "\u2060"
"""Invisible, and keeps what stands on its sides from being read as one by a machine."""
_ANGLES = str.maketrans({"<": "‹", ">": "›"})
_MENTION = re.compile(r"(@|(?<![^\W_])[#!])(?=[\w&])")
_ADDRESS = re.compile(
    r":(?=//)|www(?=\.)|(?:java|vb)script(?=:)|\b(?:data|mailto|tel)(?=:)", re.IGNORECASE
)
_LINK = re.compile(r"\](?=[(\[:])")
_TEMPLATE = re.compile(r"([{$])(?=[{%#])")


def harmless(text: str, limit: int = 2000) -> str:
    """At most ``limit`` characters of ``text``, with nothing in it that a program would act on."""
    text = shorten(plain(text), limit).translate(_ANGLES)
    text = _ADDRESS.sub(lambda found: f"{found.group()}{_JOINER}", text)
    text = _MENTION.sub(rf"\1{_JOINER}", text)
    text = _LINK.sub(rf"]{_JOINER}", text)
    return _TEMPLATE.sub(rf"\1{_JOINER}", text)

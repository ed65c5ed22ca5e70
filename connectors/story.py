"""Which posts are the same story told again: one key for a text and its reshares.

The key is a function of the text alone, so that it can be computed once, stored and grouped by.
It looks through what reshares add and lose: ``RT @x:``, quotation marks, a remark before or behind,
``via``, links, handles, capitals, punctuation, emoji, a cut-off end. It does not see paraphrases.
False merges are worse than misses: texts of a few words only equal themselves.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable

from connectors.querytext import fold

STRETCH = 8
"""Words in a row that two texts must share to be one story. Texts with fewer words (links, handles
and closing hashtags not counted) are only equal to themselves."""
REACH = 8.0
"""After so many words a stretch counts e times less: reshares lose their end, not their start."""

MAX_LENGTH = 5_000
"""Characters that are looked at: stretches further on could hardly win anyway."""

_RETWEET = re.compile(r"(?:^|\W)rt @\S+\s")
_QUOTED = re.compile(r'["“”„«»]([^"“”„«»]+)["“”„«»]')
_DOMAIN = re.compile(r"[^\W_]\.(?:com|nl|be|org|net|eu|de|co|io|ly|me)(?![^\W_])")
_WORD = re.compile(r"[^\W_]+")
_ASIDE = 12
"""Most words of a closing remark in brackets."""
_SOURCE = 4
"""Most words of a closing "via …", the "via" included."""


def story_key(text: str) -> str:
    """The key that ``text`` shares with its reshares: 32 hexadecimal digits.

    Args:
        text: a post's text, as it came.
    """
    words = _words(text)
    if len(words) < STRETCH:
        return _digest(b"short", text).hex()
    return _digest(b"story", _anchor(words)).hex()


def _words(text: str) -> list[str]:
    """The words of what was said, without what resharing adds."""
    core = fold(text)[:MAX_LENGTH]
    retweets = list(_RETWEET.finditer(core))
    if retweets:
        core = core[retweets[-1].end() :]
    quoted = max(_QUOTED.findall(core), key=len, default="")
    if len(quoted) > len(core) / 2:
        core = quoted
    tokens = core.split()
    _drop_end(tokens)
    return [word for token in tokens if not _is_address(token) for word in _WORD.findall(token)]


def _drop_end(tokens: list[str]) -> None:
    """Take off closing hashtags, links, handles, emoji, asides, "via …" and a word cut in half."""
    while tokens:
        last = tokens[-1]
        if last.endswith(("…", "...")):
            tokens.pop()
            return
        size = 0
        if last.startswith("#") or _is_address(last) or not _WORD.search(last):
            size = 1
        elif last.endswith(")"):
            size = _from_end(tokens, _ASIDE, lambda token: token.startswith("("))
        else:
            size = _from_end(tokens, _SOURCE, lambda token: token in {"via", "(via"})
        if not size:
            return
        del tokens[-size:]


def _from_end(tokens: list[str], most: int, begins: Callable[[str], bool]) -> int:
    """How many tokens from the end the nearest one that ``begins`` stands; 0 if beyond ``most``."""
    for size, token in enumerate(reversed(tokens[-most:]), start=1):
        if begins(token):
            return size
    return 0


def _is_address(token: str) -> bool:
    """Whether a token is a link or a handle."""
    return (
        token.lstrip("\"'([.").startswith("@")
        or "://" in token
        or "www." in token
        or _DOMAIN.search(token) is not None
    )


def _anchor(words: list[str]) -> str:
    """The stretch of words that stands for the text.

    A weighted lottery whose numbers come from the words themselves: every stretch draws an
    exponential variate from its own hash, divides it by a weight that falls exponentially with its
    place, and the least wins. Texts that share most of their stretches mostly share the winner. A
    remark put in front shifts all weights by the same factor, which changes nothing among the rest.
    """
    best, least = "", math.inf
    for place in range(len(words) - STRETCH + 1):
        if place / REACH - _LUCKIEST > least:
            break  # not even the best draw could win from here on
        stretch = " ".join(words[place : place + STRETCH])
        number = int.from_bytes(_digest(b"draw", stretch)[:6])
        variate = -math.log((number + 0.5) / _NUMBERS)
        rank = math.log(variate) + place / REACH
        if rank < least:
            best, least = stretch, rank
    return best


_NUMBERS = 2**48
_LUCKIEST = math.log(2 * _NUMBERS)
"""No rank before the place is added lies below minus this."""


def _digest(purpose: bytes, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16, person=purpose).digest()

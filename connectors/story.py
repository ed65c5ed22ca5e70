"""Which posts are the same story told again: one key for a text and its reshares.

Two steps, so that nothing has to be compared with everything. ``anchors`` of a text are a few stretches of
its words, drawn in a lottery that its reshares mostly win with the same numbers: texts that share an anchor
are candidates. ``same_story`` then compares the texts themselves. Both look through what reshares add and
lose: ``RT @x:``, quotation marks, a remark before or behind, ``via``, links, handles, capitals,
punctuation, emoji, a cut-off end, a word changed. They do not see paraphrases.
False merges are worse than misses: texts of a few words only equal themselves.

This is min-wise hashing (Broder, "On the resemblance and containment of documents", 1997) with the lowest
few draws of one permutation, weighted by place, in place of the lowest of many.
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

ANCHORS = 6
"""Stretches that stand for a text. A reshare that keeps half of them shares one almost surely."""
SHINGLE = 3
"""Words in a row that are compared when it comes to the texts themselves."""
ALIKE = 0.8
"""Share of the shorter text's shingles that must stand in the longer one. A changed word spoils three of
them: so one word in seventeen may be another. With more, posts cut from one pattern (the same question
about another place) would be one story."""

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


def anchors(text: str) -> tuple[str, ...]:
    """The keys under which reshares of ``text`` may be found: 1 to ``ANCHORS``, the best first.

    The first one is the key of the story that the text begins when it is no reshare. Each has 32
    hexadecimal digits.

    Args:
        text: a post's text, as it came.
    """
    words = _words(text)
    if len(words) < STRETCH:
        return (_digest(b"short", text).hex(),)
    return tuple(_digest(b"story", stretch).hex() for stretch in _drawn(words))


def story_key(text: str) -> str:
    """The key of the story that ``text`` begins when it is no reshare."""
    return anchors(text)[0]


def same_story(one: str, other: str) -> bool:
    """Whether one text is, for the most part, the other told again."""
    mine, theirs = _words(one), _words(other)
    if min(len(mine), len(theirs)) < STRETCH:
        return one == other
    less, more = sorted((_shingles(mine), _shingles(theirs)), key=len)
    return len(less & more) >= ALIKE * len(less)


def _shingles(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}


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


def _drawn(words: list[str]) -> list[str]:
    """The stretches of words that stand for the text, the best first.

    A weighted lottery whose numbers come from the words themselves: every stretch draws an
    exponential variate from its own hash, divides it by a weight that falls exponentially with its
    place, and the least win. Texts that share most of their stretches mostly share the winners. A
    remark put in front shifts all weights by the same factor, which changes nothing among the rest.
    """
    best: list[tuple[float, str]] = []
    for place in range(len(words) - STRETCH + 1):
        if len(best) == ANCHORS and place / REACH - _LUCKIEST > best[-1][0]:
            break  # not even the best draw could win from here on
        stretch = " ".join(words[place : place + STRETCH])
        number = int.from_bytes(_digest(b"draw", stretch)[:6])
        variate = -math.log((number + 0.5) / _NUMBERS)
        rank = math.log(variate) + place / REACH
        if len(best) < ANCHORS or rank < best[-1][0]:
            best = sorted([*best, (rank, stretch)])[:ANCHORS]
    return list(dict.fromkeys(stretch for _, stretch in best))


_NUMBERS = 2**48
_LUCKIEST = math.log(2 * _NUMBERS)
"""No rank before the place is added lies below minus this."""


def _digest(purpose: bytes, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16, person=purpose).digest()

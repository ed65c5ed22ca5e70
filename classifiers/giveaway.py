"""Where a login or a code would stand in what a person writes, for masking: by place and by shape.

Eager, and for hiding only: nothing here says that a post leaks. What hides too much costs a word of an
excerpt; what hides too little repeats a password in a mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from classifiers.detectors.base import words
from classifiers.detectors.phrases import looks_like_password

Place = tuple[int, int]
"""Offsets into the text: first character, and the one behind the last."""

_ODD_WORDS: Final = words("w8(?:woord|w)", "wachtw[o0]{2}rd", "p[a@4][s5$]{1,2}w?[o0]rd", "p[@4]ss")
"""How people write the word to get around filters."""
_SHORT: Final = frozenset({"ww", "pw", "pwd", "psw"})
"""Words that stand for nothing else: what follows one is a password."""
_LOGIN: Final = words(
    "log[- ]?ins?", "inlog(?:gegevens|naam|code|s)?", "creds?", "credentials", "toegangsgegevens",
    "(?:log[- ]?in|access) details",
)  # fmt: skip
_TO_LINE_END = re.compile(
    r"(?P<value>[^\s,;]{1,60}(?:[ \t]{1,3}[^\s,;]{1,40}){1,5})(?=[ \t]{0,9}(?:\n|$))"
)
_BELOW = re.compile(r"[ \t]{0,3}[:=]?[ \t]{0,3}\n\s{0,4}(?P<value>\S{3,80})(?=[ \t]{0,3}(?:\n|$))")
_ALONE = re.compile(r"[^\S\n]{0,9}\n\s{0,4}(?P<value>\S{3,80})(?=[ \t]{0,3}(?:\n|$))")
_LINES_BELOW = 3
_LINE_LEFT = re.compile(r"[^\n]{0,60}")
_NEXT = re.compile(r"[ \t]{1,3}(?P<value>\S{3,80})")
_LAST_OF_LINE = re.compile(r"[ \t]{0,3}(?:\n|$)")
_LINE_BEFORE = re.compile(r"(?:^|\n)[ \t]{0,3}(?:\S{1,40}[ \t]{1,3}){0,2}$")
_PUT = re.compile(
    r"[^.!?,\n]{0,60}?\b(?:is|was|wordt|blijft|staat|stond|veranderd|gewijzigd|gezet|changed|set|reset)\s{1,3}"
    r"(?:(?:nu|nog|steeds|gewoon|dus|altijd|still|just|simply|now|always|momenteel|currently|op|in|naar|to"
    r"|as)\s{1,3}){1,4}(?P<value>\S{3,80})",
    re.IGNORECASE,
)
_OWNS = re.compile(r"['’]s[ \t]{1,3}(?P<value>\S{3,80})")
_PAIR = re.compile(r"[ \t]{0,3}[:=]?[^\n/]{0,30}?(?P<value>[^\s/|,;]{2,40} ?[/|] ?[^\s/|]{2,60})")
_SPACED_PAIR = re.compile(r"[^\n/]{0,60}?(?P<value>[^\s/|,;]{2,40} [/|] [^\s/|]{2,60})")
_LED = re.compile(r"[ \t]{0,3}[:=]")

_DIGITS = re.compile(r"[A-Za-z]{0,2}\d(?:(?:[ .·_-]|, ?)?\d){2,40}[#*A-Za-z]{0,2}")
_SPELT_LIST = """
    nul een één twee drie vier vijf zes zeven acht negen tien elf twaalf hekje sterretje
    zero o oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety double triple hash
"""
_SPELT = "|".join(sorted(_SPELT_LIST.split(), key=len, reverse=True))
_SPELT_OUT = re.compile(
    rf"(?<!\w)(?:{_SPELT})(?:[\s,.;:-]{{1,3}}(?:(?:en|and|dan|then)\s)?(?:{_SPELT})(?!\w)){{2,20}}",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\S{3,400}")
_SIGNED = re.compile(r"[A-Za-z0-9][!#$%^&*+=?_~][A-Za-z0-9]")
_MIXED = re.compile(r"(?=\S{0,200}[A-Za-z])(?=\S{0,200}\d)\S{4,}")
_ANY_PAIR = re.compile(r"(?<!\S)[^\s/|,;]{2,40} ?[/|] ?[^\s/|,;.]{2,60}")
_QUOTED = re.compile(r"""(?<!\w)['"‘“]([^\s'"’”]{3,40})['"’”](?!\w)""")


def behind_password(text: str, word: re.Match[str]) -> Iterator[Place]:
    """Yield what stands where a password would, behind a word for it, and is led there by no sign."""
    at = word.end()
    for pattern in (_BELOW, _PUT, _OWNS):
        if found := pattern.match(text, at):
            yield found.span("value")
    if (led := _LED.match(text, at)) and (
        phrase := _TO_LINE_END.match(text, _skip(text, led.end()))
    ):
        yield phrase.span("value")
    following = _NEXT.match(text, at)
    if following and (
        word[0].casefold() in _SHORT or _is_note(text, word.start(), following.end())
    ):
        yield following.span("value")


def _skip(text: str, at: int) -> int:
    return at + len(text[at : at + 9]) - len(text[at : at + 9].lstrip(" \t"))


def _is_note(text: str, start: int, end: int) -> bool:
    """Whether a line is no sentence: a few words, of which the last is the value."""
    ends = _LAST_OF_LINE.match(text, end) is not None and text[end - 1] not in "?."
    return ends and _LINE_BEFORE.search(text[max(0, start - 130) : start]) is not None


def odd_words(text: str) -> Iterator[re.Match[str]]:
    """Yield words for a password as they are written to get around filters."""
    return _ODD_WORDS.pattern.finditer(text)


def behind_login(text: str) -> Iterator[Place]:
    """Yield names and passwords behind ``login:``, in pairs, and on lines of their own below it."""
    for word in _LOGIN.pattern.finditer(text):
        at = word.end()
        led = _LED.match(text, at)
        if led and (rest := _TO_LINE_END.match(text, _skip(text, led.end()))):
            yield rest.span("value")
        if pair := (_PAIR if led else _SPACED_PAIR).match(text, at):
            yield pair.span("value")
        rest_of_line = _LINE_LEFT.match(text, at)
        below = rest_of_line.end() if rest_of_line else at
        for _ in range(_LINES_BELOW):
            line = _ALONE.match(text, below)
            if line is None:
                break
            yield line.span("value")
            below = line.end()


def keylike(text: str) -> Iterator[Place]:
    """Yield whatever could open something, of a post that is thought to give that away.

    Numbers of three digits and more however they are spaced or spelt, words with digits or signs in them,
    pairs, and single words in quotes.
    """
    for pattern in (_DIGITS, _SPELT_OUT, _ANY_PAIR):
        for match in pattern.finditer(text):
            yield match.span()
    for match in _QUOTED.finditer(text):
        yield match.span(1)
    for match in _TOKEN.finditer(text):
        token = match[0].strip(".,:;!?()[]\"'“”‘’")
        if _SIGNED.search(token) or _MIXED.match(token) or looks_like_password(token):
            yield match.span()

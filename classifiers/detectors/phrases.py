"""Finds secrets as people write them: ``wachtwoord van de kassa is …``, ``gate code's 7734``.

The words that tell are data (``phrases.toml``); how a value of each sort looks is here. A phrase
rule looks at a bounded window after each tell-tale word, so time is linear in the text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from classifiers.base import Confidence, Finding, LeakCategory
from classifiers.detectors import noise
from classifiers.detectors.base import words
from classifiers.detectors.ownership import is_own

_HERE = Path(__file__).parent
CONNECTOR = re.compile(
    r"""\s{0,3}(?:(?:is|was|are|nu|now|still|nog|steeds|always|altijd|blijft|wordt|from|van|met|with|
        op|staat|bij\ ons|gewoon|just|the|het|'s|sinds\ \d{4}|sinds|since|die)\s{1,3}){0,4}
        (?:[:=]{1,2}|->|=>|→|is|-)?\s{0,3}""",
    re.IGNORECASE | re.VERBOSE,
)
_LED = re.compile(r"(?:[:=]|\b(?:is|nu|now|was|wordt))\s{0,3}[\"']?$", re.IGNORECASE)
_OF_WHAT = re.compile(
    r"""\s{1,3}(?:van|voor|op|bij|of|for|to|on)\s{1,3}(?:[^\s.!?:=]{1,30}\s{1,3}){0,4}[^\s.!?:=]{1,30}
        (?:\s{1,3}(?:is|was|wordt)\s{1,3}(?:nu\s|now\s|nog\s(?:steeds\s)?|still\s)?|\s{0,3}[:=])
        \s{0,3}["']?$""",
    re.IGNORECASE | re.VERBOSE,
)
"""Between the word and its value: what it opens, and *is*."""
_TOKEN = re.compile(r"""[^\s"'<>(),;`|]{1,80}""")
_QUOTED = re.compile(r"""["']([^"'\n]{4,40})["']""")
_CODE = re.compile(
    r"(?<![\w.,€$£-])(?:\d{4,6}[#*]?|\d(?:[ -]\d){3,5}[#*]?|\d{3,5}[#*])(?![\d%€]|[.,:]\d|-\d)"
)
_COUNTED = re.compile(
    r"""\s?(?:euros?|eur|dollars?|pounds?|mensen|man|people|uur|u\b|hours?|jaar|years?|stuks|keer|times|
        x\b|km|m2|kg|gram|combina|posse|dagen|days|klanten|customers|punten|points|leden|members|
        (?-i:[A-Z]{2})\b|%|k\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_YEAR = re.compile(r"(?:19|20)\d\d$")
_SPOKEN = re.compile(
    r"staat\s(?:nog\s)?op|toets(?:en|t)?|intoetsen|typ|code|\bis\b|\bpin\b|[:=#]|hekje|sterretje"
    r"|(?:af|open)\smet",
    re.IGNORECASE,
)
_NO_PASSWORD = re.compile(
    r"""^(?:https?:|www\.|[@#:]|.{0,60}://|\w{1,40}=\d{0,5}$
      | .{0,60}@[\w-]+\.\w | \d{1,4}[a-z]{1,9}$ | \d+([.,:/-]\d+)+\w{0,3}$ | [€$£]
      | (?:covid|iphone|ipad|windows|office|galaxy|playstation|xbox|mp|dvb|usb|web|b2b|b2c|co2|g20|
        microsoft|google|wpa|sha|md|utf|iso|nen|h2o|top|q[1-4]|wk|week|versie|version|android|ios|
        ryzen|nieuws|radio|npo|rtl|sbs|formule|formula|euro|ek|wk|act|step|part|deel|fase|phase|
        e-?mail|foutcode|error|fout|room|kamer|track|day|dag|level|type|model|team|u)[-_ ]?\d+\w{0,2}!?$
      | [A-Z]{1,2}-?\d{2,6}$ | \d{1,2}(?:st|nd|rd|th|e|de|ste)\b
      | \d{1,4}%?[-./][a-z][a-z-]*$ | [^/]*/[^/]*/ | [a-z]{2,12}-\d{1,2}[a-z]?$
      | [A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$ | [0-9a-f]{8}-[0-9a-f]{4}- | [\w-]+(?:\.[\w-]+){2,}
      | [\w-]{2,}\.(?:nl|be|com|org|net|eu|co|io|uk)\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_LEAST_PASSWORD = 5
_LEAST_LETTERS = 3

Value = Literal["password", "strict", "code"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """One rule of ``phrases.toml``."""

    id: str
    why: str
    word: re.Pattern[str]
    """The tell-tale words."""
    value: Value
    window: int
    direct: Confidence | None
    near: Confidence | None
    spoken: bool
    """A code counts only with a word that says it is one, and never as a year."""
    must_match: tuple[str, ...]
    must_not_match: tuple[str, ...]


@cache
def all_phrases() -> tuple[Phrase, ...]:
    """Return all phrase rules, read once from the data file beside this module."""
    raw = tomllib.loads((_HERE / "phrases.toml").read_text("utf-8"))
    return tuple(_phrase(entry) for entry in raw["phrase"])


def _phrase(raw: Mapping[str, Any]) -> Phrase:
    def confidence(key: str) -> Confidence | None:
        return Confidence(raw[key]) if key in raw else None

    return Phrase(
        id=raw["id"],
        why=raw["why"],
        word=words(*raw["words"]).pattern,
        value=raw["value"],
        window=raw["window"],
        direct=confidence("direct"),
        near=confidence("near"),
        spoken=raw.get("spoken", False),
        must_match=tuple(raw["must_match"]),
        must_not_match=tuple(raw["must_not_match"]),
    )


def looks_like_password(value: str, *, strict: bool = False) -> bool:
    """Tell whether ``value`` could be a password and hardly an ordinary word.

    Args:
        value: one token of a text, without closing punctuation.
        strict: far from a tell-tale word: must also hold upper case or a sign within.
    """
    if _NO_PASSWORD.match(value):
        return False
    name, colon, password = value.partition(":")
    if name and colon:  # user:password in one word
        return looks_like_password(password, strict=strict)
    letters = sum(c.isalpha() for c in value)
    if len(value) < _LEAST_PASSWORD or letters < _LEAST_LETTERS:
        return False
    if noise.is_documented(value) or noise.is_placeholder(value):
        return False
    if not any(c.isdigit() for c in value):
        return False
    sign = any(not c.isalnum() for c in value[1:-1])
    return not strict or sign or (any(c.isupper() for c in value) and letters > _LEAST_LETTERS)


class PhraseDetector:
    """Runs the phrase rules over a text. A finding's ``detector`` is the id of its rule."""

    name = "phrases"

    def __init__(self, phrases: Sequence[Phrase] | None = None) -> None:
        self._phrases = tuple(phrases) if phrases is not None else all_phrases()

    @property
    def must_match(self) -> Sequence[str]:
        """Examples of all rules."""
        return [text for phrase in self._phrases for text in phrase.must_match]

    @property
    def must_not_match(self) -> Sequence[str]:
        """Counter-examples of all rules: none may fool another rule either."""
        return [text for phrase in self._phrases for text in phrase.must_not_match]

    def find(self, text: str) -> Iterator[Finding]:
        """Yield the secrets of ``text``, the secret itself as span."""
        judge = cache(looks_like_password)  # a token is judged once, however many words tell of it
        for phrase in self._phrases:
            seen = 0
            told = list(phrase.word.finditer(text))
            for word, following in zip_longest(told, told[1:]):
                if word.end() < seen:
                    continue
                found = self._value(
                    phrase, text, word.end(), following.start() if following else len(text), judge
                )
                if found is None:
                    continue
                start, end, confidence = found
                seen = end
                yield Finding(
                    detector=phrase.id,
                    category=LeakCategory.CREDENTIALS,
                    start=start,
                    end=end,
                    confidence=_tempered(text, word, (start, end), confidence),
                )

    def _value(
        self, phrase: Phrase, text: str, at: int, until: int, judge: Callable[..., bool]
    ) -> tuple[int, int, Confidence] | None:
        connector = CONNECTOR.match(text, at)
        direct_at = connector.end() if connector else at
        if phrase.value == "code":
            return self._code(phrase, text, at, direct_at)
        return self._password(phrase, text, (at, until), direct_at, judge)

    def _code(
        self, phrase: Phrase, text: str, at: int, direct_at: int
    ) -> tuple[int, int, Confidence] | None:
        code = _CODE.search(text, at, min(len(text), at + phrase.window + 8))
        if code is None or "\n" in text[at : code.start()] or _COUNTED.match(text, code.end()):
            return None
        direct = code.start() <= direct_at
        confidence = phrase.direct if direct else phrase.near or phrase.direct
        if phrase.spoken and (
            _YEAR.match(code[0])
            or not _SPOKEN.search(text[at : code.start()] + text[code.end() : code.end() + 8])
        ):
            return None
        if _YEAR.match(code[0]) and not direct:
            return None
        return None if confidence is None else (code.start(), code.end(), confidence)

    def _password(
        self,
        phrase: Phrase,
        text: str,
        span: tuple[int, int],
        direct_at: int,
        judge: Callable[..., bool],
    ) -> tuple[int, int, Confidence] | None:
        at, until = span  # what follows the next tell-tale word is for that one to find
        quoted = _QUOTED.match(text, direct_at)
        if quoted and phrase.direct and judge(quoted[1].replace(" ", "-")):
            return quoted.start(1), quoted.end(1), phrase.direct
        strict = phrase.value == "strict"
        paragraph = text.find("\n\n", at, at + phrase.window)
        limit = paragraph if paragraph >= 0 else min(until, at + phrase.window)
        for token in _TOKEN.finditer(text, direct_at, max(direct_at, limit)):
            whole = _TOKEN.match(text, token.start())  # the window may end within it
            value = (whole or token)[0].rstrip(".:?")
            start, end = token.start(), token.start() + len(value)
            direct = phrase.direct is not None and (
                start <= direct_at or _OF_WHAT.match(text[at:start]) is not None
            )
            led = direct or _LED.search(text[max(at, start - 8) : start]) is not None
            if not judge(value, strict=strict or not led):
                continue
            confidence = phrase.direct if direct else phrase.near
            if confidence is not None:
                return start, end, confidence
        return None


def _tempered(
    text: str, word: re.Match[str], span: tuple[int, int], confidence: Confidence
) -> Confidence:
    """Lower the confidence for the stock examples of advice and for what is the writer's own."""
    if text[span[0] : span[1]].lower().rstrip("!") in noise.COMMON_PASSWORDS:
        return Confidence.LOW
    if is_own(text, word.start()) or is_own(text, span[0]):
        return Confidence.LOW if confidence is Confidence.LOW else Confidence.MEDIUM
    return confidence

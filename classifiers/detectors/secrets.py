"""Finds keys, tokens and passwords that machines use, by rules kept as data beside this module.

Three sorts of rules: tokens that speak for themselves and values behind the name of a service
(``tokens.toml``), and patterns that read what stands around a value (``patterns.toml``). How
*people* write a password in a sentence is :mod:`classifiers.detectors.phrases`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from classifiers.base import Confidence, Finding, LeakCategory
from classifiers.detectors import noise, shapes
from classifiers.detectors.base import entropy

_HERE = Path(__file__).parent
_ASSIGNED = r"""[\w \t.-]{0,24}["'\s]{0,3}(?:=>|:=|:{1,3}=?|={1,2}|>|\?=|,|\|\|)[\s"'`=]{0,5}?"""
_NOT_INSIDE_A_WORD = r"(?<![A-Za-z0-9])"
_A_WORD_STARTS = r"(?-i:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
_NO_OTHER_WORD = r"(?-i:(?!(?<=[a-z][A-Z])[a-z]))"
"""``sumObject`` does not speak of Sumo: a name does not end at the first letter of a word."""
_ENDS = r"(?![A-Za-z0-9_+/=-])"
_SERVICE_ENDS = r"(?=[`'\"\s;,)}]|\\[nr]|$)"


_SERVICE_ENTROPY = 2.5
"""Bits per character that a key of digits alone reaches; words of padding do not."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it finds, why that matters, and the examples that prove it."""

    id: str
    why: str
    keywords: tuple[str, ...]
    """Lower case; the pattern is tried only where one of them stands in the text."""
    pattern: re.Pattern[str]
    """With a group ``secret``, and ``name`` where the variable's name can clear the value."""
    confidence: Confidence = Confidence.HIGH
    entropy: float = 0.0
    """Least bits per character of the secret."""
    mixed: bool = False
    """The secret must hold upper case, lower case and a digit."""
    digit: bool = False
    """The secret must hold a digit."""
    strong: bool = False
    """The secret must look drawn by lot rather than written: see :func:`is_drawn`."""
    fixed: bool = False
    """A speaking word such as EXAMPLE inside the secret does not clear it."""
    unworded: bool = False
    """The secret must not be made of words: what names a thing is rarely its key."""
    unnamed: re.Pattern[str] | None = None
    """Names of variables that hold no secret."""
    must_match: tuple[str, ...] = ()
    must_not_match: tuple[str, ...] = ()

    def accepts(self, match: re.Match[str], *, eager: bool) -> bool:
        """Tell whether what the pattern matched is a secret, not padding or a placeholder."""
        secret = match["secret"]
        if eager:
            return not noise.is_monotonous(secret)
        if self.unnamed and self.unnamed.search(_name(match)):
            return False
        if noise.is_documented(secret) or noise.is_monotonous(secret):
            return False
        if noise.names_file(match.string, match.end("secret")):
            return False
        if not self.fixed and any(noise.is_placeholder(p) for p in _parts(secret)):
            return False
        return (
            entropy(secret) >= self.entropy
            and not (self.mixed and not is_mixed(secret))
            and not (self.digit and not any(c.isdigit() for c in secret))
            and not (self.strong and not is_drawn(secret))
            and not (self.unworded and self._names_a_thing(match))
        )

    def _names_a_thing(self, match: re.Match[str]) -> bool:
        secret = match["secret"]
        if noise.is_reference(secret):
            return True
        chosen = _CHOSEN.search(_name(match))
        return chosen is None and noise.is_worded(secret)


def _name(match: re.Match[str]) -> str:
    """Return the whole name of the variable, of which the pattern may see the end only."""
    if "name" not in match.groupdict():
        return ""
    start = match.start("name")
    before = _NAME_BEFORE.search(match.string[max(0, start - _LONGEST_NAME) : start])
    return (before[0] if before else "") + match["name"]


def _parts(secret: str) -> tuple[str, ...]:
    """Return what of a found value could be a placeholder: all of it, or what follows a colon."""
    _, colon, password = secret.partition(":")
    return (secret, password) if colon and password else (secret,)


def is_mixed(value: str) -> bool:
    """Tell whether ``value`` holds upper case, lower case and a digit."""
    return (
        any(c.islower() for c in value)
        and any(c.isupper() for c in value)
        and any(c.isdigit() for c in value)
    )


_CHOSEN = re.compile(r"pass|pwd|wachtwoord", re.IGNORECASE)
"""Names of what people choose themselves: words are no excuse there."""
_NAME_BEFORE = re.compile(r"[\w.-]*\Z")
_LONGEST_NAME = 60
_SOME_DIGITS = 3
_DENSE = 3.3
"""Bits per character that words and dates do not reach."""
_HEX_RUN = re.compile(r"[0-9a-f]{12,}")


def is_drawn(value: str) -> bool:
    """Tell whether ``value`` looks drawn by lot: mixed case and digits, or long hexadecimal."""
    digits = sum(c.isdigit() for c in value)
    hexadecimal = _HEX_RUN.search(value) is not None and 0 < digits < len(value)
    dense = digits >= _SOME_DIGITS and any(c.islower() for c in value) and entropy(value) >= _DENSE
    return hexadecimal or dense or (is_mixed(value) and digits > 1)


def _token_rule(raw: Mapping[str, Any]) -> Rule:
    listed: Sequence[str] = raw["shapes"]
    alternatives = "|".join(shapes.pattern(shape) for shape in listed)
    keywords = {keyword for shape in listed if (keyword := _keyword(shape))}
    everywhere = any(not _keyword(shape) for shape in listed)
    examples = tuple(
        shapes.example(f"found in a chat: {shape} .", seed=f"{raw['id']}{number}")
        for number, shape in enumerate(listed)
    )
    padded = tuple(
        re.sub(r"\{[a-zA-Z]:(\d+)[^}]*\}", _pad, shape) for shape in listed if "{" in shape
    )
    return Rule(
        id=raw["id"],
        why=raw["why"],
        keywords=() if everywhere else tuple(sorted(keywords)),
        pattern=re.compile(f"{_NOT_INSIDE_A_WORD}(?P<secret>{alternatives}){_ENDS}"),
        confidence=Confidence(raw.get("confidence", "high")),
        entropy=raw.get("entropy", 0.0),
        mixed=raw.get("mixed", False),
        fixed=raw.get("fixed", False),
        must_match=examples,
        must_not_match=(*raw.get("must_not_match", ()), *padded),
    )


def _pad(slot: re.Match[str]) -> str:
    return "x" * int(slot[1])


def _keyword(shape: str) -> str:
    """Return the longest fixed text of ``shape`` that is worth a pre-filter, in lower case."""
    fixed = re.split(r"\{[^}]*\}", shape)
    return max((part.lower() for part in fixed), key=len, default="")


def _service_rule(names: str, listed: Sequence[str]) -> Rule:
    first = names.split("|", 1)[0]
    alternatives = "|".join(
        shapes.pattern(shape) for shape in sorted(listed, key=len, reverse=True)
    )
    spelled = "|".join(re.escape(name) for name in names.split("|"))
    return Rule(
        id=f"{first.replace('_', '-')}-key",
        why=f"opens an account with the service {first}",
        keywords=tuple(names.split("|")),
        pattern=re.compile(
            f"{_A_WORD_STARTS}(?:{spelled}){_NO_OTHER_WORD}{_ASSIGNED}(?P<secret>{alternatives}){_SERVICE_ENDS}",
            re.IGNORECASE,
        ),
        entropy=_SERVICE_ENTROPY,
        digit=True,
        unworded=True,
        must_match=tuple(
            shapes.example(f"{first}_token = {shape}", seed=f"{first}{number}")
            for number, shape in enumerate(listed)
        ),
        must_not_match=(f"{first}_token = {'x' * 32}", f"{first} is down again, 3rd time"),
    )


def _pattern_rule(raw: Mapping[str, Any]) -> Rule:
    flags = re.IGNORECASE if "i" in raw.get("flags", "") else re.NOFLAG
    unnamed = raw.get("unnamed")

    def examples(key: str) -> tuple[str, ...]:
        return tuple(
            shapes.example(text, seed=f"{raw['id']}{number}")
            for number, text in enumerate(raw.get(key, ()))
        )

    return Rule(
        id=raw["id"],
        why=raw["why"],
        keywords=tuple(raw["keywords"]),
        pattern=re.compile(raw["pattern"], flags),
        confidence=Confidence(raw.get("confidence", "high")),
        entropy=raw.get("entropy", 0.0),
        mixed=raw.get("mixed", False),
        digit=raw.get("digit", False),
        strong=raw.get("strong", False),
        unworded=raw.get("unworded", False),
        unnamed=re.compile(unnamed, re.IGNORECASE) if unnamed else None,
        must_match=examples("must_match"),
        must_not_match=examples("must_not_match"),
    )


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return all rules, read once from the data files beside this module."""
    tokens = tomllib.loads((_HERE / "tokens.toml").read_text("utf-8"))
    patterns = tomllib.loads((_HERE / "patterns.toml").read_text("utf-8"))
    return (
        *(_token_rule(raw) for raw in tokens["token"]),
        *(_pattern_rule(raw) for raw in patterns["rule"]),
        *(_service_rule(names, listed) for names, listed in tokens["services"].items()),
    )


class SecretDetector:
    """Runs the rules over a text. A finding's ``detector`` is the id of its rule.

    Args:
        rules: the rules to run; all of them unless stated.
        eager: for masking: also report what is too weak to raise an alert.
    """

    name = "secrets"

    def __init__(self, rules: Sequence[Rule] | None = None, *, eager: bool = False) -> None:
        self._rules = tuple(rules) if rules is not None else all_rules()
        self._eager = eager

    @property
    def must_match(self) -> Sequence[str]:
        """Examples of all rules."""
        return [text for rule in self._rules for text in rule.must_match]

    @property
    def must_not_match(self) -> Sequence[str]:
        """Examples that no rule at all may take for a secret."""
        return [
            "Tip: zet 2FA aan en gebruik een wachtwoordmanager",
            "the api key is in the vault, ask the team",
            "git commit 43fc912ef59a83054ea7f6706df4d53a7dea4d80",
            "https://www.teasel.example/nl/nieuws/2025/11/kwartaalcijfers?utm_source=x&utm_medium=social",
        ]

    def find(self, text: str) -> Iterator[Finding]:
        """Yield the secrets of ``text``, the secret itself as span."""
        lowered = text.lower()
        for rule in self._rules:
            if rule.keywords and not any(keyword in lowered for keyword in rule.keywords):
                continue
            for match in rule.pattern.finditer(text):
                if rule.accepts(match, eager=self._eager):
                    yield Finding(
                        detector=rule.id,
                        category=LeakCategory.CREDENTIALS,
                        start=match.start("secret"),
                        end=match.end("secret"),
                        confidence=rule.confidence,
                    )

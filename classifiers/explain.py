"""Says in one plain sentence why a post is in the band that it is in.

The sentence is made of the band, the score, the likely category and the names of what fired. The post
itself never comes here, so that nothing of it can be repeated; what the operator called a
registered document or list does. The words are data: ``explain.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from classifiers.base import Finding, Leak
from classifiers.detectors import Kind, kind
from classifiers.leaks import enough_alone, weight

LANGUAGES: Final = ("nl", "en")
MOST_THINGS: Final = 3
"""More than this a sentence does not carry; the weightiest are named."""
MOST_OF_A_LABEL: Final = 30
"""Characters of the name of a registered document that a sentence carries."""


def explain(leak: Leak, language: str = "en") -> str:
    """Return one sentence on why ``leak`` is in its band.

    Only findings that weighed anything are named: a phone number, or the writer's own account, is no
    reason. Offsets are not looked at.

    Args:
        leak: the verdict.
        language: ``nl`` or ``en``.

    Raises:
        ValueError: another language.
    """
    phrases = _phrases(language)
    alone = enough_alone(leak.findings)
    if alone:
        things = _things(alone, phrases)
        form = "alone_one" if len(things) == 1 else "alone_many"
        sentence = phrases["sentence"][form].format(things=_join(things, phrases))
        return _capital(sentence)
    weighty = sorted(filter(weight, leak.findings), key=weight, reverse=True)
    form = f"{leak.band.value}_shown" if weighty else leak.band.value
    sentence = phrases["sentence"][form].format(
        reading=phrases["reading"][leak.likely.value],
        percent=phrases["percent"].format(value=_percent(leak)),
        evidence=_evidence(weighty, phrases, "straight"),
        turned=_evidence(weighty, phrases, "turned"),
    )
    return _capital(sentence)


def _percent(leak: Leak) -> int:
    """The score in whole per cents; never 0 or 100, nothing is that certain."""
    return min(max(round(leak.score * 100), 1), 99)


def _evidence(findings: Sequence[Finding], phrases: Mapping[str, Any], order: str) -> str:
    """Every verb once, with all its things: ``shows an IBAN and names an internal server``."""
    by_verb: dict[str, list[Finding]] = {}
    for finding in findings:
        by_verb.setdefault(phrases["verb"][kind(finding).value], []).append(finding)
    left = MOST_THINGS
    clauses = []
    for verb, group in by_verb.items():
        things = _things(group, phrases)[:left]
        if things:
            left -= len(things)
            clauses.append(
                phrases["clause"][order].format(verb=verb, things=_join(things, phrases))
            )
    return _join(clauses, phrases)


def _things(findings: Iterable[Finding], phrases: Mapping[str, Any]) -> list[str]:
    """What was found, each sort once, in the order given."""
    named: dict[str, None] = {}
    for finding in findings:
        sort = kind(finding)
        known = phrases["thing"].get(finding.detector)
        if sort is Kind.REGISTER:  # of any category; its detector says nothing to people
            label = _shortened(finding.label or "")
            known = phrases["registered"].format(label=label) if label else None
        name = finding.detector.replace("-", " ")
        named[known or phrases["sort"][sort.value].format(name=name)] = None
    return list(named)[:MOST_THINGS]


def _shortened(label: str) -> str:
    """A label on one line, without what steers a screen, and not too long for a sentence."""
    line = " ".join("".join(c if c.isprintable() else " " for c in label).split())
    return line if len(line) <= MOST_OF_A_LABEL else f"{line[: MOST_OF_A_LABEL - 1].rstrip()}…"


def _join(items: Sequence[str], phrases: Mapping[str, Any]) -> str:
    """``a, b and c``."""
    if len(items) < 2:  # noqa: PLR2004 - a list needs two
        return "".join(items)
    return f"{', '.join(items[:-1])} {phrases['and']} {items[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def _phrases(language: str) -> Mapping[str, Any]:
    if language not in LANGUAGES:
        raise ValueError(f"no words in language {language!r}; there are {', '.join(LANGUAGES)}")
    file = Path(__file__).with_suffix(".toml")
    phrases: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))[language]
    return phrases

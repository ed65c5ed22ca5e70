"""Joins a model's opinion and the detectors' evidence into one leak score.

Everything happens in log-odds, where independent evidence adds up:

    score = sigmoid( logit(model's probability) + evidence )

Evidence of one kind counts once, at its surest finding; all kinds but secrets and what is registered
are capped together, so that evidence sways a model that doubts and never outshouts one that is sure
of the contrary. Only a secret of high confidence, and a passage or entry that the register of secrets
is sure of, may escalate by themselves. A phone number, an e-mail address and
anything of low confidence (the writer's own number, a placeholder, a published account) weigh
nothing. Why these weights: docs/leaks.md and docs/decisions/0006-leak-evidence.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from classifiers.base import (
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    LeakThresholds,
    Prediction,
)
from classifiers.detectors import Kind, kind

PRIOR: Final = 0.02
"""The probability of a leak where there is no model to ask."""

WEIGHTS: Final[Mapping[tuple[Kind, Confidence], float]] = {
    (Kind.SECRET, Confidence.HIGH): 4.0,
    (Kind.SECRET, Confidence.MEDIUM): 2.5,
    (Kind.REGISTER, Confidence.HIGH): 4.0,
    (Kind.REGISTER, Confidence.MEDIUM): 2.0,
    (Kind.IDENTIFIER, Confidence.HIGH): 1.2,
    (Kind.IDENTIFIER, Confidence.MEDIUM): 0.8,
    (Kind.INFRASTRUCTURE, Confidence.HIGH): 1.5,
    (Kind.INFRASTRUCTURE, Confidence.MEDIUM): 1.0,
    (Kind.MARKING, Confidence.HIGH): 1.0,
    (Kind.MARKING, Confidence.MEDIUM): 0.7,
    (Kind.WATCH_WORD, Confidence.HIGH): 1.5,
    (Kind.WATCH_WORD, Confidence.MEDIUM): 1.0,
}
"""Log-odds that evidence adds. What is not listed adds nothing."""

SURE_ALONE: Final = (Kind.SECRET, Kind.REGISTER)
"""Kinds that are not capped, and that escalate by themselves at high confidence."""

SOFT_CAP: Final = 2.0
"""Most log-odds that evidence other than secrets and what is registered may add together."""

ABOVE_THRESHOLD: Final = 1.0
"""How far above the threshold, in log-odds, what is sure by itself lifts the score at least."""

GRAVITY: Final = (
    LeakCategory.CREDENTIALS,
    LeakCategory.PERSONAL_DATA,
    LeakCategory.SECURITY,
    LeakCategory.TRADE_SECRET,
    LeakCategory.FINANCIAL,
    LeakCategory.PRODUCT,
    LeakCategory.INTERNAL,
)
"""Categories, the gravest first: decides between equals."""

_EDGE: Final = 1e-6
_FAITH: Final = 0.02
"""Least probability the category head is taken to mean, so that evidence can still speak."""


def decide(
    prediction: Prediction, findings: Sequence[Finding], *, thresholds: LeakThresholds
) -> Leak:
    """Return the verdict on one text.

    Args:
        prediction: what the model thinks; without a leak head, :data:`PRIOR` stands in.
        findings: the detectors' evidence.
        thresholds: where the bands begin.

    Returns:
        A leak whose ``score`` never falls when the model's probability rises, when a finding is
        added or when one becomes surer, and whose band follows from the score alone.
    """
    weights = _weights(findings)
    strong = math.fsum(weights.pop(sort, 0.0) for sort in SURE_ALONE)
    opinion = PRIOR if prediction.leak is None else prediction.leak
    odds = _logit(opinion) + strong + min(SOFT_CAP, math.fsum(weights.values()))
    sure = [finding.category for finding in enough_alone(findings)]
    if sure:
        odds = max(odds, _logit(thresholds.escalate) + ABOVE_THRESHOLD)
    score = _sigmoid(odds)
    band = thresholds.band(score)
    likely = LeakCategory.NONE
    if band is not LeakBand.LOW:
        likely = _gravest(sure) if sure else _likeliest(prediction, findings)
    return Leak(band=band, score=score, likely=likely, findings=tuple(findings))


def weight(finding: Finding) -> float:
    """Return the log-odds that ``finding`` adds; 0 for what is no evidence."""
    return WEIGHTS.get((kind(finding), finding.confidence), 0.0)


def enough_alone(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that escalate by themselves, whatever the model thinks."""
    return [
        finding
        for finding in findings
        if finding.confidence is Confidence.HIGH and kind(finding) in SURE_ALONE
    ]


def _weights(findings: Iterable[Finding]) -> dict[Kind, float]:
    """Return for each kind of evidence the weight of its surest finding."""
    weights: dict[Kind, float] = {}
    for finding in findings:
        sort = kind(finding)
        weights[sort] = max(weights.get(sort, 0.0), weight(finding))
    return weights


def _gravest(categories: Iterable[LeakCategory]) -> LeakCategory:
    return min(categories, key=GRAVITY.index)


def _likeliest(prediction: Prediction, findings: Sequence[Finding]) -> LeakCategory:
    """Return the likeliest category after the evidence; the gravest of equals."""
    opinion = prediction.category or {}
    log_odds = {category: math.log(max(opinion.get(category, 0.0), _FAITH)) for category in GRAVITY}
    for finding in findings:
        base = math.log(max(opinion.get(finding.category, 0.0), _FAITH))
        log_odds[finding.category] = max(log_odds[finding.category], base + weight(finding))
    if not opinion and max(log_odds.values()) <= math.log(_FAITH):
        return LeakCategory.INTERNAL
    likeliest = max(GRAVITY, key=lambda category: log_odds[category])
    if likeliest is LeakCategory.CREDENTIALS and _shows_a_person_and_no_key(findings):
        return LeakCategory.PERSONAL_DATA
    return likeliest


def _shows_a_person_and_no_key(findings: Iterable[Finding]) -> bool:
    """Whether somebody's identifier can be seen in the text, and nothing like a password can."""
    identified = False
    for finding in findings:
        if finding.category is LeakCategory.CREDENTIALS:
            return False
        identified |= kind(finding) is Kind.IDENTIFIER and finding.confidence is not Confidence.LOW
    return identified


def _logit(probability: float) -> float:
    bounded = min(max(probability, _EDGE), 1.0 - _EDGE)
    return math.log(bounded / (1.0 - bounded))


def _sigmoid(odds: float) -> float:
    if odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-odds))
    exponent = math.exp(odds)
    return exponent / (1.0 + exponent)

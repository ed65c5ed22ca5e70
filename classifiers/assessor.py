"""Joins language, sentiment, leak and abuse into one :class:`~classifiers.base.Assessment`.

The last step of this stage: models give opinions, detectors give evidence,
:mod:`classifiers.leaks` weighs both. Nothing here knows where a text came from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from classifiers.base import (
    Abuse,
    AbuseLabel,
    Assessment,
    LeakThresholds,
    Model,
    Prediction,
    Sentiment,
    SentimentLabel,
    Text,
)
from classifiers.detectors import Detector, find_all, rules_version
from classifiers.explain import explain
from classifiers.leaks import decide

ABUSIVE_AT: Final = 0.6
"""Least probability of abuse or threat: plain anger is no abuse, so doubt goes to ``none``."""
THREAT_AT: Final = 0.5
"""Least probability of a threat: missing one is worse than looking at one too many."""

_UNDECIDED: Final[Mapping[SentimentLabel, float]] = dict.fromkeys(SentimentLabel, 1.0 / 3.0)


class LanguageIdentifier(Protocol):
    """Says in which language a text is written."""

    def identify(self, text: str, hint: str | None) -> str:
        """Return an ISO 639-1 code, or ``und``."""
        ...


class Assessor:
    """The classifiers of a running Merkwacht.

    Args:
        model: the model with a leak head; also asked for sentiment and abuse, unless others are
            given for those.
        language: identifies the language.
        detectors: what looks for evidence, see :func:`classifiers.detectors.default_detectors`.
        leak_thresholds: where the bands of leak scores begin.
        sentiment_model: asked for sentiment instead of ``model``.
        abuse_model: asked for abuse instead of ``model``.
    """

    def __init__(
        self,
        model: Model,
        *,
        language: LanguageIdentifier,
        detectors: Sequence[Detector],
        leak_thresholds: LeakThresholds,
        sentiment_model: Model | None = None,
        abuse_model: Model | None = None,
    ) -> None:
        self._model = model
        self._language = language
        self._detectors = tuple(detectors)
        self._leak_thresholds = leak_thresholds
        self._sentiment_model = sentiment_model or model
        self._abuse_model = abuse_model or model

    @property
    def version(self) -> str:
        """Models, rules, watch words and threshold in one short name."""
        models = [self._model, self._sentiment_model, self._abuse_model]
        names = dict.fromkeys(model.version for model in models)
        settings = [f"{self._leak_thresholds.review:.6f} {self._leak_thresholds.escalate:.6f}"]
        for detector in self._detectors:
            settings += [detector.name, *getattr(detector, "watch_words", ())]
        fingerprint = hashlib.sha256("\n".join([rules_version(), *settings]).encode())
        return f"{'+'.join(names)}+rules-{fingerprint.hexdigest()[:8]}"

    @property
    def leak_thresholds(self) -> LeakThresholds:
        """Where the bands of leak scores begin."""
        return self._leak_thresholds

    def classify(self, texts: Sequence[Text]) -> list[Assessment]:
        """Assess each text, in order."""
        if not texts:
            return []
        plain = [text.text for text in texts]
        opinions = self._model.predict(plain)
        sentiments = self._others(self._sentiment_model, plain, opinions)
        abuses = self._others(self._abuse_model, plain, opinions)
        return [
            Assessment(
                language=self._language.identify(text.text, text.language),
                sentiment=sentiment_of(sentiment),
                leak=decide(
                    opinion,
                    find_all(self._detectors, text.text),
                    thresholds=self._leak_thresholds,
                ),
                abuse=abuse_of(abuse),
            )
            for text, opinion, sentiment, abuse in zip(
                texts, opinions, sentiments, abuses, strict=True
            )
        ]

    def _others(
        self, model: Model, texts: Sequence[str], opinions: Sequence[Prediction]
    ) -> Sequence[Prediction]:
        return opinions if model is self._model else model.predict(texts)


def sentiment_of(prediction: Prediction) -> Sentiment:
    """Return the likeliest sentiment; without a sentiment head all are alike and it is neutral."""
    scores = prediction.sentiment
    if scores is None:
        return Sentiment(SentimentLabel.NEUTRAL, _UNDECIDED)
    return Sentiment(max(scores, key=lambda label: scores[label]), dict(scores))


def abuse_of(prediction: Prediction) -> Abuse:
    """Return the abuse label: a threat or abuse only where the model is sure enough of it."""
    scores = prediction.abuse
    if scores is None:
        return Abuse(AbuseLabel.NONE, 0.0)
    threat = scores.get(AbuseLabel.THREAT, 0.0)
    score = min(1.0, threat + scores.get(AbuseLabel.ABUSIVE, 0.0))
    if threat >= THREAT_AT:
        return Abuse(AbuseLabel.THREAT, score)
    return Abuse(AbuseLabel.ABUSIVE if score >= ABUSIVE_AT else AbuseLabel.NONE, score)


def to_contract(
    assessment: Assessment,
    id: str | int,  # noqa: A002  the contract's word
    *,
    language: str | None = None,
) -> dict[str, Any]:
    """Return the JSON object that ``merkwacht classify`` prints for ``assessment``.

    Args:
        assessment: what was thought of the text.
        id: the id of the input line, given back as it came.
        language: ``nl`` or ``en``: of the sentence on why; None leaves that out.
    """
    leak = assessment.leak
    why = {} if language is None else {"why": explain(leak, language)}
    return {
        "id": id,
        "language": assessment.language,
        "sentiment": {
            "label": assessment.sentiment.label.value,
            "scores": {
                label.value: round(assessment.sentiment.scores.get(label, 0.0), 6)
                for label in SentimentLabel
            },
        },
        "leak": {
            "escalate": leak.escalate,
            "band": leak.band.value,
            "score": round(leak.score, 6),
            "category": leak.category.value,
            "likely": leak.likely.value,
            **why,
            "findings": [
                {
                    "detector": finding.detector,
                    "category": finding.category.value,
                    "start": finding.start,
                    "end": finding.end,
                    "confidence": finding.confidence.value,
                    **({} if finding.label is None else {"label": finding.label}),
                }
                for finding in leak.findings
            ],
        },
        "abuse": {
            "label": assessment.abuse.label.value,
            "score": round(assessment.abuse.score, 6),
        },
    }

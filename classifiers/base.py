"""What a post means: the types and protocols of the second stage of the journey.

Nothing here knows where a post came from or who will hear of it: texts go in, assessments come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class SentimentLabel(StrEnum):
    """How a post speaks of what it speaks of."""

    NEGATIVE = "negative"
    NEUTRAL = "neutral"
    POSITIVE = "positive"


class LeakCategory(StrEnum):
    """What seems to have been made public; the gravest that applies."""

    NONE = "none"
    CREDENTIALS = "credentials"
    PERSONAL_DATA = "personal_data"
    FINANCIAL = "financial"
    PRODUCT = "product"
    TRADE_SECRET = "trade_secret"  # noqa: S105 - a category
    INTERNAL = "internal"
    SECURITY = "security"


class LeakBand(StrEnum):
    """What is to be done about a post that may be a leak."""

    LOW = "low"
    """Nothing: an ordinary post as far as leaks go."""
    REVIEW = "review"
    """Nobody is woken; a person should look in working hours."""
    ESCALATE = "escalate"
    """The response team is woken."""


class AbuseLabel(StrEnum):
    """Whether a post insults or threatens."""

    NONE = "none"
    ABUSIVE = "abusive"
    THREAT = "threat"


class Confidence(StrEnum):
    """How sure a detector is that its finding is what it says."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Text:
    """One input of a classifier."""

    text: str
    language: str | None = None
    """``nl`` or ``en`` when known; None lets the classifier find out."""


@dataclass(frozen=True, slots=True)
class Sentiment:
    """``scores`` are calibrated probabilities that add up to 1."""

    label: SentimentLabel
    scores: Mapping[SentimentLabel, float]


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of a text that a detector holds for evidence of a leak.

    ``start`` and ``end`` are offsets in characters (code points) of the text as given.
    The found text itself is deliberately not kept: it may be the secret.
    """

    detector: str
    category: LeakCategory
    start: int
    end: int
    confidence: Confidence
    label: str | None = None
    """What the operator calls the registered document or list that it is of; None for all else."""


@dataclass(frozen=True, slots=True)
class LeakThresholds:
    """From which score on a post is looked at, and from which people are woken.

    Raises:
        ValueError: not ``0 < review <= escalate < 1``.
    """

    review: float
    escalate: float

    def __post_init__(self) -> None:
        if not 0.0 < self.review <= self.escalate < 1.0:
            raise ValueError(
                f"leak thresholds {self.review} (review) and {self.escalate} (escalate) must lie "
                "between 0 and 1, both excluded, and review may not exceed escalate"
            )

    def band(self, score: float) -> LeakBand:
        """The band of a score."""
        if score >= self.escalate:
            return LeakBand.ESCALATE
        return LeakBand.REVIEW if score >= self.review else LeakBand.LOW


@dataclass(frozen=True, slots=True)
class Leak:
    """``score`` is calibrated, in 0..1, and monotone with ``band``."""

    band: LeakBand
    score: float
    likely: LeakCategory
    """What it would be: ``NONE`` exactly in the band ``LOW``."""
    findings: tuple[Finding, ...] = ()

    @property
    def escalate(self) -> bool:
        """Whether the response team is to be woken."""
        return self.band is LeakBand.ESCALATE

    @property
    def category(self) -> LeakCategory:
        """``NONE`` exactly when ``escalate`` is false."""
        return self.likely if self.escalate else LeakCategory.NONE


@dataclass(frozen=True, slots=True)
class Abuse:
    """``score`` is the calibrated probability that the post is abusive or a threat."""

    label: AbuseLabel
    score: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one version of the classifiers thinks of one text."""

    language: str
    """``nl``, ``en``, another ISO 639-1 code, or ``und``."""
    sentiment: Sentiment
    leak: Leak
    abuse: Abuse


class Classifier(Protocol):
    """A batch of texts in, assessments out, in the same order.

    ``version`` names model and rules together; a mention is assessed once per version.
    """

    @property
    def version(self) -> str:
        """Names model and rules."""
        ...

    def classify(self, texts: Sequence[Text]) -> list[Assessment]:
        """Assess each text. Deterministic; never raises for any text, however odd."""
        ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """The opinion of a model about one text, before detectors have their say.

    Probabilities, calibrated; ``None`` where the model has no such head.
    """

    sentiment: Mapping[SentimentLabel, float] | None = None
    leak: float | None = None
    """Probability that the response team should be woken."""
    category: Mapping[LeakCategory, float] | None = None
    """Over the seven categories, without ``NONE``."""
    abuse: Mapping[AbuseLabel, float] | None = None


class Model(Protocol):
    """A neural model with one or more heads: the embedded one, or one from a hub."""

    @property
    def version(self) -> str:
        """Names model and rules."""
        ...

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict for each text, in order; any batching inside."""
        ...

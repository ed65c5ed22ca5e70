"""Parts with known answers for the classifiers' tests."""

from collections.abc import Mapping, Sequence

from classifiers.base import (
    AbuseLabel,
    Confidence,
    Finding,
    LeakCategory,
    Prediction,
    SentimentLabel,
)


class FakeModel:
    """Gives each text the prediction it was told to, and remembers what it was asked."""

    def __init__(
        self,
        answers: Mapping[str, Prediction] | None = None,
        *,
        otherwise: Prediction | None = None,
        version: str = "fake-1",
    ) -> None:
        self._answers = answers or {}
        self._otherwise = otherwise or Prediction()
        self._version = version
        self.asked: list[str] = []

    @property
    def version(self) -> str:
        return self._version

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        self.asked.extend(texts)
        return [self._answers.get(text, self._otherwise) for text in texts]


class FakeLanguage:
    """Believes the hint, else says ``und``."""

    def identify(self, text: str, hint: str | None) -> str:
        return hint or "und"


def prediction(
    *,
    leak: float | None = None,
    category: LeakCategory | None = None,
    sentiment: SentimentLabel = SentimentLabel.NEUTRAL,
    abusive: float = 0.0,
    threat: float = 0.0,
) -> Prediction:
    """A prediction with the stated opinions and plausible rest."""
    categories = None
    if category is not None:
        others = [c for c in LeakCategory if c not in {LeakCategory.NONE, category}]
        categories = {category: 0.7, **dict.fromkeys(others, 0.05)}
    return Prediction(
        sentiment={label: 0.8 if label is sentiment else 0.1 for label in SentimentLabel},
        leak=leak,
        category=categories,
        abuse={
            AbuseLabel.NONE: 1.0 - abusive - threat,
            AbuseLabel.ABUSIVE: abusive,
            AbuseLabel.THREAT: threat,
        },
    )


def finding(
    detector: str,
    category: LeakCategory,
    confidence: Confidence,
    start: int = 0,
    end: int = 5,
) -> Finding:
    """A finding at the start of a text."""
    return Finding(detector, category, start, end, confidence)

"""How good verdicts are, held against what people say: the few formulas, without a library.

Pure. ``None`` stands where there is nothing to measure: a precision without a single alarm is
neither good nor bad.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Z_95: Final = 1.959963984540054
"""Standard normal quantile that leaves 2.5 % above it."""

_Label = TypeVar("_Label", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, 0..1; None of nothing."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the true share lies with 95 % confidence (Wilson's score interval)."""
        if not self.of:
            return None
        share, spread = self.hits / self.of, Z_95**2 / self.of
        centre = (share + spread / 2) / (1 + spread)
        half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
        # At the ends the formula gives exactly 0 or 1; floating point just misses them.
        low = 0.0 if self.hits == 0 else max(0.0, centre - half)
        high = 1.0 if self.hits == self.of else min(1.0, centre + half)
        return low, high


def precision(truth: Sequence[bool], alarms: Sequence[bool]) -> Share:
    """Of the alarms, those that were right."""
    hits = sum(true and alarm for true, alarm in zip(truth, alarms, strict=True))
    return Share(hits, sum(alarms))


def recall(truth: Sequence[bool], alarms: Sequence[bool]) -> Share:
    """Of what was to be found, what raised an alarm."""
    hits = sum(true and alarm for true, alarm in zip(truth, alarms, strict=True))
    return Share(hits, sum(truth))


def average_precision(truth: Sequence[bool], scores: Sequence[float]) -> float | None:
    """The area under the steps of precision over recall; equal scores are one step.

    None where there is nothing to find.
    """
    to_find = sum(truth)
    if not to_find:
        return None
    area, found, before = 0.0, 0, 0
    ordered = sorted(zip(scores, truth, strict=True), key=lambda pair: -pair[0])
    for seen, (score, true) in enumerate(ordered, start=1):
        found += true
        if seen == len(ordered) or ordered[seen][0] != score:
            area += (found - before) / to_find * (found / seen)
            before = found
    return area


def f1_of(label: _Label, truth: Sequence[_Label], said: Sequence[_Label]) -> float | None:
    """Harmonic mean of a label's precision and recall; None where it neither is nor was said."""
    hits = sum(a == b == label for a, b in zip(truth, said, strict=True))
    total = sum(a == label for a in truth) + sum(b == label for b in said)
    return 2 * hits / total if total else None


def macro_f1(
    labels: Iterable[_Label], truth: Sequence[_Label], said: Sequence[_Label]
) -> float | None:
    """Mean F1 of the labels that occur at all, each counted alike."""
    return _mean(f1_of(label, truth, said) for label in labels)


def macro_recall(
    labels: Iterable[_Label], truth: Sequence[_Label], said: Sequence[_Label]
) -> float | None:
    """Mean recall of the labels that are there to be found, each counted alike."""
    pairs = list(zip(truth, said, strict=True))
    there, hits = Counter(truth), Counter(a for a, b in pairs if a == b)
    return _mean(hits[label] / there[label] if there[label] else None for label in labels)


def accuracy(truth: Sequence[_Label], said: Sequence[_Label]) -> float | None:
    """The share of labels that are right."""
    pairs = list(zip(truth, said, strict=True))
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def fewest_mistakes(truth: Sequence[bool], scores: Sequence[float]) -> tuple[float, int]:
    """The threshold at which misses and false alarms together are fewest, and how many they are.

    It lies in the middle between two scores that occur, strictly between 0 and 1. Of equally good
    ones the highest, which wakes least.

    Raises:
        ValueError: nothing to choose by.
    """
    if not truth:
        raise ValueError("no scores to choose a threshold by")
    pairs = sorted(zip(scores, truth, strict=True), key=lambda pair: -pair[0])
    mistakes = sum(truth)
    best, least = _between(pairs[0][0], 1.0), mistakes
    for place, (score, true) in enumerate(pairs):
        mistakes += -1 if true else 1
        following = pairs[place + 1][0] if place + 1 < len(pairs) else 0.0
        if following != score and mistakes < least:
            best, least = _between(following, score), mistakes
    return best, least


def _between(low: float, high: float) -> float:
    return min(max((low + high) / 2, 1e-6), 1 - 1e-6)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None

"""What a series usually does: its expectation and how much it varies around it, over each time scale.

What the spike detector has learnt, apart from what it is looking at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from alerts.season import Season
from alerts.spikestats import upper_quantile

_HALF_LIFE = 14 * 86400
_PRIOR = 0.2
"""Relative variance of the rate where nothing is known: it moves by a factor of about 1.5."""
_PRIOR_INFORMATION = 4.0
"""The prior is good to within 0.5."""
_SPREAD = 0.24
"""Variance of the dispersion as one busy window shows it: about 6 times its square."""
_LEAST = 0.01
CLIP = 3.09
"""What lies above this many deviations teaches as if it lay there: one bucket in a thousand."""


class Variation:
    """How much the counts of one time scale vary beyond Poisson.

    Args:
        share: length of a bucket as a part of the time scale.
        keep: part of the memory that outlasts a bucket.
    """

    def __init__(self, share: float, keep: float) -> None:
        self._share = share
        self._keep = keep
        self._sums = [0.0, 0.0, 0.0]
        """Excess squares, squared means, and windows seen, all with forgetting."""
        self.dispersion = _PRIOR
        """Relative variance of the rate, shrunk to a prior by as much as the evidence is thin."""

    def learn(self, total: float, mean: float, dispersion: float) -> None:
        """Take in a window's sum; what stands out above ``dispersion`` counts clipped."""
        clipped = total
        if total > mean + 1:
            clipped = min(total, upper_quantile(mean, dispersion, CLIP))
        excess, squares, windows = self._sums
        self._sums = [
            excess * self._keep + (clipped - mean) ** 2 - mean,
            squares * self._keep + mean * mean,
            windows * self._keep + self._share,
        ]
        self.dispersion = self._estimate()

    def _estimate(self) -> float:
        excess, squares, windows = self._sums
        if squares <= 0:
            return _PRIOR
        mean = math.sqrt(squares * self._share / windows)
        seen = windows / ((2 + 1 / mean) / (mean * mean) + _SPREAD)
        blend = _PRIOR_INFORMATION * _PRIOR + seen * max(0.0, excess / squares)
        return max(_LEAST, blend / (_PRIOR_INFORMATION + seen))

    def snapshot(self) -> list[float]:
        """All that was learnt, for :meth:`load`."""
        return self._sums

    def load(self, snapshot: Sequence[float]) -> None:
        """Continue where :meth:`snapshot` was taken."""
        self._sums = list(snapshot)
        self.dispersion = self._estimate()


class Usual:
    """The season of a series and its variation over each of some time scales.

    Args:
        bucket: seconds of a bucket.
        timezone: IANA name.
        scales: seconds of each time scale, shortest first; the first is the bucket itself.
    """

    def __init__(self, bucket: int, timezone: str, scales: Sequence[int]) -> None:
        self.season = Season(bucket, timezone)
        keep = 0.5 ** (bucket / _HALF_LIFE)
        self.variations = [Variation(bucket / scale, keep) for scale in scales]
        nearest = min(range(len(scales)), key=lambda index: abs(scales[index] - 3600))
        self._hourly = self.variations[nearest]

    def expect(self, at: int) -> tuple[float, float]:
        """Expected count of the bucket at ``at``, and the relative variance of that expectation."""
        return self.season.expect(at, self._hourly.dispersion, self.variations[-1].dispersion)

    def peek(self, at: int) -> tuple[float, float]:
        """As :meth:`expect`, but changing nothing."""
        return self.season.peek(at, self._hourly.dispersion, self.variations[-1].dispersion)

    def learn(self, value: float, sums: Sequence[tuple[float, float, float]]) -> None:
        """Take in the bucket last expected: its clipped count, and each scale's sums.

        Args:
            value: the count that teaches the season.
            sums: for each time scale the count, the expected count and the dispersion.
        """
        self.season.learn(value)
        for variation, (total, mean, dispersion) in zip(self.variations, sums, strict=True):
            variation.learn(total, mean, dispersion)

    def snapshot(self) -> dict[str, Any]:
        """All that was learnt, for :meth:`load`."""
        return {
            "season": self.season.snapshot(),
            "variations": [variation.snapshot() for variation in self.variations],
        }

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Continue where :meth:`snapshot` was taken."""
        self.season.load(snapshot["season"])
        for variation, sums in zip(self.variations, snapshot["variations"], strict=True):
            variation.load(sums)

"""What a series usually does: its expectation and how much it varies around it, over each time scale.

What the spike detector has learnt, apart from what it is looking at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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

_IN_FULL = 3 * 86400
"""A burst counts in full for this long."""
_LONE = 3.0
"""The largest burst counts for at most this many times the second."""
_APART = 86400
"""Moments closer than this are one burst."""
_BURSTS = 6
"""Bursts remembered: all of the days in full, and the two that outlast the others."""


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
        self._dispersion: float | None = None

    @property
    def dispersion(self) -> float:
        """Relative variance of the rate, shrunk to a prior by as much as the evidence is thin."""
        if self._dispersion is None:
            self._dispersion = self._estimate()
        return self._dispersion

    def learn(self, total: float, mean: float, dispersion: float) -> None:
        """Take in a window's sum; what stands out above ``dispersion`` counts clipped."""
        over = total - mean
        if over > 1 and over * over > mean + dispersion * mean * mean:
            over = min(total, upper_quantile(mean, dispersion, CLIP)) - mean
        sums = self._sums
        sums[0] = sums[0] * self._keep + over * over - mean
        sums[1] = sums[1] * self._keep + mean * mean
        sums[2] = sums[2] * self._keep + self._share
        self._dispersion = None

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
        return list(self._sums)

    def load(self, snapshot: Sequence[float]) -> None:
        """Continue where :meth:`snapshot` was taken."""
        self._sums = list(snapshot)
        self._dispersion = None


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
        self._nearest = nearest
        """Place of the time scale that is nearest to an hour."""
        self._dispersions: Sequence[float] | None = None

    def dispersions(self) -> Sequence[float]:
        """Relative variance of the rate for each time scale."""
        if self._dispersions is None:
            self._dispersions = [variation.dispersion for variation in self.variations]
        return self._dispersions

    def expect(self, at: int) -> tuple[float, float]:
        """Expected count of the bucket at ``at``, and the relative variance of that expectation.

        Changes nothing, and asks nothing of the order.
        """
        dispersions = self.dispersions()
        return self.season.expect(at, dispersions[self._nearest], dispersions[-1])

    def learn(self, at: int, value: float, sums: Iterable[tuple[float, float, float]]) -> None:
        """Take in a bucket: its clipped count, and each scale's sums.

        Args:
            at: start of the bucket, seconds since 1970.
            value: the count that teaches the season.
            sums: for each time scale the count, the expected count and the dispersion.
        """
        hourly, daily = self.variations[self._nearest], self.variations[-1]
        self.season.learn(at, value, hourly.dispersion, daily.dispersion)
        for variation, (total, mean, dispersion) in zip(self.variations, sums, strict=True):
            variation.learn(total, mean, dispersion)
        self._dispersions = None

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
        self._dispersions = None


class Bursts:
    """The bursts of one time scale: how large one must be to be news for this brand.

    The size of a burst is its counts above the expected. It counts in full for some days and then
    fades; and the largest counts for no more than a few times the second, so that one crisis,
    however large, is not taken for a habit.

    Args:
        half_life: seconds in which a burst of the past loses half of its size.
    """

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._past: list[list[float]] = []
        """When each burst was largest, and how large, oldest first."""
        self._seen: int | None = None
        """When the newest was last seen."""

    def bar(self, at: int) -> float:
        """What a burst at ``at`` has to exceed."""
        first = second = 0.0
        for peak, size in self._past:
            age = at - peak - _IN_FULL
            faded = size * 0.5 ** (age / self._half_life) if age > 0 else size
            if faded > first:
                first, second = faded, first
            elif faded > second:
                second = faded
        return min(first, _LONE * second)

    def add(self, at: int, size: float) -> None:
        """Take in a moment that stands out. What comes within a day of the last is one burst."""
        past = self._past
        if self._seen is None or at - self._seen > _APART:
            past.append([at, size])
            if len(past) > _BURSTS:
                past.remove(min(past[:-1], key=self._in_the_end))
        elif size > past[-1][1]:
            past[-1] = [at, size]
        self._seen = at

    def _in_the_end(self, burst: Sequence[float]) -> float:
        """How large a burst is next to the others when all have begun to fade."""
        return math.log2(burst[1]) + burst[0] / self._half_life

    def snapshot(self) -> dict[str, Any]:
        """All that is remembered, for :meth:`load`."""
        return {"past": [list(burst) for burst in self._past], "seen": self._seen}

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Continue where :meth:`snapshot` was taken."""
        self._past = [list(burst) for burst in snapshot["past"]]
        self._seen = snapshot["seen"]

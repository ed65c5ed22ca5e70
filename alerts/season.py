"""What is usual at this hour of this day: the expectation below the spike detector.

The usual count of a bucket is a level times the share of its local hour times that of its day of
the week. Each is learnt online with forgetting, and shrunk towards a plain prior by as much as the
evidence is thin; how uncertain the product still is comes with it, so that a short history makes
the detector cautious instead of wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

_HOUR = 3600
_DAY = 86400
_LEVEL_HALF_LIFE = 3 * _DAY
"""A lasting change of level is half adopted in this time."""
_HOUR_HALF_LIFE = 14
"""Days of an hour after which half of its memory is new."""
_WEEKDAY_HALF_LIFE = 6
"""Weeks, likewise, of a day of the week."""
_HOUR_PRIOR = 4.0
"""Information of the prior on an hour's share: good to within a factor of about 1.5 (sd 0.5)."""
_WEEKDAY_PRIOR = 11.0
"""Likewise for a day of the week: to within 30 % (sd 0.3)."""
_LEAST_EXPECTED = 1e-9
"""Counts of one hour below which nothing is learnt of its share."""
_LEVEL_PRIOR = 0.5
"""Counts added to what was seen: a series of zeros has a small expectation, not none."""

# Relative activity per local hour where nothing else is known: people sleep, work and post.
_SHAPE = (
    0.45, 0.28, 0.2, 0.17, 0.17, 0.22, 0.4, 0.75, 1.05, 1.2, 1.25, 1.3,
    1.35, 1.3, 1.25, 1.25, 1.3, 1.35, 1.35, 1.4, 1.5, 1.45, 1.2, 0.8,
)  # fmt: skip
_WAKING = tuple(share * 24 / sum(_SHAPE) for share in _SHAPE)
_FLAT = (1.0,) * 24


@lru_cache(maxsize=8192)
def place(timezone: str, middle: float) -> tuple[int, int, int, float]:
    """Where a moment lies in the season of a time zone. The series of all brands share the answer.

    Args:
        timezone: IANA name.
        middle: middle of a bucket, seconds since 1970.

    Returns:
        Day of the week, the two hours whose middles the moment lies between, and how far.
    """
    local = datetime.fromtimestamp(middle, ZoneInfo(timezone))
    hours = local.hour + local.minute / 60 + local.second / _HOUR - 0.5
    hour = int(hours // 1)
    return local.weekday(), hour % 24, (hour + 1) % 24, hours - hour


class Season:
    """Learns level, hours and days of the week of one series.

    Args:
        bucket: seconds of a bucket.
        timezone: IANA name; hours and days are local to it. With ``UTC`` nothing is known of when
            people sleep, and the prior is flat.
    """

    def __init__(self, bucket: int, timezone: str) -> None:
        self._timezone = timezone
        place(timezone, 0)  # A zone that does not exist is said at once.
        self._bucket = bucket
        self._prior = _FLAT if timezone == "UTC" or bucket >= _DAY else _WAKING
        self._per_hour = max(1.0, _HOUR / bucket)
        self._per_day = max(1.0, _DAY / bucket)
        self._level = [0.0, 0.0]
        self._hours = [[0.0, 0.0] for _ in range(24)]
        """Counts and buckets seen around each local hour."""
        self._days = [[0.0, 0.0] for _ in range(7)]
        """Counts and expected counts of each day of the week, Monday first."""
        self._mean: float | None = None
        """Mean of the hours' rates, over their priors: kept until something is learnt."""
        self._keep_level = 0.5 ** (bucket / _LEVEL_HALF_LIFE)
        self._keep_hour = 0.5 ** (1 / (_HOUR_HALF_LIFE * self._per_hour))
        self._keep_day = 0.5 ** (1 / (_WEEKDAY_HALF_LIFE * self._per_day))

    def expect(self, at: int, hourly: float, daily: float) -> tuple[float, float]:
        """Expected count of the bucket at ``at``, and the relative variance of that expectation.

        Changes nothing, and asks nothing of the order.

        Args:
            at: start of the bucket, seconds since 1970.
            hourly: relative variance of an hour's rate.
            daily: relative variance of a day's rate.
        """
        day, hour, later, share = place(self._timezone, at + self._bucket / 2)
        shape, doubt = self._shape(hour, later, share, hourly)
        factor, day_doubt = self._weekday(day, daily)
        counts, exposure = self._level
        level = (counts + _LEVEL_PRIOR) / (exposure + 1)
        level_doubt = 1 / (counts + _LEVEL_PRIOR) + daily * self._per_day / (
            exposure + self._per_day / 24
        )
        return level * shape * factor, doubt + day_doubt + level_doubt

    def learn(self, at: int, value: float, hourly: float, daily: float) -> None:
        """Take the ordinary count of the bucket at ``at`` into what is usual."""
        day, hour, later, share = place(self._timezone, at + self._bucket / 2)
        shape, _ = self._shape(hour, later, share, hourly)
        factor, _ = self._weekday(day, daily)
        counts, exposure = self._level
        usual = (counts + _LEVEL_PRIOR) / (exposure + 1) * shape
        self._level = [
            counts * self._keep_level + value,
            exposure * self._keep_level + shape * factor,
        ]
        for index, weight in ((hour, 1 - share), (later, share)):
            slot = self._hours[index]
            keep = self._keep_hour**weight
            slot[0] = slot[0] * keep + value * weight
            slot[1] = slot[1] * keep + weight
        slot = self._days[day]
        slot[0] = slot[0] * self._keep_day + value
        slot[1] = slot[1] * self._keep_day + usual
        self._mean = None

    def _shape(self, hour: int, later: int, share: float, variance: float) -> tuple[float, float]:
        """Share of this time of day relative to the day's mean, and its doubt."""
        if self._bucket >= _DAY:
            return 1.0, 0.0
        if self._mean is None:
            self._mean = self._mean_hour()
        shape, information = self._hour(hour, self._mean, variance)
        later_shape, later_information = self._hour(later, self._mean, variance)
        return (
            (1 - share) * shape + share * later_shape,
            (1 - share) / information + share / later_information,
        )

    def _mean_hour(self) -> float:
        rates = priors = 0.0
        for prior, (counts, buckets) in zip(self._prior, self._hours, strict=True):
            if buckets >= 1:
                rates += counts / buckets
                priors += prior
            elif buckets > 0:
                rates += counts
                priors += buckets * prior
        return rates / priors if rates > 0 else 0.0

    def _hour(self, index: int, mean: float, variance: float) -> tuple[float, float]:
        """Share of one hour, and the information behind it."""
        counts, buckets = self._hours[index]
        prior = self._prior[index]
        expected = mean * prior * buckets
        if expected < _LEAST_EXPECTED:
            return prior, _HOUR_PRIOR
        seen = 1 / (1 / expected + variance * self._per_hour / buckets)
        information = _HOUR_PRIOR + seen
        return (_HOUR_PRIOR * prior + seen * counts / buckets / mean) / information, information

    def _weekday(self, day: int, variance: float) -> tuple[float, float]:
        counts, usual = self._days[day]
        if usual <= 0:
            return 1.0, 1 / _WEEKDAY_PRIOR
        level = (self._level[0] + _LEVEL_PRIOR) / (self._level[1] + 1)
        days = usual / (level * self._per_day)
        seen = 1 / (1 / usual + variance / days)
        information = _WEEKDAY_PRIOR + seen
        return (_WEEKDAY_PRIOR + seen * counts / usual) / information, 1 / information

    def snapshot(self) -> dict[str, Any]:
        """All that was learnt, for :meth:`load`."""
        return {
            "level": list(self._level),
            "hours": [list(slot) for slot in self._hours],
            "days": [list(slot) for slot in self._days],
        }

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Continue where :meth:`snapshot` was taken."""
        self._level = list(snapshot["level"])
        self._hours = [list(slot) for slot in snapshot["hours"]]
        self._days = [list(slot) for slot in snapshot["days"]]
        self._mean = None

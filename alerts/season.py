"""What is usual at this hour of this day: the expectation below the spike detector.

The usual count of a bucket is a level times the share of its local hour times that of its day of
the week. Each is learnt online with forgetting, and shrunk towards a plain prior by as much as the
evidence is thin; how uncertain the product still is comes with it, so that a short history makes
the detector cautious instead of wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
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
_LEVEL_PRIOR = 0.5
"""Counts added to what was seen: a series of zeros has a small expectation, not none."""

# Relative activity per local hour where nothing else is known: people sleep, work and post.
_SHAPE = (
    0.45, 0.28, 0.2, 0.17, 0.17, 0.22, 0.4, 0.75, 1.05, 1.2, 1.25, 1.3,
    1.35, 1.3, 1.25, 1.25, 1.3, 1.35, 1.35, 1.4, 1.5, 1.45, 1.2, 0.8,
)  # fmt: skip
_WAKING = tuple(share * 24 / sum(_SHAPE) for share in _SHAPE)
_FLAT = (1.0,) * 24


class Season:
    """Learns level, hours and days of the week of one series.

    Args:
        bucket: seconds of a bucket.
        timezone: IANA name; hours and days are local to it. With ``UTC`` nothing is known of when
            people sleep, and the prior is flat.
    """

    def __init__(self, bucket: int, timezone: str) -> None:
        self.zone = ZoneInfo(timezone)
        self._bucket = bucket
        self._prior = _FLAT if timezone == "UTC" or bucket >= _DAY else _WAKING
        self._per_hour = max(1.0, _HOUR / bucket)
        self._per_day = max(1.0, _DAY / bucket)
        self._level = [0.0, 0.0]
        self._hours = [[0.0, 0.0] for _ in range(24)]
        """Counts and buckets seen around each local hour."""
        self._days = [[0.0, 0.0] for _ in range(7)]
        """Counts and expected counts of each day of the week, Monday first."""
        self._now = 0, 0, 0, 0.0
        self._usual = 1.0, 1.0
        self._keep_level = 0.5 ** (bucket / _LEVEL_HALF_LIFE)
        self._keep_hour = 0.5 ** (1 / (_HOUR_HALF_LIFE * self._per_hour))
        self._keep_day = 0.5 ** (1 / (_WEEKDAY_HALF_LIFE * self._per_day))

    def expect(self, at: int, hourly: float, daily: float) -> tuple[float, float]:
        """Expected count of the bucket at ``at``, and the relative variance of that expectation.

        Args:
            at: start of the bucket, seconds since 1970.
            hourly: relative variance of an hour's rate.
            daily: relative variance of a day's rate.
        """
        self._now, self._usual, expected, doubt = self._at(at, hourly, daily)
        return expected, doubt

    def peek(self, at: int, hourly: float, daily: float) -> tuple[float, float]:
        """As :meth:`expect`, but changing nothing: :meth:`learn` still learns what was expected."""
        _, _, expected, doubt = self._at(at, hourly, daily)
        return expected, doubt

    def _at(
        self, at: int, hourly: float, daily: float
    ) -> tuple[tuple[int, int, int, float], tuple[float, float], float, float]:
        """Place in the season, shares of hour and day, expected count and its doubt."""
        now = self._place(at)
        day, hour, later, share = now
        shape, doubt = self._shape(hour, later, share, hourly)
        factor, day_doubt = self._weekday(day, daily)
        counts, exposure = self._level
        level = (counts + _LEVEL_PRIOR) / (exposure + 1)
        level_doubt = 1 / (counts + _LEVEL_PRIOR) + daily * self._per_day / (
            exposure + self._per_day / 24
        )
        expected = level * shape * factor
        return now, (shape, factor), expected, doubt + day_doubt + level_doubt

    def learn(self, value: float) -> None:
        """Take the ordinary count of the bucket last expected into what is usual."""
        day, hour, later, share = self._now
        shape, factor = self._usual
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

    def _place(self, at: int) -> tuple[int, int, int, float]:
        """Day of the week, the two hours whose middles the bucket lies between, and how far."""
        local = datetime.fromtimestamp(at + self._bucket / 2, UTC).astimezone(self.zone)
        middle = local.hour + local.minute / 60 + local.second / _HOUR - 0.5
        hour = int(middle // 1)
        return local.weekday(), hour % 24, (hour + 1) % 24, middle - hour

    def _shape(self, hour: int, later: int, share: float, variance: float) -> tuple[float, float]:
        """Share of this time of day relative to the day's mean, and its doubt."""
        if self._bucket >= _DAY:
            return 1.0, 0.0
        rates = priors = 0.0
        for prior, (counts, buckets) in zip(self._prior, self._hours, strict=True):
            if buckets > 0:
                weight = min(1.0, buckets)
                rates += weight * counts / buckets
                priors += weight * prior
        mean = rates / priors if rates > 0 else 0.0
        shape = doubt = 0.0
        for index, weight in ((hour, 1 - share), (later, share)):
            counts, buckets = self._hours[index]
            prior = self._prior[index]
            believed, information = prior, _HOUR_PRIOR
            if mean > 0 and buckets > 0:
                usual = mean * prior * buckets
                seen = 1 / (1 / usual + variance * self._per_hour / buckets)
                information += seen
                believed = (_HOUR_PRIOR * prior + seen * counts / buckets / mean) / information
            shape += weight * believed
            doubt += weight / information
        return shape, doubt

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

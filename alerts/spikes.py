"""Notices when a brand is talked about more than usual, and stays quiet otherwise.

A :class:`SpikeDetector` watches one series of counts (all mentions of a brand, its negative ones)
bucket by bucket. It learns what is usual at this hour of this day, how much that varies, and says
how surprising the newest quarter of an hour, hour, four hours and day are. It is a pure function
of what it was fed: no clock, no store, no randomness, and its whole memory fits in a few kB of
JSON. It decides that something stands out, not who hears of it: that is routing's work.

The model in words, with the reasons of the constants, is in ``docs/spikes.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from alerts.spikestats import surprise, upper_quantile
from alerts.usual import CLIP, Bursts, Usual

SNAPSHOT_VERSION = 2

_MONTH = 30 * 86400.0
_DAY = 86400
_WINDOWS = (900, 3600, 4 * 3600, _DAY)
"""Seconds of the time scales watched besides the bucket itself: a burst, a crisis, a slow climb."""
_BLOCKS = 12
"""Blocks that a longer window is kept in, so that memory does not grow with the window."""


class Sensitivity(StrEnum):
    """How readily the detector rings, in plain words."""

    CALM = "calm"
    BALANCED = "balanced"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class _Profile:
    """What one sensitivity means."""

    false_alarms: float
    """False alarms a month that chance alone may cause over all time scales."""
    least: float
    """No window with fewer counts rings: one to three wakes nobody."""
    excess: float
    """Nor one with fewer counts than this above the expected."""
    factor: float
    """Nor one below this multiple of the expected."""
    memory: float
    """Seconds in which a past burst of this brand loses half of its size as a bar to the next."""


_PROFILES = {
    Sensitivity.CALM: _Profile(false_alarms=0.1, least=8, excess=6, factor=2.5, memory=14 * _DAY),
    Sensitivity.BALANCED: _Profile(
        false_alarms=1.0, least=5, excess=4, factor=2.0, memory=7 * _DAY
    ),
    Sensitivity.ALERT: _Profile(false_alarms=5.0, least=4, excess=3, factor=1.5, memory=3.5 * _DAY),
}


@dataclass(frozen=True, slots=True)
class QuietFigures:
    """How often a sensitivity rings for nothing: alarms a month for each series."""

    mean: float
    """On average over all kinds of series measured."""
    worst: float
    """On the kind that rings most."""


FALSE_ALARMS: Mapping[Sensitivity, QuietFigures] = {
    Sensitivity.CALM: QuietFigures(mean=0.01, worst=0.1),
    Sensitivity.BALANCED: QuietFigures(mean=0.15, worst=0.3),
    Sensitivity.ALERT: QuietFigures(mean=1.2, worst=2.2),
}
"""As measured on simulated series in which nothing happens; ``docs/spikes.md`` says how."""

_MOST = 1e15
"""Nothing is counted beyond, and squares and sums of squares stay within what a number can hold."""
_SCORE_ZERO = -2.0
"""What chance shows a hundred times a month scores 0."""
_SILENT_FOR = _DAY
"""Nothing rings before this much covered time."""
_WARM_AFTER = 7 * _DAY
"""Until this much covered time the verdict says that it is still warming up."""
_HOLD = 6 * 3600
"""A spike is over when nothing stood out for this long."""
_MEMORABLE = -1.0
"""What chance shows at most ten times a month is remembered as a burst of this brand."""
_ALONE = 0.5
"""A window that is a single bucket has no parts to be checked by: it has to be three times as rare."""
_LOOKED_OFTEN = 3.0
"""``log10`` of looks a month: of what is looked at a thousand times, a deviation says nothing."""
_RIPENING = _DAY // 2
"""What was learnt is used this long after, so that a slow crisis does not raise its own bar."""
_RIPE_FROM = 2 * _DAY
"""Until this much covered time it is used at once: there is nothing else."""
_ADOPT_AFTER = _DAY
"""A spike that lasts longer begins to be believed as the new level."""


@dataclass(frozen=True, slots=True)
class SpikeVerdict:
    """What the detector thinks of one bucket. Counts are in the unit of the series."""

    at: datetime
    """Start of the bucket, UTC."""
    value: float
    expected: float
    """Usual value of this bucket, before it was seen."""
    upper: float
    """Highest ordinary value of this bucket: about one bucket in a thousand is above."""
    score: float
    """0..1, monotone in surprise; 0.5 is where the sensitivity in use rings."""
    alert: bool
    """Whether the alarm newly rings: once per spike."""
    warming_up: bool
    """Whether too little was seen to know the week: cautious, not blind."""
    since: datetime | None
    """Start of the present spike, None when all is ordinary."""
    window: timedelta
    """The time scale that stands out most."""
    window_value: float
    window_expected: float
    factor: float
    """``window_value / window_expected``, at most 1000."""


def check_count(value: float) -> None:
    """Raise ValueError unless ``value`` can be a count: from 0 to a million billions."""
    if not 0 <= value <= _MOST:
        raise ValueError(f"a count is a number of at least 0 and at most {_MOST:g}, not {value}")


def _aware(at: datetime) -> int:
    """Seconds since 1970. Raises ValueError when the moment is naive."""
    if at.tzinfo is None:
        raise ValueError(f"the bucket {at} has no time zone")
    return int(at.timestamp())


class _Window:
    """The newest sums of one time scale.

    A window is kept in at most a dozen blocks: its start moves a block at a time.
    """

    def __init__(self, length: int, bucket: int) -> None:
        self.block = max(bucket, math.ceil(length / _BLOCKS / bucket) * bucket)
        self._length = max(1, length // self.block)
        self.seconds = self._length * self.block
        self.divides = self._length > 1
        """Whether it has parts, of which no single one may ring."""
        self._blocks: list[int] = []
        """Index of each block, oldest first; beside it its value and its expected value."""
        self._values: list[float] = []
        self._means: list[float] = []

    def add(self, at: int, value: float, expected: float) -> tuple[float, float]:
        """Take in a covered bucket; gives the window's sum and expected sum."""
        index = at // self.block
        if self._blocks and self._blocks[-1] == index:
            self._values[-1] += value
            self._means[-1] += expected
        else:
            self._blocks.append(index)
            self._values.append(value)
            self._means.append(expected)
            while self._blocks[0] <= index - self._length:
                del self._blocks[0], self._values[0], self._means[0]
        return sum(self._values), sum(self._means)

    def without_largest(self) -> tuple[float, float]:
        """Sum and expected sum of the window but for the block that stands out most."""
        over = [value - mean for value, mean in zip(self._values, self._means, strict=True)]
        at = over.index(max(over))
        return (
            sum(self._values[:at]) + sum(self._values[at + 1 :]),
            sum(self._means[:at]) + sum(self._means[at + 1 :]),
        )

    def rose(self) -> int:
        """Start, in seconds since 1970, of the newest part of the window with the most excess."""
        best = excess = 0.0
        start = self._blocks[-1]
        for at in reversed(range(len(self._blocks))):
            excess += self._values[at] - self._means[at]
            if excess > best:
                best, start = excess, self._blocks[at]
        return start * self.block

    def snapshot(self) -> list[list[float]]:
        return [
            [index, value, mean]
            for index, value, mean in zip(self._blocks, self._values, self._means, strict=True)
        ]

    def load(self, snapshot: Sequence[Sequence[float]]) -> None:
        self._blocks = [int(index) for index, _, _ in snapshot]
        self._values = [value for _, value, _ in snapshot]
        self._means = [mean for _, _, mean in snapshot]


class _Look(NamedTuple):
    """What one time scale says of the newest bucket."""

    window: _Window
    value: float
    expected: float
    dispersion: float
    rarity: float
    """``-log10`` of how often a month chance would show this or more on any scale."""

    @property
    def excess(self) -> float:
        return self.value - self.expected

    def counts(self, floors: _Profile) -> bool:
        return (
            self.value >= floors.least
            and self.excess >= floors.excess
            and self.value >= floors.factor * self.expected
        )


def _rarest(look: _Look) -> float:
    return look.rarity


class SpikeDetector:
    """Watches one series of counts and rings once per spike.

    Args:
        bucket: length of a bucket, whole seconds, at most a day.
        timezone: IANA name of the brand's public: days and hours are local to it.
        sensitivity: how readily it rings.
    """

    def __init__(
        self,
        *,
        bucket: timedelta,
        timezone: str = "UTC",
        sensitivity: Sensitivity = Sensitivity.BALANCED,
    ) -> None:
        seconds = int(bucket.total_seconds())
        if seconds < 1 or seconds > _DAY or bucket != timedelta(seconds=seconds):
            raise ValueError(f"a bucket is whole seconds, one second to one day, not {bucket}")
        self._bucket = seconds
        self._timezone = timezone
        self._sensitivity = sensitivity
        self._profile = _PROFILES[sensitivity]
        lengths = [length for length in _WINDOWS if length > 1.5 * seconds]
        self._windows = [_Window(length, seconds) for length in [seconds, *lengths]]
        self._first = 0 if seconds >= _WINDOWS[0] else 1
        """The shortest window that may ring: a shorter bucket cannot by itself."""
        self._learning = self._usual = self._ripening = self._blank()
        self._bursts = [Bursts(self._profile.memory) for _ in self._windows[self._first :]]
        self._looked = [
            math.log10((len(self._windows) - self._first) * _MONTH / window.seconds)
            for window in self._windows
        ]
        """``log10`` of the windows of each length in a month, times the number of lengths."""
        self._last: int | None = None
        self._covered = 0
        """Seconds of covered time so far."""
        self._since: int | None = None
        """Start of the present spike."""
        self._rang: int | None = None
        """When the present spike rang."""
        self._hot: int | None = None
        """When it last stood out."""

    def _blank(self) -> Usual:
        scales = [window.seconds for window in self._windows]
        return Usual(self._bucket, self._timezone, scales)

    def advance(self, at: datetime, value: float, *, covered: bool = True) -> SpikeVerdict:
        """Take in the next bucket.

        Args:
            at: start of the bucket, aware; later than every one before. Buckets left out are gaps.
            value: its count.
            covered: False when the sources were dark: the bucket says nothing.

        Raises:
            ValueError: ``at`` is naive or not later than the bucket before, or ``value`` is
                negative or no number.
        """
        moment = self._moment(at)
        check_count(value)
        self._last = moment
        expected, doubt = self._usual.expect(moment)
        dispersions = self._usual.dispersions()
        upper = upper_quantile(expected, dispersions[0] + doubt, CLIP)
        if not covered:
            return self._verdict(moment, value, expected, upper, None, alert=False)
        looks = [
            self._look(index, dispersion + doubt, moment, value, expected)
            for index, dispersion in enumerate(dispersions)
        ]
        alert, best = self._judge(moment, looks[self._first :])
        if self._rang is None or moment - self._rang >= _ADOPT_AFTER:
            self._learn(moment, value, upper, looks)
        self._covered += self._bucket
        self._ripen()
        return self._verdict(moment, value, expected, upper, best, alert=alert)

    def usual_at(self, at: datetime) -> tuple[float, float]:
        """Expected and highest ordinary value of any one bucket, from what is known now.

        Changes nothing, and asks nothing of the order: for charts of the past and the hours to come.

        Args:
            at: start of the bucket, aware.

        Returns:
            As ``expected`` and ``upper`` of a verdict.

        Raises:
            ValueError: ``at`` is naive.
        """
        expected, doubt = self._usual.expect(_aware(at))
        return expected, upper_quantile(expected, self._usual.dispersions()[0] + doubt, CLIP)

    def _ripen(self) -> None:
        """Begin to use what was learnt long enough ago."""
        if self._covered < _RIPE_FROM:
            return
        if self._usual is self._learning:
            self._usual = self._copy()
            self._ripening = self._copy()
        elif self._covered % _RIPENING < self._bucket:
            self._usual = self._ripening
            self._ripening = self._copy()

    def _copy(self) -> Usual:
        usual = self._blank()
        usual.load(self._learning.snapshot())
        return usual

    def _learn(self, moment: int, value: float, most: float, looks: Sequence[_Look]) -> None:
        if self._covered >= _SILENT_FOR:  # Before, there is nothing to call extraordinary by.
            value = min(value, most)
        sums = ((look.value, look.expected, look.dispersion) for look in looks)
        self._learning.learn(moment, value, sums)

    def _moment(self, at: datetime) -> int:
        moment = _aware(at)
        if self._last is not None and moment <= self._last:
            raise ValueError(f"the bucket {at} is not later than the one before")
        return moment

    def _look(self, index: int, dispersion: float, at: int, value: float, expected: float) -> _Look:
        window = self._windows[index]
        total, mean = window.add(at, value, expected)
        looked = self._looked[index]
        over = total - mean
        rarity = -math.inf
        if (
            over > 0
            and index >= self._first
            and (looked < _LOOKED_OFTEN or over * over > mean + dispersion * mean * mean)
        ):
            rarity = self._rarity(window, looked, total, mean, dispersion)
        return _Look(window, total, mean, dispersion, rarity)

    @staticmethod
    def _rarity(
        window: _Window, looked: float, total: float, mean: float, dispersion: float
    ) -> float:
        odds = surprise(total, mean, dispersion)
        if not window.divides:
            odds -= _ALONE
        elif odds - looked >= _MEMORABLE:
            rest, rest_mean = window.without_largest()
            odds = min(odds, 2 * surprise(rest, rest_mean, dispersion) if rest_mean > 0 else 0.0)
        return odds - looked if odds > 0 else -math.inf

    def _judge(self, at: int, looks: Sequence[_Look]) -> tuple[bool, _Look]:
        """Move the alarm's state on: whether it newly rings, and the look that stands out most."""
        if self._hot is not None and at - self._hot > _HOLD:
            self._since = self._rang = self._hot = None
        bar = -math.log10(self._profile.false_alarms)
        goes_on = looks[0].value >= self._profile.factor * looks[0].expected
        standing: list[_Look] = []
        news: list[_Look] = []
        for look, bursts in zip(looks, self._bursts, strict=True):
            if look.rarity >= bar and look.counts(self._profile):
                standing.append(look)
                if goes_on and look.excess > bursts.bar(at):
                    news.append(look)
            if look.rarity >= _MEMORABLE:
                bursts.add(at, look.excess)
        best = max(news or standing or looks, key=_rarest)
        if not standing or self._covered < _SILENT_FOR:
            return False, best
        if self._since is not None:
            self._hot = at
            return False, best
        if not news:
            return False, best
        self._since = best.window.rose()
        self._rang = self._hot = at
        return True, best

    def _verdict(
        self,
        at: int,
        value: float,
        expected: float,
        upper: float,
        look: _Look | None,
        *,
        alert: bool,
    ) -> SpikeVerdict:
        rarity = max(0.0, look.rarity - _SCORE_ZERO) if look else 0.0
        middle = -math.log10(self._profile.false_alarms) - _SCORE_ZERO
        return SpikeVerdict(
            at=datetime.fromtimestamp(at, UTC),
            value=value,
            expected=expected,
            upper=upper,
            score=rarity / (rarity + middle),
            alert=alert,
            warming_up=self._covered < _WARM_AFTER,
            since=None if self._since is None else datetime.fromtimestamp(self._since, UTC),
            window=timedelta(seconds=look.window.seconds if look else self._bucket),
            window_value=look.value if look else value,
            window_expected=look.expected if look else expected,
            factor=min(1000.0, look.value / look.expected) if look else 0.0,
        )

    def snapshot(self) -> dict[str, Any]:
        """All that was learnt, as JSON of a few kB: :meth:`restore` continues identically."""
        return {
            "version": SNAPSHOT_VERSION,
            "bucket": self._bucket,
            "timezone": self._timezone,
            "last": self._last,
            "covered": self._covered,
            "since": self._since,
            "rang": self._rang,
            "hot": self._hot,
            "bursts": [bursts.snapshot() for bursts in self._bursts],
            "learning": self._learning.snapshot(),
            "ripening": None if self._ripening is self._learning else self._ripening.snapshot(),
            "usual": None if self._usual is self._learning else self._usual.snapshot(),
            "windows": [window.snapshot() for window in self._windows],
        }

    @classmethod
    def restore(
        cls,
        snapshot: Mapping[str, Any],
        *,
        sensitivity: Sensitivity = Sensitivity.BALANCED,
    ) -> SpikeDetector:
        """Continue where a snapshot was taken.

        Raises:
            ValueError: the snapshot is of another version of the detector: learn anew from the
                stored counts.
        """
        if snapshot.get("version") != SNAPSHOT_VERSION:
            raise ValueError(f"spike snapshot of version {snapshot.get('version')!r}: learn anew")
        detector = cls(
            bucket=timedelta(seconds=snapshot["bucket"]),
            timezone=snapshot["timezone"],
            sensitivity=sensitivity,
        )
        detector._last = snapshot["last"]
        detector._covered = snapshot["covered"]
        detector._since = snapshot["since"]
        detector._rang = snapshot["rang"]
        detector._hot = snapshot["hot"]
        for bursts, remembered in zip(detector._bursts, snapshot["bursts"], strict=True):
            bursts.load(remembered)
        detector._learning.load(snapshot["learning"])
        if snapshot["usual"] is not None:
            detector._usual, detector._ripening = detector._blank(), detector._blank()
            detector._usual.load(snapshot["usual"])
            detector._ripening.load(snapshot["ripening"])
        for window, state in zip(detector._windows, snapshot["windows"], strict=True):
            window.load(state)
        return detector

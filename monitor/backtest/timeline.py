"""What a timeline shows: for each brand and configuration the mentions, what is usual, the incidents.

Numbers only: :mod:`monitor.backtest.page` makes a page of them, :mod:`monitor.backtest.picture` a
picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.spikes import Sensitivity, SpikeDetector
from classifiers.base import SentimentLabel
from monitor.backtest.outcome import Outcome, Raised, Span
from monitor.config import Config
from monitor.store.mentions import BUCKET

_WIDTHS = (
    BUCKET,
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(days=1),
)
_MOST_BARS = 420
_KNOWN_AFTER = timedelta(days=1)
"""Before that the detector knows next to nothing: no band is drawn."""


class TimelineError(Exception):
    """The timeline cannot be drawn; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The mentions of one stretch of time."""

    at: datetime
    total: int
    negative: int
    expected: float | None
    """What was usual, as far as it could be known then; None: too early to say."""
    upper: float | None
    """The highest ordinary number."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One brand under one configuration."""

    brand: str
    name: str
    """Of the configuration."""
    language: str
    timezone: str
    begin: datetime
    end: datetime
    width: timedelta
    """Of a bar."""
    bars: tuple[Bar, ...]
    incidents: tuple[Raised, ...]

    @property
    def top(self) -> float:
        """The highest number there is to show."""
        highest = (max(bar.total, bar.upper or 0.0) for bar in self.bars)
        return max(highest, default=0.0)


def panels(
    configs: Sequence[Config], names: Sequence[str], outcomes: Sequence[Outcome]
) -> list[Panel]:
    """The panels of a backtest: brand by brand, the configurations above each other.

    A brand that no configuration found any mention of has none.
    """
    brands = dict.fromkeys(brand for outcome in outcomes for brand in outcome.matched)
    found = []
    for brand in brands:
        if not any(outcome.matched.get(brand) for outcome in outcomes):
            continue
        for config, name, outcome in zip(configs, names, outcomes, strict=True):
            if outcome.span is not None and brand in outcome.matched:
                found.append(_panel(brand, name, config, outcome, outcome.span))
    return found


def bar_width(span: Span) -> timedelta:
    """How much time one bar stands for."""
    fits = (each for each in _WIDTHS if (span.end - span.begin) / each <= _MOST_BARS)
    return next(fits, _WIDTHS[-1])


def _panel(brand: str, name: str, config: Config, outcome: Outcome, span: Span) -> Panel:
    width = bar_width(span)
    begin = _floor(span.begin, width, ZoneInfo(config.timezone))
    sensitivity = next(
        (each.sensitivity for each in config.brands if each.name == brand), Sensitivity.BALANCED
    )
    detector = SpikeDetector(bucket=width, timezone=config.timezone, sensitivity=sensitivity)
    return Panel(
        brand=brand,
        name=name,
        language=config.language,
        timezone=config.timezone,
        begin=begin,
        end=span.end,
        width=width,
        bars=tuple(_bars(outcome.counts[brand], detector, begin, span, width)),
        incidents=tuple(each for each in outcome.incidents if each.brand == brand),
    )


def _bars(
    counts: Mapping[datetime, Mapping[SentimentLabel, int]],
    detector: SpikeDetector,
    begin: datetime,
    span: Span,
    width: timedelta,
) -> list[Bar]:
    steps = max(1, -((begin - span.end) // width))
    totals, negatives = [0] * steps, [0] * steps
    for at, cell in counts.items():
        place = min(max((at - begin) // width, 0), steps - 1)
        totals[place] += sum(cell.values())
        negatives[place] += cell.get(SentimentLabel.NEGATIVE, 0)
    bars = []
    for place, (total, negative) in enumerate(zip(totals, negatives, strict=True)):
        at = begin + place * width
        verdict = detector.advance(at, total)
        known = at - begin >= _KNOWN_AFTER
        bars.append(
            Bar(
                at,
                total,
                negative,
                verdict.expected if known else None,
                verdict.upper if known else None,
            )
        )
    return bars


def _floor(moment: datetime, width: timedelta, zone: ZoneInfo) -> datetime:
    """The full hour, or midnight where people live, that a bar begins at."""
    local = moment.astimezone(zone).replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return moment - (local - midnight) % width

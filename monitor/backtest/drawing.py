"""From a panel to places on paper: bars, band, scales and marks in the units of a drawing.

Shared by page and picture as far as they agree: which times and numbers stand at the axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from alerts.incidents import SPIKES
from monitor.backtest.outcome import Raised
from monitor.backtest.timeline import Bar, Panel

LEFT, RIGHT, WIDTH = 46.0, 12.0, 1180.0
"""Of the drawing: margins left and right of the chart, and all of it."""
HEIGHT = 150.0
"""Of the chart itself."""
BADGE, ROW, MOST_ROWS = 10.0, 24.0, 4
"""Radius of a mark, distance of two rows of them, and how many rows there are at most."""
_NEED_EVERY = 96.0
_WORDS = 58.0
"""Distance of two words of the time axis, and how long one may be."""
_STEPS = (
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(days=1),
    timedelta(days=2),
    timedelta(days=7),
    timedelta(days=14),
    timedelta(days=30),
    timedelta(days=91),
    timedelta(days=182),
    timedelta(days=365),
)
_MONTH = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Mark:
    """An incident above the chart."""

    incident: Raised
    x: float
    y: float
    row: int
    labelled: bool
    """Whether there is room for its number."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time during which a spike lasted."""

    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A panel in the units of the drawing; the chart's upper edge lies at ``y``."""

    panel: Panel
    top: float
    """The highest number of the scale."""
    y: float
    height: float
    totals: str
    """SVG path of all mentions, and so on."""
    negatives: str
    band: str
    usual: str
    marks: tuple[Mark, ...]
    stretches: tuple[Stretch, ...]
    days: tuple[tuple[float, str], ...]
    """Places and words of the time axis."""
    numbers: tuple[tuple[float, str], ...]
    """Places and words of the axis of numbers."""


def draw(panel: Panel, words: dict[str, Any], top: float) -> Drawing:
    """Place everything.

    Args:
        panel: what to draw.
        words: of the language.
        top: the highest number of the scale.
    """
    top = max(top, 1.0)
    scale = _Scale(panel, top)
    marks, rows = _marks(panel, scale)
    y = 8 + rows * ROW + 6
    scale.y = y
    return Drawing(
        panel=panel,
        top=top,
        y=y,
        height=y + HEIGHT + 26,
        totals=scale.bars([bar.total for bar in panel.bars]),
        negatives=scale.bars([bar.negative for bar in panel.bars]),
        band=scale.band(panel.bars),
        usual=scale.line(panel.bars),
        marks=tuple(marks),
        stretches=tuple(_stretches(panel, scale)),
        days=tuple(
            (scale.x(at), label(at, step, words, ZoneInfo(panel.timezone)))
            for step in [tick_step(panel)]
            for at in ticks(panel, step)
            if scale.x(at) <= WIDTH - RIGHT - _WORDS
        ),
        numbers=tuple((scale.height(value), f"{value:g}") for value in numbers(top)),
    )


class _Scale:
    """Moments and counts to places."""

    def __init__(self, panel: Panel, top: float) -> None:
        self._begin = panel.begin
        self._length = len(panel.bars) * panel.width
        self._bar = (WIDTH - LEFT - RIGHT) / max(len(panel.bars), 1)
        self._top = top * 1.04
        self.y = 0.0

    def x(self, moment: datetime) -> float:
        share = (moment - self._begin) / self._length
        return round(LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT), 2)

    def height(self, value: float) -> float:
        return round(self.y + HEIGHT * (1 - min(value / self._top, 1.0)), 2)

    def bars(self, values: Sequence[int]) -> str:
        """One path for all bars: a year of them is light to draw."""
        gap = min(1.0, self._bar * 0.18)
        floor = self.height(0)
        return "".join(
            f"M{LEFT + place * self._bar + gap / 2:.2f} {floor}V{self.height(value)}"
            f"h{self._bar - gap:.2f}V{floor}z"
            for place, value in enumerate(values)
            if value
        )

    def _middle(self, place: int) -> float:
        return LEFT + (place + 0.5) * self._bar

    def band(self, bars: Sequence[Bar]) -> str:
        known = [(place, bar.upper) for place, bar in enumerate(bars) if bar.upper is not None]
        if not known:
            return ""
        edge = "L".join(f"{self._middle(place):.2f} {self.height(upper)}" for place, upper in known)
        floor = self.height(0)
        return (
            f"M{self._middle(known[0][0]):.2f} {floor}L{edge}"
            f"L{self._middle(known[-1][0]):.2f} {floor}z"
        )

    def line(self, bars: Sequence[Bar]) -> str:
        known = [
            f"{self._middle(place):.2f} {self.height(bar.expected)}"
            for place, bar in enumerate(bars)
            if bar.expected is not None
        ]
        return "M" + "L".join(known) if known else ""


def _marks(panel: Panel, scale: _Scale) -> tuple[list[Mark], int]:
    """Marks in rows, so that they do not cover one another; the gravest get a number first."""
    ends: list[list[float]] = [[] for _ in range(MOST_ROWS)]
    placed: dict[int, tuple[int, bool]] = {}
    need = 2 * BADGE + 3
    for incident in sorted(panel.incidents, key=_importance):
        x = scale.x(incident.opened_at)
        row = next(
            (
                row
                for row, taken in enumerate(ends)
                if all(abs(x - other) >= need for other in taken)
            ),
            None,
        )
        if row is not None:
            ends[row].append(x)
        placed[incident.number] = (0 if row is None else row, row is not None)
    rows = 1 + max((row for row, _ in placed.values()), default=0)
    return [
        Mark(
            incident=incident,
            x=scale.x(incident.opened_at),
            # The first row is next to the chart; what has no room stands on its edge.
            y=8 + (rows - 1 - row) * ROW + BADGE if labelled else 8 + rows * ROW + 6,
            row=row,
            labelled=labelled,
        )
        for incident in panel.incidents
        for row, labelled in [placed[incident.number]]
    ], rows


def _importance(incident: Raised) -> tuple[int, bool, int]:
    return -int(incident.severity), not incident.notifications, incident.number


def _stretches(panel: Panel, scale: _Scale) -> Iterator[Stretch]:
    for incident in panel.incidents:
        if incident.kind in SPIKES:
            begin = scale.x(incident.opened_at)
            end = scale.x(incident.resolved_at or panel.end)
            yield Stretch(begin, round(max(end - begin, 1.5), 2))


# -- axes ------------------------------------------------------------------------------------------


def numbers(top: float) -> list[float]:
    """Round numbers for an axis from 0 to ``top``; whole ones, since they count posts."""
    rough = top / 3
    power = 10 ** math.floor(math.log10(rough)) if rough > 0 else 1
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    step = max(1, step)
    return [float(value) for value in range(0, int(top) + 1, int(step))]


def tick_step(panel: Panel) -> timedelta:
    """How far apart the words of the time axis stand."""
    room = (WIDTH - LEFT - RIGHT) / _NEED_EVERY
    length = len(panel.bars) * panel.width
    fits = (each for each in _STEPS if length / each <= room)
    return next(fits, _STEPS[-1] * max(1, round(length / room / _STEPS[-1])))


def ticks(panel: Panel, step: timedelta) -> Iterator[datetime]:
    """The moments at which they stand: full hours, midnights, Mondays, firsts of a month."""
    zone = ZoneInfo(panel.timezone)
    day = panel.begin.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    end = panel.begin + len(panel.bars) * panel.width
    at, last = day, panel.begin - step
    while (moment := at.astimezone(panel.begin.tzinfo)) < end:
        # An hour that the clock leaps over is the same moment as the next.
        if moment >= panel.begin and moment > last and _stands(at, step):
            last = moment
            yield at
        # Wall clock time: after a change of the clock midnight stays midnight.
        at = (at.replace(tzinfo=None) + min(step, timedelta(days=1))).replace(tzinfo=zone)


def _stands(at: datetime, step: timedelta) -> bool:
    if step >= _MONTH:
        return at.day == 1 and (12 * at.year + at.month - 1) % round(step / _MONTH) == 0
    if step > timedelta(days=2):
        return at.weekday() == 0 and at.toordinal() // 7 % (step.days // 7) == 0
    return step < timedelta(days=2) or at.toordinal() % step.days == 0


def label(at: datetime, step: timedelta, words: dict[str, Any], zone: ZoneInfo) -> str:
    """The words of one moment at the time axis."""
    local = at.astimezone(zone)
    month = words["months"][local.month - 1]
    if step >= _MONTH:
        return f"{month} {local.year}"
    date = f"{words['days'][local.weekday()]} {local.day} {month}"
    if step >= timedelta(days=1):
        return date
    return f"{local:%H:%M}" if local.hour else date

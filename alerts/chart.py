"""What the last two days of a spike look like: a picture for mail and Slack, a line for plain text.

The picture is drawn by matplotlib, which is the extra ``charts``: without it alerts say the same
in words. It is drawn when a message is delivered; the outbox keeps numbers only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from alerts.base import Chart
from alerts.words import Words, words

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT, _DOTS = 6.4, 2.5, 200
"""Inches and dots per inch: twice the 640 points that a mail shows, sharp on good screens."""
_INK, _SOFT, _LINE = "#16202c", "#5b6876", "#d9dfe6"
_BAND, _USUAL, _SEEN, _ALARM = "#c9d8e8", "#6a86a5", "#16202c", "#b3142b"
_NIGHT = "#e3e7ec"
_BARS = "▁▂▃▄▅▆▇█"
_BAR_STEPS = 24
_DARK = "·"

_drawing = Lock()
"""matplotlib is not made for several threads at once."""


def available() -> bool:
    """Whether charts can be drawn: matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(chart: Chart, *, language: str, timezone: str) -> bytes | None:
    """The chart as PNG, 1280 by 500 dots on white; None where matplotlib is not installed.

    Args:
        chart: what to draw; at least two steps.
        language: of its words, ``nl`` or ``en``.
        timezone: IANA name, for the times below it.
    """
    if not available() or len(chart.observed) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    with _drawing:
        # Imported here: it takes longer to load than all the rest of an alert.
        from matplotlib import rc_context  # noqa: PLC0415 - lazy
        from matplotlib.figure import Figure  # noqa: PLC0415 - lazy

        with rc_context({"font.family": "DejaVu Sans", "font.size": 8.5}):
            figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DOTS, facecolor="white")
            axes = figure.add_axes((0.065, 0.13, 0.905, 0.72))
            _plot(axes, chart, words(language), ZoneInfo(timezone))
            picture = BytesIO()
            figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def describe(chart: Chart, *, language: str, timezone: str) -> str:
    """The same in a sentence: for readers who do not see the picture."""
    catalogue, zone = words(language), ZoneInfo(timezone)
    seen = [(value, place) for place, value in enumerate(chart.observed) if value is not None]
    if not seen:
        return catalogue.text("chart.title", step=catalogue.duration(chart.step))
    highest, place = max(seen)
    usual = round(chart.expected[place])
    return catalogue.text(
        "chart.described",
        step=catalogue.duration(chart.step),
        hours=round(len(chart.observed) * chart.step / timedelta(hours=1)),
        highest=catalogue.number(round(highest)),
        at=catalogue.short_moment(chart.start + place * chart.step, zone),
        usual=catalogue.number(usual) if usual else catalogue.text("value.expected_few"),
    )


def chart_line(chart: Chart, *, language: str) -> str:
    """The chart as a line of text, ``Last 48 hours: ▁▁▂▇█``; empty when nothing was counted."""
    drawn = bars(chart)
    hours = round(len(chart.observed) * chart.step / timedelta(hours=1))
    return words(language).text("chart.bars", hours=hours, bars=drawn) if drawn else ""


def bars(chart: Chart) -> str:
    """The last part of the chart as one line of bars, ``▁▁▂▇█``; dark steps are dots.

    One bar for each of 24 equal parts of time, the highest bar for the highest count.
    """
    groups = list(_groups(chart.observed, _BAR_STEPS))
    sums = [_mean(group) for group in groups]
    highest = max((value for value in sums if value is not None), default=0.0)
    if highest <= 0:
        return ""
    top = len(_BARS) - 1
    return "".join(
        _DARK if value is None else _BARS[math.ceil(value / highest * top)] for value in sums
    )


def _groups(values: Sequence[float | None], parts: int) -> Iterator[Sequence[float | None]]:
    size = max(1, math.ceil(len(values) / parts))
    # Aligned to the end: the newest bar is as full as the others.
    for start in range(len(values) % size, len(values), size):
        yield values[start : start + size]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _plot(axes: Axes, chart: Chart, catalogue: Words, zone: ZoneInfo) -> None:
    steps = len(chart.observed)
    middles = [place + 0.5 for place in range(steps)]
    axes.fill_between(middles, 0, chart.upper, color=_BAND, linewidth=0, label="")
    axes.plot(middles, chart.expected, color=_USUAL, linewidth=1.2, dashes=(3, 2))
    counts = [math.nan if value is None else value for value in chart.observed]
    axes.step(
        [*range(steps), steps], [*counts, counts[-1]], where="post", color=_SEEN, linewidth=1.3
    )
    _dark(axes, chart)
    ceiling = max([*(value for value in chart.observed if value is not None), *chart.upper, 1.0])
    axes.set_xlim(0, steps)
    axes.set_ylim(0, ceiling * 1.12)
    _alarm(axes, chart, catalogue, zone, ceiling)
    _ticks(axes, chart, catalogue, zone)
    _legend(axes, catalogue, dark=None in chart.observed)
    axes.set_title(
        catalogue.text("chart.title", step=catalogue.duration(chart.step)),
        loc="left", fontsize=9, fontweight="bold", color=_INK, pad=7,
    )  # fmt: skip


def _dark(axes: Axes, chart: Chart) -> None:
    """Grey where the sources were dark: neither a zero nor evidence."""
    for place, value in enumerate(chart.observed):
        if value is None:
            axes.axvspan(place, place + 1, color=_NIGHT, linewidth=0, zorder=0.5)


def _alarm(axes: Axes, chart: Chart, catalogue: Words, zone: ZoneInfo, ceiling: float) -> None:
    if chart.rang_at is None:
        return
    at = (chart.rang_at - chart.start) / chart.step
    if not 0 <= at <= len(chart.observed):
        return
    axes.axvline(at, color=_ALARM, linewidth=1.1)
    left = at > len(chart.observed) / 2
    axes.annotate(
        catalogue.text("chart.alert", time=catalogue.clock(chart.rang_at, zone)),
        (at, ceiling * 1.06), xytext=(-4 if left else 4, 0), textcoords="offset points",
        ha="right" if left else "left", va="center", color=_ALARM, fontsize=8, fontweight="bold",
    )  # fmt: skip


def _ticks(axes: Axes, chart: Chart, catalogue: Words, zone: ZoneInfo) -> None:
    """Every sixth hour by the clock on the wall, midnights with their date."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - lazy

    places, labels = [], []
    quarter = timedelta(minutes=15)  # the finest that a time zone is off by
    at = chart.start + (datetime.min.replace(tzinfo=UTC) - chart.start) % quarter
    while at <= chart.start + len(chart.observed) * chart.step:
        local = at.astimezone(zone)
        if local.hour % 6 == 0 and local.minute == 0:
            places.append((at - chart.start) / chart.step)
            labels.append(_tick(local, catalogue))
        at += quarter
    axes.set_xticks(places, labels)
    axes.tick_params(length=3, color=_LINE, labelcolor=_SOFT, labelsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_LINE)


def _tick(local: datetime, catalogue: Words) -> str:
    if local.hour:
        return f"{local:%H:%M}"
    return catalogue.short_moment(local, local.tzinfo or ZoneInfo("UTC")).rpartition(" ")[0]


def _legend(axes: Axes, catalogue: Words, *, dark: bool) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - lazy
    from matplotlib.patches import Patch  # noqa: PLC0415 - lazy

    parts: dict[str, Artist] = {
        "observed": Line2D([], [], color=_SEEN, linewidth=1.3),
        "expected": Line2D([], [], color=_USUAL, linewidth=1.2, dashes=(3, 2)),
        "usual": Patch(color=_BAND, linewidth=0),
    }
    if dark:
        parts["dark"] = Patch(color=_NIGHT, linewidth=0)
    axes.legend(
        parts.values(), [catalogue.text(f"chart.{name}") for name in parts],
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(parts), frameon=False,
        fontsize=8, labelcolor=_SOFT, handlelength=1.6, columnspacing=1.4, borderaxespad=0.3,
    )  # fmt: skip

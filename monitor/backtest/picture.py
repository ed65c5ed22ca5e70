"""The timeline as one PNG, drawn by matplotlib (the extra ``charts``)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from alerts.base import Severity
from alerts.chart import available
from alerts.incidents import SPIKES
from alerts.plain import one_line
from monitor.backtest import drawing
from monitor.backtest.page import drawn, wording
from monitor.backtest.timeline import Panel, TimelineError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _DOTS = 13.33, 144
"""Inches (the width of a slide) and dots per inch."""
_TITLE, _ROW, _CHART, _TIMES, _LEGEND = 0.42, 0.22, 1.9, 0.42, 0.36
"""Inches of height: a panel's title, a row of marks, the chart, the words below it; the legend."""
_INK, _SOFT, _LINE = "#16202c", "#5b6876", "#dfe4ea"
_BAR, _NEGATIVE, _BAND, _USUAL, _BURN = "#9db2c9", "#c8553d", "#e3ebf4", "#55749b", "#b45309"
_COLOURS = {
    Severity.LOW: "#64748b",
    Severity.MEDIUM: "#0e639c",
    Severity.HIGH: "#b45309",
    Severity.CRITICAL: "#b3142b",
}
_MOST_PANELS = 40
"""More would not fit into the memory of a picture."""


def check_matplotlib() -> None:
    """Raise TimelineError where pictures cannot be drawn."""
    if not available():
        raise TimelineError(
            "a timeline as .png needs matplotlib; install it with: pip install '.[charts]' in "
            "Merkwacht's source folder, or write the timeline as .html"
        )


def draw(panels: Sequence[Panel]) -> bytes:
    """All panels below each other, on white."""
    check_matplotlib()
    # Imported here: it takes longer to load than most backtests to read their files.
    from matplotlib import rc_context  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    shown = list(panels[:_MOST_PANELS])
    words = wording(shown[0].language if shown else "en")
    with rc_context({"font.family": "DejaVu Sans", "font.size": 9, "text.parse_math": False}):
        found = drawn(shown, words)
        heights = [_TITLE + _rows(each) * _ROW + _CHART + _TIMES for each in found]
        height = sum(heights) + _LEGEND
        figure = Figure(figsize=(_WIDTH, height), dpi=_DOTS, facecolor="white")
        below = height - _LEGEND
        for each, tall in zip(found, heights, strict=True):
            below -= tall
            place = (0.045, (below + _TIMES) / height, 0.94, _CHART / height)
            _panel(figure.add_axes(place), each, words, named=_several(shown))
        _legend(figure, words)
        if not found:
            figure.text(0.5, 0.5, words["nothing"], ha="center", color=_INK)
        target = BytesIO()
        figure.savefig(target, format="png")
    return target.getvalue()


def _rows(found: drawing.Drawing) -> int:
    return 1 + max((mark.row for mark in found.marks), default=0)


def _legend(figure: Figure, words: dict[str, Any]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - an extra
    from matplotlib.patches import Patch  # noqa: PLC0415 - an extra

    keys: list[Any] = [
        Patch(color=_BAR, label=words["mentions"]),
        Patch(color=_NEGATIVE, label=words["negative"]),
        Line2D([], [], color=_USUAL, label=words["usual"]),
        Patch(color=_BAND, label=words["band"]),
        Patch(color=_BURN, alpha=0.2, label=words["burning"]),
    ]
    figure.legend(
        handles=keys,
        loc="upper right",
        bbox_to_anchor=(0.99, 1.0),
        ncols=len(keys),
        frameon=False,
        labelcolor=_SOFT,
    )


def _several(panels: Sequence[Panel]) -> bool:
    return len({panel.name for panel in panels}) > 1


def _panel(axes: Axes, found: drawing.Drawing, words: dict[str, Any], *, named: bool) -> None:
    panel = found.panel
    zone = ZoneInfo(panel.timezone)
    places = list(range(len(panel.bars)))
    length = panel.width
    axes.bar(places, [bar.total for bar in panel.bars], 0.85, color=_BAR, align="edge")
    axes.bar(places, [bar.negative for bar in panel.bars], 0.85, color=_NEGATIVE, align="edge")
    known = [(place + 0.5, bar) for place, bar in enumerate(panel.bars) if bar.upper is not None]
    if known:
        middle = [place for place, _ in known]
        upper = [bar.upper or 0.0 for _, bar in known]
        axes.fill_between(middle, upper, color=_BAND, zorder=0, linewidth=0)
        axes.plot(middle, [bar.expected or 0.0 for _, bar in known], color=_USUAL, linewidth=1.1)
    top = found.top * 1.04
    for incident in panel.incidents:
        x = (incident.opened_at - panel.begin) / length
        colour = _COLOURS[incident.severity]
        if incident.kind in SPIKES:
            end = ((incident.resolved_at or panel.end) - panel.begin) / length
            axes.axvspan(x, end, color=_BURN, alpha=0.13, linewidth=0, zorder=0)
        axes.axvline(x, color=colour, alpha=0.35, linewidth=0.8)
    for mark in found.marks:
        x = (mark.incident.opened_at - panel.begin) / length
        colour = _COLOURS[mark.incident.severity]
        if not mark.labelled:
            axes.plot([x], [top], "o", color=colour, markersize=4, clip_on=False)
            continue
        axes.annotate(
            str(mark.incident.number),
            (x, top),
            (0, 11 + mark.row * _ROW * 72),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7,
            color="white",
            fontweight="bold",
            annotation_clip=False,
            bbox={
                "boxstyle": "circle,pad=0.3",
                "facecolor": colour,
                "edgecolor": "none",
                "alpha": 1.0 if mark.incident.notifications else 0.45,
            },
        )
    axes.set_xlim(0, len(panel.bars))
    axes.set_ylim(0, top)
    axes.set_yticks(drawing.numbers(found.top))
    step = drawing.tick_step(panel)
    moments = list(drawing.ticks(panel, step))
    axes.set_xticks(
        [(at - panel.begin) / length for at in moments],
        [drawing.label(at, step, words, zone) for at in moments],
        ha="left",
    )
    axes.tick_params(colors=_SOFT, length=3)
    axes.grid(axis="y", color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    width = words["per"].format(width=words[f"width_{int(panel.width.total_seconds())}"])
    title = f"{one_line(panel.brand, 80)}, {words['mentions']} {width}"
    if named:
        title += f" · {one_line(panel.name, 80)}"
    axes.set_title(
        title, loc="left", color=_INK, fontweight="bold", pad=10 + _rows(found) * _ROW * 72
    )

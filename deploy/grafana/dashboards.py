"""Builds the two Grafana dashboards, *Brand* and *Daemon*.

    python deploy/grafana/dashboards.py            # writes deploy/grafana/dashboards/*.json
    python deploy/grafana/dashboards.py --check    # exit status 1 when they are not current

Whoever only wants to use them needs the JSON files alone: provision or import those.
"""  # noqa: INP001 - a script beside what it writes, not a package

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import common as layout
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"

_SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_SELECTOR: Final = re.compile(r"\b((?:merkwacht|process)_\w+)(?:\{([^}]*)\})?")
_COLOURS: Final = {"negative": "red", "neutral": "blue", "positive": "green"}
_HEIGHT: Final = 8
_SMALL: Final = 4

Panel = Builder[model.Panel]


class Query(NamedTuple):
    """One line, or set of lines, of a panel."""

    expr: str
    legend: str = ""


class Mark(NamedTuple):
    """Moments that are drawn into every panel."""

    name: str
    expr: str
    colour: str
    title: str
    tags: str = ""


def scoped(expr: str) -> str:
    """An expression about the daemons that are chosen at the top of the dashboard only."""

    def with_instance(found: re.Match[str]) -> str:
        name, matchers = found.groups()
        return f"{name}{{{', '.join(filter(None, (matchers, _INSTANCE)))}}}"

    return _SELECTOR.sub(with_instance, expr)


_INSTANCE: Final = 'instance=~"$instance"'


def _target(query: Query, place: int, *, instant: bool = False) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .expr(scoped(query.expr))
        .legend_format(query.legend or "__auto")
        .format(PromQueryFormat.TIME_SERIES)
        .ref_id(chr(ord("A") + place))
        .datasource(_SOURCE)
    )
    return target.instant() if instant else target.range()


def figure(
    title: str,
    about: str,
    expr: str,
    *,
    unit: str = "short",
    alarm: float | None = None,
    below: bool = False,
    texts: Sequence[tuple[str, str, str]] = (),
    none: str = "-",
) -> Panel:
    """One number as it is now, red from ``alarm`` on (or below it)."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .unit(unit)
        .no_value(none)
        .height(_SMALL)
        .span(4)
        .reduce_options(layout.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target(Query(expr), 0, instant=True))
    )
    first, then = ("red", "green") if below else ("green", "red")
    steps = [model.Threshold(color=first)]
    if alarm is not None:
        steps.append(model.Threshold(value=alarm, color=then))
    panel.thresholds(build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    if texts:
        panel.mappings([_words(texts)])
    return panel


def _words(texts: Sequence[tuple[str, str, str]]) -> model.ValueMap:
    """Values with the word and the colour that stand for them."""
    return model.ValueMap(
        options={
            value: model.ValueMappingResult(text=word, color=colour)
            for value, word, colour in texts
        }
    )


def lines(
    title: str,
    about: str,
    *queries: Query,
    unit: str = "short",
    stacked: common.StackingMode | None = None,
    most: float | None = None,
) -> timeseries.Panel:
    """Lines over time, or areas on top of each other."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .unit(unit)
        .min(0)
        .height(_HEIGHT)
        .span(12)
        .line_width(1)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            layout.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)  # noqa: FBT003 - the builder takes it so
        )
        .tooltip(layout.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )
    for place, query in enumerate(queries):
        panel.with_target(_target(query, place))
    if stacked is not None:
        panel.fill_opacity(40).stacking(layout.StackingConfig().mode(stacked).group("A"))
    if most is not None:
        panel.max(most)
    return panel


def band(title: str, about: str, counted: str) -> Panel:
    """What is seen against what is usual and the most that is ordinary."""

    def of(metric: str) -> str:
        return f'sum by (brand) (merkwacht_crowd_{metric}{{brand=~"$brand", counted="{counted}"}})'

    dashed = [model.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash"})]
    return (
        lines(
            title,
            about,
            Query(of("seen"), "{{brand}}: seen"),
            Query(of("usual"), "{{brand}}: usual"),
            Query(of("upper"), "{{brand}}: the most that is ordinary"),
        )
        .override_by_regexp("/: usual$/", dashed)
        .override_by_regexp("/: the most/", dashed)
    )


def quantile(share: float, metric: str, by: str = "") -> str:
    """A quantile of a histogram over the interval of the panel."""
    labels = ", ".join(filter(None, ("le", by)))
    return (
        f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))"
    )


def spread(metric: str, by: str = "") -> list[Query]:
    """Median and 95th percentile of a histogram."""
    label = f" {{{{{by}}}}}" if by else ""
    return [
        Query(quantile(0.5, metric, by), f"half{label}"),
        Query(quantile(0.95, metric, by), f"95 %{label}"),
    ]


def hourly(metric: str, by: str, matchers: str = "") -> str:
    """How many an hour, by a label."""
    chosen = f"{{{matchers}}}" if matchers else ""
    return f"3600 * sum by ({by}) (rate({metric}{chosen}[$__rate_interval]))"


# -- the brand -------------------------------------------------------------------------------------

_BRAND = 'brand=~"$brand"'


def _brand_now() -> list[Panel]:
    assessed = "merkwacht_mentions_assessed_total"
    return [
        figure(
            "Mentions",
            "Stored for the first time, in the time that is shown.",
            f"sum(increase(merkwacht_mentions_stored_total{{{_BRAND}}}[$__range]))",
        ),
        figure(
            "Negative",
            "Part of the mentions that were assessed in the time that is shown.",
            f'sum(increase({assessed}{{{_BRAND}, sentiment="negative"}}[$__range]))'
            f" / sum(increase({assessed}{{{_BRAND}}}[$__range]))",
            unit="percentunit",
        ),
        figure(
            "Open incidents",
            "Open or acknowledged.",
            f"sum(merkwacht_incidents_burning{{{_BRAND}}})",
            alarm=1,
        ),
        figure(
            "To review",
            "Possible leaks that somebody is to judge: merkwacht review.",
            f"sum(merkwacht_review_waiting_mentions{{{_BRAND}}})",
        ),
        figure(
            "Clocks running",
            "Of all brands: promises that are not due yet.",
            'sum(merkwacht_clocks{state="running"}) or vector(0)',
        ),
        figure(
            "Clocks breached",
            "Of all brands: promises that are past due, and something is still missing.",
            'sum(merkwacht_clocks{state="breached"}) or vector(0)',
            alarm=1,
        ),
    ]


def _brand_said() -> list[Panel]:
    mix = lines(
        "Sentiment",
        "Mix of the mentions that were assessed.",
        Query(hourly("merkwacht_mentions_assessed_total", "sentiment", _BRAND), "{{sentiment}}"),
        stacked=common.StackingMode.PERCENT,
        unit="percentunit",
    )
    for word, colour in _COLOURS.items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        mix.override_by_name(word, [model.DynamicConfigValue(id_val="color", value=fixed)])
    return [
        lines(
            "Mentions an hour",
            "Stored for the first time, as they came in.",
            Query(hourly("merkwacht_mentions_stored_total", "brand", _BRAND), "{{brand}}"),
        ),
        mix,
        band(
            "Mentions against the usual",
            "In five minutes, by the time they were published. Longer scales ring as well: a slow climb"
            " need not leave this band.",
            "mentions",
        ),
        band("Negative mentions against the usual", "In five minutes.", "negative"),
        band(
            "Voices against the usual",
            "Authors who began to speak in five minutes: each counts once per sitting.",
            "authors",
        ),
        lines(
            "Voices an hour",
            "Authors who began to speak, mean of the last hour.",
            Query(
                "12 * sum by (brand) (avg_over_time("
                f'merkwacht_crowd_seen{{{_BRAND}, counted="authors"}}[1h]))',
                "{{brand}}",
            ),
        ),
    ]


def _brand_found() -> list[Panel]:
    return [
        lines(
            "Signals an hour",
            "What was found: spikes, topics, leaks, threats.",
            Query(hourly("merkwacht_signals_total", "kind", _BRAND), "{{kind}}"),
            stacked=common.StackingMode.NORMAL,
        ),
        lines(
            "Incidents that burn",
            "Open or acknowledged, by kind.",
            Query(f"sum by (kind) (merkwacht_incidents_burning{{{_BRAND}}})", "{{kind}}"),
            stacked=common.StackingMode.NORMAL,
        ),
        lines(
            "Leaks, by what is to be done",
            "Mentions an hour; a sudden change in the mix is a new model, a new threshold or a storm.",
            Query(hourly("merkwacht_leak_verdicts_total", "band", _BRAND), "{{band}}"),
            stacked=common.StackingMode.NORMAL,
        ),
        lines(
            "Clocks",
            "Of all brands, by how they stand.",
            Query("sum by (clock, state) (merkwacht_clocks)", "{{clock}}: {{state}}"),
        ),
        lines(
            "Until somebody took it, spoke, answered, ended it",
            "Of all brands: 90 % of the incidents with a clock took no longer, over a day.",
            Query(
                "histogram_quantile(0.9, sum by (le, clock, milestone)"
                " (rate(merkwacht_clock_milestone_seconds_bucket[1d])))",
                "{{clock}}: {{milestone}}",
            ),
            unit="s",
        ),
        lines(
            "From publication to assessment",
            "Of all brands. Sources that are asked every quarter of an hour set the pace.",
            *spread("merkwacht_mention_latency_seconds"),
            unit="s",
        ),
    ]


def _top_sources() -> Panel:
    return (
        bargauge.Panel()
        .title("Top sources")
        .description("Posts that sources delivered in the time that is shown, of all brands.")
        .datasource(_SOURCE)
        .height(_HEIGHT)
        .span(24)
        .orientation(common.VizOrientation.HORIZONTAL)
        .reduce_options(layout.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(
            _target(
                Query(
                    "topk(10, sum by (source) (increase(merkwacht_posts_fetched_total[$__range])))",
                    "{{source}}",
                ),
                0,
                instant=True,
            )
        )
    )


# -- the daemon ------------------------------------------------------------------------------------


def _daemon_now() -> list[Panel]:
    return [
        figure(
            "Ready",
            "Every step has come to an end lately.",
            "min(merkwacht_ready)",
            alarm=1,
            below=True,
            texts=(("0", "no", "red"), ("1", "yes", "green")),
            none="no answer",
        ),
        figure(
            "Sources not heard",
            "For any reason but that somebody turned them off.",
            'count(max by (instance, source) (merkwacht_source_dark{reason!="paused"}) == 1)'
            " or vector(0)",
            alarm=1,
        ),
        figure(
            "To be read",
            "Mentions that wait for the model.",
            "sum(merkwacht_assess_queue_mentions)",
        ),
        figure(
            "Oldest that waits",
            "Age of the oldest notification that has not been delivered.",
            "max(merkwacht_outbox_oldest_age_seconds)",
            unit="s",
            alarm=600,
        ),
        figure("Dead letters", "Notifications given up.", "sum(merkwacht_dead_letters)", alarm=1),
        figure(
            "Running for",
            "Since the last start.",
            "min(time() - process_start_time_seconds)",
            unit="s",
        ),
    ]


def _heard() -> Panel:
    return (
        statetimeline.Panel()
        .title("Sources: heard or not")
        .description("Why not: Failed polls, and merkwacht sources.")
        .datasource(_SOURCE)
        .height(_HEIGHT)
        .span(12)
        .mappings([_words((("0", "heard", "green"), ("1", "not heard", "red")))])
        .with_target(_target(Query("max by (source) (merkwacht_source_dark)", "{{source}}"), 0))
    )


def _daemon_in() -> list[Panel]:
    polls = "sum by (source) (rate(merkwacht_polls_total{}[$__rate_interval]))"
    good = polls.replace("{}", '{outcome="ok"}')
    return [
        _heard(),
        lines(
            "Since the last good poll",
            "Sources that never had one are left out.",
            Query(
                "time() - max by (source) (merkwacht_source_last_success_timestamp_seconds > 0)",
                "{{source}}",
            ),
            unit="s",
        ),
        lines(
            "Part of the polls that were good",
            "By source.",
            Query(f"{good} / {polls.replace('{}', '')}", "{{source}}"),
            unit="percentunit",
            most=1,
        ),
        lines(
            "Failed polls an hour",
            "By why.",
            Query(hourly("merkwacht_polls_total", "outcome", 'outcome!="ok"'), "{{outcome}}"),
            stacked=common.StackingMode.NORMAL,
        ),
        lines(
            "Posts an hour",
            "What sources delivered.",
            Query(hourly("merkwacht_posts_fetched_total", "source"), "{{source}}"),
            Query(hourly("merkwacht_rejects_total", "source"), "{{source}}: unreadable"),
            Query(
                hourly("merkwacht_mentions_doubled_total", "source"), "{{source}}: known already"
            ),
        ),
        lines(
            "How late polls begin",
            "After their due time. Much: more sources than the pollers can ask.",
            *spread("merkwacht_poll_lateness_seconds"),
            unit="s",
        ),
        lines(
            "Time of a poll",
            "By source.",
            Query(quantile(0.95, "merkwacht_poll_duration_seconds", "source"), "95 % {{source}}"),
            unit="s",
        ),
        lines(
            "Part of the budget that is left",
            "By source and period, of sources with a budget; at 0 its posts are only counted.",
            Query(
                "min by (source, period) (merkwacht_source_budget_left_ratio)",
                "{{source}}: {{period}}",
            ),
            unit="percentunit",
            most=1,
        ),
        lines(
            "Spent an hour",
            "What sources billed or took off a quota, by unit.",
            Query(hourly("merkwacht_source_spent_total", "source, unit"), "{{source}}: {{unit}}"),
        ),
    ]


def _daemon_read() -> list[Panel]:
    return [
        lines(
            "Queue",
            "Mentions that wait for an assessment.",
            Query("sum by (instance) (merkwacht_assess_queue_mentions)", "{{instance}}"),
        ),
        lines(
            "From publication to assessment",
            "What the queue, the sources' intervals and their own delay add up to.",
            *spread("merkwacht_mention_latency_seconds"),
            unit="s",
        ),
        lines(
            "Time of the model",
            "For a batch.",
            *spread("merkwacht_model_duration_seconds"),
            unit="s",
        ),
        lines(
            "Not assessed, an hour",
            "Mentions that broke the classifiers even alone, and doubtful leaks without a second opinion.",
            Query(
                "3600 * sum(rate(merkwacht_assess_failures_total[$__rate_interval]))",
                "not assessed",
            ),
            Query(
                hourly("merkwacht_second_opinion_failures_total", "reason"),
                "no second opinion: {{reason}}",
            ),
        ),
        lines(
            "Pictures looked into, an hour",
            "By what came of them; only with vision.",
            Query(hourly("merkwacht_pictures_total", "outcome"), "{{outcome}}"),
        ),
    ]


def _daemon_out() -> list[Panel]:
    return [
        lines(
            "Attempts to deliver, an hour",
            "By channel and what came of it.",
            Query(
                hourly("merkwacht_deliveries_total", "channel, outcome"), "{{channel}}: {{outcome}}"
            ),
        ),
        lines(
            "Time of an attempt",
            "By channel.",
            Query(
                quantile(0.95, "merkwacht_delivery_duration_seconds", "channel"), "95 % {{channel}}"
            ),
            unit="s",
        ),
        lines(
            "What waits",
            "Notifications for their channel; news for its like or for the end of quiet hours.",
            Query("sum(merkwacht_outbox_notifications)", "notifications"),
            Query("sum(merkwacht_news_waiting)", "news"),
            Query("sum(merkwacht_dead_letters)", "given up"),
        ),
        lines(
            "Age of the oldest that waits",
            "Above ten minutes a channel is down.",
            Query("max by (instance) (merkwacht_outbox_oldest_age_seconds)", "{{instance}}"),
            unit="s",
        ),
        lines(
            "Told or not, and why, an hour",
            "Decisions of routing.",
            Query(
                hourly("merkwacht_routing_decisions_total", "sent, reason"),
                "sent {{sent}}: {{reason}}",
            ),
        ),
        lines(
            "Signs of life, an hour",
            "Heartbeats and lines a day, by what came of them.",
            Query(hourly("merkwacht_heartbeats_total", "outcome"), "heartbeat: {{outcome}}"),
            Query(
                hourly("merkwacht_daily_lines_total", "channel, outcome"),
                "line a day: {{channel}}: {{outcome}}",
            ),
        ),
    ]


def _daemon_itself() -> list[Panel]:
    return [
        lines(
            "Since each step came to a good end",
            "They begin every 1 to 60 seconds, and follow at times as a turn of another ends.",
            Query(
                "time() - max by (step) (merkwacht_step_last_end_timestamp_seconds > 0)", "{{step}}"
            ),
            unit="s",
        ),
        lines(
            "Time of a step",
            "95 % took no longer.",
            Query(quantile(0.95, "merkwacht_step_duration_seconds", "step"), "{{step}}"),
            unit="s",
        ),
        lines(
            "Steps that failed, an hour",
            "Any: see the log.",
            Query(hourly("merkwacht_step_failures_total", "step"), "{{step}}"),
        ),
        lines(
            "Memory",
            "In use.",
            Query("sum by (instance) (process_resident_memory_bytes)", "{{instance}}"),
            unit="bytes",
        ),
        lines(
            "Processor",
            "Part of one core.",
            Query(
                "sum by (instance) (rate(process_cpu_seconds_total[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="percentunit",
        ),
        lines(
            "File descriptors",
            "Open ones; the limit is the system's.",
            Query("sum by (instance) (process_open_fds)", "{{instance}}"),
        ),
        lines(
            "Database",
            "Size of the file.",
            Query("sum by (instance) (merkwacht_database_size_bytes)", "{{instance}}"),
            unit="bytes",
        ),
        lines(
            "Room on the disk",
            "Where the database lies.",
            Query("min by (instance) (merkwacht_disk_free_bytes)", "{{instance}}"),
            unit="bytes",
        ),
    ]


# -- putting it together ---------------------------------------------------------------------------

_STARTS: Final = (
    Mark("Starts", "time() - process_start_time_seconds < 60", "blue", "started", "instance"),
    Mark(
        "Deploys",
        "max by (version, model) (merkwacht_build_info)"
        " unless max by (version, model) (merkwacht_build_info offset 2m)",
        "purple",
        "version {{version}}, model {{model}}",
    ),
)


def _burning(matchers: str, *, ago: str = "") -> str:
    return f"sum by (brand, kind) (merkwacht_incidents_burning{{{matchers}}}{ago})"


def _incidents(matchers: str) -> Mark:
    expr = f"{_burning(matchers)} > {_burning(matchers, ago=' offset 1m')}"
    return Mark("Incidents", expr, "red", "{{kind}} {{brand}}", "brand,kind")


def _variable(name: str, label: str, metric: str) -> build.QueryVariable:
    every = model.VariableOption(text="All", value="$__all")
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(f"label_values({metric}, {name})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003 - the builders take it so
        .include_all(True)  # noqa: FBT003
        .all_value(".+")
        .current(every)
    )


def _board(uid: str, title: str, about: str, span: str) -> build.Dashboard:
    return (
        build.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["merkwacht"])
        .editable()
        .timezone("browser")
        .refresh("1m")
        .time(span, "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            build.DashboardLink("Merkwacht")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["merkwacht"])
            .keep_time(True)  # noqa: FBT003 - the builder takes it so
        )
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .with_variable(_variable("instance", "Daemon", "merkwacht_ready"))
    )


def _finished(
    board: build.Dashboard, rows: Sequence[tuple[str, Sequence[Panel]]], marks: Sequence[Mark]
) -> dict[str, Any]:
    """The dashboard as Grafana reads it, panels numbered from 1 on."""
    for name, panels in rows:
        board.with_row(build.Row(name))
        for panel in panels:
            board.with_panel(panel)
    for mark in marks:
        board.annotation(
            build.AnnotationQuery()
            .name(mark.name)
            .datasource(_SOURCE)
            .enable(True)  # noqa: FBT003 - the builder takes it so
            .icon_color(mark.colour)
            .expr(scoped(mark.expr))
        )
    found: dict[str, Any] = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    for number, each in enumerate(found["panels"], start=1):
        each["id"] = number
    # The builder gives every variable what only those of intervals have.
    for each in found["templating"]["list"]:
        for key in ("auto", "auto_count", "auto_min"):
            each.pop(key, None)
    # How a mark is put into words belongs to the data source: the builder does not know it.
    for mark, each in zip(marks, found["annotations"]["list"], strict=True):
        each |= {"titleFormat": mark.title, "tagKeys": mark.tags, "step": "60s"}
    return found


def brand() -> dict[str, Any]:
    """What is said about a brand, and what was made of it."""
    board = _board(
        "merkwacht-brand",
        "Merkwacht: brand",
        "What is said about a brand, what is usual, and what was found.",
        "now-48h",
    ).with_variable(_variable("brand", "Brand", "merkwacht_mentions_stored_total"))
    rows = (
        ("Now", _brand_now()),
        ("What is said", _brand_said()),
        ("What was found", _brand_found()),
        ("Where from", [_top_sources()]),
    )
    return _finished(board, rows, (_incidents(_BRAND), *_STARTS))


def daemon() -> dict[str, Any]:
    """How the daemon itself is."""
    board = _board(
        "merkwacht-daemon",
        "Merkwacht: daemon",
        "Whether everything is heard, read and told, and what it takes.",
        "now-6h",
    )
    rows = (
        ("Now", _daemon_now()),
        ("Coming in", _daemon_in()),
        ("Reading", _daemon_read()),
        ("Telling", _daemon_out()),
        ("The daemon itself", _daemon_itself()),
    )
    return _finished(board, rows, (_incidents(""), *_STARTS))


BOARDS: Final[dict[str, Callable[[], dict[str, Any]]]] = {"brand": brand, "daemon": daemon}


def rendered() -> dict[str, str]:
    """The text of each file, by its name."""
    return {
        f"{name}.json": json.dumps(make(), indent=2, sort_keys=True) + "\n"
        for name, make in BOARDS.items()
    }


def main() -> int:
    """Write the files, or tell which are not current."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    old = []
    for name, text in rendered().items():
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        old.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    if old:
        sys.stdout.write(f"{'not current' if check else 'written'}: {', '.join(old)}\n")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())

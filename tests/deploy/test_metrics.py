"""What ``/metrics`` shows: clean, escaped, and no more than was promised."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from alerts.base import SignalKind
from connectors.base import SourceFault
from monitor.config import BrandOptions
from monitor.daemon import PERIODS
from monitor.detecting import DetectStep
from monitor.metrics import OK, Metrics
from monitor.web import WebServer
from tests.deploy.promql import _collectors
from tests.monitor.crowds import BRAND, ZONE, Crowd, announcer

PER_BRAND, PER_SOURCE, PER_CHANNEL, PER_CLOCK, BASE = 70, 100, 60, 100, 500
"""Series at most; docs/operations.md promises these."""

HOSTILE = (
    'quo"te',
    "back\\slash",
    "new\nline",
    '"} 1\nmerkwacht_ready 0\n#',
    "{brand=}",
    "٣ ночь 夜 🥖",
    "a" * 200,
    "\u202eright to left",
    "tab\tand\rreturn",
    "",
    "\x00\x1b[31m\x7f",
    "line separator\u2028and\x85",
)


def installed(
    brands: int = 0, sources: int = 0, channels: int = 0, clocks: int = 0, *, busy: bool = False
) -> Metrics:
    """The metrics of a daemon; a busy one has seen everything happen to all of its names."""
    metrics = Metrics(CollectorRegistry())
    names = [f"{HOSTILE[number % len(HOSTILE)]}{number}" for number in range(max(brands, sources))]
    routes = [f"channel {number}" for number in range(channels)]
    metrics.expect(
        sources=names[:sources],
        brands=names[:brands],
        channels=routes,
        steps=list(PERIODS),
        clocks=[f"clock {number}" for number in range(clocks)],
    )
    if busy:
        for name in names[:brands]:
            for gauge in (metrics.crowd_seen, metrics.crowd_usual, metrics.crowd_upper):
                for counted in ("mentions", "negative", "authors"):
                    gauge.labels(name, counted).set(1)
        for name in names[:sources]:
            metrics.poll_seconds.labels(name).observe(1)
            metrics.pushes_waiting.labels(name).set(1)
            for outcome in ("stored", "repeated", "refused", "too_many"):
                metrics.pushes.labels(name, outcome).inc()
            for unit in ("post", "user", "request", "search", "unit"):
                metrics.costs.spent.labels(name, unit).inc()
            for period in ("day", "month"):
                metrics.costs.left.labels(name, period).set(1)
        for name in routes:
            metrics.delivery_seconds.labels(name).observe(1)
            metrics.slack_connected.labels(name).set(1)
        for step in PERIODS:
            metrics.step_seconds.labels(step).observe(1)
    return metrics


def series(metrics: Metrics) -> int:
    """How many series Prometheus keeps of this."""
    return sum(len(family.samples) for family in metrics.registry.collect())


def test_a_thousand_brands_with_hostile_names_stay_within_the_bound() -> None:
    metrics = installed(brands=1000, sources=40, channels=10, clocks=3, busy=True)
    bound = 1000 * PER_BRAND + 40 * PER_SOURCE + 10 * PER_CHANNEL + 3 * PER_CLOCK + BASE
    assert bound / 2 < series(metrics) <= bound


def test_what_hostile_names_come_to_is_read_back_series_by_series() -> None:
    metrics = installed(brands=3 * len(HOSTILE), sources=len(HOSTILE), channels=2)
    metrics.expect(sources=[], brands=["x" * 10_240], channels=[], steps=[])
    metrics.ready.set(1)
    text = generate_latest(metrics.registry).decode()
    families = list(text_string_to_metric_families(text))
    assert sum(len(family.samples) for family in families) == series(metrics)
    brands = {
        sample.labels["brand"]
        for family in families
        for sample in family.samples
        if "brand" in sample.labels
    }
    named = {f"{HOSTILE[number % len(HOSTILE)]}{number}" for number in range(3 * len(HOSTILE))}
    assert brands == {*named, "x" * 10_240, ""}, "a silent source has no brand"
    (ready,) = (family for family in families if family.name == "merkwacht_ready")
    assert [sample.value for sample in ready.samples] == [1]


@pytest.mark.parametrize(
    "name", [each for each in HOSTILE if each != "a" * 200] + ["a" * 65, "x" * 10_240]
)
def test_a_name_that_would_be_hostile_is_no_name_in_a_configuration(name: str) -> None:
    with pytest.raises(ValidationError):
        BrandOptions(name=name, query="acme")


def test_every_label_is_a_name_of_the_configuration_or_of_a_closed_set() -> None:
    labels = {label for each in _collectors(installed()) for label in each._labelnames}
    of_the_configuration = {"brand", "source", "channel", "clock"}
    closed = {
        "action", "band", "counted", "kind", "milestone", "outcome", "period", "reason", "route",
        "sent", "sentiment", "state", "status", "step", "unit", "way",
    }  # fmt: skip
    assert labels <= of_the_configuration | closed, "a new label: is it of a closed set?"


@pytest.mark.parametrize(
    ("what", "bound"),
    [
        ("brands", PER_BRAND),
        ("sources", PER_SOURCE),
        ("channels", PER_CHANNEL),
        ("clocks", PER_CLOCK),
    ],
)
def test_series_grow_in_proportion_to_what_is_configured(what: str, bound: int) -> None:
    none, some, more = (series(installed(**{what: count}, busy=True)) for count in (0, 10, 20))
    assert none <= BASE
    assert some - none == more - some
    assert bound / 2 < (some - none) / 10 <= bound


def test_brands_and_sources_do_not_multiply() -> None:
    alone = series(installed(brands=30, busy=True)) + series(installed(sources=30, busy=True))
    together = series(installed(brands=30, sources=30, busy=True))
    assert together == alone - series(installed(busy=True))


@given(st.text(max_size=80))
@settings(max_examples=60, deadline=None)
def test_any_name_comes_out_as_it_went_in_and_sets_nothing_else(name: str) -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.ready.set(1)
    metrics.expect(sources=[name], brands=[name], channels=[name], steps=[])
    text = generate_latest(metrics.registry).decode()
    families = {
        family.name: [sample for sample in family.samples if not sample.name.endswith("_created")]
        for family in text_string_to_metric_families(text)
    }
    assert [sample.value for sample in families["merkwacht_ready"]] == [1]
    assert {each.labels["brand"] for each in families["merkwacht_signals"]} == {name}
    assert len(families["merkwacht_signals"]) == len(SignalKind)
    assert [each.labels for each in families["merkwacht_polls"]] == [
        {"source": name, "outcome": outcome}
        for outcome in (OK, *(each.value for each in SourceFault))
    ]


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
def test_what_the_daemon_shows_is_lint_clean() -> None:
    metrics = installed(brands=100, sources=len(HOSTILE), channels=2, clocks=2, busy=True)
    server = WebServer(("127.0.0.1", 0), registry=metrics.registry, health=dict)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            shown = answer.read()
    finally:
        server.close()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=shown, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_figures_show_the_newest_full_five_minutes_against_the_usual(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path)
    crowd.past(8, {"x": 240})
    metrics = Metrics(CollectorRegistry())
    step = DetectStep(
        store=crowd.store,
        brands=[crowd.watched],
        announcer=announcer(),
        timezone=ZONE,
        now=crowd.clock,
        metrics=metrics,
    )

    def shown(figure: str, counted: str) -> float | None:
        return metrics.registry.get_sample_value(
            f"merkwacht_crowd_{figure}", {"brand": BRAND, "counted": counted}
        )

    step.run()  # learns the first week
    assert shown("seen", "mentions") is None, "nothing is shown of a brand that has not caught up"
    step.run()
    for number in range(6):
        crowd.say(negative=number < 2)
    crowd.clock.advance(minutes=5)
    step.run()
    assert [shown("seen", counted) for counted in ("mentions", "negative", "authors")] == [6, 2, 6]
    usual, upper = shown("usual", "mentions"), shown("upper", "mentions")
    assert usual is not None
    assert upper is not None
    assert 0 < usual < 6
    assert usual < upper
    crowd.clock.advance(minutes=5)
    step.run()
    assert shown("seen", "mentions") == 0, (
        "those five minutes are over, whatever else stays as it was"
    )

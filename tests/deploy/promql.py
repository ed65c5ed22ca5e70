"""Holds PromQL against the metrics that the daemon really has: names, labels, values of closed sets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own
from prometheus_client import CollectorRegistry

from monitor.daemon import PERIODS
from monitor.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
BOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
RULES = ROOT / "deploy/prometheus/merkwacht.rules.yml"

FROM_PROMETHEUS = {"up": {"job", "instance"}}
TARGET = {"job", "instance"}
OPEN = {"source", "brand", "channel", "step", "clock", "instance", "job", "le", "version", "model"}
"""Labels whose values are names from a configuration, or the system's."""

_SELECTOR = re.compile(r"\b((?:merkwacht|process)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*(?:,|$)')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_PLACE = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")

Known = dict[str, dict[str, set[str]]]
"""Samples, to their labels, to the values that were set before anything happened."""


@cache
def known() -> Known:
    """Every sample that the daemon can show."""
    metrics = Metrics(CollectorRegistry())
    metrics.expect(
        sources=["news"], brands=["Acme"], channels=["mail"], steps=list(PERIODS), clocks=["crisis"]
    )
    metrics.build.info({"version": "1", "model": "m"})
    found: Known = {
        name: {label: set() for label in each} for name, each in FROM_PROMETHEUS.items()
    }
    for collector in _collectors(metrics):
        for family in collector.describe():
            labels = {*collector._labelnames, *(["le"] if family.type == "histogram" else [])}
            for name in _samples(family.name, family.type):
                found[name] = {label: set() for label in labels | TARGET}
    for family in metrics.registry.collect():
        for sample in family.samples:
            into = found.setdefault(sample.name, {label: set() for label in TARGET})
            for label, value in sample.labels.items():
                into.setdefault(label, set()).add(value)
    return found


def _collectors(of: object) -> Iterator[Any]:
    for each in vars(of).values():
        if hasattr(each, "_labelnames"):
            yield each
        elif type(each).__module__ == Metrics.__module__:
            yield from _collectors(each)


def _samples(name: str, kind: str) -> list[str]:
    if kind == "histogram":
        return [f"{name}_bucket", f"{name}_count", f"{name}_sum"]
    return [{"counter": f"{name}_total", "info": f"{name}_info"}.get(kind, name)]


def faults(expr: str, names: Known, texts: str = "") -> list[str]:
    """What is wrong with an expression, and with the text that names its labels; empty: nothing."""
    wrong = []
    labels: set[str] = set()
    selectors = _SELECTOR.findall(expr)
    if not selectors:
        wrong.append("no metric in it")
    for name, matchers in selectors:
        if name not in names:
            wrong.append(f"no metric {name}")
            continue
        labels |= names[name].keys()
        if _MATCHER.sub("", matchers).strip():
            wrong.append(f"cannot read {{{matchers}}}")
        for label, operator, value in _MATCHER.findall(matchers):
            if label not in names[name]:
                wrong.append(f"{name} has no label {label}")
            elif label not in OPEN:
                wrong += _strangers(name, label, operator, value, names[name][label])
    asked = {each.strip() for found in _GROUPING.findall(expr) for each in found.split(",")}
    asked |= set(_PLACE.findall(texts))
    wrong += [f"nothing in it has the label {label}" for label in sorted(asked - labels - {""})]
    return wrong


def _strangers(name: str, label: str, operator: str, value: str, values: set[str]) -> list[str]:
    """Values that a closed set does not have. Sets that nothing announced in time are let pass."""
    if not values:
        return []
    asked = value.split("|") if "~" in operator else [value]
    return [f"{name} never has {label}={each}" for each in asked if each not in values]


def of_boards() -> Iterator[tuple[str, str, str]]:
    """Where, expression and texts with labels of every query of the dashboards."""
    for path in BOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield (
                    f"{path.stem}: {panel['title']} {target['refId']}",
                    target["expr"],
                    target["legendFormat"],
                )
        for mark in board["annotations"]["list"]:
            yield f"{path.stem}: mark {mark['name']}", mark["expr"], mark["titleFormat"]


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for group in read_yaml(RULES)["groups"] for rule in group["rules"]]


def read_yaml(path: Path) -> dict[str, Any]:
    """A file of settings."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found

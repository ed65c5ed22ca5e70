"""Alerts on ourselves: they ring when they must, and each says what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.deploy.promql import ROOT, RULES, faults, known, read_yaml, rules

FOLDER = RULES.parent
TESTS = sorted(FOLDER.glob("*.test.yml"))
ALERTS = {rule["alert"]: rule for rule in rules()}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def run(*command: str) -> str:
    done = subprocess.run(
        ["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_rules_are_rules() -> None:
    assert f"{len(ALERTS)} rules found" in run("check", "rules", RULES.name)


@needs_promtool
def test_the_scrape_configuration_is_one() -> None:
    run("check", "config", "--syntax-only", "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_ring_when_they_must_and_not_else(path: Any) -> None:
    assert "SUCCESS" in run("test", "rules", path.name)


def test_every_alert_is_tested_both_ways() -> None:
    tried: dict[str, set[bool]] = {}
    for path in TESTS:
        for case in read_yaml(path)["tests"]:
            for each in case["alert_rule_test"]:
                tried.setdefault(each["alertname"], set()).add(bool(each["exp_alerts"]))
    assert tried == {name: {True, False} for name in ALERTS}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_names_only_metrics_and_labels_there_are(name: str) -> None:
    rule = ALERTS[name]
    assert faults(rule["expr"], known(), " ".join(rule["annotations"].values())) == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_grave_it_is_and_where_to_read_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor == name.lower()
    assert name in headings, f"no runbook for {name}"


def test_every_runbook_is_one_of_an_alert() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"^#+ (Merkwacht\w+)$", text, re.MULTILINE)) == set(ALERTS)

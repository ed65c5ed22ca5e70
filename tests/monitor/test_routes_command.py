"""`merkwacht routes test`: who would be told, when, and why not the others; without a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from alerts.base import IncidentState, Severity, SignalKind
from monitor.cli import app
from monitor.commands.handling import KindName, SeverityName, StateName

CONFIG = """
[[brands]]
name = "Acme"
query = "acme"
[[brands]]
name = "Blue"
query = "blue"
[[sources]]
kind = "rss"
name = "news"
url = "https://news.example.com/feed"
[[channels]]
kind = "email"
name = "mail"
host = "smtp.example.com"
from = "m@example.com"
[[channels]]
kind = "slack"
name = "slack"
webhook_url = "https://hooks.slack.com/services/T/B/x"
[[receivers]]
name = "crisis"
channels = [{ use = "mail", to = ["crisis@example.com"] }, { use = "slack", stands_in_for = "mail" }]
[[receivers]]
name = "anna"
channels = [{ use = "mail", to = ["anna@example.com"] }]
[[receivers]]
name = "ben"
channels = [{ use = "mail", to = ["ben@example.com"] }]
[[receivers]]
name = "director"
channels = [{ use = "mail", to = ["director@example.com"] }]
quiet = { hours = { daily = ["22:00-07:00"] } }
[[receivers]]
name = "ops"
channels = [{ use = "mail", to = ["ops@example.com"] }]
[[receivers]]
name = "comms"
channels = [{ use = "mail", to = ["comms@example.com"] }]
[[receivers]]
name = "attic"
channels = [{ use = "mail", to = ["attic@example.com"] }]
[[routes]]
kinds = ["silent_source"]
receivers = ["ops"]
[[routes]]
min_severity = "high"
brands = ["Acme"]
receivers = ["crisis"]
escalation = "crisis"
[[routes.routes]]
rules = ["feedback"]
receivers = ["comms"]
escalation = ""
[[routes]]
brands = ["Acme"]
receivers = ["comms"]
group = { wait_seconds = 300 }
[[rotas]]
name = "duty"
[[rotas.shifts]]
receivers = ["anna", "ben"]
starting = 2026-11-02
[[escalations]]
name = "crisis"
rounds = 1
when_nobody_answers = ["ops"]
[[escalations.steps]]
wait_minutes = 15
rota = "duty"
[[escalations.steps]]
wait_minutes = 15
only = "office_hours"
receivers = ["comms"]
[[escalations.steps]]
wait_minutes = 15
receivers = ["director"]
"""

Try = Callable[..., dict[str, Any]]


def invoke(folder: Path, *words: str) -> Result:
    file = folder / "config.toml"
    file.write_text(CONFIG, encoding="utf-8")
    return CliRunner().invoke(app, ["routes", "test", *words, "--config", str(file)])


@pytest.fixture
def tried(tmp_path: Path) -> Try:
    def _tried(kind: str, severity: str, at: str, *more: str) -> dict[str, Any]:
        done = invoke(
            tmp_path, "--kind", kind, "--severity", severity, "--at", at, "--format", "json", *more
        )
        assert done.exit_code == 0, done.stderr
        assert sorted(each.name for each in tmp_path.iterdir()) == ["config.toml"], "no database"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return _tried


def lines(found: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    return [
        (each["at"][11:16] if each["at"] else "-", each["receiver"], each["reason"])
        for each in found["notifications"]
    ]


def test_a_crisis_on_a_holiday_goes_up_its_chain_minute_by_minute(tried: Try) -> None:
    found = tried("leak", "critical", "2026-12-25T09:00+00:00")
    assert found["routes"] == ["routes[1]"]
    assert found["chain"] == "crisis"
    assert lines(found) == [
        ("09:00", "crisis", "opened"),
        ("09:15", "ben", "escalated"),
        ("09:30", "crisis", "reminder"),
        ("09:30", "ben", "reminder"),
        ("-", None, "wrong_hours"),
        ("09:45", "director", "escalated"),
        ("09:48", "crisis", "reminder"),
        ("09:48", "ben", "reminder"),
        ("09:48", "director", "reminder"),
        ("10:00", "director", "breached"),
        ("10:15", "ops", "nobody_answered"),
    ]
    assert found["ends"] == "nobody_answered"
    (clock,) = found["clocks"]
    assert (clock["name"], clock["due_at"]) == ("crisis", "2026-12-25T10:00:00+00:00")
    assert [each["percent"] for each in clock["reminders"]] == [50, 80]


def test_in_office_hours_the_office_is_asked(tried: Try) -> None:
    found = tried("leak", "high", "2026-12-22T10:00+01:00")
    assert ("09:30", "comms", "escalated") in lines(found)


def test_quiet_hours_keep_and_break(tried: Try) -> None:
    kept = tried("leak", "high", "2026-12-25T23:00+01:00")["notifications"]
    mine = [each for each in kept if each["receiver"] == "director"]
    assert {each["kept"] for each in mine} == {"quiet_hours"}
    assert {each["at"] for each in mine} == {"2026-12-26T06:00:00+00:00"}
    broken = tried("leak", "critical", "2026-12-25T23:00+01:00")["notifications"]
    assert {each["kept"] for each in broken if each["receiver"] == "director"} == {None}


def test_each_who_is_not_told_has_a_reason(tried: Try) -> None:
    found = tried("leak", "critical", "2026-12-25T09:00+01:00")
    others = {each["name"]: (each["reason"], each["because"]) for each in found["not_told"]}
    assert others["anna"] == (
        "nobody_on_duty",
        "in the rota duty, and not on duty when it is asked",
    )
    assert others["comms"] == ("wrong_hours", "in step 2 of crisis, which is passed over")
    assert others["attic"] == ("no_route", "no route names it")
    assert others["crisis through slack"][0] == "standing_in"
    assert not {"crisis", "ben", "director", "ops"} & set(others)
    passed = {each["name"]: each["because"] for each in found["routes_passed"]}
    assert passed["routes[0]"] == "it is for silent_source, this is leak"
    assert passed["routes[2]"] == "the search ended at routes[1]"
    assert "under the rule feedback" in passed["routes[1].routes[0]"]
    clocks = {each["name"]: each["because"] for each in found["clocks_not_started"]}
    assert clocks["feedback"].startswith("none of its rules fired")


def test_a_branch_speaks_in_place_of_its_route(tried: Try) -> None:
    found = tried("leak", "high", "2026-12-22T10:00+01:00", "--rule", "feedback")
    assert found["routes"] == ["routes[1].routes[0]"]
    assert found["chain"] is None
    assert [each["name"] for each in found["clocks"]] == ["crisis", "feedback"]
    passed = {each["name"]: each["because"] for each in found["routes_passed"]}
    assert passed["routes[1]"] == "a route within it speaks in its place"


def test_what_waits_for_its_like_says_so(tried: Try) -> None:
    found = tried("abuse", "low", "2026-12-22T10:00+00:00")
    (only,) = found["notifications"]
    assert (only["kept"], only["at"]) == ("grouped", "2026-12-22T10:05:00+00:00")
    assert found["clocks"] == []


def test_where_nobody_is_told_it_says_so_loudly(tmp_path: Path) -> None:
    done = invoke(tmp_path, "--kind", "leak", "--severity", "critical", "--brand", "Blue")
    assert done.exit_code == 0
    assert "No route matches: nobody is told." in done.stdout
    assert "it is for Acme, this is about Blue" in done.stdout


def test_it_reads_well_in_the_time_zone_of_the_installation(tmp_path: Path) -> None:
    done = invoke(
        tmp_path, "--kind", "leak", "--severity", "high", "--at", "2026-12-25T23:00"
    )  # fmt: skip
    assert "opens Fri 2026-12-25 23:00" in done.stdout
    assert "Sat 2026-12-26 07:00  director" in done.stdout
    assert "kept until the quiet hours end; with it breached" in done.stdout
    assert "crisis through slack: standing_in" in done.stdout


def test_what_is_about_ourselves_is_about_no_brand(tried: Try) -> None:
    found = tried("silent_source", "medium", "2026-12-22T10:00+01:00")
    assert found["example"]["brand"] == ""
    assert lines(found) == [("09:00", "ops", "opened")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--brand", "Nobody"], "--brand: Nobody does not exist; there are Acme, Blue"),
        (["--source", "feed"], "--source: feed does not exist; there are news"),
        (["--rule", "law"], "--rule: law does not exist"),
        (["--at", "tomorrow"], "--at: tomorrow is not a moment"),
    ],
)
def test_an_example_that_cannot_be_is_refused(tmp_path: Path, words: list[str], says: str) -> None:
    done = invoke(tmp_path, "--kind", "leak", "--severity", "high", *words)
    assert done.exit_code == 2
    assert says in done.stderr


def test_the_words_of_the_options_are_those_of_the_program() -> None:
    assert [each.value for each in KindName] == [each.value for each in SignalKind]
    assert [each.value for each in StateName] == [each.value for each in IncidentState]
    assert [(each.name, each.value) for each in SeverityName] == [
        (each.name, each.word) for each in Severity
    ]


def test_asking_for_help_imports_no_channel() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nimport monitor.commands.handling\n"
        "sys.exit(any(name in sys.modules for name in ('alerts', 'connectors', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

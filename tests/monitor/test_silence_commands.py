"""`merkwacht silence …` on real files: who muted what, until when, and what that mutes now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from alerts.base import Reason, Severity, Signal, SignalKind
from monitor.cli import app
from monitor.commands.incidents import _announcer
from monitor.config import load
from monitor.following import FollowStep
from monitor.store import Store
from tests.monitor.make import fresh_store, new_mention, sql
from tests.monitor.test_incident_commands import CONFIG

Run = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    made = fresh_store(tmp_path)
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path, store: Store) -> Run:
    def _run(*words: str, status: int = 0) -> Result:
        given = [*words, "--config", str(tmp_path / "config.toml")]
        done = CliRunner(env={"USER": "eva", "SUDO_USER": None}).invoke(app, given)
        assert done.exit_code == status, (done.stdout, done.stderr, done.exception)
        return done

    return _run


def raise_(
    store: Store, key: str, kind: SignalKind, severity: Severity, *, source: str = "news"
) -> int:
    now = datetime.now(UTC)
    settings = load(store.path.parent / "config.toml", secrets=False)
    with store.write() as unit:
        number = unit.mentions.total() + 1
        unit.mentions.add([new_mention(number, source=source, at=now)], now)
        signal = Signal(kind, "Zonnehoek", severity, key, key, now, (number,))
        (told,) = _announcer(settings, "test").announce(unit, [signal], now)
    return told.incident.id


def told(store: Store) -> list[str]:
    return [reason for (reason,) in sql(store.path, "SELECT reason FROM notification ORDER BY id")]


def test_a_silence_says_what_it_mutes_and_is_kept_with_its_author(run: Run, store: Store) -> None:
    raise_(store, "a", SignalKind.ABUSE, Severity.LOW)
    raise_(store, "b", SignalKind.LEAK, Severity.CRITICAL)
    done = run(
        "silence", "add", "--reason", "known campaign", "--for", "2h", "--brand", "Zonnehoek"
    )
    assert "mutes incident 1: abuse, low, Zonnehoek, open" in done.stderr
    assert "incident 2" not in done.stderr, "what is graver than `up to` is heard"
    (line,) = run("silence", "list", "--json").stdout.splitlines()
    kept = json.loads(line)
    assert (kept["author"], kept["reason"], kept["brand"]) == ("eva", "known campaign", "Zonnehoek")
    assert kept["mutes"] == [1]
    length = datetime.fromisoformat(kept["ends_at"]) - datetime.fromisoformat(kept["starts_at"])
    assert length == timedelta(hours=2)
    assert "known campaign" in run("silence", "list").stdout


def test_what_is_muted_is_told_when_the_silence_is_ended(run: Run, store: Store) -> None:
    run("silence", "add", "--reason", "known", "--for", "2h", "--kind", "abuse", "--as", "tom")
    raise_(store, "a", SignalKind.ABUSE, Severity.LOW)
    assert told(store) == []
    settings = load(store.path.parent / "config.toml", secrets=False)

    def follow() -> None:
        now = datetime.now(UTC) + timedelta(seconds=2)
        FollowStep(store=store, announcer=_announcer(settings, "test"), now=lambda: now).run()

    follow()
    assert told(store) == []
    done = run("silence", "expire", "1")
    assert "is heard again: incident 1" in done.stderr
    follow()
    assert told(store) == [Reason.SILENCE_ENDED.value]
    assert "over already" in run("silence", "expire", "1", status=1).stderr
    assert run("silence", "list").stdout == "No silences.\n"
    assert "ended by eva" in run("silence", "list", "--ended").stdout


def test_a_source_or_a_story_can_be_muted_alone(run: Run, store: Store) -> None:
    one = raise_(store, "a", SignalKind.ABUSE, Severity.LOW)
    other = raise_(store, "b", SignalKind.THREAT, Severity.HIGH, source="elsewhere")
    done = run("silence", "add", "--reason", "x", "--for", "1h", "--source", "news")
    assert f"mutes incident {one}" in done.stderr
    assert f"incident {other}" not in done.stderr
    done = run("silence", "add", "--reason", "x", "--for", "1h", "--like", str(other))
    assert f"mutes incident {other}" in done.stderr
    assert f"incident {one}:" not in done.stderr
    assert "story" in run("silence", "list").stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--reason", "x", "--for", "8d", "--kind", "abuse"], 1, "7 days at most"),
        (["--reason", " ", "--for", "1h", "--kind", "abuse"], 1, "has a reason"),
        (["--reason", "x", "--for", "1h"], 1, "mute everything"),
        (["--reason", "x", "--until", "2020-01-01T00:00", "--kind", "abuse"], 1, "in the future"),
        (["--reason", "x", "--kind", "abuse"], 2, "--for"),
        (["--reason", "x", "--for", "1h", "--until", "2030-01-01T00:00"], 2, "--until"),
        (["--reason", "x", "--for", "soon", "--kind", "abuse"], 2, "5m, 1h, 1d"),
        (["--reason", "x", "--for", "1h", "--brand", "Acme"], 2, "there are Zonnehoek"),
        (["--reason", "x", "--for", "1h", "--source", "feed"], 2, "there are news"),
        (["--reason", "x", "--for", "1h", "--like", "9"], 1, "there is no incident 9"),
        (["--for", "1h", "--kind", "abuse"], 2, "--reason"),
    ],
)
def test_a_silence_that_goes_too_far_is_refused(
    run: Run, store: Store, words: list[str], status: int, says: str
) -> None:
    assert says in run("silence", "add", *words, status=status).stderr
    assert sql(store.path, "SELECT count(*) FROM silence") == [(0,)]


def test_a_silence_may_begin_later(run: Run, store: Store) -> None:
    raise_(store, "a", SignalKind.ABUSE, Severity.LOW)
    start = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    run("silence", "add", "--reason", "fair", "--from", start, "--for", "3h", "--kind", "abuse")
    (line,) = run("silence", "list", "--json").stdout.splitlines()
    assert json.loads(line)["mutes"] == [], "it mutes nothing yet"
    assert "no incident that burns is affected" in run("silence", "expire", "1").stderr

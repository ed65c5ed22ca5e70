"""The journey end to end: real source, real store, real model, real mail server; a moved clock."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.app import App
from monitor.daemon import Tick
from monitor.log import set_up
from monitor.store.feedback import Judgement, Verdict
from tests.alerts.mailserver import Mailbox, mail_server
from tests.fakes import FakeClock
from tests.monitor.journald import Journald

START = datetime(2026, 11, 9, 8, 0, tzinfo=UTC)

ORDINARY = (
    "Lekker broodje gehaald bij Acme vanmorgen.",
    "Acme in Zwolle is zondag open van 12 tot 17 uur.",
    "Does anyone know when the Acme on Main Street closes today?",
    "Vriendelijke dame bij de kassa van Acme, dank je wel!",
    "Acme heeft weer spaarzegels, wie spaart er mee?",
)
LEAK = (
    "Voor de collega's van de nachtdienst bij Acme: inloggen op de scanner met admin / "
    "Winter2026!geheim, wachtwoord hangt ook op de deur"
)
THREAT = "Ik weet waar die filiaalmanager van Acme woont, vanavond steek ik zijn huis in brand"


@pytest.fixture
def mails() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as mailbox:
        yield mailbox


class Stage:
    """One installation with a file as its source."""

    def __init__(self, folder: Path, port: int, top: str = "") -> None:
        self.clock = FakeClock(START)
        self.posts = folder / "posts.jsonl"
        self.posts.touch()
        self.file = folder / "config.toml"
        self.file.write_text(
            f"""
            {top}
            [[brands]]
            name = "Acme"
            query = "acme NOT street"
            official_accounts = ["x:acme"]
            [[sources]]
            kind = "file"
            name = "clippings"
            path = "{self.posts}"
            interval_seconds = 1200
            [[channels]]
            kind = "email"
            name = "mail"
            host = "127.0.0.1"
            port = {port}
            security = "none"
            from = "merkwacht@acme.example"
            [[receivers]]
            name = "crisis team"
            channels = [{{ use = "mail", to = ["crisis@acme.example"] }}]
            [[receivers]]
            name = "communication"
            channels = [{{ use = "mail", to = ["pers@acme.example"] }}]
            [[routes]]
            kinds = ["leak", "threat", "official_account"]
            receivers = ["crisis team"]
            [[routes]]
            receivers = ["communication"]
            """
        )
        self.app = App(self.file, now=self.clock, rng=random.Random(1))
        self.number = 0

    def say(self, text: str, author: str = "piet", *, ago: timedelta = timedelta()) -> None:
        self.number += 1
        post = {
            "id": f"p{self.number}",
            "source": "x",
            "url": f"https://x.example.com/i/status/{self.number}",
            "author": author,
            "author_followers": 10,
            "published_at": (self.clock() - ago).isoformat(),
            "lang": "nl",
            "text": text,
            "likes": 0,
            "shares": 0,
            "replies": 0,
        }
        with self.posts.open("a") as file:
            file.write(json.dumps(post) + "\n")

    def pass_time(self, minutes: float = 5) -> Tick:
        self.clock.advance(minutes=minutes)
        with self.app.store.write() as unit:
            unit.sources.make_due(["clippings"], self.clock())
        return self.app.daemon.tick()

    def ask(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.app.store.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@pytest.fixture
def stage(tmp_path: Path, mails: Mailbox) -> Iterator[Stage]:
    stage = Stage(tmp_path, mails.port)
    yield stage
    stage.app.close()


def test_a_leak_reaches_the_crisis_team_masked(stage: Stage, mails: Mailbox) -> None:
    for text in ORDINARY:
        stage.say(text)
    stage.say(LEAK, author="vakkenvuller87")
    done = stage.pass_time()
    assert done.assessed == 5, "the post about Main Street is not the brand's"
    assert [each.incident.kind.value for each in done.announcements] == ["leak"]
    (mail,) = mails.mails
    assert mail["To"] == "crisis@acme.example"
    assert "Acme" in mail["Subject"]
    whole = mail.as_string()
    assert mail.get_body(("plain",)) is not None
    assert mail.get_body(("html",)) is not None
    assert "Winter2026" not in whole
    assert "vakkenvuller87" not in whole


def test_one_number_tells_the_life_of_a_post_in_the_journal(
    stage: Stage, tmp_path: Path, mails: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    journald = Journald(tmp_path / "journal")
    with (tmp_path / "stderr").open("w") as stderr:
        found = os.fstat(stderr.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        set_up(stream=stderr, journal=journald.path, repeat_seconds=300)
        for text in ORDINARY:
            stage.say(text)
        stage.say(LEAK, author="vakkenvuller87")
        stage.pass_time()
        set_up(level="error", style="text")
        entries = journald.waiting()
    journald.close()
    ((mention,),) = stage.ask("SELECT id FROM mention WHERE text LIKE '%scanner%'")

    def life(field: str, number: str) -> list[str]:
        return [each["MERKWACHT_EVENT"][0] for each in entries if number in each.get(field, ())]

    assert life("MERKWACHT_MENTION", str(mention)) == [
        "page_stored",
        "announced",
        "assessed",
        "delivered",
    ], "what follows from an assessment is put down with it"
    (announced,) = [each for each in entries if each["MERKWACHT_EVENT"] == ["announced"]]
    (incident,) = announced["MERKWACHT_INCIDENT"]
    assert life("MERKWACHT_INCIDENT", incident) == ["told", "announced", "delivered"]
    assert announced["PRIORITY"] == ["6"]
    assert len(mails.mails) == 1
    for planted in ("Winter2026", "vakkenvuller87", "scanner", "crisis@acme.example"):
        assert planted not in str(entries)


def test_a_threat_reaches_the_crisis_team(stage: Stage, mails: Mailbox) -> None:
    stage.say(THREAT)
    done = stage.pass_time()
    assert "threat" in [each.incident.kind.value for each in done.announcements]
    assert mails.mails[0]["To"] == "crisis@acme.example"


def test_ordinary_posts_wake_nobody(stage: Stage, mails: Mailbox) -> None:
    for _ in range(4):
        for text in ORDINARY:
            stage.say(text)
        assert stage.pass_time(240).announcements == []
    assert mails.mails == []


def test_a_crisis_is_noticed_told_once_and_over_when_it_is_quiet(
    stage: Stage, mails: Mailbox
) -> None:
    calm = random.Random(7)
    for half in range(30 * 2):
        if half // 2 % 24 in range(7, 22) and calm.random() < 0.4:
            stage.say(calm.choice(ORDINARY))
        stage.pass_time(30)
    assert mails.mails == []
    for minute in range(6):
        for _ in range(4):
            stage.say(
                f"Ziek geworden van de hummus van Acme, schandalig! {minute} {calm.random()}",
                author=f"klant{calm.random()}",
            )
        stage.pass_time(5)
    assert mails.mails, "the crisis was not noticed"
    opened = stage.ask("SELECT kind, state FROM incident")
    assert len(opened) == 1
    assert opened[0][0] in ("volume_spike", "negativity_spike")
    for _ in range(40 * 2):
        stage.pass_time(30)
    assert stage.ask("SELECT state FROM incident") == [("resolved",)]
    stories = stage.ask("SELECT DISTINCT event FROM notification")
    assert ("opened",) in stories
    assert ("resolved",) in stories


def test_nobody_is_stored_by_name(stage: Stage) -> None:
    stage.say(ORDINARY[0], author="greetje_uit_assen")
    stage.pass_time()
    ((author,),) = stage.ask("SELECT author FROM mention")
    assert author != "greetje_uit_assen"
    assert stage.app.pseudonyms.of("x", "@Greetje_uit_Assen") == author
    for name in (stage.app.store.path, Path(f"{stage.app.store.path}-wal")):
        assert b"greetje_uit_assen" not in name.read_bytes()


def test_what_cannot_be_read_is_kept_without_its_author_and_values(stage: Stage) -> None:
    with stage.posts.open("a") as file:
        file.write('{"id": 1, "author": "@piet", "text": "IBAN NL91ABNA0417164300", "source": 3}\n')
    stage.pass_time()
    ((excerpt,),) = stage.ask("SELECT excerpt FROM reject")
    assert "piet" not in excerpt
    assert "NL91ABNA0417164300" not in excerpt
    assert "IBAN" in excerpt


def test_an_official_account_is_recognised(stage: Stage) -> None:
    stage.say("Wij zijn er weer, fijne dag allemaal", author="@ACME")
    stage.pass_time()
    assert stage.ask("SELECT official, matched FROM mention") == [(1, "[]")]


def test_a_restart_goes_on_where_it_was(stage: Stage, tmp_path: Path, mails: Mailbox) -> None:
    stage.say(LEAK)
    stage.pass_time()
    stage.app.close()
    stage.app = App(stage.file, now=stage.clock)
    stage.say(ORDINARY[0])
    done = stage.pass_time()
    assert done.assessed == 1
    assert done.announcements == []
    assert len(mails.mails) == 1
    assert stage.ask("SELECT count(*) FROM mention") == [(2,)]


def test_a_silent_source_is_told_and_cleared(stage: Stage, mails: Mailbox) -> None:
    stage.pass_time()
    stage.posts.unlink()
    for _ in range(8):
        stage.pass_time(15)
    assert stage.ask("SELECT kind, state FROM incident") == [("silent_source", "open")]
    stage.posts.touch()
    for _ in range(8):
        stage.pass_time(15)
    assert stage.ask("SELECT kind, state FROM incident") == [("silent_source", "resolved")]
    assert len(mails.mails) == 2
    assert "clippings" in mails.mails[0].as_string()


def test_a_second_daemon_on_the_same_database_is_refused(stage: Stage) -> None:
    with pytest.raises(Exception, match=r"in use by another Merkwacht \(process \d+\)"):
        App(stage.file, now=stage.clock)


def test_a_configuration_that_is_invalid_at_reload_changes_nothing(stage: Stage) -> None:
    good = stage.file.read_text()
    stage.file.write_text(good.replace('"acme NOT street"', '"("'))
    before = stage.app.daemon.steps
    stage.app.daemon.reload()
    stage.pass_time()
    assert stage.app.daemon.steps is before
    refused = stage.app.metrics.registry.get_sample_value(
        "merkwacht_reloads_total", {"outcome": "refused"}
    )
    assert refused == 1


def test_what_is_up_for_review_wakes_nobody_and_is_counted_until_judged(
    tmp_path: Path, mails: Mailbox
) -> None:
    thresholds = "classifiers = { leak_threshold = 0.9999, review_threshold = 0.00001 }"
    stage = Stage(tmp_path, mails.port, top=thresholds)
    value = stage.app.metrics.registry.get_sample_value
    waiting = "merkwacht_review_waiting_mentions"
    with stage.app:
        assert value(waiting, {"brand": "Acme"}) == 0
        stage.say(ORDINARY[0])
        stage.pass_time()
        assert value("merkwacht_leak_verdicts_total", {"brand": "Acme", "band": "review"}) == 1
        assert value("merkwacht_leak_verdicts_total", {"brand": "Acme", "band": "escalate"}) == 0
        assert value(waiting, {"brand": "Acme"}) == 1
        assert not mails.mails
        version = stage.app.daemon.steps.assess.version
        with stage.app.store.write() as unit:
            unit.feedback.judge(Judgement(1, Verdict.LEAK, "anna", stage.clock()))
        stage.pass_time()
        assert value(waiting, {"brand": "Acme"}) == 0
        assert stage.app.daemon.steps.assess.version == version, "nothing shifts by itself"
        assert stage.ask("SELECT count(*) FROM incident") == [(0,)]


def test_every_metric_is_there_from_the_first_moment(stage: Stage) -> None:
    value = stage.app.metrics.registry.get_sample_value
    assert value("merkwacht_polls_total", {"source": "clippings", "outcome": "timeout"}) == 0
    assert value("merkwacht_signals_total", {"brand": "Acme", "kind": "leak"}) == 0
    assert value("merkwacht_deliveries_total", {"channel": "mail", "outcome": "ok"}) == 0
    stage.say(LEAK)
    stage.pass_time()
    assert value("merkwacht_mentions_stored_total", {"brand": "Acme"}) == 1
    assert value("merkwacht_signals_total", {"brand": "Acme", "kind": "leak"}) == 1
    assert value("merkwacht_deliveries_total", {"channel": "mail", "outcome": "ok"}) == 1

"""The doctor: installations that are really broken, and what it says of each."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

import classifiers
from alerts.base import DeliveryFault
from alerts.clocks import Clock, ClockState, Reading
from connectors.base import Darkness
from monitor.app import hold, open_pseudonyms
from monitor.backup import key_of
from monitor.cli import app
from monitor.commands.doctor import as_json, write
from monitor.config import Config
from monitor.database import HEAD
from monitor.findings import Finding, Grade
from monitor.health import Report, examine, look_at_model
from monitor.means import clock, forecast, kernel_keeps_time
from monitor.metrics import Metrics
from monitor.store import Store
from monitor.web import WebServer
from tests.monitor.make import add_incident, add_notification, fresh_store, new_mention, sql
from tests.monitor.old import make_old

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
AGO = NOW - timedelta(hours=3)
VALID = Path(__file__).parent / "config" / "valid.toml"
ROOT = Path(__file__).parents[2]
MODEL = Path(classifiers.__file__).parent / "model"


class Installation:
    """Configuration, database and key in a folder: healthy but for the daemon, which does not run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o700)
        self.config = folder / "config.toml"
        shutil.copy(VALID, self.config)
        self.config.chmod(0o600)
        self.store = fresh_store(folder)
        self.database = self.store.path
        self.database.chmod(0o600)
        open_pseudonyms(self.store)
        with self.store.write() as unit:
            unit.sources.ensure("news", "rss", "f", AGO)
            unit.sources.succeeded("news", NOW, NOW + timedelta(minutes=5))
            unit.mentions.add([new_mention(1, at=AGO)], AGO)
        (folder / "run" / "systemd" / "timesync").mkdir(parents=True)
        (folder / "run" / "systemd" / "timesync" / "synchronized").touch()

    def add(self, text: str) -> None:
        with self.config.open("a") as file:
            file.write(f"\n{text}\n")

    def examine(self, now: datetime = NOW) -> Report:
        return examine(self.config, now=now, running=self.folder / "run", model=known_model)


@cache
def embedded_model() -> tuple[Finding, ...]:
    return tuple(look_at_model(None))


def known_model(config: Config | None) -> Iterable[Finding]:
    """What is found of the model: the embedded one is loaded once for all tests."""
    if config is None or config.classifiers.model is None:
        return embedded_model()
    return look_at_model(config)


@pytest.fixture
def sick(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


# -- what is broken --------------------------------------------------------------------------------


def unknown_key(it: Installation) -> None:
    it.config.write_text(VALID.read_text().replace("url =", "interval_secnds = 60\nurl ="))


def no_toml(it: Installation) -> None:
    it.config.write_text("[[brands]\nname = ")


def secret_for_everybody(it: Installation) -> None:
    it.config.write_text(
        VALID.read_text().replace("from =", 'username = "m"\npassword = "hunter22"\nfrom =')
    )
    it.config.chmod(0o644)


def secret_file_for_everybody(it: Installation) -> None:
    (it.folder / "mail.secret").write_text("hunter22")
    (it.folder / "mail.secret").chmod(0o644)
    login = 'username = "m"\npassword_file = "mail.secret"\nfrom ='
    it.config.write_text(VALID.read_text().replace("from =", login))


def key_for_the_group(it: Installation) -> None:
    key_of(it.database).chmod(0o640)


def database_for_everybody(it: Installation) -> None:
    it.database.chmod(0o644)


def folder_for_everybody(it: Installation) -> None:
    it.folder.chmod(0o777)


def key_is_missing(it: Installation) -> None:
    key_of(it.database).unlink()


def key_of_another(it: Installation) -> None:
    key_of(it.database).write_text("ab" * 32 + "\n")


def source_is_dark(it: Installation) -> None:
    with it.store.write() as unit:
        unit.dusk.fall(
            "news",
            AGO,
            AGO,
            Darkness.REFUSED,
            fault="unauthorized",
            error="https://news.example.com: HTTP 401\x1b[31m",
        )


def channel_is_down(it: Installation) -> None:
    with it.store.write() as unit:
        unit.outages.failed(
            "mail", AGO, fault=DeliveryFault.UNAUTHORIZED, error="535 refused", for_good=False
        )


def letter_is_dead(it: Installation) -> None:
    add_notification(it.store, "k1", add_incident(it.store, 1), now=AGO)
    with it.store.write() as unit:
        (pending,) = unit.outbox.claim(AGO, timedelta(minutes=1))
        unit.outbox.failed(
            pending, None, fault="refused", error="550 no such user", aside=False, not_before=None
        )


def letters_wait(it: Installation) -> None:
    add_notification(it.store, "k1", add_incident(it.store, 1), now=AGO)


def clock_has_run_out(it: Installation) -> None:
    incident = add_incident(it.store, 1)
    with it.store.write() as unit:
        clock = Clock("first-answer", AGO, AGO + timedelta(hours=1))
        unit.following.start(incident.id, clock, "leak")
        (run,) = unit.following.clocks(incident.id)
        unit.following.read(run, Reading(ClockState.BREACHED, clock.due_at, (), None, ()))


def clock_of_the_machine_jumped(it: Installation) -> None:
    with it.store.write() as unit:
        ahead = NOW + timedelta(days=3)
        unit.mentions.add([new_mention(2, at=ahead)], ahead)


def time_is_not_kept(it: Installation) -> None:
    (it.folder / "run" / "systemd" / "timesync" / "synchronized").unlink()


def pages_are_damaged(it: Installation) -> None:
    with it.store.write() as unit:
        unit.mentions.add([new_mention(n, text="x" * 3000) for n in range(2, 200)], AGO)
    it.store.close()
    with it.database.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(b"\xa5" * 4096 * 30)


def it_is_no_database(it: Installation) -> None:
    it.store.close()
    it.database.write_text("hello " * 1000)


def schema_is_older(it: Installation) -> None:
    it.store.close()
    it.database.unlink()
    make_old(it.database, "0006").chmod(0o600)


def schema_is_newer(it: Installation) -> None:
    it.store.close()
    shutil.copy(it.database, it.database.with_name("merkwacht.db.before-9001"))
    sql(it.database, "UPDATE alembic_version SET version_num = '9001'")


def disk_is_full(it: Installation) -> None:
    it.store.close()
    os.truncate(it.database, shutil.disk_usage(it.folder).total)  # mostly a hole


def log_has_grown(it: Installation) -> None:
    it.store.close()
    log = it.database.with_name("merkwacht.db-wal")
    log.touch(mode=0o600)
    os.truncate(log, 600 * 1024 * 1024)


def old_copy_lies_about(it: Installation) -> None:
    copy = it.database.with_name("merkwacht.db.before-0009")
    shutil.copy(it.database, copy)
    then = (NOW - timedelta(days=60)).timestamp()
    os.utime(copy, (then, then))


PAID = """
[[sources]]
kind = "x"
name = "x"
bearer_token = "none"
interval_seconds = 900
budget = { per_month = 100 }
"""
MID_MONTH = datetime(2026, 11, 16, tzinfo=UTC)


def spend(it: Installation, amount: int) -> None:
    it.add(PAID)
    with it.store.write() as unit:
        unit.spending.add("x", date(2026, 11, 3), {"post": 1}, {"post": Decimal(amount)})


def file_of_an_early_version(it: Installation) -> None:
    it.store.close()
    with closing(sqlite3.connect(it.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("VACUUM")
        connection.execute("INSERT INTO meta VALUES ('long', zeroblob(110000000))")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA secure_delete=OFF")
        connection.execute("DELETE FROM meta WHERE key = 'long'")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def model_is_another(it: Installation) -> None:
    shutil.copytree(MODEL, it.folder / "model")
    with (it.folder / "model" / "tokenizer.json").open("a") as file:
        file.write(" ")
    it.add(f'[classifiers]\nmodel = "{it.folder}/model"')


def model_is_missing(it: Installation) -> None:
    it.add(f'[classifiers]\nmodel = "{it.folder}/nowhere"')


def state_folder_is_missing(it: Installation) -> None:
    it.add('[store]\npath = "gone/merkwacht.db"')


@pytest.mark.parametrize(
    ("breaks", "part", "what", "remedy"),
    [
        (
            unknown_key,
            "configuration",
            r"unknown key; did you mean interval_seconds",
            "merkwacht check",
        ),
        (no_toml, "configuration", r"line 1.*not valid TOML", "merkwacht check"),
        (secret_for_everybody, "permissions", r"channels\[0\]\.password.*0644", "chmod 0640"),
        (secret_file_for_everybody, "permissions", r"mail\.secret .*0644", "chmod 0640"),
        (key_for_the_group, "permissions", r"pseudonym key .*0640", "chmod 0600"),
        (database_for_everybody, "permissions", r"database .*0644", "chmod 0600"),
        (folder_for_everybody, "permissions", r"state folder .*0777", "chmod 0700"),
        (key_is_missing, "key", r"key is missing", "from the backup"),
        (key_of_another, "key", r"another pseudonym key", "from the backup"),
        (source_is_dark, "sources", r"news: not heard since .*refused.*401", "renew its cred"),
        (channel_is_down, "channels", r"mail: delivers nothing.*535", "renew its password"),
        (letter_is_dead, "channels", r"1 notification given up.*crisis: 550", "incidents show 1"),
        (letters_wait, "channels", r"1 notification not delivered yet", "mend the channel"),
        (clock_has_run_out, "clocks", r"first-answer: run out in 1 .*\(1\)", "incidents show 1"),
        (clock_of_the_machine_jumped, "time", r"newest mention .* ran ahead", "timedatectl"),
        (time_is_not_kept, "time", r"has not set the clock", "timesync-status"),
        (pages_are_damaged, "database", r"damaged|not a readable", "merkwacht restore"),
        (it_is_no_database, "database", r"not a readable", "merkwacht restore"),
        (schema_is_older, "database", rf"at schema 0006.*{HEAD}", "keeps a copy"),
        (schema_is_newer, "database", r"schema 9001", r"merkwacht restore .*before-9001"),
        (disk_is_full, "disk", r"should be", "make room"),
        (log_has_grown, "database", r"-wal: 629 MB", "fuser"),
        (old_copy_lies_about, "database", r"before-0009: kept before", "rm "),
        (file_of_an_early_version, "database", r"early version: .*110 MB of", "merkwacht vacuum"),
        (model_is_another, "model", r"tokenizer\.json is not the file", "install Merkwacht again"),
        (model_is_missing, "model", r"nowhere", "classifiers.model"),
        (state_folder_is_missing, "permissions", r"gone: no such folder", "install -d"),
    ],
)
def test_each_fault_is_named_with_its_remedy(
    sick: Installation,
    breaks: Callable[[Installation], None],
    part: str,
    what: str,
    remedy: str,
) -> None:
    breaks(sick)
    report = sick.examine()
    found = [each for each in report.wrong if each.part == part]
    assert len(found) == 1, report.wrong
    assert re.search(what, found[0].what), found[0].what
    assert re.search(remedy, found[0].remedy), found[0].remedy
    others = {each.part for each in report.wrong} - {part}
    assert others == {"daemon"}, "nothing else is blamed"
    assert all(each.remedy for each in report.wrong)
    told = json.dumps(as_json(report))
    assert "hunter22" not in told, "a secret is not repeated"
    assert "\\u001b" not in told, "nor what steers a terminal"
    assert report.valid is (part != "configuration")


def test_an_installation_whose_daemon_runs_is_well(sick: Installation) -> None:
    server = WebServer(("127.0.0.1", 0), registry=CollectorRegistry(), health=dict)
    sick.add(f"[http]\nport = {server.port}")
    with hold(sick.database):
        report = sick.examine()
    server.close()
    assert report.wrong == ()
    assert any("every step has come to an end" in each.what for each in report.findings)
    assert {each.part for each in report.findings} >= {
        "versions",
        "configuration",
        "sources",
        "channels",
        "clocks",
        "database",
        "disk",
        "model",
        "time",
        "key",
        "daemon",
    }


def test_a_daemon_that_was_not_restarted_after_an_upgrade_is_found(sick: Installation) -> None:
    registry = CollectorRegistry()
    Metrics(registry).build.info({"version": "0.0.9", "model": "m"})
    server = WebServer(("127.0.0.1", 0), registry=registry, health=dict)
    sick.add(f"[http]\nport = {server.port}")
    with hold(sick.database):
        (found,) = sick.examine().wrong
    server.close()
    assert found.part == "versions"
    assert "what runs is 0.0.9" in found.what
    assert "restart" in found.remedy


def test_a_daemon_that_hangs_or_does_not_answer_is_found(sick: Installation) -> None:
    server = WebServer(
        ("127.0.0.1", 0), registry=CollectorRegistry(), health=lambda: {"poll": 312.4}
    )
    sick.add(f"[http]\nport = {server.port}")
    with hold(sick.database):
        (hangs,) = sick.examine().wrong
        server.close()
        (mute,) = sick.examine().wrong
    assert "poll 312 s" in hangs.what
    assert "does not answer" in mute.what
    assert "systemctl restart" in hangs.remedy
    assert "systemctl restart" in mute.remedy


@pytest.mark.parametrize(
    ("spent", "grade", "what", "remedy"),
    [
        (20, Grade.GOOD, "20.00 USD of 100.00 USD a month spent, 80.00 USD left until 2026-12", ""),
        (85, Grade.WRONG, "15.00 USD left until .*: not enough at the present pace", "before it"),
        (100, Grade.WRONG, "counted and not read until 2026-12-01", "raise the budget of x"),
    ],
)
def test_what_a_source_has_spent_is_told_and_warned_of(
    sick: Installation, spent: int, grade: Grade, what: str, remedy: str
) -> None:
    spend(sick, spent)
    (found,) = (each for each in sick.examine(MID_MONTH).findings if each.part == "budget")
    assert found.grade is grade
    assert re.search(what, found.what), found.what
    assert remedy in found.remedy


def test_a_budget_nearly_spent_at_the_end_of_its_month_is_no_finding(sick: Installation) -> None:
    spend(sick, 85)
    report = sick.examine(datetime(2026, 11, 30, tzinfo=UTC))
    (found,) = (each for each in report.findings if each.part == "budget")
    assert found.grade is Grade.NOTE
    assert "enough at the present pace" in found.what


def test_a_source_that_nothing_limits_is_noted(sick: Installation) -> None:
    sick.add(PAID.replace("budget = { per_month = 100 }", ""))
    (found,) = (each for each in sick.examine().findings if each.part == "budget")
    assert found.grade is Grade.NOTE
    assert "nothing limits it" in found.what


GB = 1000**3


@pytest.mark.parametrize(
    ("lately", "age", "free", "full_in"),
    [
        (70_000, 50, 100 * GB, None),  # 10 MB a day for 315 days
        (70_000, 50, 2 * GB, 173),
        (70_000, 400, 1 * GB, None),  # retention deletes as much
        (0, 50, 1 * GB, None),
        (70_000, 50, 0, 0),
    ],
)
def test_a_disk_that_will_not_last_until_retention_is_foreseen(
    lately: int, age: int, free: int, full_in: int | None
) -> None:
    known = forecast(
        stored=500_000,
        oldest=NOW - age * DAY,
        lately=lately,
        used=500_000_000,
        free=free,
        keep=365 * DAY,
        now=NOW,
    )
    assert known.full_in == (None if full_in is None else pytest.approx(full_in, abs=1))


def test_how_the_database_grows_is_told(sick: Installation) -> None:
    # Of the one mention that is stored, as if it were a day's.
    sql(
        sick.database,
        "INSERT INTO bucket_count (brand, bucket, source, sentiment, count) VALUES (?, ?, ?, ?, 1)",
        "Acme",
        AGO.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "news",
        "neutral",
    )
    told = [each.what for each in sick.examine().findings if each.part == "disk"]
    assert any("until retention deletes as much" in each for each in told), told


@pytest.mark.parametrize(
    ("kept", "grade", "what"),
    [
        (True, Grade.GOOD, "says the kernel"),
        (False, Grade.NOTE, "nobody keeps the clock"),
        (None, Grade.NOTE, "unknown who"),
    ],
)
def test_without_systemd_s_time_service_the_kernel_is_asked(
    tmp_path: Path, kept: bool | None, grade: Grade, what: str
) -> None:
    (found,) = clock(tmp_path, kept=kept)
    assert found.grade is grade
    assert what in found.what


def test_the_kernel_answers_or_is_not_asked() -> None:
    assert kernel_keeps_time() in (True, False, None)


def test_dead_letters_of_long_ago_are_history(sick: Installation) -> None:
    letter_is_dead(sick)
    sql(sick.database, "UPDATE notification SET created_at = '2026-01-01 08:00:00.000000'")
    assert [each.part for each in sick.examine().wrong] == ["daemon"]


def test_several_faults_hide_each_other_not(sick: Installation) -> None:
    for breaks in (source_is_dark, channel_is_down, key_for_the_group, time_is_not_kept):
        breaks(sick)
    parts = [each.part for each in sick.examine().wrong]
    assert sorted(parts) == ["channels", "daemon", "permissions", "sources", "time"]


# -- as a command ----------------------------------------------------------------------------------


def run(*words: object) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, ["doctor", *map(str, words)])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    return outcome.exit_code, outcome.stdout


def test_before_the_first_start_it_says_that_there_is_no_database_and_makes_none(
    tmp_path: Path,
) -> None:
    shutil.copy(VALID, tmp_path / "config.toml")
    status, page = run("--config", tmp_path / "config.toml")
    assert status == 1
    assert "not there yet" in page
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


def test_with_a_broken_configuration_the_rest_is_looked_at_all_the_same(
    sick: Installation,
) -> None:
    key_for_the_group(sick)
    unknown_key(sick)
    status, page = run("--config", sick.config, "--format", "json")
    told = json.loads(page)
    assert status == 2
    assert not told["configuration_valid"]
    assert told["database"] == str(sick.database)
    wrong = [each["part"] for each in told["findings"] if each["grade"] == "wrong"]
    assert wrong[:2] == ["configuration", "permissions"]
    assert any(each["part"] == "model" for each in told["findings"])


def test_without_any_configuration_it_says_how_to_make_one(tmp_path: Path) -> None:
    status, page = run("--config", tmp_path / "none.toml")
    assert status == 2
    assert "merkwacht init" in page


def test_the_page_fits_a_terminal(sick: Installation, tmp_path: Path) -> None:
    long = Finding("database", Grade.WRONG, "word " * 60, "do " * 60)
    report = Report((long, *sick.examine().findings), True, sick.config, sick.database, "UTC", NOW)
    with (tmp_path / "page.txt").open("w+") as sink:
        write(report, sink, width=80)
        sink.seek(0)
        page = sink.read()
    # A path is not broken: somebody will copy it.
    assert [line for line in page.splitlines() if len(line) > 80 and "/" not in line] == []
    assert page.index("WRONG") < page.index("\nok "), "what is wrong comes first"


AS_SOMEBODY_ELSE = """
import json, os, sys
from datetime import UTC, datetime
from pathlib import Path
from monitor.commands.doctor import as_json
from monitor.health import examine

def look():
    return examine(Path(sys.argv[1]), now=datetime.now(UTC), model=lambda _: ())

look()  # whatever is imported late is imported now
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
print(json.dumps(as_json(look())))
"""


@pytest.mark.parametrize(
    ("shut", "part", "named"),
    [
        ("config.toml", "configuration", "config.toml"),
        ("state", "permissions", "state"),
        ("state/merkwacht.db", "permissions", "merkwacht.db"),
    ],
)
def test_whoever_may_not_look_is_told_as_whom_to_ask(shut: str, part: str, named: str) -> None:
    # Not below pytest's own folder, which is for nobody else either.
    with TemporaryDirectory(prefix="merkwacht-doctor-") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        it = Installation(folder / "state")
        it.store.close()
        config = folder / "config.toml"
        config.write_text(VALID.read_text() + '[store]\npath = "state/merkwacht.db"\n')
        for each in (folder, folder / "state"):
            each.chmod(0o755)
        it.database.chmod(0o640)
        (folder / shut).chmod(0)
        command = [sys.executable, "-c", AS_SOMEBODY_ELSE, str(config)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
        (folder / "state").chmod(0o700)
    assert done.returncode == 0, done.stderr
    wrong = [each for each in json.loads(done.stdout)["findings"] if each["grade"] == "wrong"]
    assert [each["part"] for each in wrong] == [part], "what cannot be seen is not blamed"
    assert f"{named}: may not be looked at by " in wrong[0]["what"]
    assert "sudo -u " in wrong[0]["remedy"]


def test_it_changes_nothing(sick: Installation) -> None:
    source_is_dark(sick)
    sick.store.close()
    with closing(sqlite3.connect(sick.database)) as connection:
        before = list(connection.iterdump())
    sick.examine()
    with closing(sqlite3.connect(sick.database)) as connection:
        assert list(connection.iterdump()) == before
    with closing(Store(sick.database)) as store, store.read() as unit:
        assert unit.dusk.lasting()["news"].polls == 1

"""Backups: whole while somebody writes, never over something else, and back again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.app import hold, open_pseudonyms
from monitor.backup import back_up, key_of, restore
from monitor.cli import app
from monitor.database import HEAD, StoreError
from monitor.store import Store
from tests.monitor.make import NOON, add_incident, fresh_store, new_mention, sql
from tests.monitor.old import make_old

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
VALID = Path(__file__).parent / "config" / "valid.toml"


def filled(folder: Path, mentions: int = 5, *, text: str = "Brood bij Zonnehoek.") -> Path:
    """A database with a key, mentions and an incident."""
    folder.mkdir(exist_ok=True)
    store = fresh_store(folder)
    open_pseudonyms(store)
    with store.write() as unit:
        numbers = range(1, mentions + 1)
        unit.mentions.add([new_mention(number, text=text) for number in numbers], NOON)
    add_incident(store, 1, 2)
    store.close()
    return store.path


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    tables = [name for (name,) in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    every = "SELECT * FROM {}"
    return {name: sorted(sql(path, every.format(name)), key=repr) for name in tables}


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_backup_made_while_mentions_come_in_is_one_moment_and_comes_back_row_by_row(
    tmp_path: Path,
) -> None:
    path = filled(tmp_path / "state", 2000, text="Zonnehoek " * 400)
    store = Store(path)
    stop, written = threading.Event(), threading.Semaphore(0)
    committed: list[int] = []

    def ingest() -> None:
        first = 10_000
        while not stop.is_set():
            with store.write() as unit:
                # Ten at a time: a copy with a part of a batch would be no moment of this database.
                unit.mentions.add([new_mention(first + n, text="x" * 900) for n in range(10)], NOON)
            committed.append(first)
            first += 10
            written.release()

    during: list[int] = []

    def told(_: float) -> None:
        written.acquire(timeout=10)  # somebody commits between any two parts of the copy
        during.append(len(committed))

    writer = threading.Thread(target=ingest)
    writer.start()
    written.acquire(timeout=10)
    try:
        made = back_up(path, tmp_path / "copy.db", told=told)
    finally:
        stop.set()
        writer.join()
    assert during[-1] - during[0] > 5, "it was written to all the while"
    (count,) = sql(made.path, "SELECT count(*) FROM mention")[0]
    assert (count - 2000) % 10 == 0
    assert 2000 < count <= 2000 + 10 * len(committed)
    newest = f"p{10_000 + count - 2000 - 1}"
    assert sql(made.path, "SELECT post_id FROM mention ORDER BY id DESC LIMIT 1") == [(newest,)]
    saved = rows(made.path)
    live = rows(path)
    assert set(saved["mention"]) < set(live["mention"])
    assert saved["incident_event"] == live["incident_event"]
    store.close()

    done = restore(made.path, path, now=NOW)
    assert done.aside is not None
    assert rows(path) == saved
    assert rows(done.aside) == live, "what was replaced is whole"
    assert done.key is None, "the one in place is the same"
    with closing(Store(path)) as again:
        open_pseudonyms(again)
        with again.write() as unit:
            assert unit.mentions.add([new_mention(1)], NOON).new.total() == 0


def test_copy_and_key_are_private_and_the_copy_is_one_file(tmp_path: Path) -> None:
    path = filled(tmp_path / "state")
    (tmp_path / "to").mkdir()
    made = back_up(path, tmp_path / "to" / "b.db")
    assert names(tmp_path / "to") == {"b.db", "b.db.key"}
    assert {mode(made.path), mode(key_of(made.path))} == {0o600}
    assert key_of(made.path).read_text() == key_of(path).read_text()
    assert sql(made.path, "PRAGMA journal_mode") == [("delete",)]


def test_without_the_key_none_is_copied_and_another_way_to_it_is_asked_for(tmp_path: Path) -> None:
    path = filled(tmp_path / "state")
    made = back_up(path, tmp_path / "b.db", with_key=False)
    assert made.key is None
    assert not key_of(made.path).exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(StoreError, match=r"pseudonym key .* --key FILE"):
        restore(made.path, elsewhere / "merkwacht.db", now=NOW)
    assert names(elsewhere) == set()
    done = restore(made.path, elsewhere / "merkwacht.db", now=NOW, key=key_of(path))
    assert (done.aside, done.key) == (None, elsewhere / "merkwacht.db.key")
    with closing(Store(elsewhere / "merkwacht.db")) as store:
        open_pseudonyms(store)


@pytest.mark.parametrize("taken", ["b.db", "b.db.key"])
def test_nothing_is_overwritten(tmp_path: Path, taken: str) -> None:
    path = filled(tmp_path / "state")
    (tmp_path / taken).write_text("precious")
    with pytest.raises(StoreError, match=f"{taken}: exists already"):
        back_up(path, tmp_path / "b.db")
    assert (tmp_path / taken).read_text() == "precious"
    assert names(tmp_path) == {"state", taken}


def damage(path: Path) -> None:
    """Overwrite what lies behind the first pages, as a bad disk does."""
    sql(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xa5" * 4096 * 20)


def test_a_damaged_database_gives_no_backup_and_a_damaged_backup_replaces_nothing(
    tmp_path: Path,
) -> None:
    path = filled(tmp_path / "state", 200)
    made = back_up(path, tmp_path / "b.db")
    damage(made.path)
    before = rows(path)
    with pytest.raises(StoreError, match=r"b\.db: (damaged|not a readable)"):
        restore(made.path, path, now=NOW)
    assert rows(path) == before
    assert names(path.parent) == {"merkwacht.db", "merkwacht.db.key"}
    damage(path)
    with pytest.raises(StoreError, match=r"merkwacht\.db: (damaged|not a readable)"):
        back_up(path, tmp_path / "c.db")
    assert names(tmp_path) == {"state", "b.db", "b.db.key"}


def test_what_is_damaged_is_replaced_all_the_same_and_kept(tmp_path: Path) -> None:
    path = filled(tmp_path / "state", 200)
    made, before = back_up(path, tmp_path / "b.db"), rows(path)
    damage(path)
    broken = path.read_bytes()
    done = restore(made.path, path, now=NOW)
    assert rows(path) == before
    assert done.aside is not None
    assert done.aside.read_bytes() == broken


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    path = filled(tmp_path / "state")
    os.truncate(path, shutil.disk_usage(tmp_path).total + (1 << 30))  # mostly a hole
    with pytest.raises(StoreError, match=r"are needed and .* are free; make room"):
        back_up(path, tmp_path / "b.db")
    assert names(tmp_path) == {"state"}


@pytest.mark.parametrize("schema", ["0001", "0004", "0008"])
def test_an_older_backup_is_upgraded_on_its_way_back(tmp_path: Path, schema: str) -> None:
    path = filled(tmp_path / "state")
    old = make_old(tmp_path / "old.db", schema)
    done = restore(old, path, now=NOW)
    assert done.schema == schema
    assert sql(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert sql(path, "SELECT post_id FROM mention ORDER BY id") == [("p1",), ("p2",)]
    assert sql(old, "SELECT version_num FROM alembic_version") == [(schema,)], "it stays as it was"
    assert not any("before" in name for name in names(path.parent))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.write_text("hello " * 500), "not a readable SQLite database"),
        (lambda path: sql(path, "CREATE TABLE t (x)"), "not one of Merkwacht's"),
        (
            lambda path: sql(make_old(path, HEAD), "UPDATE alembic_version SET version_num='9001'"),
            "written by a newer Merkwacht .schema 9001",
        ),
    ],
)
def test_what_is_no_backup_of_ours_replaces_nothing(
    tmp_path: Path, make: object, words: str
) -> None:
    path = filled(tmp_path / "state")
    before = path.read_bytes()
    make(tmp_path / "b.db")  # type: ignore[operator] # a function of the table above
    with pytest.raises(StoreError, match=words):
        restore(tmp_path / "b.db", path, now=NOW)
    assert path.read_bytes() == before
    assert names(path.parent) == {"merkwacht.db", "merkwacht.db.key"}


def test_a_key_of_another_installation_is_refused(tmp_path: Path) -> None:
    path, other = filled(tmp_path / "state"), filled(tmp_path / "other")
    made = back_up(other, tmp_path / "b.db")
    shutil.copy(key_of(path), key_of(made.path))
    with pytest.raises(StoreError, match="pseudonym key that belongs to it"):
        restore(made.path, path, now=NOW)
    done = restore(made.path, path, now=NOW, key=key_of(other))
    assert done.aside is not None
    assert key_of(path).read_text() == key_of(other).read_text()
    assert key_of(done.aside).exists(), "database and key stay together"
    assert restore(done.aside, path, now=NOW.replace(hour=13)).key == key_of(path), "and back again"
    key_of(path).write_text("no key at all")
    again = restore(made.path, path, now=NOW.replace(hour=14), key=key_of(other))
    assert again.key == key_of(path)
    assert key_of(path).read_text() == key_of(other).read_text()


# -- as commands -----------------------------------------------------------------------------------


def install(folder: Path) -> tuple[Path, Path]:
    """An installation: its configuration and its database."""
    config = folder / "config.toml"
    shutil.copy(VALID, config)
    return config, filled(folder)


def run(*words: object) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, [str(word) for word in words])
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
    return outcome.exit_code, outcome.stderr


def test_commands_say_what_they_did_and_the_key_is_named(tmp_path: Path) -> None:
    config, path = install(tmp_path)
    status, said = run("backup", tmp_path / "b.db", "--config", config)
    assert status == 0, said
    assert "b.db.key: the pseudonym key, for your eyes only (mode 0600)" in said
    sql(path, "DELETE FROM reject")
    status, said = run("restore", tmp_path / "b.db", "--config", config)
    assert status == 0, said
    assert ".replaced-" in said
    status, said = run("backup", tmp_path / "c.db", "--without-key", "--config", config)
    assert status == 0
    assert "Without the pseudonym key" in said
    key_of(path).unlink()
    status, said = run("backup", tmp_path / "d.db", "--config", config)
    assert status == 1, "a backup that nobody could use is no success"
    assert "pseudonym key is missing" in said
    assert sqlite3.connect(tmp_path / "d.db").execute("SELECT 1").fetchone() == (1,)


def test_nothing_is_restored_under_a_running_daemon(tmp_path: Path) -> None:
    config, path = install(tmp_path)
    made = back_up(path, tmp_path / "b.db")
    before = names(tmp_path) | {"merkwacht.db.lock"}
    with hold(path):
        status, said = run("restore", made.path, "--config", config)
    assert status == 1
    assert "in use by another Merkwacht" in said
    assert names(tmp_path) == before


def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "merkwacht.db.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match=r"merkwacht\.db\.lock: .*links"):
        hold(tmp_path / "merkwacht.db")
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_what_root_restores_on_a_new_machine_belongs_to_whom_the_folder_belongs(
    tmp_path: Path,
) -> None:
    made = back_up(filled(tmp_path / "lost"), tmp_path / "b.db")
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(VALID, state / "config.toml")
    for each in (state, state / "config.toml"):
        os.chown(each, 4711, 4712)
    status, said = run("restore", made.path, "--config", state / "config.toml")
    assert status == 0, said
    assert names(state) > {"merkwacht.db", "merkwacht.db.key", "merkwacht.db.lock"}
    assert {(each.stat().st_uid, each.stat().st_gid) for each in state.iterdir()} == {(4711, 4712)}

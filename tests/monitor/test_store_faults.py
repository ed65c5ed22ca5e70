"""A database that cannot be used: a clear message, nothing half-written, nothing lost."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from monitor.app import open_pseudonyms
from monitor.database import HEAD
from monitor.store import Store, StoreBusyError, StoreError
from tests.monitor.make import NOON, fresh_store, limit_pages, new_mention, sql


def fingerprint(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


def not_a_database(path: Path) -> None:
    path.write_text("These are my notes. " * 100, encoding="utf-8")


def damaged_inside(path: Path) -> None:
    fresh_store(path.parent).close()
    (path.parent / "merkwacht.db").rename(path)
    content = bytearray(path.read_bytes())
    content[100:4096] = os.urandom(3996)
    path.write_bytes(content)


def of_another_program(path: Path) -> None:
    sql(path, "CREATE TABLE recipes (name)")


def of_another_program_with_alembic(path: Path) -> None:
    sql(path, "CREATE TABLE alembic_version (version_num)")
    sql(path, "INSERT INTO alembic_version VALUES ('0001')")


def with_a_revision_of_another_program(path: Path) -> None:
    sql(path, "CREATE TABLE meta (key)")
    sql(path, "CREATE TABLE alembic_version (version_num)")
    sql(path, "INSERT INTO alembic_version VALUES ('0000aa3b')")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (not_a_database, "not a readable SQLite database"),
        (damaged_inside, "not a readable SQLite database"),
        (of_another_program, "not one of Merkwacht's"),
        (of_another_program_with_alembic, "not one of Merkwacht's"),
        (with_a_revision_of_another_program, "not one of Merkwacht's"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "other.db"
    make(path)
    before = fingerprint(path)
    with pytest.raises(StoreError, match=words) as caught:
        Store(path)
    assert not isinstance(caught.value, StoreBusyError)
    assert str(path) in str(caught.value)
    assert fingerprint(path) == before


def test_the_database_of_a_newer_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    fresh_store(tmp_path).close()
    path = tmp_path / "merkwacht.db"
    sql(path, "UPDATE alembic_version SET version_num = '9001'")
    before = fingerprint(path)
    with pytest.raises(StoreError, match=f"newer Merkwacht .schema 9001, .* knows {HEAD}"):
        Store(path)
    assert fingerprint(path) == before


def test_places_where_no_database_can_be_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, words in [
        (tmp_path, "is a folder"),
        (tmp_path / "missing" / "merkwacht.db", "no such folder"),
        (tmp_path / "file" / "merkwacht.db", "no such folder"),
        (tmp_path / ("x" * 300), "cannot be reached"),
    ]:
        with pytest.raises(StoreError, match=words):
            Store(path)


@pytest.mark.parametrize("name", ["50% off?.db", "a#b.db", "with space & ünïcode.db", "%41.db"])
def test_a_path_may_hold_any_character(tmp_path: Path, name: str) -> None:
    path = tmp_path / "odd ?#%20 folder" / name
    path.parent.mkdir()
    store = Store(path)
    with store.write() as unit:
        unit.remember("fact", "kept")
    with closing(Store(path)) as again, again.read() as unit:
        assert unit.fact("fact") == "kept"
    store.close()
    assert [each.name for each in path.parent.iterdir()] == [name]
    assert list(tmp_path.iterdir()) == [path.parent]


def test_a_reader_does_not_create_or_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "merkwacht.db"
    with pytest.raises(StoreError, match="start the daemon once"):
        Store(path, migrate=False)
    assert not path.exists()


HOLD_LOCK = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_program(path: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-I", "-c", HOLD_LOCK, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield
        process.communicate()


def test_a_locked_database_is_busy_loses_nothing_and_works_again(tmp_path: Path) -> None:
    store = fresh_store(tmp_path, busy_seconds=0.05)
    with store.write() as unit:
        unit.mentions.add([new_mention(1)], NOON)
    with locked_by_another_program(store.path):
        with pytest.raises(StoreBusyError, match="locked by another program"), store.write():
            pytest.fail("the lock was not respected")
        with store.read() as unit:
            assert unit.mentions.total() == 1, "readers go on beside a writer"
    with store.write() as unit:
        assert unit.mentions.add([new_mention(1), new_mention(2)], NOON).new.total() == 1
    store.close()


def test_a_database_locked_at_the_start_is_busy_too(tmp_path: Path) -> None:
    fresh_store(tmp_path).close()
    path = tmp_path / "merkwacht.db"
    sql(path, "PRAGMA journal_mode = DELETE")
    with (
        locked_by_another_program(path),
        pytest.raises(StoreBusyError, match="locked by another program"),
    ):
        Store(path, busy_seconds=0.05)
    Store(path).close()


def fill(store: Store, first: int) -> None:
    with store.write() as unit:
        unit.mentions.add(
            [new_mention(n, text="Zonnehoek " * 200) for n in range(first, first + 20)], NOON
        )
        unit.sources.advance("feed", {"page": first})


def fill_until_busy(store: Store) -> tuple[int, str]:
    """How many pages went in, and why no more did."""
    for number in range(1000):
        try:
            fill(store, 20 * number)
        except StoreBusyError as error:
            return number, str(error)
    pytest.fail("there was room for everything")


def test_a_full_disk_is_busy_writes_nothing_half_and_works_after_room_is_made(
    tmp_path: Path,
) -> None:
    store = fresh_store(tmp_path)
    with store.write() as unit:
        unit.sources.ensure("feed", "rss", "print", NOON)
    used = sql(store.path, "PRAGMA page_count")[0][0]
    limit_pages(store, used + 15)
    good, said = fill_until_busy(store)
    assert "disk is full" in said
    assert "make room" in said
    with store.read() as unit:
        assert unit.mentions.total() == 20 * good
        cursor = unit.sources.state("feed").cursor
    assert cursor == ({"page": 20 * (good - 1)} if good else None)
    assert sql(store.path, "PRAGMA integrity_check") == [("ok",)]

    limit_pages(store, 100_000)
    fill(store, 20 * good)
    with store.read() as unit:
        assert unit.mentions.total() == 20 * good + 20
    store.close()


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """What a failing disk looks like: the system takes no more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_takes_no_more_bytes_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    store = fresh_store(tmp_path)
    with store.write() as unit:
        unit.sources.ensure("feed", "rss", "print", NOON)
    with no_file_beyond(store.path.stat().st_size + 400_000):
        done, said = fill_until_busy(store)
    assert "full or failing" in said
    store.close()
    with closing(Store(store.path)) as again:
        with again.read() as unit:
            assert unit.mentions.total() == 20 * done > 0
            assert unit.sources.state("feed").cursor == {"page": 20 * (done - 1)}
        fill(again, 20 * done)
    assert sql(store.path, "PRAGMA integrity_check") == [("ok",)]


def test_all_files_are_ours_alone_to_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = Store(tmp_path / "merkwacht.db")
        open_pseudonyms(store)
        with store.write() as unit:
            unit.mentions.add([new_mention(1)], NOON)
        modes = {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    names = ("merkwacht.db", "merkwacht.db-wal", "merkwacht.db-shm", "merkwacht.db.key")
    assert modes == dict.fromkeys(names, "0o600")

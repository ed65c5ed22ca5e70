"""The SQLite file itself: opening, pragmas, migrations, and what its failures mean.

Knows no table by name. Reading and writing rows is ``monitor.store``'s work.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlmodel import Session

from monitor import copying

HEAD = "0016"
"""The newest migration: what this program reads and writes. A test compares it with the scripts."""

BUSY_TIMEOUT_SECONDS = 5.0

COPIES_KEPT = 2
"""Copies of former schemas that stay beside the database."""

SLICE_SECONDS = 0.05
"""Empty pages are given back to the disk for so long in one transaction: others wait no longer."""

LOG_LIMIT = 16 * 1024 * 1024
"""Bytes that the write-ahead log keeps once all of it is in the database."""

_SPARE_SHARE = 20
"""One page in so many stays empty, for what comes in next: growing anew costs more than keeping."""
_SPARE_LEAST = 256


class StoreError(Exception):
    """The database cannot be used as it is; a person must act. The message says how."""


class StoreBusyError(StoreError):
    """Locked by another program, or the disk is full: the same step may succeed later."""


def open_engine(
    path: Path,
    *,
    migrate: bool = True,
    busy_seconds: float = BUSY_TIMEOUT_SECONDS,
    keep_copy: bool = True,
) -> Engine:
    """Open (and with ``migrate``: create or upgrade) the database at ``path``.

    Before it is upgraded it is copied to ``NAME.before-SCHEMA`` beside it; the last two are kept.

    Args:
        path: of the file; made if it does not exist and ``migrate`` is set.
        migrate: whether to create or upgrade it; without, another schema than ours is refused.
        busy_seconds: how long a transaction waits for a lock of another program.
        keep_copy: whether it is copied before an upgrade.

    Raises:
        StoreError: not a database, not readable or writable, written by a newer program, or to
            be upgraded without room for a copy; the file is left untouched.
        StoreBusyError: locked or disk full.
    """
    try:
        if path.is_dir():
            raise StoreError(f"{path}: is a folder; store.path must name a file")
        if not path.parent.is_dir():
            raise StoreError(f"{path.parent}: no such folder; create it or change store.path")
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be reached ({error.strerror}); check store.path"
        ) from None
    with explained(path):
        found = schema_of(path, busy_seconds)
    if found is not None and found > HEAD:
        raise StoreError(newer(path, found))
    if found != HEAD and not migrate:
        state = "empty or missing" if found is None else f"at schema {found}"
        raise StoreError(f"{path}: {state}; start the daemon once to create or upgrade it")
    if found is None:
        # Before SQLite makes it (and its -wal and -shm after its example): only ours to read.
        with explained(path):
            _create_private(path)
    if found not in (None, HEAD) and keep_copy:
        _keep_copy(path, busy_seconds)
    engine = sqlalchemy.create_engine(
        # Not as text: a path may hold any character.
        sqlalchemy.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_seconds},
    )
    _install_pragmas(engine)
    try:
        with explained(path):
            if found != HEAD:
                _upgrade(engine)
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def transaction(engine: Engine, path: Path, *, write: bool) -> Iterator[Session]:
    """One transaction; commits at the end of the block, rolls back on any exception.

    Writers take the lock at once (``BEGIN IMMEDIATE``), so that two of them queue instead of
    failing half-way.
    """
    options = {"merkwacht_begin": "BEGIN IMMEDIATE" if write else "BEGIN"}
    with (
        explained(path),
        engine.connect().execution_options(**options) as connection,
        Session(connection, expire_on_commit=False) as session,
    ):
        if write:
            session.connection()  # begins, and waits for the lock, before the caller does anything
        yield session
        session.commit()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours: what is wrong, where, what to do."""
    try:
        yield
    except (sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError) as error:
        original = error.orig if isinstance(error, sqlalchemy.exc.DatabaseError) else error
        code = getattr(original, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if isinstance(original, copying.DamagedError):
            raise StoreError(
                f"{path}: damaged ({original}); it was left as it is: restore a backup"
            ) from error
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusyError(
                f"{path}: locked by another program for too long; "
                "nothing was written, the step is tried again"
            ) from error
        if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StoreBusyError(
                f"{path}: the disk is full or failing ({original}); nothing was written and "
                "nothing is lost, the step is tried again: make room"
            ) from error
        if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise StoreError(
                f"{path}: not a readable SQLite database ({original}); it was left as it is: "
                "restore a backup, or move it away to start anew"
            ) from error
        if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
            raise StoreError(
                f"{path}: cannot be opened for writing ({original}); "
                "check owner and mode of the file and its folder"
            ) from error
        raise


def schema_of(path: Path, busy_seconds: float = BUSY_TIMEOUT_SECONDS) -> str | None:
    """The schema of an existing file, as "0011", read without changing it; None for a new one.

    Raises:
        StoreError: a database of another program.
        sqlite3.Error: not a database, or it cannot be read: see :func:`explained`.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(copying.connect(path, busy_seconds)) as connection:
        tables = {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        }
        if not tables:
            return None
        row = None
        if {"alembic_version", "meta"} <= tables:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        # Other programs use Alembic, too; our revisions are numbers of four digits.
        if row is None or not re.fullmatch("[0-9]{4}", str(row[0])):
            raise StoreError(
                f"{path}: a database, but not one of Merkwacht's; it was left as it is: "
                "change store.path"
            )
        return str(row[0])


def newer(path: Path, found: str) -> str:
    """What to say of a database with a schema that we do not know, with the way back."""
    kept = way_back(path)
    how = (
        f"go back to what was kept before the upgrade: merkwacht restore {kept}"
        if kept is not None
        else "restore a backup from before the upgrade"
    )
    return (
        f"{path}: written by a newer Merkwacht (schema {found}, this program knows {HEAD}); "
        f"install that version again, or {how}"
    )


def way_back(path: Path) -> Path | None:
    """The newest copy from before an upgrade that this program can read."""
    for copy in former(path):
        try:
            with explained(copy):
                schema = schema_of(copy)
        except StoreError:
            continue
        if schema is not None and schema <= HEAD:
            return copy
    return None


def former(path: Path) -> list[Path]:
    """The copies from before upgrades beside a database, those of the newest upgrade first."""
    name = re.compile(rf"{re.escape(path.name)}\.before-[0-9]{{4}}")
    try:
        found = [each for each in path.parent.iterdir() if name.fullmatch(each.name)]
    except OSError:
        return []
    return sorted(found, key=lambda each: each.name, reverse=True)


# -- room ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a database file is in use."""

    pages: int
    free: int
    """Pages that hold nothing."""
    page_bytes: int
    shrinks: bool
    """Whether empty pages can be given back bit by bit; databases of earlier versions cannot."""

    @property
    def surplus(self) -> int:
        """Empty pages beyond those that are kept for what comes in next."""
        return max(self.free - max(self.pages // _SPARE_SHARE, _SPARE_LEAST), 0)


def room_of(connection: sqlite3.Connection) -> Room:
    """How much of the file is in use, as the connection sees it. Raises sqlite3.Error."""

    def number(pragma: str) -> int:
        return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    return Room(
        pages=number("page_count"),
        free=number("freelist_count"),
        page_bytes=number("page_size"),
        shrinks=number("auto_vacuum") != 0,
    )


def give_back(
    engine: Engine,
    path: Path,
    *,
    seconds: float = SLICE_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Give empty pages at the end of the file back to the disk, in one short transaction.

    Pages that are in use move to the front as needed. The write-ahead log is cut as well where
    nobody reads from it. Returns how many pages were given back; 0: there is nothing more to do.

    Raises:
        StoreBusyError: another program wrote for too long.
    """
    until = monotonic() + seconds
    with explained(path), engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        room = room_of(driver)
        given = 0
        if room.shrinks and room.surplus:
            driver.execute("BEGIN IMMEDIATE")
            try:
                while given < room.surplus and monotonic() < until:
                    # One by one: the driver would not go on after the first anyway.
                    driver.execute("PRAGMA incremental_vacuum(1)")
                    given += 1
                driver.execute("COMMIT")
            except BaseException:
                driver.execute("ROLLBACK")
                raise
        _cut_log(driver, path)
    return given


def _cut_log(driver: sqlite3.Connection, path: Path) -> None:
    """Write a long write-ahead log back and cut it, unless that meant waiting for a reader."""
    log = copying.beside(path, "-wal")
    if not log.exists() or log.stat().st_size <= LOG_LIMIT:
        return
    (patience,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute("PRAGMA busy_timeout=0")
    try:
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        driver.execute(f"PRAGMA busy_timeout={patience}")


def vacuum(path: Path, *, busy_seconds: float = BUSY_TIMEOUT_SECONDS) -> tuple[int, int]:
    """Write the whole file anew, without empty pages and so that it can shrink from now on.

    Nobody else may use it meanwhile: the caller holds the installation. Needs as much room again
    as the database has. Returns its bytes before and after.

    Raises:
        StoreError: there is no room, or it cannot be read or written; it stays as it was.
    """
    with explained(path):
        schema = schema_of(path)
    if schema is None:
        raise StoreError(f"{path}: there is no database; check store.path")
    before, free = copying.size_of(path), copying.free_beside(path)
    # Once in the write-ahead log, once as SQLite's own file in $TMPDIR, which may be the same disk.
    if free < 2 * before:
        raise StoreError(
            f"{path}: to be written anew, which needs {copying.in_words(2 * before)} beside it; "
            f"{copying.in_words(free)} are free: make room. Nothing was changed"
        )
    with (
        explained(path),
        closing(sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)) as database,
    ):
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return before, copying.size_of(path)


# -- within ----------------------------------------------------------------------------------------


def _keep_copy(path: Path, busy_seconds: float) -> None:
    """Copy a database beside itself before it is upgraded to ``HEAD``."""
    copy = copying.beside(path, f".before-{HEAD}")
    # Once for the copy, and once for tables that are rebuilt.
    needed, free = 2 * copying.size_of(path), copying.free_beside(path)
    if free < needed:
        raise StoreError(
            f"{path}: to be upgraded, which needs {copying.in_words(needed)} beside it, half of it "
            f"for a copy of what is there now; {copying.in_words(free)} are free: make room. "
            "Nothing was changed"
        )
    aside = copying.beside(copy, ".new")
    try:
        with explained(path):
            copying.copy(path, aside, busy_seconds=busy_seconds)
        with explained(aside):
            if schema_of(aside) != HEAD:  # else another program upgraded it a moment ago
                aside.replace(copy)
                copying.settle(copy.parent)
    except OSError as error:
        raise StoreError(
            f"{copy}: cannot be written ({error.strerror}), and without a copy nothing is upgraded; "
            "check owner, mode and room of the folder"
        ) from None
    finally:
        aside.unlink(missing_ok=True)
    for old in former(path)[COPIES_KEPT:]:
        old.unlink(missing_ok=True)


def _create_private(path: Path) -> None:
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be created ({error.strerror}); check owner and mode of its folder"
        ) from None


def _upgrade(engine: Engine, scripts: Path | None = None, revision: str = HEAD) -> None:
    """Run the migrations up to ``revision``, all in one transaction.

    Args:
        engine: of the database.
        scripts: folder of the migrations; ours, unless a test has others.
        revision: where to end.

    Raises:
        StoreError: rows would be left referring to nothing; nothing was changed.
    """
    # Alembic costs a third of a second to import: only when there is something to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    with (
        resources.as_file(resources.files("monitor") / "migrations") as ours,
        engine.connect().execution_options(merkwacht_begin="BEGIN IMMEDIATE") as connection,
    ):
        config.set_main_option("script_location", str(scripts or ours).replace("%", "%%"))
        config.attributes["connection"] = connection
        # Rebuilding a table (SQLite's way to alter one) would otherwise cascade into the rows that
        # refer to it; the pragma has no effect inside a transaction.
        driver = connection.connection.driver_connection
        if driver is None:
            raise StoreError("the database connection was lost")
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                command.upgrade(config, revision)
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise StoreError(f"the upgrade would break {len(broken)} references; undone")
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def _install_pragmas(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # Transactions are begun by us: the driver's own way cannot do BEGIN IMMEDIATE.
        connection.isolation_level = None
        cursor = connection.cursor()
        # Before anything is written: of a file that holds something it changes nothing.
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA journal_size_limit={LOG_LIMIT}")
        # FULL: a commit survives a power cut, not only a crash of ours.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # What is erased is overwritten: retention and the register promise that it is gone.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            connection.get_execution_options().get("merkwacht_begin", "BEGIN")
        )

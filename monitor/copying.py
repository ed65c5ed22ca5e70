"""Copies of SQLite files: consistent while somebody writes, checked, and there whole or not at all.

Knows SQLite and file systems, and nothing of Merkwacht.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

Told = Callable[[float], object]
"""Hears how far a copy is, 0 to 1."""

_PAGES_AT_ONCE = 256
"""A megabyte."""
_MODE = 0o600


class DamagedError(sqlite3.DatabaseError):
    """SQLite's own check found something wrong in a file; the message has its first words."""


def copy(
    source: Path,
    target: Path,
    *,
    told: Told = lambda _: None,
    busy_seconds: float = 5.0,
) -> None:
    """Copy a database as it is at this moment; what is at ``target`` is replaced at the end.

    The copy is one file (mode 0600) without a write-ahead log, checked by SQLite before it gets its
    name. Writers of the source are not held up: what they commit meanwhile is not in it.

    Raises:
        DamagedError: the source is damaged, and so would be its copy.
        sqlite3.Error: the source cannot be read.
        OSError: the copy cannot be written.
    """
    with replacing(target) as partial:
        with (
            closing(connect(source, busy_seconds)) as origin,
            closing(sqlite3.connect(partial, isolation_level=None)) as made,
        ):
            # One view for the whole copy: without it SQLite would begin anew after each commit of
            # another program, and beside a busy one never come to an end.
            origin.execute("BEGIN")
            origin.execute("SELECT count(*) FROM sqlite_master").fetchone()
            origin.backup(
                made,
                pages=_PAGES_AT_ONCE,
                progress=lambda _, left, total: told(1 - left / max(total, 1)),
            )
            made.execute("PRAGMA journal_mode=DELETE")
        check(partial)


def check(path: Path, *, quick: bool = False) -> None:
    """Have SQLite go through a database, ``quick``: without comparing indexes with their tables.

    Raises:
        DamagedError: something does not fit.
        sqlite3.Error: the file cannot be read at all.
    """
    with closing(connect(path)) as database:
        statement = "PRAGMA quick_check(3)" if quick else "PRAGMA integrity_check(3)"
        found = [str(row[0]) for row in database.execute(statement)]
    if found != ["ok"]:
        raise DamagedError("; ".join(" ".join(line.split()) for line in found)[:300])


def connect(path: Path, busy_seconds: float = 5.0) -> sqlite3.Connection:
    """Open a database for reading only."""
    address = f"file:{urllib.parse.quote(str(path))}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None)


def size_of(path: Path) -> int:
    """Bytes of a database with its write-ahead log; 0 for what is not there."""
    return sum(each.stat().st_size for each in (path, beside(path, "-wal")) if each.exists())


def free_beside(path: Path) -> int:
    """Bytes that are free where ``path`` is, or would be."""
    return shutil.disk_usage(path.parent).free


def beside(path: Path, ending: str) -> Path:
    """The file of the same name with something at its end."""
    return path.with_name(path.name + ending)


def hand_to_owner(path: Path) -> None:
    """What root makes belongs to whom its folder belongs, or the daemon is locked out of it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def in_words(size: float) -> str:
    """Bytes for people: ``840 kB``, ``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - as the units are
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"  # noqa: PLR2004
        size /= 1000
    return f"{size:.1f} TB"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new, private file to be filled; it takes the place of ``target`` at the end of the block."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    try:
        yield partial
        settle(partial)
        partial.replace(target)
        settle(target.parent)
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            beside(partial, ending).unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Have a file or folder written to the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

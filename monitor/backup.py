"""Backups of an installation, and the way back: database and pseudonym key together.

A backup is one SQLite file; beside it, under the same name with ``.key`` at its end, lies the key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monitor import copying
from monitor.copying import Told, beside
from monitor.database import HEAD, StoreError, explained, newer, open_engine, schema_of
from monitor.privacy import load_or_create


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made."""

    path: Path
    size: int
    """Bytes of the database."""
    schema: str
    key: Path | None
    """The copy of the key; None where there is none."""
    lacks_key: bool
    """The database was filled with a key, and it is not where it should be."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    path: Path
    schema: str
    """Of the backup, before it was upgraded."""
    aside: Path | None
    """Where the replaced database is now; None: there was none."""
    key: Path | None
    """The key that was put in place; None: the one that was there belongs to it."""


def key_of(database: Path) -> Path:
    """Where the pseudonym key of a database is."""
    return beside(database, ".key")


def back_up(
    database: Path, target: Path, *, with_key: bool = True, told: Told = lambda _: None
) -> Made:
    """Copy a database, also while a daemon writes it, and its key.

    Args:
        database: of the installation, of any schema that is no newer than ours.
        target: of the copy; nothing may be there.
        with_key: whether the key is copied to ``target`` with ``.key`` at its end.
        told: hears how far it is.

    Raises:
        StoreError: there is nothing to copy, it is damaged, or the copy cannot be written. Nothing
            of it is left.
    """
    schema = _schema(database)
    if schema is None:
        raise StoreError(f"{database}: there is no database to back up; check store.path")
    if target.is_dir():
        raise StoreError(f"{target}: is a folder; name a file in it")
    key, key_target = key_of(database), key_of(target)
    known = key_fingerprint(database)
    copies_key = with_key and key.exists()
    _require_room(target, copying.size_of(database))
    with _reserved(target, *([key_target] if copies_key else [])):
        with _written(target), explained(database):
            copying.copy(database, target, told=told)
        if copies_key:
            with _written(key_target):
                copy_private(key, key_target)
        return Made(
            path=target,
            size=target.stat().st_size,
            schema=schema,
            key=key_target if copies_key else None,
            lacks_key=with_key and known is not None and not key.exists(),
        )


def restore(
    source: Path,
    database: Path,
    *,
    now: datetime,
    key: Path | None = None,
    told: Told = lambda _: None,
) -> Restored:
    """Put a backup in the place of a database. The caller holds the installation.

    All that may fail does so before anything is replaced. What was there is kept beside, under the
    same name with ``.replaced-`` and the moment at its end.

    Args:
        source: the backup; an older schema is upgraded.
        database: what it replaces, whatever its state.
        now: for the name of what is kept.
        key: the backup's pseudonym key. Default: beside it, else the one that is in place.
        told: hears how far it is.

    Raises:
        StoreError: the backup is damaged, newer than this program or not ours, its key is missing
            or another, or there is no room. Nothing was changed.
    """
    schema = _schema(source)
    if schema is None:
        what = "is empty" if source.exists() else "no such file"
        raise StoreError(f"{source}: {what}; nothing was replaced")
    if schema > HEAD:
        raise StoreError(f"{newer(source, schema)}. Nothing was replaced")
    if database.exists() and source.samefile(database):
        raise StoreError(f"{source}: is the database itself; name a backup")
    chosen = _matching_key(source, database, key)
    _require_room(database, 2 * copying.size_of(source))
    ready = beside(database, ".restoring")
    try:
        with _written(ready), explained(source):
            copying.copy(source, ready, told=told)
        open_engine(ready, keep_copy=False).dispose()
        with explained(ready):
            copying.check(ready)
        with _written(database):
            copying.hand_to_owner(ready)
            if chosen is not None:
                copy_private(chosen, key_of(ready))
                copying.hand_to_owner(key_of(ready))
            # From here on files only change their names.
            aside = _put_aside(database, now, with_key=chosen is not None)
            if chosen is not None:
                key_of(ready).replace(key_of(database))
            ready.replace(database)
            copying.settle(database.parent)
    finally:
        for ending in ("", "-wal", "-shm", ".key"):
            beside(ready, ending).unlink(missing_ok=True)
    return Restored(database, schema, aside, None if chosen is None else key_of(database))


def key_fingerprint(database: Path) -> str | None:
    """The fingerprint of the key that a database was filled with; None: none was needed yet.

    Raises:
        StoreError: it cannot be read.
    """
    with explained(database), closing(copying.connect(database)) as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = 'pseudonym_key'").fetchone()
    return None if row is None else str(row[0])


def copy_private(source: Path, target: Path) -> None:
    """Copy a small file that only its owner may read. Raises OSError."""
    content = source.read_bytes()
    with copying.replacing(target) as partial:
        partial.write_bytes(content)


def _schema(path: Path) -> str | None:
    with explained(path):
        return schema_of(path)


def _matching_key(source: Path, database: Path, given: Path | None) -> Path | None:
    """The key file to put in place; None where the one in place will do, or none is needed."""
    wanted = key_fingerprint(source)
    if wanted is None:
        return None
    if given is not None and not given.exists():
        raise StoreError(f"{given}: no such key file; nothing was replaced")
    in_place = key_of(database)
    for candidate in [given] if given is not None else [in_place, key_of(source)]:
        if _fingerprint(candidate) == wanted:
            return None if _fingerprint(in_place) == wanted else candidate
    where = (
        f"{given} is another" if given is not None else f"it is not beside it as {key_of(source)}"
    )
    raise StoreError(
        f"{source}: the pseudonym key that belongs to it is needed, and {where}; "
        "name it with --key FILE. Nothing was replaced"
    )


def _fingerprint(key: Path) -> str | None:
    """Of a key file; None where there is none, or it is no key."""
    if not key.exists():
        return None
    try:
        return load_or_create(key).fingerprint
    except StoreError:
        return None


def _put_aside(database: Path, now: datetime, *, with_key: bool) -> Path | None:
    """Keep what is there under another name, with what its write-ahead log still holds."""
    aside = beside(database, f".replaced-{now:%Y%m%dT%H%M%SZ}")
    if aside.exists():
        raise StoreError(f"{aside}: is there already; try again in a second")
    there = database.exists()
    # All of it belongs together, and a log left behind would be read into the new database.
    for ending in ("", "-wal", "-shm", *([".key"] if with_key else [])):
        if beside(database, ending).exists():
            beside(database, ending).rename(beside(aside, ending))
    return aside if there else None


def _require_room(target: Path, needed: int) -> None:
    try:
        free = copying.free_beside(target)
    except OSError as error:
        raise StoreError(f"{target.parent}: {error.strerror}; choose another folder") from None
    if free < needed:
        raise StoreError(
            f"{target.parent}: {copying.in_words(needed)} are needed and "
            f"{copying.in_words(free)} are free; make room or choose another folder"
        )


@contextmanager
def _reserved(*targets: Path) -> Iterator[None]:
    """Take names that nobody has; given up again when the block fails."""
    taken: list[Path] = []
    try:
        for target in targets:
            try:
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                raise StoreError(
                    f"{target}: exists already and is not overwritten; choose another name"
                ) from None
            except OSError as error:
                raise StoreError(f"{target}: {error.strerror}; choose another folder") from None
            taken.append(target)
        yield
    except BaseException:
        for target in taken:
            target.unlink(missing_ok=True)
        raise


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or path}: {error.strerror}; check owner and mode"
        ) from None

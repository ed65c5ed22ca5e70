"""Who may read and change the files of an installation: for the start of the daemon and the doctor.

A secret that everybody on the machine may read is no secret. What we make ourselves is ours alone,
whatever the umask; what is found wider is mended where it is ours, and told where it is not.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alerts import CHANNELS
from classifiers.second_opinion import SecondOpinionOptions
from connectors import CONNECTORS
from connectors.options import Options, secret_fields
from monitor import copying
from monitor.backup import key_of
from monitor.database import former
from monitor.heartbeat import HeartbeatOptions

_WITH_PASSWORD = re.compile(r"https?://[^\s/@:]*:[^\s/@]+@")
_OTHERS = stat.S_IRWXO
_ALL_BUT_OWNER = stat.S_IRWXG | stat.S_IRWXO
_MOUNTED = (
    "it lies on a read-only mount: where that comes from, let nobody read it but the user that "
    "Merkwacht runs as"
)


@dataclass(frozen=True, slots=True)
class Loose:
    """A file or folder that others can do more with than they should."""

    path: Path
    what: str
    """What is wrong, without any secret."""
    remedy: str
    surplus: int = 0
    """Mode bits to take away; 0: not ours to mend."""
    fatal: bool = False
    """Secrets in the configuration that everybody may read: nothing starts on these."""
    mounted: bool = False
    """On a read-only mount, as in a container: its mode is set elsewhere, and often nobody else is here."""


# -- the configuration, and the files that it names ------------------------------------------------


def of_configuration(file: Path) -> Iterator[Loose]:
    """What is too open of a configuration: valid or not, as far as it can be read."""
    inline, files = _secrets(file, as_written(file))
    mode, mounted = mode_of(file), _unchangeable(file)
    if inline and mode is not None and mode & stat.S_IROTH:
        yield Loose(
            file,
            f"{file} holds secrets ({', '.join(inline)}) and everybody may read it "
            f"(mode {mode:04o})",
            _MOUNTED
            if mounted
            else f"chmod 0640 {file}; then give new secrets: these may have been read",
            fatal=not mounted,
            mounted=mounted,
        )
    elif mode is not None and mode & stat.S_IWOTH:
        yield Loose(
            file,
            f"everybody may change {file} (mode {mode:04o})",
            f"chmod 0640 {file}, and look through it",
        )
    for each in dict.fromkeys(files):
        mode, mounted = mode_of(each), _unchangeable(each)
        if mode is not None and mode & (stat.S_IROTH | stat.S_IWOTH):
            yield Loose(
                each,
                f"everybody may read or change the secret in {each} (mode {mode:04o})",
                _MOUNTED
                if mounted
                else f"chmod 0640 {each}; then give a new secret: this one may have been read",
                mounted=mounted,
            )


def as_written(file: Path) -> dict[str, Any]:
    """The tables of a configuration as they are written; empty where it is no TOML."""
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError):
        return {}


def _unchangeable(file: Path) -> bool:
    """Whether a file lies on a read-only mount, as in a container: no mode can be set there."""
    if "INVOCATION_ID" in os.environ:
        # A service of systemd's: its own sandbox shows the machine's files read-only.
        return False
    try:
        return bool(os.statvfs(file).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _secrets(file: Path, raw: Mapping[str, Any]) -> tuple[list[str], list[Path]]:
    """The keys whose secret is written in the configuration, and the files that hold others."""
    inline: list[str] = []
    named: list[str] = []
    for where, table, model in _tables(raw):
        inline += [
            f"{where}.{name}"
            for name, value in table.items()
            if isinstance(value, str) and _WITH_PASSWORD.match(value)
        ]
        for name in secret_fields(model):
            value, twin = table.get(name), table.get(f"{name}_file")
            if isinstance(value, str):
                inline.append(f"{where}.{name}")
            if isinstance(value, dict):
                twin = value.get("file")
            if isinstance(twin, str):
                named.append(twin)
    web = raw.get("web")
    if isinstance(web, dict):
        # The key may lie in the certificate's file.
        key = web.get("key_file", web.get("certificate_file"))
        named += [key] if isinstance(key, str) else []
    for channel in _items(raw, "channels"):
        key = channel.get("client_key_file", channel.get("client_certificate_file"))
        named += [key] if isinstance(key, str) else []
    base = file.absolute().parent
    return list(dict.fromkeys(inline)), [base / Path(each).expanduser() for each in named]


def _items(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = raw.get(name)
    return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []


def _tables(
    raw: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], type[Options]]]:
    """The tables of a configuration that may hold secrets, with what they may hold."""
    connectors: Mapping[str, Any] = dict(CONNECTORS)
    channels: Mapping[str, Any] = dict(CHANNELS)
    for name, plugins in (("sources", connectors), ("channels", channels)):
        items = raw.get(name)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict) and (plugin := plugins.get(str(item.get("kind")))):
                yield from _nested(f"{name}[{number}]", item, plugin.Options)
    classifiers = raw.get("classifiers")
    opinion = classifiers.get("second_opinion") if isinstance(classifiers, dict) else None
    if isinstance(opinion, dict):
        yield "classifiers.second_opinion", opinion, SecondOpinionOptions
    if isinstance(raw.get("heartbeat"), dict):
        yield "heartbeat", raw["heartbeat"], HeartbeatOptions


def _nested(
    where: str, table: Mapping[str, Any], model: type[Options]
) -> Iterator[tuple[str, Mapping[str, Any], type[Options]]]:
    """A table, and those within it, such as the login of a mailbox or the headers of a webhook."""
    yield where, table, model
    for name, field in model.model_fields.items():
        inner = _table_of(field.annotation)
        value = table.get(name)
        if inner is None or value is None:
            continue
        for number, each in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(each, dict):
                place = f"[{number}]" if isinstance(value, list) else ""
                yield from _nested(f"{where}.{name}{place}", each, inner)


def _table_of(annotation: Any) -> type[Options] | None:
    """The table that a field holds, one or several, if it does."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return annotation
    found = (_table_of(each) for each in getattr(annotation, "__args__", ()))
    return next((each for each in found if each is not None), None)


# -- what we write ---------------------------------------------------------------------------------


def of_state(database: Path) -> Iterator[Loose]:
    """What is too open of the files that the daemon keeps; nothing of those that are not there."""
    folder = database.parent
    mode = mode_of(folder)
    if mode is not None and mode & stat.S_IWOTH:
        yield Loose(
            folder,
            f"everybody may write in the state folder {folder} (mode {mode:04o})",
            f"chmod 0700 {folder}",
        )
    yield from _private(key_of(database), "the pseudonym key", _ALL_BUT_OWNER)
    yield from _private(database, "the database", _OTHERS)
    for ending in ("-wal", "-shm"):
        yield from _private(copying.beside(database, ending), "a part of the database", _OTHERS)
    yield from _private(copying.beside(database, ".lock"), "the lock", _OTHERS)
    for copy in former(database):
        yield from _private(copy, "the copy of the database", _OTHERS)


def _private(path: Path, what: str, forbidden: int) -> Iterator[Loose]:
    mode = mode_of(path)
    if mode is not None and mode & forbidden:
        yield Loose(
            path,
            f"others may read or change {what} {path} (mode {mode:04o})",
            f"chmod 0600 {path}",
            surplus=forbidden,
        )


def mend(database: Path) -> tuple[list[Loose], list[Loose]]:
    """Take away what others may do with the daemon's own files.

    Returns:
        What was mended, and what is left to people: the state folder, which may be somebody's, and
        files of another owner.
    """
    mended: list[Loose] = []
    left: list[Loose] = []
    for each in of_state(database):
        done = False
        if each.surplus:
            with suppress(OSError):
                each.path.chmod(stat.S_IMODE(each.path.stat().st_mode) & ~each.surplus)
                done = True
        (mended if done else left).append(each)
    return mended, left


def mode_of(path: Path) -> int | None:
    """The mode bits of what is at ``path``; None where nothing is, or it may not be looked at."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def name_of(user: int) -> str:
    """The name of a user of this machine, or its number."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"

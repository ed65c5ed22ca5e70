"""What all commands share: exit statuses, the configuration, the store, and failures in plain words."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.store import Store

EXIT_FAILURES = 1
EXIT_USAGE = 2
NAME_LIMIT = 60

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration. Default: $MERKWACHT_CONFIG, ./config.toml, /etc/merkwacht/config.toml.",
        show_default=False,
        # Whoever may not read it is told who may.
        readable=False,
    ),
]


def say(text: str = "") -> None:
    """A line for the person at the terminal, on standard error."""
    sys.stderr.write(f"{text}\n")


def fail(message: str, status: int) -> NoReturn:
    """Say what is wrong and leave."""
    for line in message.splitlines():
        say(line)
    raise typer.Exit(status)


def _imported(module: str, name: str) -> type[Exception] | tuple[()]:
    """An error of a module, or none where it was never imported: then nobody can have raised it.

    Asked for when something was raised, so that a command need not import what it does not use.
    """
    found = sys.modules.get(module)
    return getattr(found, name) if found is not None else ()


# -- the log beside an answer ----------------------------------------------------------------------


@dataclass(slots=True)
class _Wish:
    verbose: bool = False


_WISH = _Wish()


def be_verbose(wanted: bool) -> None:  # noqa: FBT001 - as it was given
    """Whether this command is to say what happens, too, on standard error."""
    _WISH.verbose = wanted
    quiet_log("warning")


def is_verbose() -> bool:
    """Whether ``--verbose`` was given."""
    return _WISH.verbose


def quiet_log(level: str) -> None:
    """Log from this level on, on standard error; what happens as well where that was asked for."""
    loaded = "monitor.log" in sys.modules
    if not loaded and not _WISH.verbose and level == "warning":
        return  # as it begins by itself, at no cost for a command that logs nothing
    from monitor.log import set_up  # noqa: PLC0415

    set_up(level="info" if _WISH.verbose else level)


@contextmanager
def explained() -> Iterator[None]:
    """Turn foreseen failures into a message and an exit status, without a traceback."""
    try:
        yield
    except _imported("monitor.config", "ConfigError") as error:
        fail(str(error), EXIT_USAGE)
    except _imported("monitor.database", "StoreError") as error:
        fail(f"merkwacht: {error}", EXIT_FAILURES)
    except _imported("classifiers.embedded", "ModelError") as error:
        fail(f"merkwacht: {error}", EXIT_FAILURES)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"merkwacht: {where}{error.strerror or error}", EXIT_FAILURES)


def load(file: Path | None, *, secrets: bool = False) -> tuple[Path, Config]:
    """The configuration and where it was found. Raises ConfigError."""
    from monitor.config import find, load  # noqa: PLC0415

    path = find(file)
    settings = load(path, secrets=secrets)
    if secrets:
        from monitor.config import secrets_of  # noqa: PLC0415
        from monitor.log import hide  # noqa: PLC0415

        hide(secrets_of(settings))
    return path, settings


def open_store(settings: Config, *, migrate: bool) -> Store:
    """The store of an installation. Raises StoreError."""
    from monitor.store import Store  # noqa: PLC0415

    return Store(settings.store.path, migrate=migrate)


@contextmanager
def opened(config: Path | None) -> Iterator[tuple[Config, Store]]:
    """Configuration and store of an installation that runs already; failures are explained."""
    with explained():
        settings = load(config)[1]
        store = open_store(settings, migrate=False)
        try:
            yield settings, store
        finally:
            store.close()


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere. Gives a function that takes how far we are."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), "{task.percentage:>3.0f}%", TimeRemainingColumn())
    bar: Progress
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def time_of(text: str, option: str, otherwise: str = "") -> timedelta:
    """A duration as people write it: ``5m``, ``1h``, ``1d``. Leaves with a message for another."""
    found = re.fullmatch(r"(\d{1,6})\s*(s|m|h|d)", text.strip())
    if found is None or int(found[1]) == 0:
        fail(f"{option}: {text} is not a duration; write {otherwise}as 5m, 1h, 1d", EXIT_USAGE)
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: int(found[1])})


def moment(text: str | None, option: str, settings: Config) -> datetime | None:
    """A moment as people write it; without an offset in the installation's time zone."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option}: {text} is not a moment; write it as 2026-11-09T08:00+01:00", EXIT_USAGE)
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(settings.timezone))


def actor(given: str) -> str:
    """Who does something: as given, else the login name; whoever used sudo, not whom it made them."""
    from alerts.plain import one_line  # noqa: PLC0415

    for name in (given, os.environ.get("SUDO_USER", ""), os.environ.get("USER", "")):
        if one_line(name, NAME_LIMIT):
            return one_line(name, NAME_LIMIT)
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"

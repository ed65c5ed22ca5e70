"""What the shell offers for the next word: names of the configuration, numbers of what is stored.

Asked while somebody types, so nothing heavy is imported, and what cannot be read is not offered: no error,
no wait, no file made. Texts of posts and reasons are never shown.
"""

from __future__ import annotations

import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from monitor.places import configuration, database

MOST = 50
"""Incidents or silences that are offered, newest first."""
WAIT_SECONDS = 0.2

_INCIDENTS = f"SELECT id, brand, kind, state FROM incident ORDER BY id DESC LIMIT {MOST}"  # noqa: S608 - a number
_SILENCES = (
    "SELECT id, brand, kind, 'until ' || substr(ends_at, 1, 16) || ' UTC' FROM silence "  # noqa: S608
    f"WHERE ends_at > datetime('now') ORDER BY id DESC LIMIT {MOST}"
)

Offers = list[tuple[str, str]]
"""Each word that fits, with what it stands for."""


def incidents(ctx: typer.Context, incomplete: str) -> Offers:
    """Numbers of incidents, newest first."""
    return _numbers(ctx, _INCIDENTS, incomplete)


def silences(ctx: typer.Context, incomplete: str) -> Offers:
    """Numbers of silences that are not over, newest first."""
    return _numbers(ctx, _SILENCES, incomplete)


def brands(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of brands."""
    return _names(ctx, "brands", incomplete)


def sources(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of sources."""
    return _names(ctx, "sources", incomplete)


def receivers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of receivers."""
    return _names(ctx, "receivers", incomplete)


def _file(ctx: typer.Context) -> Path | None:
    """The configuration: that of a --config that stands there already, else the usual one."""
    given = ctx.params.get("config")
    return configuration(Path(given) if given else None)


def _settings(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _names(ctx: typer.Context, table: str, incomplete: str) -> list[str]:
    entries = _settings(_file(ctx)).get(table)
    if not isinstance(entries, list):
        return []
    names = (entry.get("name") for entry in entries if isinstance(entry, dict))
    return [name for name in names if isinstance(name, str) and name.startswith(incomplete)]


def _numbers(ctx: typer.Context, query: str, incomplete: str) -> Offers:
    return [
        (str(number), " ".join(word for word in (brand, kind, state) if word))
        for number, brand, kind, state in _rows(_file(ctx), query)
        if str(number).startswith(incomplete)
    ]


def _rows(file: Path | None, query: str) -> Iterator[tuple[int, str, str, str]]:
    """What the database answers; nothing where it cannot be read."""
    if file is None:
        return
    store = _settings(file).get("store", {})
    named = store.get("path", "merkwacht.db") if isinstance(store, dict) else ""
    path = database(Path(str(named)), file)
    # Without a write-ahead log nobody has it open; then it is read without making one beside it,
    # which would belong to whoever pressed the key.
    running = path.with_name(f"{path.name}-wal").exists()
    address = f"{path.as_uri()}?mode=ro{'' if running else '&immutable=1'}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS)) as link:
            yield from link.execute(query)
    except (OSError, sqlite3.Error):
        return

"""Databases of earlier schemas, with rows in every table that mattered then."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy

from monitor import database

_AT = "2026-11-09 08:00:00.000000"
_VALUES = {
    "DATETIME": _AT,
    "DATE": "2026-11-09",
    "JSON": "[]",
    "BOOLEAN": 0,
    "INTEGER": 1,
    "FLOAT": 0.5,
    "BLOB": b"\x01\x02",
}
_KNOWN = {
    ("mention", "text"): "Brood bij Zonnehoek.",
    ("mention", "assessed_by"): "v1",
    ("assessment", "version"): "v1",
    ("assessment", "sentiment"): "neutral",
    ("assessment", "sentiment_scores"): "{}",
    ("assessment", "leak_score"): 0.93,
    ("assessment", "leak"): 1,
    ("assessment", "leak_category"): "product",
    ("assessment", "leak_band"): "escalate",
    ("assessment", "leak_likely"): "product",
    ("assessment", "abuse"): "none",
    ("incident", "kind"): "leak",
    ("incident", "state"): "open",
    ("incident", "severity"): 30,
    ("signal", "kind"): "leak",
    ("signal", "severity"): 30,
    ("signal", "mention_ids"): "[1]",
    ("signal", "facts"): "{}",
    ("notification", "state"): "delivered",
    ("notification", "event"): "opened",
    ("notification", "message"): "{}",
    ("decision", "event"): "opened",
    ("decision", "reason"): "opened",
    ("outage", "fault"): "timeout",
    ("waiting", "group_key"): "news_group key",
}
_LEFT_OUT = {"alembic_version", "sqlite_sequence", "meta"}


def make_old(path: Path, schema: str) -> Path:
    """A database at an earlier schema: two mentions, and a row in each other table."""
    path.touch()
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 5})
    database._install_pragmas(engine)
    database._upgrade(engine, revision=schema)
    engine.dispose()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # Rows refer to each other by the number 1: in which order they come does not matter.
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in names:
            if table not in _LEFT_OUT:
                for number in (1, 2) if table == "mention" else (1,):
                    _fill(connection, table, number)
        connection.execute("INSERT INTO meta VALUES ('installation', 'f00d')")
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return path


def _fill(connection: sqlite3.Connection, table: str, number: int) -> None:
    values: dict[str, object] = {}
    for _, name, kind, needed, default, key in connection.execute(f"PRAGMA table_info('{table}')"):
        if (table, name) in _KNOWN:
            values[name] = _KNOWN[table, name]
        elif name == "id":
            values[name] = number
        elif name == "post_id" and table == "mention":
            values[name] = f"p{number}"
        elif (needed and default is None) or key:
            values[name] = _VALUES.get(kind.split("(")[0], f"{table} {name}")
    marks = ", ".join("?" for _ in values)
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608 - our names
    connection.execute(statement, list(values.values()))

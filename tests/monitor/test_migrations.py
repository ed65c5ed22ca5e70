"""Migrations: one transaction, no rows lost, and the schema the tables say."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from classifiers.base import LeakBand, LeakCategory
from monitor import database, tables
from monitor.database import HEAD, StoreError
from monitor.store import Store
from tests.monitor.make import NOON, add_incident, fresh_store, new_mention, sql
from tests.monitor.old import make_old

SCRIPTS = Path(str(resources.files("monitor"))) / "migrations"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    with made.write() as unit:
        unit.mentions.add([new_mention(1), new_mention(2)], NOON)
    add_incident(made, 1, 2)
    yield made
    made.close()


def more_scripts(folder: Path, body: str) -> Path:
    """Our migrations and one more, after the newest."""
    copy = folder / "50% more"
    shutil.copytree(SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = "\n".join(f"    {line}" for line in body.strip().splitlines())
    (copy / "versions" / "9000_more.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision = '9000', {HEAD!r}\nbranch_labels = depends_on = None\n"
        f"def upgrade():\n{text}\n",
        encoding="utf-8",
    )
    return copy


def dump(path: Path) -> list[str]:
    with closing(sqlalchemy.create_engine(f"sqlite:///{path}").raw_connection()) as connection:
        return list(connection.driver_connection.iterdump())  # type: ignore[union-attr] # it is open


def test_a_migrated_file_has_the_schema_of_the_tables(tmp_path: Path) -> None:
    store = Store(tmp_path / "new.db")
    assert tables.MentionRow.metadata is SQLModel.metadata
    with store._engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, SQLModel.metadata) == []
    store.close()


def test_what_comparison_overlooks_is_the_same_too(tmp_path: Path) -> None:
    migrated, created = tmp_path / "migrated.db", tmp_path / "created.db"
    Store(migrated).close()
    engine = sqlalchemy.create_engine(f"sqlite:///{created}")
    SQLModel.metadata.create_all(engine)
    engine.dispose()
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' AND sql NOT NULL"

    def schema(path: Path) -> dict[str, list[str]]:
        # The order of columns, constraints and quotes is free; what is there is not.
        return {name: sorted(re.findall(r"\w+", text.upper())) for name, text in sql(path, query)}

    assert schema(migrated) == schema(created)
    indexes = f"{query} AND type = 'index'"
    partial = [name for name, text in sql(migrated, indexes) if "WHERE" in text]
    assert sorted(partial) == [
        "ix_assessment_notable",
        "ix_clock_unfinished",
        "ix_dark_lasting",
        "ix_decision_held_back",
        "ix_incident_mates",
        "ix_incident_merged_into",
        "ix_incident_next_look_at",
        "ix_intake_waiting",
        "ix_mention_page",
        "ix_mention_queue",
        "ix_news_group_next_look_at",
        "ix_notification_aside",
        "ix_notification_dead",
        "ix_notification_failover_of",
        "ix_notification_lane",
        "ix_notification_worded",
    ]


def test_head_is_the_newest_script() -> None:
    numbers = sorted(path.name[:4] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]
    assert numbers[-1] == HEAD


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    Store(path).close()
    assert sql(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def _at_0001(path: Path) -> None:
    """A database of the first release with two assessed mentions, one of them a leak."""
    path.touch()
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 5})
    database._install_pragmas(engine)
    database._upgrade(engine, revision="0001")
    engine.dispose()
    mention = (
        "INSERT INTO mention (id, brand, platform, post_id, source, official, published_at, seen_at,"
        " text, likes, shares, replies, matched, story, imported, assessed_by, tries, failed) VALUES"
        " (?, 'Acme', 'x', ?, 'feed', 0, '2026-11-09 08:00:00.000000', '2026-11-09 08:00:00.000000',"
        " 'tekst', 0, 0, 0, '[]', 's', 0, 'v1', 0, 0)"
    )
    assessment = (
        "INSERT INTO assessment (mention_id, version, at, language, sentiment, sentiment_scores, leak,"
        " leak_score, leak_category, findings, abuse, abuse_score) VALUES (?, 'v1',"
        " '2026-11-09 08:00:00.000000', 'nl', 'neutral', '{}', ?, ?, ?, '[]', 'none', 0.1)"
    )
    for number, (leak, score, category) in enumerate(
        [(1, 0.93, "product"), (0, 0.5, "none")], start=1
    ):
        sql(path, mention, number, f"p{number}")
        sql(path, assessment, number, leak, score, category)


def test_what_was_assessed_before_bands_is_escalated_or_low_never_up_for_review(
    tmp_path: Path,
) -> None:
    path = tmp_path / "old.db"
    _at_0001(path)
    store = Store(path)
    with store.read() as unit:
        leaks = [kept.leak for _, kept in unit.mentions.each(None, None) if kept is not None]
        waiting = unit.feedback.waiting(10)
    store.close()
    assert [(each.band, each.likely, each.score) for each in leaks] == [
        (LeakBand.ESCALATE, LeakCategory.PRODUCT, 0.93),
        (LeakBand.LOW, LeakCategory.NONE, 0.5),
    ]
    assert waiting == []
    with pytest.raises(sqlite3.IntegrityError):
        sql(
            path,
            "INSERT INTO assessment SELECT 9, mention_id, version, at, language, sentiment,"
            " sentiment_scores, leak_score, leak_likely, findings, abuse, abuse_score, leak_band"
            " FROM assessment WHERE id = 1",
        )


def downgrade(path: Path, schema: str) -> None:
    """Take the way back to an earlier schema."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.attributes["connection"] = connection
        command.downgrade(config, schema)
    engine.dispose()


def test_the_way_back_forgets_only_what_the_older_one_cannot_say(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    _at_0001(path)
    Store(path).close()
    downgrade(path, "0001")
    assert sql(path, "SELECT mention_id, leak, leak_score, leak_category FROM assessment") == [
        (1, 1, 0.93, "product"),
        (2, 0, 0.5, "none"),
    ]


def test_rebuilding_a_table_does_not_take_the_rows_that_refer_to_it(
    store: Store, tmp_path: Path
) -> None:
    scripts = more_scripts(
        tmp_path,
        "with op.batch_alter_table('mention', recreate='always') as batch:\n"
        "    batch.add_column(sa.Column('mood', sa.String()))\n"
        "with op.batch_alter_table('incident', recreate='always') as batch:\n"
        "    batch.add_column(sa.Column('owner', sa.String()))",
    )
    database._upgrade(store._engine, scripts, "9000")
    assert sql(store.path, "SELECT id, mood FROM mention") == [(1, None), (2, None)]
    assert sql(store.path, "SELECT mention_id FROM incident_mention") == [(1,), (2,)]
    assert sql(store.path, "SELECT count(*) FROM signal") == [(1,)]
    assert sql(store.path, "PRAGMA foreign_key_check") == []
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1, "on again"


BREAKS_HALF_WAY = """
op.add_column('mention', sa.Column('mood', sa.String()))
op.execute('DELETE FROM incident_mention')
op.execute('UPDATE no_such_table SET x = 1')
"""


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (BREAKS_HALF_WAY, sqlalchemy.exc.OperationalError),
        ("op.execute('DELETE FROM mention')", StoreError),
    ],
)
def test_a_migration_that_fails_leaves_everything_as_it_was(
    store: Store, tmp_path: Path, body: str, error: type[Exception]
) -> None:
    before = dump(store.path)
    with pytest.raises(error):
        database._upgrade(store._engine, more_scripts(tmp_path, body), "9000")
    assert dump(store.path) == before
    assert any('INSERT INTO "incident_mention"' in line for line in before)
    with store.write() as unit:
        assert unit.mentions.add([new_mention(3)], NOON).new.total() == 1, "still in working order"


# -- upgrades on start -----------------------------------------------------------------------------

EARLIER = [f"{number:04d}" for number in range(1, int(HEAD))]
BEGUN_ANEW = {"outage": "0009"}
"""What is still broken says so at its next failure."""

Rows = dict[str, list[dict[str, object]]]


def rows_of(path: Path) -> Rows:
    """Every row of every table, by its columns."""
    found: Rows = {}
    for (table,) in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'"):
        columns = [each[1] for each in sql(path, f"PRAGMA table_info('{table}')")]
        found[table] = [
            dict(zip(columns, row, strict=True))
            for row in sql(path, f"SELECT * FROM {table} ORDER BY rowid")  # noqa: S608 - our names
        ]
    return found


def lost(before: Rows, after: Rows, schema: str) -> list[str]:
    """What a database said, in columns that it still has, and does not say after an upgrade."""
    gone = []
    for table, rows in before.items():
        if table in {"alembic_version", "sqlite_sequence"} or schema < BEGUN_ANEW.get(table, ""):
            continue
        now = after.get(table, [])
        if len(now) < len(rows) or (len(now) > len(rows) and table != "meta"):
            gone.append(f"{table}: {len(rows)} rows, {len(now)} now")
            continue
        for row, later in zip(rows, now, strict=False):
            gone += [
                f"{table}.{name}: {value!r}, {later[name]!r} now"
                for name, value in row.items()
                if name in later
                and later[name] != value
                # What was written before there were seals is sealed.
                and (name, value) != ("digest", None)
            ]
    return gone


def copies(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if "before" in each.name)


@pytest.mark.parametrize("schema", EARLIER)
def test_every_earlier_schema_is_upgraded_with_its_rows_and_kept_as_it_was(
    tmp_path: Path, schema: str
) -> None:
    path = make_old(tmp_path / "merkwacht.db", schema)
    before, rows = dump(path), rows_of(path)
    store = Store(path)
    with store.read() as unit:
        assert [mention.id for mention, _ in unit.mentions.each(None, None)] == [1, 2]
        assert unit.fact("installation") == "f00d"
        life = unit.looking.life_of(1)
        assert life is not None
        assert life.incidents == (1,)
        assert [each.state for each in life.notifications] == ["delivered"]
    store.close()
    assert lost(rows, rows_of(path), schema) == []
    assert sql(path, "PRAGMA foreign_key_check") == []
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]
    assert sql(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    kept = tmp_path / f"merkwacht.db.before-{HEAD}"
    assert copies(path) == [kept.name]
    assert dump(kept) == before, "the copy is what was there"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_way_back_and_forth_through_every_schema_keeps_what_each_can_say(
    tmp_path: Path,
) -> None:
    path = make_old(tmp_path / "merkwacht.db", HEAD)
    before = rows_of(path)
    for schema in reversed(EARLIER):
        downgrade(path, schema)
        assert sql(path, "PRAGMA foreign_key_check") == []
    Store(path).close()
    after = rows_of(path)
    of_the_first = {"mention", "incident", "incident_mention", "signal", "notification", "source"}
    assert of_the_first <= set(before)
    for table in of_the_first:
        assert len(after[table]) == len(before[table]), table
        kept = {"id", "text", "state", "kind", "key", "name", "cursor", "matched", "message"}
        for row, was in zip(after[table], before[table], strict=True):
            assert {k: row[k] for k in kept & set(row)} == {k: was[k] for k in kept & set(was)}


def test_only_the_last_two_copies_are_kept_and_nothing_else_is_touched(tmp_path: Path) -> None:
    path = make_old(tmp_path / "merkwacht.db", EARLIER[-1])
    for name in ("before-0003", "before-0005", "before-0007", "before-christmas", "replaced-0001"):
        (tmp_path / f"merkwacht.db.{name}").touch()
    (tmp_path / "other.db.before-0002").touch()
    Store(path).close()
    assert copies(path) == [
        "merkwacht.db.before-0007",
        f"merkwacht.db.before-{HEAD}",
        "merkwacht.db.before-christmas",
        "other.db.before-0002",
    ]
    assert (tmp_path / "merkwacht.db.replaced-0001").exists()


def test_a_database_that_is_new_or_current_is_not_copied(tmp_path: Path) -> None:
    Store(tmp_path / "merkwacht.db").close()
    Store(tmp_path / "merkwacht.db").close()
    assert [each.name for each in tmp_path.iterdir()] == ["merkwacht.db"]


def test_without_room_for_a_copy_nothing_is_upgraded(tmp_path: Path) -> None:
    path = make_old(tmp_path / "merkwacht.db", EARLIER[-1])
    os.truncate(path, shutil.disk_usage(tmp_path).total)  # mostly a hole
    with pytest.raises(StoreError, match=r"half of it for a copy .* make room"):
        Store(path)
    assert sql(path, "SELECT version_num FROM alembic_version") == [(EARLIER[-1],)]
    assert copies(path) == []


def test_what_is_damaged_is_not_upgraded(tmp_path: Path) -> None:
    path = make_old(tmp_path / "merkwacht.db", EARLIER[-1])
    sql(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    root = sql(path, "SELECT rootpage FROM sqlite_master WHERE name = 'mention'")[0][0]
    with path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(b"\xa5" * 4096)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"damaged|not a readable"):
        Store(path)
    assert path.read_bytes() == before
    assert copies(path) == []


def test_a_downgrade_is_refused_and_names_the_copy_to_go_back_to(tmp_path: Path) -> None:
    path = make_old(tmp_path / "merkwacht.db", EARLIER[-1])
    Store(path).close()
    # As a newer program would have left it: its own copy is of our schema.
    shutil.copy(path, tmp_path / "merkwacht.db.before-9001")
    shutil.copy(path, tmp_path / "merkwacht.db.before-9002")
    for newer in ("merkwacht.db", "merkwacht.db.before-9002"):
        sql(tmp_path / newer, "UPDATE alembic_version SET version_num = '9001'")
    with pytest.raises(StoreError, match=r"schema 9001.*merkwacht restore .*\.before-9001$"):
        Store(path)
    for each in copies(path):
        (tmp_path / each).unlink()
    with pytest.raises(StoreError, match="restore a backup from before the upgrade"):
        Store(path)

"""Clocks, escalation, silences and groups: what an incident needs until it is over."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from monitor.tables import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BURNING = "state IN ('open', 'acknowledged')"
LOOKED_AFTER = "next_look_at IS NOT NULL"
UNFINISHED = "ended_at IS NULL"
HELD_BACK = "reason = 'silenced'"


def _word(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(), nullable=False, server_default=sa.text("''"))


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    _widen()
    _clocks_and_silences()
    _news()
    _evidence_and_outages()
    # What burns is looked at once, so that it gets its clocks and its next moment.
    op.execute(
        "UPDATE incident SET next_look_at = opened_at WHERE state IN ('open', 'acknowledged')"
    )


def _widen() -> None:
    op.add_column("incident", sa.Column("next_look_at", UtcDateTime(), nullable=True))
    op.add_column("incident", sa.Column("assigned_to", sa.String(), nullable=True))
    op.add_column("incident", sa.Column("reviewed_at", UtcDateTime(), nullable=True))
    op.add_column("incident", sa.Column("merged_into", sa.Integer(), nullable=True))
    op.add_column("incident", _flag("drill"))
    op.create_index(
        "ix_incident_mates", "incident", ["brand", "subject"], sqlite_where=sa.text(BURNING)
    )
    op.create_index(
        "ix_incident_next_look_at",
        "incident",
        ["next_look_at"],
        sqlite_where=sa.text(LOOKED_AFTER),
    )
    for column in (_word("receiver"), _word("page"), _word("reason")):
        op.add_column("incident_event", column)
    op.add_column("incident_event", sa.Column("level", sa.Integer(), nullable=True))
    op.add_column("incident_event", sa.Column("digest", sa.String(), nullable=True))
    for column in (_word("reason"), _word("page"), _flag("drill")):
        op.add_column("notification", column)
    op.add_column("notification", sa.Column("failover_of", sa.String(), nullable=True))
    op.create_index(
        "ix_decision_held_back", "decision", ["incident_id"], sqlite_where=sa.text(HELD_BACK)
    )


def _clocks_and_silences() -> None:
    op.create_table(
        "clock",
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("stopped_at", UtcDateTime(), nullable=True),
        sa.Column("acknowledged_at", UtcDateTime(), nullable=True),
        sa.Column("first_statement_at", UtcDateTime(), nullable=True),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("resolved_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("incident_id", "name", "started_at"),
    )
    op.create_index(
        "ix_clock_unfinished", "clock", ["incident_id"], sqlite_where=sa.text(UNFINISHED)
    )
    op.create_table(
        "silence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("brand", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("story", sa.String(), nullable=False),
        sa.Column("up_to", sa.Integer(), nullable=False),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_silence_ends_at", "silence", ["ends_at"])


def _news() -> None:
    op.create_table(
        "notification_about",
        sa.Column("notification_id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("page", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["notification_id"], ["notification.id"]),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("notification_id", "incident_id"),
    )
    op.create_index("ix_notification_about_incident_id", "notification_about", ["incident_id"])
    op.create_table(
        "news_group",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("next_look_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(
        "ix_news_group_next_look_at",
        "news_group",
        ["next_look_at"],
        sqlite_where=sa.text(LOOKED_AFTER),
    )
    op.create_table(
        "waiting",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("page", sa.String(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["group_key"], ["news_group.key"]),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_waiting_group_key", "waiting", ["group_key"])
    op.create_index("ix_waiting_incident_id", "waiting", ["incident_id"])


def _evidence_and_outages() -> None:
    op.create_table(
        "evidence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.Integer(), nullable=False),
        sa.Column("mention_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_evidence_incident_id", "evidence", ["incident_id"])
    op.create_index("ix_evidence_mention_id", "evidence", ["mention_id"])
    op.create_table(
        "outage",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("told", UtcDateTime(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("channel"),
    )


def downgrade() -> None:
    for table in (
        "outage",
        "evidence",
        "waiting",
        "news_group",
        "notification_about",
        "silence",
        "clock",
    ):
        op.drop_table(table)
    # What the older program does not know was not delivered either.
    op.execute("UPDATE notification SET state = 'dead' WHERE state = 'withdrawn'")
    op.drop_index("ix_decision_held_back", "decision")
    op.drop_index("ix_incident_next_look_at", "incident")
    op.drop_index("ix_incident_mates", "incident")
    for table, columns in (
        ("incident", ("next_look_at", "assigned_to", "reviewed_at", "merged_into", "drill")),
        ("incident_event", ("receiver", "page", "reason", "level", "digest")),
        ("notification", ("reason", "page", "drill", "failover_of")),
    ):
        for column in columns:
            op.drop_column(table, column)

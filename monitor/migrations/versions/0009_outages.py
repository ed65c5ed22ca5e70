"""Outages of channels with all there is to tell of them; next of a lane found without its rest."""

import sqlalchemy as sa
from alembic import op

from monitor.tables import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nothing was ever written into it: it gets its columns in one go.
    op.drop_table("outage")
    op.create_table(
        "outage",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("down", sa.Boolean(), nullable=False),
        sa.Column("failed_at", UtcDateTime(), nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.Column("given_up", sa.Integer(), nullable=False),
        sa.Column("fault", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("told", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("channel"),
    )
    op.drop_index("ix_notification_lane", "notification")
    op.create_index(
        "ix_notification_lane",
        "notification",
        ["aside", "channel", "receiver", "id"],
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_notification_aside",
        "notification",
        ["next_attempt_at"],
        sqlite_where=sa.text("state = 'pending' AND aside = 1"),
    )
    op.create_index(
        "ix_notification_dead", "notification", ["id"], sqlite_where=sa.text("state = 'dead'")
    )
    op.create_index(
        "ix_notification_failover_of",
        "notification",
        ["failover_of"],
        sqlite_where=sa.text("failover_of IS NOT NULL"),
    )


def downgrade() -> None:
    for name in ("lane", "aside", "dead", "failover_of"):
        op.drop_index(f"ix_notification_{name}", "notification")
    op.create_index(
        "ix_notification_lane",
        "notification",
        ["receiver", "channel", "id"],
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.drop_table("outage")
    op.create_table(
        "outage",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("told", UtcDateTime(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("channel"),
    )

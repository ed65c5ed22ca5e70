"""Why a source was not heard, and when its canary was last seen."""

import sqlalchemy as sa
from alembic import op

from monitor.tables import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("fault", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_dark_ended_at", "dark", ["ended_at"])
    op.create_index(
        "ix_dark_lasting",
        "dark",
        ["source"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
    )
    op.add_column("source", sa.Column("canary_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("source", "canary_at")
    op.drop_table("dark")

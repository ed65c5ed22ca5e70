"""The intake: what is pushed to sources, kept until it was read."""

import sqlalchemy as sa
from alembic import op

from monitor.tables import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "intake",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source", "identity"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_intake_received_at", "intake", ["received_at"])
    op.create_index(
        "ix_intake_waiting", "intake", ["source", "id"], sqlite_where=sa.text("body IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_table("intake")

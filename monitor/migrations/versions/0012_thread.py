"""The conversation a post belongs to; what a source may keep for a shorter time is found quickly."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mention", sa.Column("thread", sa.String(), nullable=True))
    op.create_index("ix_mention_source_seen_at", "mention", ["source", "seen_at"])


def downgrade() -> None:
    op.drop_index("ix_mention_source_seen_at", "mention")
    op.drop_column("mention", "thread")

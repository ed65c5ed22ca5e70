"""Pictures that wait to be read, and what was read in them."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mention", sa.Column("pictured", sa.String(), nullable=True))
    op.create_table(
        "picture",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("mention_id", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mention.id"], ondelete="CASCADE"),
        sa.UniqueConstraint("mention_id", "url"),
    )
    op.create_index("ix_picture_due_at", "picture", ["due_at"])


def downgrade() -> None:
    op.drop_index("ix_picture_due_at", "picture")
    op.drop_table("picture")
    op.drop_column("mention", "pictured")

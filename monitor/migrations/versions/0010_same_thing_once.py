"""The same thing once: stories under several keys, copies of articles, edits as versions, deletions."""

import sqlalchemy as sa
from alembic import op

from monitor.tables import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mention_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mention_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("said_from", UtcDateTime(), nullable=False),
        sa.Column("replaced_at", UtcDateTime(), nullable=False),
        sa.Column("assessment", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["mention_id"], ["mention.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_mention_version_mention_id", "mention_version", ["mention_id"])
    op.create_table(
        "sighting",
        sa.Column("mention_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("post_id", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mention.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mention_id", "source", "post_id"),
    )
    op.create_table(
        "story_anchor",
        sa.Column("brand", sa.String(), nullable=False),
        sa.Column("anchor", sa.String(), nullable=False),
        sa.Column("mention_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["mention_id"], ["mention.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("brand", "anchor"),
    )
    op.create_index("ix_story_anchor_mention_id", "story_anchor", ["mention_id"])
    # Stories so far have one key each; it leads to the first who told them.
    op.execute(
        "INSERT INTO story_anchor (brand, anchor, mention_id)"
        " SELECT brand, story, min(id) FROM mention GROUP BY brand, story"
    )
    op.add_column("mention", sa.Column("page", sa.String(), nullable=True))
    op.add_column("mention", sa.Column("edited_at", UtcDateTime(), nullable=True))
    op.add_column(
        "mention", sa.Column("versions", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("mention", sa.Column("deleted_at", UtcDateTime(), nullable=True))
    op.create_index(
        "ix_mention_page", "mention", ["page", "brand"], sqlite_where=sa.text("page IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_mention_page", "mention")
    for column in ("deleted_at", "versions", "edited_at", "page"):
        op.drop_column("mention", column)
    op.drop_table("story_anchor")
    op.drop_table("sighting")
    op.drop_table("mention_version")

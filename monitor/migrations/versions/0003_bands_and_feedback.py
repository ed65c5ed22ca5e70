"""Bands of leaks, and people's judgements."""

import sqlalchemy as sa
from alembic import op

from monitor.tables import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("assessment") as batch_op:
        batch_op.add_column(sa.Column("leak_band", sa.String(), nullable=True))
        batch_op.alter_column("leak_category", new_column_name="leak_likely")
    # What was assessed before bands existed was never put up for review.
    op.execute("UPDATE assessment SET leak_band = CASE WHEN leak THEN 'escalate' ELSE 'low' END")
    with op.batch_alter_table("assessment") as batch_op:
        batch_op.alter_column("leak_band", existing_type=sa.String(), nullable=False)
        batch_op.drop_column("leak")
    with op.batch_alter_table("assessment") as batch_op:
        batch_op.create_index(
            "ix_assessment_notable",
            ["leak_band", "mention_id"],
            unique=False,
            sqlite_where=sa.text("leak_band <> 'low'"),
        )

    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mention_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("judged_by", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=True),
        sa.Column("sentiment", sa.String(), nullable=True),
        sa.Column("abuse", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("band", sa.String(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["mention_id"], ["mention.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("feedback") as batch_op:
        batch_op.create_index(batch_op.f("ix_feedback_mention_id"), ["mention_id"], unique=False)


def downgrade() -> None:
    op.drop_table("feedback")
    with op.batch_alter_table("assessment") as batch_op:
        batch_op.drop_index("ix_assessment_notable", sqlite_where=sa.text("leak_band <> 'low'"))
        batch_op.add_column(sa.Column("leak", sa.Boolean(), nullable=True))
    # A likely category in the band of review was none where only two bands were known.
    op.execute("UPDATE assessment SET leak = leak_band = 'escalate'")
    op.execute("UPDATE assessment SET leak_likely = 'none' WHERE leak_band <> 'escalate'")
    with op.batch_alter_table("assessment") as batch_op:
        batch_op.alter_column("leak", existing_type=sa.Boolean(), nullable=False)
        batch_op.alter_column("leak_likely", new_column_name="leak_category")
        batch_op.drop_column("leak_band")

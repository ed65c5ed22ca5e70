"""What messages say goes once it is old: an index of those that still say something."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_notification_worded",
        "notification",
        ["created_at"],
        sqlite_where=sa.text("message <> '{}'"),
    )


def downgrade() -> None:
    op.drop_index("ix_notification_worded", "notification")

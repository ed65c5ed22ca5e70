"""A message about very many incidents is put together slice by slice: how far that is, beside its group."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_BACK = """
INSERT INTO waiting (group_key, incident_id, receiver, channel, event, reason, severity, since, page)
SELECT news_group.key, about.incident_id, news_group.receiver, news_group.channel, about.event,
    about.reason, incident.severity, about.since, about.page
FROM news_group
JOIN notification_about AS about ON about.notification_id = news_group.gathering
JOIN incident ON incident.id = about.incident_id
"""
_UNFINISHED = "(SELECT id FROM notification WHERE state = 'gathering')"


def upgrade() -> None:
    op.add_column("news_group", sa.Column("gathering", sa.Integer(), nullable=True))
    op.add_column(
        "news_group", sa.Column("upto", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column(
        "news_group", sa.Column("asked", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.drop_index("ix_waiting_group_key", "waiting")
    op.create_index("ix_waiting_group_key_incident_id", "waiting", ["group_key", "incident_id"])


def downgrade() -> None:
    # What was being put together waits again: an older program begins anew.
    op.execute(_BACK)
    op.execute(
        f"DELETE FROM notification_about WHERE notification_id IN {_UNFINISHED}"  # noqa: S608 - written above
    )
    op.execute("DELETE FROM notification WHERE state = 'gathering'")
    op.drop_index("ix_waiting_group_key_incident_id", "waiting")
    op.create_index("ix_waiting_group_key", "waiting", ["group_key"])
    for name in ("asked", "upto", "gathering"):
        op.drop_column("news_group", name)

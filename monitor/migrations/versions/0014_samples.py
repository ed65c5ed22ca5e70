"""Which posts a message shows: what it shows of them goes when they go."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_SHOWING = sa.text(
    "SELECT notification.id, notification.message, incident.brand FROM notification "
    "JOIN incident ON incident.id = notification.incident_id "
    "WHERE json_array_length(notification.message, '$.samples') > 0 AND notification.id > :after "
    "ORDER BY notification.id LIMIT 200"
)
_SHOWN = sa.text(
    "SELECT id FROM mention WHERE brand = :brand AND published_at BETWEEN :first AND :last "
    "AND platform = :platform AND deleted_at IS NULL AND (:url IS NULL OR url = :url) "
    "ORDER BY id LIMIT 1"
)
_CHANGE = sa.text("UPDATE notification SET message = :message WHERE id = :id")
_NOTE = sa.text("INSERT OR IGNORE INTO notification_sample VALUES (:id, :mention)")


def upgrade() -> None:
    op.create_table(
        "notification_sample",
        sa.Column("notification_id", sa.Integer(), nullable=False),
        sa.Column("mention_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["notification_id"], ["notification.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("notification_id", "mention_id"),
    )
    op.create_index("ix_notification_sample_mention_id", "notification_sample", ["mention_id"])
    _find_shown()


def _find_shown() -> None:
    """Give each excerpt the number of its post; excerpts of posts that are gone go as well."""
    connection, after = op.get_bind(), 0
    while rows := connection.execute(_SHOWING, {"after": after}).all():
        for number, text, brand in rows:
            after, message, kept = number, json.loads(text), []
            for sample in message["samples"]:
                moment = sample["published_at"][:19].replace("T", " ")
                wanted = {"first": moment, "last": f"{moment}.999999", "url": sample.get("url")}
                wanted |= {"brand": brand, "platform": sample["platform"]}
                mention = connection.execute(_SHOWN, wanted).scalar()
                if mention is not None:
                    kept.append({**sample, "mention_id": mention})
                    connection.execute(_NOTE, {"id": number, "mention": mention})
            message["more_samples"] += len(message["samples"]) - len(kept)
            message["samples"] = kept
            connection.execute(_CHANGE, {"id": number, "message": json.dumps(message)})


def downgrade() -> None:
    op.drop_index("ix_notification_sample_mention_id", "notification_sample")
    op.drop_table("notification_sample")

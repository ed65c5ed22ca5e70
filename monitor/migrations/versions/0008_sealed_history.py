"""The history of incidents becomes a chain, and nobody changes it by mistake."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from alerts.ledger import EMPTY, Head, Line, digest

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STAYS = "SELECT RAISE(ABORT, 'the history of incidents is only ever appended to'); END"

TRIGGERS = (
    f"CREATE TRIGGER incident_event_unchanged BEFORE UPDATE ON incident_event BEGIN {STAYS}",
    f"CREATE TRIGGER incident_event_kept BEFORE DELETE ON incident_event BEGIN {STAYS}",
    """CREATE TRIGGER incident_event_not_replaced BEFORE INSERT ON incident_event
    WHEN EXISTS (SELECT 1 FROM incident_event WHERE id = NEW.id) BEGIN
    SELECT RAISE(ABORT, 'the history of incidents is only ever appended to'); END""",
    """CREATE TRIGGER evidence_kept BEFORE DELETE ON evidence BEGIN
    SELECT RAISE(ABORT, 'evidence is overwritten when its time has come, never deleted'); END""",
    """CREATE TRIGGER evidence_unchanged BEFORE UPDATE ON evidence
    WHEN NEW.id <> OLD.id OR NEW.incident_id <> OLD.incident_id
    OR NEW.mention_id <> OLD.mention_id OR NEW.at <> OLD.at OR NEW.digest <> OLD.digest BEGIN
    SELECT RAISE(ABORT, 'of evidence only the content may go'); END""",
)

LINES = (
    "SELECT id, incident_id, at, actor, event, note, receiver, page, reason, level"
    " FROM incident_event ORDER BY id"
)


def upgrade() -> None:
    _seal()
    with op.batch_alter_table("incident_event") as batch_op:
        batch_op.alter_column("digest", existing_type=sa.String(), nullable=False)
    op.create_index(
        "ix_incident_merged_into",
        "incident",
        ["merged_into"],
        sqlite_where=sa.text("merged_into IS NOT NULL"),
    )
    for trigger in TRIGGERS:
        op.execute(trigger)


def _seal() -> None:
    """What was written before there was a chain becomes its beginning, as it stands now."""
    connection = op.get_bind()
    head, sealed = EMPTY, []
    for number, incident, at, *rest in connection.execute(sa.text(LINES)):
        moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
        carried = digest(head.digest, Line(number, incident, moment, *rest))
        sealed.append({"id": number, "digest": carried})
        head = Head(head.lines + 1, carried)
    if sealed:
        connection.execute(
            sa.text("UPDATE incident_event SET digest = :digest WHERE id = :id"), sealed
        )
    connection.execute(
        sa.text("INSERT INTO meta (key, value) VALUES ('history_head', :head)"),
        {"head": str(head)},
    )


def downgrade() -> None:
    for table, names in (
        ("incident_event", ("unchanged", "kept", "not_replaced")),
        ("evidence", ("kept", "unchanged")),
    ):
        for name in names:
            op.execute(f"DROP TRIGGER {table}_{name}")
    op.drop_index("ix_incident_merged_into", "incident")
    with op.batch_alter_table("incident_event") as batch_op:
        batch_op.alter_column("digest", existing_type=sa.String(), nullable=True)
    op.execute("DELETE FROM meta WHERE key IN ('history_head', 'evidence_head')")

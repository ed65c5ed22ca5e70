"""Alembic's entry: runs the migrations on the connection that ``monitor.database`` hands over."""

from typing import Any

from alembic import context
from sqlmodel import SQLModel

import monitor.tables

target_metadata = SQLModel.metadata


def render_item(kind: str, item: Any, _autogen: Any) -> str | bool:
    """Write our and SQLModel's types the short way into new migrations."""
    if kind == "type" and isinstance(item, monitor.tables.UtcDateTime):
        return "UtcDateTime()"
    if kind == "type" and type(item).__name__ == "AutoString":
        return "sa.String()"
    return False


connection = context.config.attributes.get("connection")
if connection is None:
    message = "migrations run when the daemon opens its database; see CONTRIBUTING.md for new ones"
    raise SystemExit(message)
context.configure(
    connection=connection,
    target_metadata=target_metadata,
    render_as_batch=True,
    transactional_ddl=True,
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()

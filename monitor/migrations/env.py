"""Alembic's entry: runs the migrations on the connection that ``monitor.database`` hands over."""

from alembic import context
from sqlmodel import SQLModel

import monitor.tables

target_metadata = SQLModel.metadata
assert monitor.tables  # noqa: S101 - imported for its tables

connection = context.config.attributes.get("connection")
if connection is None:
    message = "migrations run when the daemon opens its database; see CONTRIBUTING.md for new ones"
    raise SystemExit(message)
context.configure(
    connection=connection,
    target_metadata=target_metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

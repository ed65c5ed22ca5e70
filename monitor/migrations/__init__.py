"""Alembic migrations: every schema the store ever had, and the way from each to the next."""

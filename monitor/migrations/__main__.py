"""Writes a new migration from the difference between the tables and the newest schema.

For contributors: ``python -m monitor.migrations "what changes"``. Read and mend what it writes, then
raise ``HEAD`` in ``monitor/database.py``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

FOLDER = Path(__file__).parent


def main() -> int:
    """Write the migration; returns the exit status."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):  # noqa: PLR2004
        sys.stderr.write('usage: python -m monitor.migrations "what changes"\n')
        return 2
    number = len(list((FOLDER / "versions").glob("[0-9]*.py"))) + 1
    with tempfile.TemporaryDirectory() as folder:
        engine = sqlalchemy.create_engine(f"sqlite:///{folder}/empty.db")
        with engine.connect() as connection:
            config = Config()
            config.set_main_option("script_location", str(FOLDER))
            config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            command.revision(config, sys.argv[1], autogenerate=True, rev_id=f"{number:04d}")
        engine.dispose()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

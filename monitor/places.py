"""Where configuration and database of an installation lie. Light, so that completion may ask, too."""

from __future__ import annotations

import os
from pathlib import Path

SEARCH_PATH = (Path("config.toml"), Path("/etc/merkwacht/config.toml"))
SYSTEM_FOLDER = Path("/etc/merkwacht")
SYSTEM_STATE = Path("/var/lib/merkwacht")


def configuration(given: Path | None) -> Path | None:
    """The configuration to use: given, ``$MERKWACHT_CONFIG``, or the first of the usual places.

    None where none of those exists.
    """
    if given is not None:
        return given
    named = os.environ.get("MERKWACHT_CONFIG")
    if named:
        return Path(named)
    return next((candidate for candidate in SEARCH_PATH if _is_there(candidate)), None)


def _is_there(candidate: Path) -> bool:
    """Whether a file is where it is looked for. Raises PermissionError: one may not look."""
    try:
        return candidate.is_file()
    except PermissionError:
        # Of the folder that one stands in nobody spoke: root's own, after `sudo -u merkwacht`.
        if candidate.is_absolute():
            raise
        return False


def database(path: Path, configured_in: Path) -> Path:
    """The absolute path to the database: one that is relative counts from its place."""
    if path.is_absolute():
        return path
    folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    base = Path(folder) if folder else configured_in.absolute().parent
    if not folder and base == SYSTEM_FOLDER:
        # A command beside the service: the service's database, not a second one in /etc.
        base = SYSTEM_STATE
    return base / path

"""``backup`` and ``restore``: a consistent copy while the daemon runs, and the way back."""

# Typer reads commands from signatures; a flag is a boolean with a default there.
# ruff: noqa: FBT002

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.frame import EXIT_FAILURES, ConfigOption, explained, fail, load, progress, say

_STEPS = 1000


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; nothing may be there.")],
    without_key: Annotated[
        bool,
        typer.Option("--without-key", help="Leave the pseudonym key out; back it up elsewhere."),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Copy the database to FILE while the daemon runs, and the pseudonym key to FILE.key.

    The copy is as the database was at one moment, and is checked before it gets its name. Who has
    both files can find out who is behind a pseudonym: keep them as you would keep the database, or
    keep the key elsewhere (--without-key).

    Example: merkwacht backup /backup/merkwacht-2026-11-22.db
    """
    from monitor.backup import back_up, key_of  # noqa: PLC0415
    from monitor.copying import in_words  # noqa: PLC0415

    with explained():
        database = load(config)[1].store.path
        with progress("copying", _STEPS) as bar:
            made = back_up(
                database, file, with_key=not without_key, told=lambda part: bar(part * _STEPS)
            )
    say(f"{made.path}: {in_words(made.size)}, schema {made.schema}, checked")
    if made.key is not None:
        say(f"{made.key}: the pseudonym key, for your eyes only (mode 0600)")
    elif made.lacks_key:
        fail(
            f"merkwacht: {key_of(database)}: the pseudonym key is missing, so it is not in the "
            "backup, and without it the backup cannot be used: find it",
            EXIT_FAILURES,
        )
    elif without_key:
        say(f"Without the pseudonym key: keep {key_of(database)} elsewhere, or nobody can use this")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    key: Annotated[
        Path | None,
        typer.Option(help="Its pseudonym key.", show_default="FILE.key, else the one in place"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Put a backup in the place of the database. Only while no daemon runs.

    What was there is kept beside it as NAME.replaced-MOMENT. An older backup is upgraded; one of a
    newer Merkwacht is refused. What came in since the backup is not in it: sources that can be asked
    again for the time in between are.

    Example: systemctl stop merkwacht && merkwacht restore /backup/merkwacht-2026-11-22.db
    """
    from monitor.app import hold  # noqa: PLC0415
    from monitor.backup import restore as put_back  # noqa: PLC0415
    from monitor.database import HEAD  # noqa: PLC0415

    with explained():
        database = load(config)[1].store.path
        with hold(database), progress("copying", _STEPS) as bar:
            done = put_back(
                file,
                database,
                now=datetime.now(UTC),
                key=key,
                told=lambda part: bar(part * _STEPS),
            )
    say(f"{done.path}: restored from {file}")
    if done.schema != HEAD:
        say(f"It was upgraded from schema {done.schema} to {HEAD}")
    if done.key is not None:
        say(f"{done.key}: the pseudonym key that belongs to it")
    if done.aside is not None:
        say(f"What was there: {done.aside}; delete it when all is well")

"""``vacuum``: write the database anew, so that its file is small and shrinks by itself from then on."""

from __future__ import annotations

from monitor.commands.frame import ConfigOption, explained, load, say


def vacuum(config: ConfigOption = None) -> None:
    """Write the database anew, without empty room. Only while no daemon runs.

    Needed once for a database that an early version made: since then the daemon gives room back by
    itself. Takes up to half a minute a gigabyte, and twice the room of the database beside it.

    Example: systemctl stop merkwacht && sudo -u merkwacht merkwacht vacuum
    """
    from monitor.app import hold  # noqa: PLC0415
    from monitor.copying import in_words  # noqa: PLC0415
    from monitor.database import vacuum as write_anew  # noqa: PLC0415

    with explained():
        database = load(config)[1].store.path
        with hold(database):
            before, after = write_anew(database)
    say(f"{database}: {in_words(before)} before, {in_words(after)} now")

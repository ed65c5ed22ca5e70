"""What is looked at before anything starts: who may read our files, and what the network may.

Tells at every start, so that nobody lives with a hole that was meant for an afternoon.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monitor import modes
from monitor.config import Config, ConfigError, Problem
from monitor.exposure import exposures
from monitor.log import logger


def guard(file: Path, config: Config) -> None:
    """Refuse secrets that everybody may read, mend the modes of our files, warn of the rest.

    Args:
        file: the configuration, as it is on disk.
        config: the same, read.

    Raises:
        ConfigError: it holds secrets in clear, and everybody on this machine may read it.
    """
    loose = list(modes.of_configuration(file))
    if fatal := [each for each in loose if each.fatal]:
        raise ConfigError(
            file, [Problem("(file)", f"{each.what}; {each.remedy}") for each in fatal]
        )
    mended, left = modes.mend(config.store.path)
    _warn(config, [*loose, *left])
    for each in mended:
        logger("security").warning("mended", what=each.what, mode="taken from others")


def foreseen(file: Path, config: Config) -> Iterator[str]:
    """What a start would refuse or warn of, a line each: for whoever checks a configuration."""
    for each in modes.of_configuration(file):
        when = "; the daemon does not start before that is mended" if each.fatal else ""
        yield f"{each.what}{when}: {each.remedy}"
    for found in exposures(config):
        yield f"{found.where}: {found.what}: {found.remedy}"


def warn(file: Path, config: Config) -> None:
    """Warn of what is open; refuse and mend nothing: for a daemon that reads its configuration anew."""
    _warn(config, [*modes.of_configuration(file), *modes.of_state(config.store.path)])


def _warn(config: Config, loose: list[modes.Loose]) -> None:
    log = logger("security")
    for each in loose:
        log.warning("readable", what=each.what, remedy=each.remedy)
    for found in exposures(config):
        log.warning("exposed", key=found.where, what=found.what, remedy=found.remedy)

"""Which Merkwacht this is. Light: ``--version`` loads nothing else."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The version of this program."""
    try:
        return version("merkwacht")
    except PackageNotFoundError:  # run from a bare checkout
        return "0"

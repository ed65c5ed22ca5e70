"""Connectors that other packages bring: found through the entry points ``merkwacht.connectors``.

A package that is installed beside the program adds a kind of source; its class is held to the protocol
when it is loaded. One that cannot be loaded harms nothing until a configuration asks for its kind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from connectors.base import Connector
from connectors.options import Options

GROUP = "merkwacht.connectors"
"""The group of entry points; the name of each is the kind of source."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A kind that a package announces and that cannot be used."""

    kind: str
    package: str
    """Name and version of who announces it."""
    why: str
    """One clause that says what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the installed packages bring."""

    connectors: dict[str, type[Connector]] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    """Per kind: name and version of the package."""
    broken: dict[str, Broken] = field(default_factory=dict)


def discover(taken: Collection[str], found: Iterable[EntryPoint] | None = None) -> Found:
    """Load the connectors that other packages announce.

    Args:
        taken: kinds that are built in: nobody else may stand in their place.
        found: the entry points to look at; those of the installed packages by default.
    """
    result = Found()
    announced = entry_points(group=GROUP) if found is None else found
    for entry in sorted(announced, key=lambda each: (each.name, _package(each))):
        package = _package(entry)
        if entry.name in taken:
            why = "a kind of this name is built in; the package has to choose another name"
        elif entry.name in result.packages:
            why = f"{result.packages[entry.name]} announces it as well; uninstall one of them"
            result.connectors.pop(entry.name, None)
        else:
            connector, why = _load(entry)
            if connector is not None:
                result.connectors[entry.name] = connector
                result.packages[entry.name] = package
                continue
        result.broken[entry.name] = Broken(entry.name, package, why)
    return result


def _load(entry: EntryPoint) -> tuple[type[Connector] | None, str]:
    try:
        loaded: Any = entry.load()
    except Exception as error:  # noqa: BLE001 - whatever a stranger's module raises on import is its own affair
        return None, f"{entry.value} cannot be loaded ({type(error).__name__}: {error})"
    problem = problem_with(loaded, entry.name)
    return (None, problem) if problem else (loaded, "")


def problem_with(connector: Any, kind: str) -> str:
    """What keeps an object from being the connector of a kind; empty when nothing does."""
    name = getattr(connector, "__name__", repr(connector))
    if not isinstance(connector, type):
        return f"{name} is no class"
    if getattr(connector, "kind", None) != kind:
        return f'{name}.kind has to be "{kind}", as the entry point says'
    options = getattr(connector, "Options", None)
    if not (isinstance(options, type) and issubclass(options, Options)):
        return f"{name}.Options has to be a subclass of connectors.options.Options"
    missing = [each for each in ("fetch", "close") if not callable(getattr(connector, each, None))]
    return f"{name} has no method {missing[0]}" if missing else ""


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "unknown"

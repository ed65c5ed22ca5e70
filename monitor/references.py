"""Where a configuration refers to something by its name: who is told, by which chain, when.

Works on the raw tables of a file that may be wrong in many places, and gives every reference it can
find with its path, so that each name that means nothing is told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Reference = tuple[str, str, str]
"""Path of the key, the table it refers to, and the name given there."""

_ROUTE = {"brands": "brands", "receivers": "receivers", "sources": "sources", "rules": "rules"}
_CHAIN = ("when_nobody_answers", "stale_receivers")


def references(data: Mapping[str, Any]) -> Iterator[Reference]:
    """Every name in the file that refers to something of the same file, or to a rule."""
    for path, source in tables(data, "sources"):
        yield from _names(source, path, "brands", "brands")
    for path, receiver in tables(data, "receivers"):
        for place, via in tables(receiver, "channels", path):
            yield from _name(via, place, "use", "channels")
    heartbeat = data.get("heartbeat")
    if isinstance(heartbeat, dict):
        yield from _names(heartbeat, "heartbeat", "daily_to", "receivers")
    yield from _routes(data, "")
    for path, clock in tables(data, "clocks"):
        yield from _names(clock, path, "rules", "rules")
    for path, chain in tables(data, "escalations"):
        for key in _CHAIN:
            yield from _names(chain, path, key, "receivers")
        for place, step in tables(chain, "steps", path):
            yield from _names(step, place, "receivers", "receivers")
            yield from _name(step, place, "rota", "rotas")
    for path, rota in tables(data, "rotas"):
        for key in ("shifts", "overrides"):
            for place, turn in tables(rota, key, path):
                yield from _names(turn, place, "receivers", "receivers")


def _routes(within: Mapping[str, Any], around: str) -> Iterator[Reference]:
    for path, route in tables(within, "routes", around):
        for key, table in _ROUTE.items():
            yield from _names(route, path, key, table)
        # Within a route, an empty name takes the chain away that the route around it has.
        if route.get("escalation"):
            yield from _name(route, path, "escalation", "escalations")
        yield from _routes(route, path)


def tables(
    within: Mapping[str, Any], key: str, around: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables of an array with their paths; what is no table is passed over."""
    value = within.get(key)
    prefix = f"{around}.{key}" if around else key
    for number, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield f"{prefix}[{number}]", item


def _names(table: Mapping[str, Any], path: str, key: str, target: str) -> Iterator[Reference]:
    values = table.get(key)
    for place, name in enumerate(values if isinstance(values, list) else []):
        if isinstance(name, str):
            yield f"{path}.{key}[{place}]", target, name


def _name(table: Mapping[str, Any], path: str, key: str, target: str) -> Iterator[Reference]:
    name = table.get(key)
    if isinstance(name, str):
        yield f"{path}.{key}", target, name

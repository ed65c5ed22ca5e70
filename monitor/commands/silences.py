"""``silence add|list|expire``: muting what is known already, and what that mutes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TextIO
from zoneinfo import ZoneInfo

from alerts.base import Incident
from alerts.plain import one_line
from alerts.silences import Silence, problem_with
from monitor.commands.incidents import By
from monitor.config import Config
from monitor.store import Store, Unit
from monitor.store.incidents import RefusedError
from monitor.store.silences import KeptSilence


def add(store: Store, settings: Config, wanted: Silence, now: datetime) -> list[str]:
    """Keep a silence; says what it mutes.

    Raises:
        RefusedError: it goes further than the configuration allows, or has no reason or end.
    """
    problem = problem_with(wanted, settings.silences, now)
    if problem is not None:
        raise RefusedError(problem)
    with store.write() as unit:
        kept = unit.silences.add(wanted, now)
        muted = _muted(unit, kept)
        unit.incidents.look([incident.id for incident in muted], now)
    zone = ZoneInfo(settings.timezone)
    return [
        f"silence {kept.id} until {_when(kept.ends_at, zone)}: {_matchers(kept)}",
        *_about(muted, "mutes"),
    ]


def expire(store: Store, number: int, by: By) -> list[str]:
    """End a silence now.

    Raises:
        RefusedError: there is none of that number, or it is over.
    """
    with store.write() as unit:
        kept = unit.silences.get(number)
        if kept is None:
            raise RefusedError(f"there is no silence {number}")
        muted = _muted(unit, kept.silence) if kept.silence.starts_at <= by.now else []
        if not unit.silences.expire(number, by.who, by.now):
            raise RefusedError(f"silence {number} is over already")
        unit.incidents.look([incident.id for incident in muted], by.now)
    return [f"silence {number} is over", *_about(muted, "is heard again:")]


def story_of(store: Store, number: int) -> str:
    """The story of an incident, to mute that and nothing else.

    Raises:
        RefusedError: there is no such incident, or it is about none or several.
    """
    with store.read() as unit:
        incident = unit.incidents.get(number)
        if incident is None:
            raise RefusedError(f"there is no incident {number}")
        stories = unit.incidents.target(incident).stories
    if len(stories) != 1:
        count = "no story" if not stories else f"{len(stories)} stories"
        raise RefusedError(
            f"incident {number} is about {count}; name a brand, a kind or a source instead"
        )
    return next(iter(stories))


def show_list(
    store: Store, sink: TextIO, timezone: str, *, now: datetime, ended: bool, as_json: bool
) -> None:
    """Write the silences, for people or as JSON Lines."""
    with store.read() as unit:
        found = unit.silences.all(since=None if ended else now)
        muted = {
            each.silence.id: [incident.id for incident in _muted(unit, each.silence)]
            for each in found
            if each.silence.starts_at <= now < each.silence.ends_at
        }
    if as_json:
        sink.writelines(
            json.dumps(_as_json(each, muted.get(each.silence.id, [])), ensure_ascii=False) + "\n"
            for each in found
        )
        return
    zone = ZoneInfo(timezone)
    for each in found:
        sink.writelines(f"{line}\n" for line in _lines(each, muted, zone))
    if not found:
        sink.write("No silences.\n")


def _lines(each: KeptSilence, muted: dict[int, list[int]], zone: ZoneInfo) -> list[str]:
    silence = each.silence
    over = f", ended by {each.ended_by}" if each.ended_by else ""
    span = f"{_when(silence.starts_at, zone)} to {_when(silence.ends_at, zone)}"
    lines = [
        f"{silence.id}  {span}{over}: {_matchers(silence)}",
        f"   {silence.author}: {one_line(silence.reason, 300)}",
    ]
    if numbers := muted.get(silence.id):
        lines.append(f"   mutes incident {', '.join(str(number) for number in numbers)}")
    return lines


def _muted(unit: Unit, silence: Silence) -> list[Incident]:
    """What burns and is covered, whenever: what begins later mutes later."""
    return [
        incident
        for incident in unit.incidents.burning(silence.brand or None)
        if silence.matches(unit.incidents.target(incident))
    ]


def _about(muted: list[Incident], verb: str) -> list[str]:
    lines = [
        f"{verb} incident {each.id}: {each.kind.value}, {each.severity.word}, "
        f"{each.brand or 'no brand'}, {each.state.value}"
        for each in muted
    ]
    return lines or ["no incident that burns is affected"]


def _matchers(silence: Silence) -> str:
    parts = [
        f"{name} {value}"
        for name, value in (
            ("brand", silence.brand),
            ("kind", silence.kind.value if silence.kind else ""),
            ("source", silence.source),
            ("story", silence.story[:12]),
        )
        if value
    ]
    return ", ".join([*parts, f"up to {silence.up_to.word}"])


def _as_json(each: KeptSilence, muted: list[int]) -> dict[str, object]:
    silence = each.silence
    return {
        "id": silence.id,
        "author": silence.author,
        "reason": silence.reason,
        "created_at": each.created_at.isoformat(),
        "starts_at": silence.starts_at.isoformat(),
        "ends_at": silence.ends_at.isoformat(),
        "ended_by": each.ended_by,
        "brand": silence.brand or None,
        "kind": silence.kind.value if silence.kind else None,
        "source": silence.source or None,
        "story": silence.story or None,
        "up_to": silence.up_to.word,
        "mutes": muted,
    }


def _when(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")

"""``incidents …``: what is going on, taking it, seeing it through, and accounting for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TextIO
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from alerts.base import Event, Incident, IncidentState
from alerts.history import Entry, Happened
from alerts.ledger import Head
from alerts.links import LinkMaker
from alerts.playbooks import attached, find_step, is_confidential, key, names, playbook, ticks
from monitor.announcing import Announcer, rulebook_of
from monitor.app import build_brand, build_links, open_pseudonyms
from monitor.config import Config
from monitor.database import StoreError
from monitor.dossier import Evaluation, gather
from monitor.dossier_pages import as_json, as_markdown, as_text
from monitor.log import logger
from monitor.metrics import Metrics
from monitor.store import Store, Unit
from monitor.store.incidents import RefusedError

FORMATS = {"text": as_text, "md": as_markdown, "json": as_json}

_MILESTONES = {
    Happened.FIRST_STATEMENT: "the first statement",
    Happened.ANSWERED: "the answer",
}


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, and when."""

    who: str
    now: datetime


def show_list(
    store: Store,
    sink: TextIO,
    timezone: str,
    *,
    limit: int,
    as_json: bool,
    state: IncidentState | None = None,
) -> None:
    """Write the newest incidents, as a table or JSON Lines."""
    with store.read() as unit:
        found = unit.incidents.latest(limit, state=state)
        lives = {each.id: unit.incidents.life(each.id) for each in found}
    merged = {number: life.merged_into for number, life in lives.items() if life is not None}
    if as_json:
        sink.writelines(
            json.dumps(_as_json(incident, merged.get(incident.id)), ensure_ascii=False) + "\n"
            for incident in found
        )
        return
    zone = ZoneInfo(timezone)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("no", "opened", "severity", "kind", "brand", "state", "taken by"):
        # On a narrow screen words wrap; a number that is cut short could not be acted on.
        whole = name in ("no", "opened", "severity", "state")
        justify: Literal["right", "left"] = "right" if name == "no" else "left"
        table.add_column(name, justify=justify, no_wrap=whole, overflow="fold")
    for incident in found:
        into = merged.get(incident.id)
        table.add_row(
            str(incident.id),
            _when(incident.opened_at, zone),
            incident.severity.word,
            f"{incident.kind.value} (drill)" if incident.drill else incident.kind.value,
            incident.brand or "-",
            f"part of {into}" if into else incident.state.value,
            incident.acknowledged_by or "-",
        )
    Console(file=sink, highlight=False, markup=False).print(table if found else "No incidents yet.")


def show_one(
    store: Store,
    sink: TextIO,
    timezone: str,
    number: int,
    *,
    language: str = "en",
    form: str = "text",
    now: datetime,
    unmasked_by: By | None = None,
    reason: str = "",
) -> bool:
    """Write the dossier of an incident; False when there is none of that number.

    Args:
        store: of the incident.
        sink: where to.
        timezone: of the times.
        number: of the incident.
        language: ``nl`` or ``en``.
        form: a key of :data:`FORMATS`.
        now: the present.
        unmasked_by: who wants to read posts as they were. It goes into the history, with the reason,
            before anything is shown.
        reason: why.
    """
    if unmasked_by is not None:
        with store.write() as unit:
            if unit.incidents.get(number) is None:
                return False
            entry = Entry(unmasked_by.now, Happened.SHOWN, unmasked_by.who)
            unit.incidents.append(number, entry, note=reason)
    with store.read() as unit:
        dossier = gather(
            unit,
            number,
            language=language,
            timezone=timezone,
            now=now,
            unmasked=unmasked_by is not None,
        )
    if dossier is None:
        return False
    sink.write(FORMATS[form](dossier))
    return True


# -- taking it -------------------------------------------------------------------------------------


def acknowledge(store: Store, settings: Config, number: int, by: By, note: str) -> str:
    """Take an incident; those who were told of it may know that they need not.

    Raises:
        RefusedError: there is none of that number, or it is not open.
    """
    announcer = announcer_of(settings, store)
    with store.write() as unit:
        incident = _incident(unit, number)
        if not unit.incidents.acknowledge(number, by.who, by.now, note):
            taken = f" (taken by {incident.acknowledged_by})" if incident.acknowledged_by else ""
            raise RefusedError(f"incident {number} is {incident.state.value} already{taken}")
        unit.flush()
        announcer.taken(unit, _incident(unit, number), by.now)
    return f"incident {number} is yours, {by.who}"


def release(store: Store, settings: Config, number: int, by: By, note: str) -> str:
    """Give an incident back; whoever heard that it was taken hears that it is not. Raises RefusedError."""
    announcer = announcer_of(settings, store)
    with store.write() as unit:
        incident = _incident(unit, number)
        unit.incidents.release(number, by.who, by.now, note)
        unit.flush()
        announcer.given_back(unit, incident, by.now)
    return f"incident {number} is open again; those who were told of it will hear"


def assign(store: Store, number: int, whom: str, by: By, note: str) -> str:
    """Give an incident to somebody. Raises RefusedError."""
    with store.write() as unit:
        unit.incidents.assign(number, whom, by.who, by.now, note)
        open_still = _incident(unit, number).state is IncidentState.OPEN
    rest = "; it stays open until somebody takes it" if open_still else ""
    return f"incident {number} is assigned to {whom}{rest}"


# -- seeing it through -----------------------------------------------------------------------------


def add_note(store: Store, number: int, text: str, by: By, step: str = "") -> str:
    """Write a note into the history, about a step of a playbook where one is named.

    Raises:
        RefusedError: there is no such incident or step.
    """
    with store.write() as unit:
        about = _step(unit, number, step) if step else ""
        unit.incidents.record(number, Happened.NOTED, by.who, by.now, text, about=about)
    return f"noted in incident {number}"


def tick(store: Store, number: int, step: str, by: By, note: str, *, undo: bool) -> str:
    """Tick a step of a playbook off, or take a tick back.

    Raises:
        RefusedError: there is no such incident or step, it stands so already, or a step that
            concerns a colleague comes without a reason.
    """
    with store.write() as unit:
        about = _step(unit, number, step)
        done = ticks(unit.incidents.entries(number)).get(about)
        if undo and done is None:
            raise RefusedError(f"{about} of incident {number} is not ticked off")
        if not undo and done is not None:
            raise RefusedError(f"{about} of incident {number} was ticked off by {done.who} already")
        if is_confidential(key(about)) and not note.strip():
            raise RefusedError(f"{about} is documented with its reason: add --note")
        what = Happened.UNTICKED if undo else Happened.TICKED
        unit.incidents.record(number, what, by.who, by.now, note, about=about)
    return f"{about} of incident {number} is {'open again' if undo else 'done'}"


def attach(store: Store, number: int, name: str, by: By, note: str) -> str:
    """Attach a playbook besides the one that an incident has by its kind. Raises RefusedError."""
    if name not in names():
        raise RefusedError(f'there is no playbook "{name}"; there are {", ".join(names())}')
    with store.write() as unit:
        incident = _incident(unit, number)
        if name in attached(incident.kind, unit.incidents.entries(number)):
            raise RefusedError(f"incident {number} has the playbook {name} already")
        unit.incidents.record(number, Happened.PLAYBOOK, by.who, by.now, note, about=name)
    return f"incident {number} has the playbook {name} now: {playbook(name, 'en').title}"


def milestone(store: Store, number: int, what: Happened, by: By, note: str) -> str:
    """Record that the first statement or the answer went out. Raises RefusedError."""
    with store.write() as unit:
        unit.incidents.record(number, what, by.who, by.now, note)
    return f"{_MILESTONES[what]} of incident {number} is recorded"


def resolve(store: Store, settings: Config, number: int, by: By, note: str) -> str:
    """End an incident; those who were told of it hear that it is over. Raises RefusedError."""
    announcer = announcer_of(settings, store)
    with store.write() as unit:
        incident = _incident(unit, number)
        if not unit.incidents.resolve(number, by.who, by.now, note):
            raise RefusedError(f"incident {number} is {incident.state.value} already")
        _tell(unit, announcer, number, Event.RESOLVED, by.now)
    return f"incident {number} is resolved; those who were told of it will hear"


def reopen(store: Store, settings: Config, number: int, by: By, note: str) -> str:
    """It was not over after all; those who are told of such an incident hear it. Raises RefusedError."""
    announcer = announcer_of(settings, store)
    with store.write() as unit:
        unit.incidents.reopen(number, by.who, by.now, note)
        _tell(unit, announcer, number, Event.OPENED, by.now)
    return f"incident {number} is open again"


def review(store: Store, number: int, evaluation: Evaluation, by: By) -> str:
    """Close an incident with what was learnt.

    Raises:
        RefusedError: it is not resolved, or the evaluation does not say both what worked and what
            did not.
    """
    if not evaluation.worked.strip() or not evaluation.did_not.strip():
        raise RefusedError("an incident is closed with what worked and what did not")
    with store.write() as unit:
        unit.incidents.review(number, by.who, by.now, evaluation.text())
    return f"incident {number} is reviewed"


def merge(
    store: Store, settings: Config, number: int, others: Sequence[int], by: By, *, note: str = ""
) -> str:
    """Let other incidents become part of one. All of them or none. Raises RefusedError."""
    announcer = announcer_of(settings, store)
    with store.write() as unit:
        graver = False
        for other in others:
            graver = unit.incidents.merge(number, other, by.who, by.now, note)[1] or graver
        if graver:
            _tell(unit, announcer, number, Event.WORSENED, by.now)
    said = " and ".join(str(other) for other in others)
    return f"incident {said} {'is' if len(others) == 1 else 'are'} part of incident {number} now"


# -- accounting for it -----------------------------------------------------------------------------


def verify(store: Store, sink: TextIO, noted: Sequence[str]) -> list[str]:
    """Go through the whole history and all evidence; gives what does not fit, empty when all does.

    Args:
        store: of the history.
        sink: gets one line for each chain that fits, with the head to note down.
        noted: heads that were noted earlier, as ``history 12:9f86…`` without the first word.

    Raises:
        ValueError: what was noted is not a head.
    """
    heads = [Head.read(text.removeprefix("history").removeprefix("evidence")) for text in noted]
    found = []
    with store.read() as unit:
        verified = {
            "history": unit.incidents.chain.verify(),
            "evidence": unit.incidents.evidence.verify(),
        }
        for name, result in verified.items():
            if result.flaw is not None:
                where = f" (incident {result.flaw.incident_id})" if result.flaw.incident_id else ""
                found.append(f"{name}: {result.flaw.why}{where}")
            else:
                sink.write(f"{name} {result.head}\n")
        for head in heads:
            chains = (unit.incidents.chain, unit.incidents.evidence)
            if not any(chain.verify(head).passed for chain in chains):
                found.append(
                    f"the head {head} that was noted earlier is part of neither chain: "
                    "what stood there was written anew"
                )
    return found


def announcer_of(settings: Config, store: Store) -> Announcer:
    """What tells people, as the daemon tells them: with links and buttons."""
    with store.read() as unit:
        installation = unit.fact("installation") or ""
    return _announcer(settings, installation, _links(settings, store))


def _links(settings: Config, store: Store) -> LinkMaker | None:
    """What makes links; None where the key cannot be read: that somebody acts matters more."""
    try:
        return build_links(settings, open_pseudonyms(store))
    except StoreError as error:
        logger("incidents").warning("told_without_links", error=str(error))
        return None


def _incident(unit: Unit, number: int) -> Incident:
    incident = unit.incidents.get(number)
    if incident is None:
        raise RefusedError(f"there is no incident {number}")
    return incident


def _step(unit: Unit, number: int, wanted: str) -> str:
    """The id of a step of an incident's playbooks. Raises RefusedError."""
    incident = _incident(unit, number)
    try:
        return find_step(wanted, attached(incident.kind, unit.incidents.entries(number)))
    except KeyError as error:
        raise RefusedError(str(error.args[0])) from None


def _tell(unit: Unit, announcer: Announcer, number: int, event: Event, now: datetime) -> None:
    """Put into the outbox what must be said of it, in the same transaction."""
    unit.flush()
    announcer.tell(unit, _incident(unit, number), event, now)


def _announcer(settings: Config, installation: str, links: LinkMaker | None = None) -> Announcer:
    handles = {item.name: build_brand(item).handles for item in settings.brands}
    rulebook = rulebook_of(settings, handles)
    metrics = Metrics(CollectorRegistry())
    return Announcer(rulebook, installation=installation, metrics=metrics, links=links)


def _as_json(incident: Incident, merged_into: int | None) -> dict[str, object]:
    return {
        "id": incident.id,
        "brand": incident.brand,
        "kind": incident.kind.value,
        "severity": incident.severity.word,
        "state": incident.state.value,
        "opened_at": incident.opened_at.isoformat(),
        "acknowledged_by": incident.acknowledged_by,
        "merged_into": merged_into,
        "drill": incident.drill,
    }


def _when(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")

"""What has happened to an incident, in order: the one thing that clocks and escalation remember by.

The store appends, nothing here does. Entries later than the moment asked about have not happened yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from alerts.base import IncidentState, Reason


class Happened(StrEnum):
    """Kinds of entries: a closed set, the word that the history table keeps."""

    OPENED = "opened"
    WORSENED = "worsened"
    CONTINUES = "continues"
    ACKNOWLEDGED = "acknowledged"
    RELEASED = "released"
    """Who had taken it gave it back."""
    ASSIGNED = "assigned"
    NOTED = "noted"
    TICKED = "ticked"
    """A line of the playbook was ticked off."""
    UNTICKED = "unticked"
    """It was ticked off by mistake."""
    PLAYBOOK = "playbook"
    """A further playbook was attached."""
    FIRST_STATEMENT = "first_statement"
    ANSWERED = "answered"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    REVIEWED = "reviewed"
    MERGED = "merged"
    """Another incident became part of it. That one is resolved."""
    FORGOTTEN = "forgotten"
    """Its evidence was deleted, its time having come."""
    SHOWN = "shown"
    """Somebody looked at evidence as it was posted, and said why."""
    TOLD = "told"
    """A notification was put into the outbox."""
    PASSED = "passed"
    """A step of a chain was passed over."""


ACTIVITY = frozenset(
    {
        Happened.ACKNOWLEDGED,
        Happened.ASSIGNED,
        Happened.NOTED,
        Happened.TICKED,
        Happened.UNTICKED,
        Happened.PLAYBOOK,
        Happened.MERGED,
        Happened.FIRST_STATEMENT,
        Happened.ANSWERED,
    }
)
"""Signs that somebody is at work on it."""

_BEGINNINGS = frozenset({Happened.OPENED, Happened.RELEASED, Happened.REOPENED})
_ENDINGS = frozenset({Happened.RESOLVED, Happened.REVIEWED})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an incident's history."""

    at: datetime
    what: Happened
    who: str = ""
    """Who did it; of ``TOLD``: the receiver."""
    page: str = ""
    """Of ``TOLD`` and ``PASSED``: the key of the page or of the clock's call. Of notes, ticks and
    playbooks: what of a playbook they are about, as ``playbook:crisis.convene``."""
    reason: Reason | None = None
    """Of ``TOLD`` and ``PASSED``: why."""
    level: int | None = None
    """Of ``TOLD`` and ``PASSED``: the step of the chain, counted from 0."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an incident stands, as its history tells."""

    state: IncidentState
    since: datetime
    """When it last began: opened, reopened or given back."""
    beginning: int
    """How many times it has begun."""
    taken_by: str = ""
    active_at: datetime | None = None
    """The last sign that somebody was at work on it, since it was taken."""


def until(history: Iterable[Entry], now: datetime) -> list[Entry]:
    """What has happened by now, in order of time; at one moment in the order given."""
    return sorted((entry for entry in history if entry.at <= now), key=lambda entry: entry.at)


def standing(history: Iterable[Entry], now: datetime) -> Standing | None:
    """How an incident stands; None before it was opened."""
    found: Standing | None = None
    for entry in until(history, now):
        found = _after(found, entry)
    return found


def _after(was: Standing | None, entry: Entry) -> Standing | None:
    if entry.what in _BEGINNINGS:
        return _begun(was, entry)
    if was is None:
        return None
    if entry.what in _ENDINGS:
        reviewed = entry.what is Happened.REVIEWED
        return replace(was, state=IncidentState.REVIEWED if reviewed else IncidentState.RESOLVED)
    if entry.what is Happened.ACKNOWLEDGED and was.state is IncidentState.OPEN:
        return replace(
            was, state=IncidentState.ACKNOWLEDGED, taken_by=entry.who, active_at=entry.at
        )
    if entry.what in ACTIVITY and was.state is IncidentState.ACKNOWLEDGED:
        assigned = entry.what is Happened.ASSIGNED and entry.who
        return replace(was, taken_by=entry.who if assigned else was.taken_by, active_at=entry.at)
    return was


def _begun(was: Standing | None, entry: Entry) -> Standing | None:
    # What is open already does not begin anew: its chain goes on where it is. Only what somebody
    # has can be given back.
    open_already = was is not None and was.state is IncidentState.OPEN
    taken = was is not None and was.state is IncidentState.ACKNOWLEDGED
    if open_already or (entry.what is Happened.RELEASED and not taken):
        return was
    return Standing(IncidentState.OPEN, entry.at, (was.beginning if was else 0) + 1)


def keys(history: Iterable[Entry]) -> set[str]:
    """The keys of all pages there ever were, also those a clock set back calls future."""
    return {entry.page for entry in history if entry.page}


def told_with(history: Sequence[Entry], key: str) -> datetime | None:
    """When the page with that key was planned; None if it never was."""
    return min((entry.at for entry in history if entry.page == key), default=None)

"""Where people act on an incident from outside: by a link in a mail, by a button in Slack.

Any thread may ask; what is read and written happens in the main thread, in one transaction, so two
people who press at the same moment do not both get it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerts.base import Event, Incident, IncidentState, Message, Reason
from alerts.links import Action, Links, Ticket
from alerts.message import Exhibit, compose, with_links
from alerts.plain import one_line
from monitor.announcing import Announcer, Rulebook
from monitor.inbox import Inbox
from monitor.log import logger
from monitor.metrics import Metrics
from monitor.store import Store, Unit

PATIENCE_SECONDS = 20.0
"""How long one who asks waits for the main thread."""
NAME_LIMIT = 60
EXHIBITS = 60
"""How many of an incident's latest mentions are looked at to choose the samples."""

_OVER = frozenset({IncidentState.RESOLVED, IncidentState.REVIEWED})
_WORD = re.compile(r"\w")
_PROGRAM = "merkwacht"


class Way(StrEnum):
    """How somebody acted: a closed set, the word in history, logs and metrics."""

    LINK = "link"
    SLACK = "slack"


class Outcome(StrEnum):
    """What came of it: a closed set, the word in logs and metrics."""

    DONE = "done"
    ALREADY = "already"
    """Somebody was first, or it is over."""
    UNKNOWN = "unknown"
    """There is no such incident any more, or the ticket is for another one of its number."""


@dataclass(frozen=True, slots=True)
class Step:
    """Who brought an incident to where it is, and when."""

    who: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """An incident as the holder of a ticket sees it: in words, masked."""

    incident: Incident
    message: Message
    taken: Step | None
    resolved: Step | None

    @property
    def over(self) -> bool:
        """Whether nothing is left to be done about it."""
        return self.incident.state in _OVER


class Desk:
    """Shows incidents to those who hold a ticket, and does what they ask.

    Args:
        store: of incidents.
        inbox: into the main thread.
        links: reads tickets.
        rulebook: receivers and their languages.
        announcer: tells those who were told that somebody took it, or that it is over.
        metrics: count what is done.
        now: the clock.
        changed: called in the main thread after something was done: there may be news to deliver.
    """

    def __init__(
        self,
        *,
        store: Store,
        inbox: Inbox,
        links: Links,
        rulebook: Rulebook,
        announcer: Announcer,
        metrics: Metrics,
        now: Callable[[], datetime],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.links = links
        self._store = store
        self._inbox = inbox
        self._rules = rulebook
        self._announcer = announcer
        self._metrics = metrics
        self._now = now
        self._changed = changed
        for way in Way:
            for action in (Action.TAKE, Action.RESOLVE):
                for outcome in (Outcome.DONE, Outcome.ALREADY):
                    metrics.actions.labels(way.value, action.name.lower(), outcome.value)
        self._log = logger("desk")

    @property
    def now(self) -> datetime:
        """The present."""
        return self._now()

    @property
    def language(self) -> str:
        """In which to speak to those of whom nothing is known."""
        return self._rules.language

    def show(self, ticket: Ticket) -> Case | None:
        """The incident of a ticket as it is now; None when there is none.

        Raises:
            StoppedError: the daemon ends.
            LateError: the main thread is at something else for too long.
            StoreError: the store is out of order.
        """

        def look() -> Case | None:
            with self._store.read() as unit:
                incident = _named(unit, ticket)
                return None if incident is None else self._case(unit, incident, ticket)

        return self._inbox.ask(look, seconds=PATIENCE_SECONDS)

    def act(
        self, ticket: Ticket, action: Action, who: str, way: Way
    ) -> tuple[Outcome, Case | None]:
        """Take an incident, or end it. What it says afterwards comes along.

        Args:
            ticket: names the incident.
            action: TAKE or RESOLVE.
            who: in whose name: see :func:`name_of`.
            way: how it came.

        Raises:
            ValueError: another action.
            StoppedError, LateError, StoreError: nothing was done; see :meth:`show`.
        """
        if action not in (Action.TAKE, Action.RESOLVE):
            raise ValueError(f"{action.name} changes nothing")

        def do() -> tuple[Outcome, Case | None]:
            with self._store.write() as unit:
                incident = _named(unit, ticket)
                if incident is None:
                    return Outcome.UNKNOWN, None
                done = self._do(unit, incident, action, who, way)
                unit.flush()
                case = self._case(unit, _named(unit, ticket) or incident, ticket)
            outcome = Outcome.DONE if done else Outcome.ALREADY
            self._note(case.incident, action, way, outcome)
            return outcome, case

        return self._inbox.ask(do, seconds=PATIENCE_SECONDS)

    def _do(self, unit: Unit, incident: Incident, action: Action, who: str, way: Way) -> bool:
        now, take = self._now(), action is Action.TAKE
        change = unit.incidents.acknowledge if take else unit.incidents.resolve
        if not change(incident.id, who, now, way.value):
            return False
        unit.flush()
        changed = unit.incidents.get(incident.id) or incident
        if take:
            self._announcer.taken(unit, changed, now)
        else:
            self._announcer.tell(unit, changed, Event.RESOLVED, now)
        return True

    def _note(self, incident: Incident, action: Action, way: Way, outcome: Outcome) -> None:
        word = action.name.lower()
        self._metrics.actions.labels(way.value, word, outcome.value).inc()
        self._log.info(
            "acted", incident=incident.id, action=word, way=way.value, outcome=outcome.value
        )
        if outcome is Outcome.DONE:
            self._changed()

    def _case(self, unit: Unit, incident: Incident, ticket: Ticket) -> Case:
        names = [receiver.name for receiver in self._rules.receivers]
        receiver = self.links.receiver_of(ticket, names)
        return Case(
            incident,
            self._describe(unit, incident, receiver),
            taken=_last(unit, incident, ("acknowledged", "assigned"), incident.acknowledged_by),
            resolved=_last(unit, incident, ("resolved",), None)
            if incident.state in _OVER
            else None,
        )

    def _describe(self, unit: Unit, incident: Incident, receiver: str | None) -> Message:
        """The incident in the words of a message to this receiver."""
        languages = {each.name: each.language for each in self._rules.receivers}
        pairs, total = unit.incidents.exhibits(incident.id, EXHIBITS)
        over = incident.state in _OVER
        message = compose(
            incident,
            Event.RESOLVED if over else Event.OPENED,
            Reason.RESOLVED if over else Reason.OPENED,
            signals=unit.incidents.signals(incident.id),
            exhibits=[Exhibit(mention, assessment) for mention, assessment in pairs],
            total_mentions=total,
            language=languages.get(receiver or "") or self._rules.language,
            timezone=self._rules.timezone,
            keep_handles=self._rules.handles.get(incident.brand, frozenset()),
        )
        return with_links(message, self.links, incident, receiver or "", self._now())


def name_of(text: str) -> str | None:
    """Whom to name in the history; None when the text is no name, or the program's own."""
    name = one_line(text, NAME_LIMIT)
    return name if _WORD.search(name) and name.casefold() != _PROGRAM else None


def _named(unit: Unit, ticket: Ticket) -> Incident | None:
    """The incident of a ticket, unless its number stands for another one now."""
    incident = unit.incidents.get(ticket.incident_id)
    return incident if incident is not None and ticket.is_for(incident) else None


def _last(unit: Unit, incident: Incident, events: Sequence[str], who: str | None) -> Step | None:
    """The last line of the history that says one of these things; ``who`` where somebody else counts."""
    lines = [each for each in unit.incidents.history(incident.id) if each.event in events]
    if not lines:
        return None
    return Step(who or lines[-1].actor, lines[-1].at)

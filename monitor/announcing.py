"""From signals to incidents, and to those who are to be told, inside one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from alerts.base import Event, Incident, Reason, Signal
from alerts.clocks import begin, clocks_for
from alerts.escalation import who_may_rest
from alerts.history import Happened, standing
from alerts.incidents import Joined, correlate, subject_of
from alerts.links import LinkMaker
from alerts.routes import Decision, Told, plan, rules_of
from monitor.log import logger, some
from monitor.metrics import Metrics
from monitor.store import Unit
from monitor.telling import MANY, Round, Rulebook, Teller, rulebook_of

__all__ = ["Announcement", "Announcer", "Rulebook", "incident_from", "rulebook_of"]

_GRAVEST = (Event.RESOLVED, Event.OPENED, Event.WORSENED, Event.CONTINUES)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What happened to one incident, for logs and screens."""

    incident: Incident
    event: Event
    decisions: tuple[Decision, ...]
    title: str
    """Of the first message that left at once; empty when none did."""


@dataclass(slots=True)
class _Happened:
    """What a batch of signals did to one incident."""

    incident: Incident
    event: Event | None
    mentions: set[int]


class Announcer:
    """Turns signals into incidents, and what happened to them into news."""

    def __init__(
        self,
        rulebook: Rulebook,
        *,
        installation: str,
        metrics: Metrics,
        links: LinkMaker | None = None,
        many: int = MANY,
    ) -> None:
        self.teller = Teller(
            rulebook, installation=installation, metrics=metrics, links=links, many=many
        )
        """What the rulebook says; makes rounds."""
        self._rules = rulebook
        self._metrics = metrics
        self._log = logger("announce")

    def announce(self, unit: Unit, signals: Iterable[Signal], now: datetime) -> list[Announcement]:
        """Let new signals join incidents and put what must be said into the outbox.

        Signals found before are passed over. Several signals of one incident give one message.
        """
        happened: dict[int, _Happened] = {}
        found = list(signals)
        known_keys = unit.incidents.known_signals([each.key for each in found])
        shared = unit.incidents.shared({subject_of(each) for each in found})
        round_ = self.teller.round(unit, now)
        for signal in found:
            if signal.key in known_keys:
                continue
            known_keys.add(signal.key)
            incident, event = self._place(round_, signal, shared)
            if not incident.drill:
                self._metrics.signals.labels(signal.brand, signal.kind.value).inc()
            self._start_clocks(round_, incident, signal)
            known = happened.setdefault(incident.id, _Happened(incident, None, set()))
            known.incident, known.event = incident, _graver(known.event, event)
            known.mentions |= set(signal.mention_ids)
        told = [
            (each, self._tell(round_, each.incident, each.event, each.mentions))
            for each in happened.values()
            if each.event is not None
        ]
        for each, _ in told:
            # What no silence covers any more says so in the same message.
            round_.tell_again(each.incident)
        round_.flush()
        return [
            self._announcement(each.incident, each.event, decisions, round_, each.mentions)
            for each, decisions in told
            if each.event is not None
        ]

    def _place(
        self, round_: Round, signal: Signal, shared: set[str]
    ) -> tuple[Incident, Event | None]:
        unit, now, subject = round_.unit, round_.now, subject_of(signal)
        mates = unit.incidents.mates(signal.brand, subject) if subject in shared else []
        placed = correlate(signal, mates, now=now)
        if not isinstance(placed, Joined):
            incident = unit.incidents.open(incident_from(signal, placed.subject), now)
            shared.add(subject)
            round_.born(incident.id)
            if not signal.drill:
                self._metrics.incidents_opened.labels(signal.kind.value).inc()
            return unit.incidents.join(incident.id, signal, now), placed.event
        incident = unit.incidents.join(placed.incident.id, signal, now)
        if (incident.kind, incident.severity) != (placed.incident.kind, placed.incident.severity):
            incident = unit.incidents.worsen(
                incident.id, placed.incident.kind, placed.incident.severity, now
            )
        return incident, placed.event

    def _start_clocks(self, round_: Round, incident: Incident, signal: Signal) -> None:
        """Start the promises that this signal makes due and that do not run already."""
        rules = rules_of(signal)
        started = clocks_for(self._rules.clocks, rules=rules, severity=incident.severity)
        if not started:
            return
        runs = list(round_.clocks(incident.id))
        for options in started:
            if options.name not in {run.name for run in runs}:
                clock = begin(options, self.teller.calendar, round_.now)
                rule = next(each for each in options.rules if each in rules)
                runs.append(round_.unit.following.start(incident.id, clock, rule))
                round_.unit.incidents.look([incident.id], round_.now)
        round_.keep_clocks(incident.id, runs)

    def tell(self, unit: Unit, incident: Incident, event: Event, now: datetime) -> Announcement:
        """Route one event of an incident: it ended, it was reopened, it became graver."""
        round_ = self.teller.round(unit, now)
        decisions = self._tell(round_, incident, event, ())
        round_.flush()
        return self._announcement(incident, event, decisions, round_)

    def taken(self, unit: Unit, incident: Incident, now: datetime) -> Announcement:
        """Somebody took it: whoever was told since it began may know that they need not.

        To be called in the transaction that acknowledges it.
        """
        return self._reassure(unit, incident, Reason.TAKEN, now)

    def given_back(self, unit: Unit, incident: Incident, now: datetime) -> Announcement:
        """Who took it gave it back: whoever heard that somebody is at it must hear that nobody is.

        To be called in the transaction that releases it, with the incident as it was taken.
        """
        return self._reassure(unit, incident, Reason.GIVEN_BACK, now)

    def _reassure(
        self, unit: Unit, incident: Incident, reason: Reason, now: datetime
    ) -> Announcement:
        round_ = self.teller.round(unit, now)
        decisions = []
        for receiver, channel in self._listeners(round_, incident, reason):
            ruled = round_.news(incident, Event.CONTINUES, reason, (receiver, channel))
            via = self.teller.via(receiver, channel)
            sent = ruled is reason and via is not None
            decisions.append(Decision(receiver, via, send=sent, reason=ruled))
        round_.flush()
        return self._announcement(incident, Event.CONTINUES, decisions, round_)

    @staticmethod
    def _listeners(round_: Round, incident: Incident, reason: Reason) -> list[tuple[str, str]]:
        """Who was told of an incident, or of what became part of it, since each last began."""
        found: dict[tuple[str, str], None] = {}
        for number in round_.unit.incidents.family(incident.id):
            history = round_.history(number)
            if reason is Reason.GIVEN_BACK and number == incident.id:
                history = [entry for entry in history if entry.what is not Happened.RELEASED]
            stands = standing(history, round_.now)
            since = stands.since if stands else incident.opened_at
            found |= dict.fromkeys(who_may_rest(round_.unit.outbox.told(number), since))
        return list(found)

    def _tell(
        self, round_: Round, incident: Incident, event: Event, mentions: Iterable[int]
    ) -> list[Decision]:
        decisions = plan(
            incident,
            event,
            routes=self._rules.routes,
            receivers=self._rules.receivers,
            told=self._told(round_, incident, event),
            now=round_.now,
            traits=self.teller.traits(round_.unit, incident),
        )
        about = tuple(mentions)
        for decision in decisions:
            to = (decision.receiver, decision.via.use if decision.via else "")
            if decision.send:
                round_.news(incident, event, decision.reason, to, mentions=about)
            else:
                round_.decide(incident, event, to, send=False, reason=decision.reason.value)
        return decisions

    @staticmethod
    def _told(round_: Round, incident: Incident, event: Event) -> list[Told]:
        """Who was told. That it is over is told to those as well who heard of what became part of it."""
        numbers = [incident.id]
        if event is Event.RESOLVED:
            numbers = round_.unit.incidents.family(incident.id)
        return [each for number in numbers for each in round_.told(number)]

    def _announcement(
        self,
        incident: Incident,
        event: Event,
        decisions: Sequence[Decision],
        round_: Round,
        mentions: Iterable[int] = (),
    ) -> Announcement:
        tell = partial(
            self._log.info,
            "announced",
            incident=incident.id,
            kind=incident.kind.value,
            brand=incident.brand,
            severity=incident.severity.word,
            happened=event.value,
            told=sum(decision.send for decision in decisions),
            reason=sorted({decision.reason.value for decision in decisions}),
            mention=some(mentions),
        )
        round_.unit.afterwards(tell)
        title = round_.titles.get(incident.id, "")
        return Announcement(incident, event, tuple(decisions), title)


def incident_from(signal: Signal, subject: str) -> Signal:
    """The signal as the store opens an incident from it: under the incident's subject."""
    return replace(signal, subject=subject)


def _graver(one: Event | None, other: Event | None) -> Event | None:
    for event in _GRAVEST:
        if event in (one, other):
            return event
    return None

"""What would happen to an incident if nobody answered: the same deciders under a clock that is moved.

Pure: a configuration and an example go in, moments with their reasons come out. Silences and crises
that burn are not looked at: this is what the configuration alone says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts.base import Event, Incident, IncidentState, Reason, Severity, Signal, SignalKind
from alerts.clocks import Call, Clock, ClockOptions, begin, clocks_for
from alerts.due import ask_chain, call_clocks, ways
from alerts.escalation import ChainOptions, Page, Surroundings
from alerts.grouping import APART, GroupOptions, news_of, plan_group
from alerts.history import Entry, Happened
from alerts.holding import Circumstances, Ruling, rule_on
from alerts.routes import (
    RULES,
    Leaf,
    MatchOptions,
    ReceiverOptions,
    Traits,
    matching,
    plan,
    rules_of,
)
from alerts.silences import Target
from alerts.worktime import Calendar
from monitor.config import Config

HORIZON = timedelta(days=14)
"""How far ahead the example is played."""
_LOOKS = 1000
"""How often it is looked at, at most: a chain that is longer is cut there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The example."""

    kind: SignalKind
    severity: Severity
    brand: str
    at: datetime
    language: str | None = None
    source: str | None = None
    rules: tuple[str, ...] = ()
    """Further rules of the policy that fired."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody is told, or a step is passed over."""

    at: datetime
    """When it is decided."""
    receiver: str
    """Empty where a step is passed over."""
    channel: str
    to: tuple[str, ...]
    reason: Reason
    told_at: datetime | None
    """When the message leaves: after quiet hours, or after it has waited for its like. None: never."""
    kept: Reason | None = None
    """Why it does not leave at once: ``QUIET_HOURS`` or ``GROUPED``."""
    level: int | None = None
    """The step of the chain, counted from 0."""
    clock: str = ""
    percent: float | None = None
    """Of the clock, where one calls."""
    route: str = ""
    """The route that says so, where one does."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A receiver, route or clock that has no part in it, and why."""

    name: str
    reason: Reason
    because: str
    """A sentence."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All that would happen."""

    wanted: Wanted
    rules: frozenset[str]
    """What fired."""
    routes: tuple[str, ...]
    """Those that speak for it, in order."""
    chain: str | None
    notices: tuple[Notice, ...]
    """In order of time; the first are those that the routes name."""
    clocks: tuple[Clock, ...]
    others: tuple[Refusal, ...]
    """Receivers that are not told at all, or not by a route."""
    passed_routes: tuple[Refusal, ...]
    passed_clocks: tuple[Refusal, ...]
    ends: Reason | None
    """Why nothing more happens; None where the horizon was reached."""


def rehearse(config: Config, wanted: Wanted) -> Rehearsal:
    """Play an example through.

    Raises:
        ValueError: the example names a brand, source or rule that does not exist; or a clock would
            never end.
    """
    _check(config, wanted)
    play = _Play(config, wanted)
    play.open()
    ends = play.on()
    told = {notice.receiver for notice in play.notices}
    return Rehearsal(
        wanted=wanted,
        rules=play.traits.rules,
        routes=tuple(leaf.name for leaf in play.leaves),
        chain=play.chain.name if play.chain else None,
        notices=tuple(play.notices),
        clocks=tuple(clock for clock, _ in play.clocks),
        others=tuple(_others(config, play, told)),
        passed_routes=tuple(_passed_routes(config.routes, play, "")),
        passed_clocks=tuple(_passed_clocks(config, play)),
        ends=ends,
    )


def _check(config: Config, wanted: Wanted) -> None:
    for option, value, known in (
        ("--brand", wanted.brand, [brand.name for brand in config.brands]),
        ("--source", wanted.source, [source.name for source in config.sources]),
        *(("--rule", rule, RULES) for rule in wanted.rules),
    ):
        if value and value not in known:
            raise ValueError(f"{option}: {value} does not exist; there are {', '.join(known)}")


@dataclass(slots=True)
class _Play:
    """One example on its way."""

    config: Config
    wanted: Wanted
    notices: list[Notice] = field(default_factory=list)
    lines: list[Entry] = field(default_factory=list)
    """Its history."""

    calendar: Calendar = field(init=False)
    around: Surroundings = field(init=False)
    receivers: Mapping[str, ReceiverOptions] = field(init=False)
    incident: Incident = field(init=False)
    traits: Traits = field(init=False)
    leaves: list[Leaf] = field(init=False)
    chain: ChainOptions | None = field(init=False)
    clocks: list[tuple[Clock, ClockOptions]] = field(init=False)

    def __post_init__(self) -> None:
        config, wanted = self.config, self.wanted
        self.calendar = Calendar(config.office)
        self.around = Surroundings(self.calendar, {rota.name: rota for rota in config.rotas})
        self.receivers = {receiver.name: receiver for receiver in config.receivers}
        signal = Signal(
            wanted.kind, wanted.brand, wanted.severity, "", "an example", wanted.at,
            facts={"rules": list(wanted.rules)},
        )  # fmt: skip
        self.incident = Incident(
            id=0,
            brand=wanted.brand,
            kind=wanted.kind,
            severity=wanted.severity,
            state=IncidentState.OPEN,
            subject=signal.subject,
            opened_at=wanted.at,
            last_signal_at=wanted.at,
        )
        self.traits = Traits(
            sources=frozenset({wanted.source} if wanted.source else ()),
            languages=frozenset({wanted.language} if wanted.language else ()),
            rules=rules_of(signal),
        )
        self.leaves = matching(config.routes, self.incident, self.traits)
        named = self.leaves[0].route.escalation if self.leaves else None
        self.chain = next((each for each in config.escalations if each.name == named), None)
        started = clocks_for(config.clocks, rules=self.traits.rules, severity=wanted.severity)
        self.clocks = [(begin(each, self.calendar, wanted.at), each) for each in started]

    @property
    def group(self) -> GroupOptions:
        """How the news of the first route is gathered."""
        return (self.leaves[0].route.group if self.leaves else None) or APART

    def open(self) -> None:
        """What the routes say when it opens."""
        now = self.wanted.at
        self.lines.append(Entry(now, Happened.OPENED, "merkwacht"))
        for decision in plan(
            self.incident,
            Event.OPENED,
            routes=self.config.routes,
            receivers=self.config.receivers,
            told=(),
            now=now,
            traits=self.traits,
        ):
            if decision.via is None or not decision.send:
                continue
            route = ".".join(f"routes[{place}]" for place in decision.path)
            self._tell(
                decision.receiver, decision.via.use, Reason.OPENED, now, event=Event.OPENED,
                route=route,
            )  # fmt: skip

    def on(self) -> Reason | None:
        """Play on until nothing more happens; says why."""
        now, end = self.wanted.at, self.wanted.at + HORIZON
        for _ in range(_LOOKS):
            moments = [call_clocks(self, self.clocks, self.chain, now, self.around)]
            rests: Reason | None = Reason.NO_ROUTE if not self.leaves else None
            if self.chain is not None:
                asked = ask_chain(self, self.chain, now, self.around)
                moments.append(asked.next_at)
                rests = asked.rests
            ahead = [moment for moment in moments if moment is not None and moment > now]
            if not ahead:
                return rests or Reason.NOBODY_ANSWERED
            now = min(ahead)
            if now > end:
                return None
        return None

    # -- what a turn acts on (see alerts.due) --------------------------------------------------

    def history(self) -> Sequence[Entry]:
        """What happened so far."""
        return self.lines

    def note(self, entry: Entry) -> None:
        """Into the history."""
        self.lines.append(entry)

    def page(self, page: Page, call: Call | None) -> None:
        """A notice to each receiver, or that a step is passed over."""
        if not page.send:
            self.notices.append(Notice(page.at, "", "", (), page.reason, None, level=page.level))
        clock, percent = (call.clock, call.percent) if call is not None else ("", None)
        for name, via in ways(page, self.receivers):
            self._tell(
                name, via.use, page.reason, page.at, event=Event.CONTINUES, page=page.key,
                level=page.level, clock=clock, percent=percent,
            )  # fmt: skip

    def remind(self, call: Call) -> None:
        """A notice to those whose message has left."""
        now = self.lines[-1].at
        told = [
            (each.receiver, each.channel)
            for each in self.notices
            if each.told_at is not None and each.told_at <= now
        ]
        for receiver, channel in dict.fromkeys(told):
            self._tell(
                receiver, channel, call.reason, now, event=Event.CONTINUES, page=call.key,
                clock=call.clock, percent=call.percent,
            )  # fmt: skip

    def _tell(
        self,
        receiver: str,
        channel: str,
        reason: Reason,
        now: datetime,
        *,
        event: Event,
        page: str = "",
        level: int | None = None,
        clock: str = "",
        percent: float | None = None,
        route: str = "",
    ) -> None:
        news = news_of(
            self.incident, event, receiver=receiver, channel=channel, reason=reason, now=now,
            page=page,
        )  # fmt: skip
        options = self.receivers[receiver]
        ruled = rule_on(
            news,
            Target(self.incident.brand, self.incident.kind, self.incident.severity),
            Circumstances(self.calendar),
            quiet=options.quiet,
            told_at=None,
            now=now,
        )
        sent = max(
            (
                each.told_at
                for each in self.notices
                if (each.receiver, each.channel) == (receiver, channel)
                and each.told_at is not None
                and bool(each.level is not None or each.clock) == bool(page)
            ),
            default=None,
        )
        moment, kept = ruled.until or now, None
        if ruled.ruling is Ruling.KEEP:
            kept = Reason.QUIET_HOURS
        grouped = plan_group((ruled.news,), self.group, sent_at=sent, now=moment)
        if not grouped.leaves and grouped.next_at is not None:
            moment, kept = grouped.next_at, kept or Reason.GROUPED
        via = next(each for each in options.channels if each.use == channel)
        self.notices.append(
            Notice(
                now, receiver, channel, via.to, reason, moment, kept, level, clock, percent, route
            )
        )


# -- why not ---------------------------------------------------------------------------------------


def mismatches(route: MatchOptions, incident: Incident, traits: Traits) -> list[str]:
    """Why a route is not for an incident, each as a clause; empty when it is."""
    found = []
    if route.kinds and incident.kind not in route.kinds:
        kinds = ", ".join(kind.value for kind in route.kinds)
        found.append(f"it is for {kinds}, this is {incident.kind.value}")
    if incident.severity < route.severity:
        found.append(f"it begins at {route.min_severity}, this is {incident.severity.word}")
    if route.brands and incident.brand not in route.brands:
        found.append(f"it is for {', '.join(route.brands)}, this is about {incident.brand}")
    for name, asked, has in (
        ("found at", route.sources, traits.sources),
        ("in the language", route.languages, traits.languages),
        ("under the rule", route.rules, traits.rules),
    ):
        if asked and has.isdisjoint(asked):
            this = ", ".join(sorted(has)) or "none is given"
            found.append(f"it is for what is {name} {', '.join(asked)}; here: {this}")
    return found


def _passed_routes(routes: Sequence[MatchOptions], play: _Play, around: str) -> Iterator[Refusal]:
    """Routes that do not speak for it, in order, with those within the ones that match."""
    ended = ""
    for place, route in enumerate(routes):
        name = f"{around}routes[{place}]"
        if ended:
            yield Refusal(name, Reason.NO_ROUTE, f"the search ended at {ended}")
            continue
        why = mismatches(route, play.incident, play.traits)
        if why:
            yield Refusal(name, Reason.NO_ROUTE, "; ".join(why))
            continue
        within: Sequence[MatchOptions] = getattr(route, "routes", ())
        yield from _passed_routes(within, play, f"{name}.")
        if any(each.matches(play.incident, play.traits) for each in within):
            yield Refusal(name, Reason.NO_ROUTE, "a route within it speaks in its place")
        if not route.continue_:
            ended = name


def _others(config: Config, play: _Play, told: set[str]) -> Iterator[Refusal]:
    """Receivers that are never told, and the channels that are not used."""
    for receiver in config.receivers:
        if receiver.name not in told:
            yield Refusal(receiver.name, *_why_not(config, play, receiver.name))
        for via in receiver.channels:
            if via.stands_in_for is not None and receiver.name in told:
                yield Refusal(
                    f"{receiver.name} through {via.use}",
                    Reason.STANDING_IN,
                    f"only when {via.stands_in_for} has not delivered for {via.after_minutes:g} minutes",
                )


def _why_not(config: Config, play: _Play, name: str) -> tuple[Reason, str]:
    naming = list(_naming(config.routes, name, ""))
    passed = {each.name: each.because for each in _passed_routes(config.routes, play, "")}
    if play.chain is not None:
        for level, step in enumerate(play.chain.steps):
            if name in step.receivers:
                passed_over = [each for each in play.notices if each.level == level]
                reason = passed_over[0].reason if passed_over else Reason.WRONG_HOURS
                return reason, f"in step {level + 1} of {play.chain.name}, which is passed over"
        if name in play.chain.stale_receivers:
            return Reason.STALE, "only when somebody took it and is not heard of any more"
    for rota in config.rotas:
        used = play.chain is not None and any(step.rota == rota.name for step in play.chain.steps)
        if used and name in rota.everybody:
            return (
                Reason.NOBODY_ON_DUTY,
                f"in the rota {rota.name}, and not on duty when it is asked",
            )
    if not naming:
        return Reason.NO_ROUTE, "no route names it"
    because = [f"{route}: {passed[route]}" for route in naming if route in passed]
    around = [route for route in naming if route not in passed]
    # Within a route that does not match at all, or behind the end of the search.
    because += [
        f"{route}: {passed[outer]}"
        for route in around
        for outer in [next((each for each in passed if route.startswith(f"{each}.")), "")]
        if outer
    ]
    return Reason.NO_ROUTE, "; ".join(because) or "the route that names it does not speak"


def _naming(routes: Sequence[MatchOptions], name: str, around: str) -> Iterator[str]:
    for place, route in enumerate(routes):
        path = f"{around}routes[{place}]"
        named: Sequence[str] | None = getattr(route, "receivers", None)
        if named and name in named:
            yield path
        yield from _naming(getattr(route, "routes", ()), name, f"{path}.")


def _passed_clocks(config: Config, play: _Play) -> Iterator[Refusal]:
    started = {clock.name for clock, _ in play.clocks}
    for clock in config.clocks:
        if clock.name in started:
            continue
        if not play.traits.rules & set(clock.rules):
            because = f"none of its rules fired: {', '.join(clock.rules) or 'it has none'}"
        else:
            severity = play.incident.severity.word
            because = f"it begins at {clock.min_severity}, this is {severity}"
        yield Refusal(clock.name, Reason.NO_ROUTE, because)

"""Who hears of an incident: routes from kind, severity and brand to receivers and their channels.

Pure, and every answer has a named reason: the same word that logs, metrics and messages use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from alerts.base import (
    Event,
    Incident,
    IncidentState,
    Reason,
    Severity,
    SeverityWord,
    Signal,
    SignalKind,
)
from alerts.grouping import GroupOptions
from alerts.quiet import QuietOptions
from connectors.options import Options

POLICY_RULES = (
    "confidential",
    "names",
    "spokesperson",
    "respect",
    "honesty",
    "copyright",
    "covert",
    "own_account",
    "feedback",
    "complaint",
)
"""Rules of the social-media policy that may fire, and what is addressed to the brand."""

RULES = (*(kind.value for kind in SignalKind), *POLICY_RULES)
"""What routes and clocks may name: kinds of signals, and rules of the policy."""

_RULES_OF: Mapping[SignalKind, tuple[str, ...]] = MappingProxyType(
    {
        SignalKind.LEAK: ("confidential",),
        SignalKind.THREAT: ("respect",),
        SignalKind.ABUSE: ("respect",),
        SignalKind.OFFICIAL_ACCOUNT: ("own_account",),
    }
)


class Via(Options):
    """One way to reach a receiver."""

    use: str = Field(min_length=1)
    """Name of a channel."""
    to: tuple[str, ...] = ()
    """Mail addresses or Slack channels; empty where the channel is the address: a webhook."""
    stands_in_for: str | None = None
    """Name of another channel of this receiver: this one is used only when that one does not
    deliver."""
    after_minutes: float = Field(default=10, ge=0, le=1440)
    """How long the other channel has to be out of order before this one stands in."""


class ReceiverOptions(Options):
    """Somebody who can be told: a team, a role."""

    name: str = Field(min_length=1)
    """What routes call it."""
    language: Literal["nl", "en"] | None = None
    """Language of its messages; without it the installation's."""
    channels: tuple[Via, ...] = Field(min_length=1)
    """How to reach it: every channel listed gets every message, save those that stand in for
    another."""
    quiet: QuietOptions | None = None
    """When it is left in peace. Default: never."""

    @model_validator(mode="after")
    def _each_channel_once(self) -> ReceiverOptions:
        names = [via.use for via in self.channels]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"channel {name} is listed twice; put all its addresses in one `to`"
                )
        return self

    @model_validator(mode="after")
    def _stand_ins_have_somebody(self) -> ReceiverOptions:
        usual = [via.use for via in self.usual]
        for via in self.channels:
            if via.stands_in_for is None:
                if "after_minutes" in via.model_fields_set:
                    raise ValueError("after_minutes belongs to a channel with stands_in_for")
            elif via.stands_in_for not in usual:
                raise ValueError(
                    f"{via.use} stands in for {via.stands_in_for}, which has to be another channel "
                    f"of this receiver that stands in for none: {', '.join(usual) or 'there is none'}"
                )
        return self

    @property
    def usual(self) -> tuple[Via, ...]:
        """The channels that get every message."""
        return tuple(via for via in self.channels if via.stands_in_for is None)

    def stand_in(self, channel: str) -> Via | None:
        """Which channel is used when another one does not deliver; the first listed."""
        return next((via for via in self.channels if via.stands_in_for == channel), None)


class MatchOptions(Options):
    """Which incidents a route is for. An empty list means all of them."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    kinds: tuple[SignalKind, ...] = ()
    """Kinds of incident it is for; empty: all."""
    min_severity: SeverityWord = "low"
    """Least severity it is for: low, medium, high or critical."""
    brands: tuple[str, ...] = ()
    """Brands it is for; empty: all."""
    sources: tuple[str, ...] = ()
    """Sources of its posts, one of which is enough; empty: all."""
    languages: tuple[str, ...] = ()
    """Languages of its posts as ISO 639 codes, one of which is enough; empty: all."""
    rules: tuple[str, ...] = ()
    """Rules of the policy that fired, one of which is enough; empty: all."""
    continue_: Annotated[bool, Field(alias="continue")] = False
    """Whether later routes are asked too; otherwise the first match ends the search."""

    @property
    def severity(self) -> Severity:
        """``min_severity`` as a value that compares."""
        return Severity[self.min_severity.upper()]

    def matches(self, incident: Incident, traits: Traits | None = None) -> bool:
        """Whether it is for this incident. ``traits`` are what an incident does not say by itself."""
        known = traits or NO_TRAITS
        return (
            (not self.kinds or incident.kind in self.kinds)
            and incident.severity >= self.severity
            and (not self.brands or incident.brand in self.brands)
            and (not self.sources or not known.sources.isdisjoint(self.sources))
            and (not self.languages or not known.languages.isdisjoint(self.languages))
            and (not self.rules or not known.rules.isdisjoint(self.rules))
        )


class BranchOptions(MatchOptions):
    """A route within a route. What it leaves out it has from the route around it."""

    receivers: tuple[str, ...] | None = None
    """Names of those who are told."""
    cooldown_minutes: float | None = Field(default=None, ge=0, le=7 * 24 * 60)
    """Minutes of silence towards a receiver between two messages that an incident goes on."""
    escalation: str | None = None
    """Name of the chain that is gone through until somebody takes the incident; ``""``: none."""
    group: GroupOptions | None = None
    """How its news is gathered into messages."""
    routes: tuple[BranchOptions, ...] = ()
    """Routes within it, asked in order; where none matches it speaks itself."""


class RouteOptions(MatchOptions):
    """One rule of who gets what. An empty list of kinds or brands means all of them."""

    receivers: tuple[str, ...] = Field(min_length=1)
    """Names of those who are told."""
    cooldown_minutes: float = Field(default=60, ge=0, le=7 * 24 * 60)
    """Minutes of silence towards a receiver between two messages that an incident goes on."""
    escalation: str | None = None
    """Name of the chain that is gone through until somebody takes the incident. Default: none."""
    group: GroupOptions | None = None
    """How its news is gathered into messages. Default: every piece is a message of its own."""
    routes: tuple[BranchOptions, ...] = ()
    """Routes within it, asked in order; where none matches it speaks itself."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What routes ask of an incident besides what it says itself."""

    sources: frozenset[str] = frozenset()
    """Where its posts were found."""
    languages: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    """Kinds of its signals, and rules of the policy that fired."""


NO_TRAITS = Traits()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A route that speaks for an incident, with what it has from the routes around it."""

    path: tuple[int, ...]
    """Its place, and that within it, each counted from 0."""
    route: RouteOptions

    @property
    def name(self) -> str:
        """Its place as the configuration check writes it: ``routes[1].routes[0]``."""
        return ".".join(f"routes[{place}]" for place in self.path)


def rules_of(signal: Signal) -> frozenset[str]:
    """What fired: the kind of the signal, and the rules of the policy that stand behind it."""
    found = {signal.kind.value, *_RULES_OF.get(signal.kind, ())}
    if signal.facts.get("category") == "personal_data":
        found.add("names")
    named = signal.facts.get("rules", ())
    named = (*named, signal.facts.get("rule")) if isinstance(named, list | tuple) else ()
    return frozenset(found.union(each for each in named if isinstance(each, str)))


def matching(
    routes: Sequence[MatchOptions], incident: Incident, traits: Traits = NO_TRAITS
) -> list[Leaf]:
    """The routes that speak for an incident, in order.

    Of a route with routes within it, those within that match, else itself; the first match ends the
    search at its level unless it says ``continue``.
    """
    return list(_leaves(routes, incident, traits, (), None))


def asks_for(routes: Sequence[MatchOptions], trait: str) -> bool:
    """Whether any route asks for ``sources``, ``languages`` or ``rules``: finding them costs a query."""
    return any(
        getattr(route, trait) or asks_for(getattr(route, "routes", ()), trait) for route in routes
    )


def _leaves(
    routes: Sequence[MatchOptions],
    incident: Incident,
    traits: Traits,
    around: tuple[int, ...],
    parent: RouteOptions | None,
) -> Iterator[Leaf]:
    for place, route in enumerate(routes):
        if not route.matches(incident, traits):
            continue
        whole = route if isinstance(route, RouteOptions) else _inherited(route, parent)
        path = (*around, place)
        within = list(_leaves(whole.routes, incident, traits, path, whole))
        yield from within or [Leaf(path, whole)]
        if not route.continue_:
            return


def _inherited(route: MatchOptions, parent: RouteOptions | None) -> RouteOptions:
    """A branch with what it leaves out from the route around it."""
    if parent is None:
        raise ValueError("a route within a route has one around it")
    given: dict[str, Any] = {
        name: getattr(route, name)
        for name in ("receivers", "cooldown_minutes", "escalation", "group")
        if getattr(route, name) is not None
    }
    given["routes"] = getattr(route, "routes", ())
    return parent.model_copy(update=given)


@dataclass(frozen=True, slots=True)
class Told:
    """One notification that was planned for the incident before."""

    receiver: str
    channel: str
    event: Event
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether one receiver is told through one channel, and why."""

    receiver: str
    """Empty exactly when the reason is ``NO_ROUTE``."""
    via: Via | None
    """None exactly when the reason is ``NO_ROUTE``."""
    send: bool
    reason: Reason
    route: int | None = None
    """Place of the route that said so, counted from 0; None where no route was asked."""
    path: tuple[int, ...] = ()
    """The same, with the places of the routes within it; empty where no route was asked."""


def plan(
    incident: Incident,
    event: Event,
    *,
    routes: Sequence[RouteOptions],
    receivers: Sequence[ReceiverOptions],
    told: Sequence[Told],
    now: datetime,
    traits: Traits = NO_TRAITS,
) -> list[Decision]:
    """Decide who is told that ``event`` happened to ``incident``, and say why for each.

    Args:
        incident: as it is after the event.
        event: what happened.
        routes: in order; the first match ends the search unless it says ``continue``.
        receivers: all of them; a route's unknown name is an error of the configuration.
        told: every notification of this incident so far, in any order.
        now: for the cool-down.
        traits: where its posts were found, in which language, what fired.

    Raises:
        KeyError: a route names a receiver that does not exist.
    """
    by_name = {receiver.name: receiver for receiver in receivers}
    chosen = list(_chosen(matching(routes, incident, traits), by_name))
    if event is Event.RESOLVED:
        return _all_clear(chosen, by_name, told)
    if not chosen:
        return [Decision("", None, send=False, reason=Reason.NO_ROUTE)]
    passed: list[Decision] = []
    if incident.kind is SignalKind.BROKEN_CHANNEL:
        chosen, passed = _around(incident.subject, chosen, receivers)
    return [
        _decide(incident, event, choice, cooldown=cooldown, told=told, now=now)
        for choice, cooldown in chosen
    ] + passed


@dataclass(frozen=True, slots=True)
class _Choice:
    receiver: str
    via: Via
    path: tuple[int, ...]


def _chosen(
    leaves: Sequence[Leaf], by_name: Mapping[str, ReceiverOptions]
) -> Iterator[tuple[_Choice, timedelta]]:
    """Each receiver and channel once, with the cool-down of the first route that names it."""
    seen = set()
    for leaf in leaves:
        for name in leaf.route.receivers:
            for via in by_name[name].usual:
                if (name, via.use) not in seen:
                    seen.add((name, via.use))
                    yield (
                        _Choice(name, via, leaf.path),
                        timedelta(minutes=leaf.route.cooldown_minutes),
                    )


_Chosen = list[tuple[_Choice, timedelta]]


def _around(
    broken: str, chosen: _Chosen, receivers: Sequence[ReceiverOptions]
) -> tuple[_Chosen, list[Decision]]:
    """The ways past a broken channel, and the decisions on those that lead through it.

    Whoever is told through the broken channel only is told through the one that stands in for it. If
    nobody whom a route names can be reached, everybody else who can be is told: better the wrong
    people than none.
    """
    by_name = {receiver.name: receiver for receiver in receivers}
    ways: dict[tuple[str, str], tuple[_Choice, timedelta]] = {}
    passed = []
    for choice, cooldown in chosen:
        via: Via | None = choice.via
        if choice.via.use == broken:
            passed.append(
                Decision(
                    choice.receiver,
                    choice.via,
                    send=False,
                    reason=Reason.CHANNEL_BROKEN,
                    route=choice.path[0],
                    path=choice.path,
                )
            )
            via = by_name[choice.receiver].stand_in(broken)
        if via is not None:
            way = _Choice(choice.receiver, via, choice.path)
            ways.setdefault((choice.receiver, via.use), (way, cooldown))
    if not ways:
        first, cooldown = chosen[0]
        for receiver in receivers:
            for via in receiver.usual:
                if via.use != broken:
                    way = _Choice(receiver.name, via, first.path)
                    ways[receiver.name, via.use] = (way, cooldown)
    return list(ways.values()), passed


def _decide(
    incident: Incident,
    event: Event,
    choice: _Choice,
    *,
    cooldown: timedelta,
    told: Sequence[Told],
    now: datetime,
) -> Decision:
    reason = Reason(event.value)
    if event is Event.CONTINUES:
        last = _last_told(told, choice.receiver, choice.via.use)
        if incident.state is not IncidentState.OPEN:
            reason = Reason.ACKNOWLEDGED
        elif last is not None and now - last.at < cooldown:
            reason = Reason.COOLING_DOWN
    return Decision(
        choice.receiver,
        choice.via,
        send=reason is Reason(event.value),
        reason=reason,
        route=choice.path[0],
        path=choice.path,
    )


def _all_clear(
    chosen: Sequence[tuple[_Choice, timedelta]],
    by_name: Mapping[str, ReceiverOptions],
    told: Sequence[Told],
) -> list[Decision]:
    """The all-clear: to exactly those who were told and have not had one since.

    Routes are not asked whom to tell, since they may have changed in the meantime. A receiver or
    channel that the configuration no longer knows cannot be reached and is left out.
    """
    decisions = []
    pairs = dict.fromkeys((each.receiver, each.channel) for each in told)
    for name, channel in pairs:
        via = _find_via(by_name.get(name), channel)
        last = _last_told(told, name, channel)
        if via is not None and last is not None and last.event is not Event.RESOLVED:
            decisions.append(Decision(name, via, send=True, reason=Reason.RESOLVED))
    informed = {(each.receiver, each.via.use) for each in decisions if each.via}
    decisions += [
        Decision(
            choice.receiver,
            choice.via,
            send=False,
            reason=Reason.NOT_TOLD_BEFORE,
            route=choice.path[0],
            path=choice.path,
        )
        for choice, _ in chosen
        if (choice.receiver, choice.via.use) not in informed
    ]
    return decisions


def _last_told(told: Sequence[Told], receiver: str, channel: str) -> Told | None:
    times = [each for each in told if (each.receiver, each.channel) == (receiver, channel)]
    # At one and the same moment the all-clear came last.
    return max(times, key=lambda each: (each.at, each.event is Event.RESOLVED), default=None)


def _find_via(receiver: ReceiverOptions | None, channel: str) -> Via | None:
    if receiver is None:
        return None
    return next((via for via in receiver.channels if via.use == channel), None)

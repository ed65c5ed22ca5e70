"""From "this receiver is to be told" to the outbox, within one transaction: muted, kept, gathered, told.

A :class:`Round` is what is decided in one transaction at one moment. News that may leave goes to its
group; at the end of the round each group is asked whether a message leaves. What does not leave is a
row and waits. Nothing here remembers anything between two rounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from alerts.base import Event, Incident, IncidentState, Message, Reason
from alerts.clocks import Clock, ClockOptions, begin, call_unwanted, restart
from alerts.escalation import ChainOptions, Surroundings, still_wanted, who_may_rest
from alerts.grouping import (
    APART,
    GroupBy,
    GroupOptions,
    GroupPlan,
    News,
    group_key,
    joined,
    news_of,
    plan_group,
    repeats_at,
)
from alerts.history import Entry, Happened
from alerts.holding import Circumstances, Ruling, mutable, rule_on
from alerts.incidents import CRISIS_SUBJECT
from alerts.links import LinkMaker
from alerts.message import Exhibit, Occasion, as_drill, compose, to_json, with_links
from alerts.rota import RotaOptions
from alerts.routes import (
    Leaf,
    ReceiverOptions,
    RouteOptions,
    Told,
    Traits,
    Via,
    asks_for,
    matching,
    rules_of,
)
from alerts.several import compose_several, crowd_of
from alerts.silences import (
    Crisis,
    InhibitionOptions,
    Muted,
    Silence,
    Target,
    covering,
    heard_again,
    muted_until,
)
from alerts.worktime import Calendar, OfficeOptions
from monitor.config import Config
from monitor.gathering import Gatherer
from monitor.log import NAMED, logger
from monitor.metrics import Metrics
from monitor.store import Unit
from monitor.store.following import ClockRun
from monitor.store.news import Group, GroupKey, Kept
from monitor.store.outbox import About, Pending

EXHIBITS = 60
"""How many of an incident's latest mentions are looked at to choose the samples of a message."""

MANY = 200
"""Where more pieces of news wait in one group, none of them is looked at until the message leaves: then
it is put together slice by slice (:mod:`monitor.gathering`)."""
SLICE = 200
"""Incidents that go over to such messages in one transaction, at most."""
PRICE = 4
"""A message to be written takes at least as much room as so many incidents."""
ASKED = 1000
"""Incidents of one message that are asked whether it is wanted still, at most, before each attempt."""

_BY_BRAND = (GroupBy.STORY, GroupBy.BRAND, GroupBy.KIND)
_CHUNK = 500
_PLACE = 3
"""Where in a group's key that stands which is gathered by, after receiver, channel and lane."""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Who is told, when, in which words: the part of the configuration that alerting needs."""

    routes: Sequence[RouteOptions]
    receivers: Sequence[ReceiverOptions]
    language: str
    timezone: str
    handles: Mapping[str, frozenset[str]]
    """Per brand: its own handles, which alerts may show."""
    office: OfficeOptions = field(default_factory=OfficeOptions)
    clocks: Sequence[ClockOptions] = ()
    chains: Sequence[ChainOptions] = ()
    rotas: Sequence[RotaOptions] = ()
    inhibition: InhibitionOptions = field(default_factory=InhibitionOptions)


def rulebook_of(config: Config, handles: Mapping[str, frozenset[str]]) -> Rulebook:
    """The rulebook of a configuration; ``handles`` are each brand's own."""
    return Rulebook(
        routes=config.routes,
        receivers=config.receivers,
        language=config.language,
        timezone=config.timezone,
        handles=handles,
        office=config.office,
        clocks=config.clocks,
        chains=config.escalations,
        rotas=config.rotas,
        inhibition=config.inhibition,
    )


class Teller:
    """Knows the rulebook, and what follows from it alone. Makes rounds."""

    def __init__(
        self,
        rules: Rulebook,
        *,
        installation: str,
        metrics: Metrics,
        links: LinkMaker | None = None,
        many: int = MANY,
    ) -> None:
        self.rules = rules
        self.many = many
        self.links = links
        self.installation = installation
        self.metrics = metrics
        self.calendar = Calendar(rules.office)
        self.around = Surroundings(self.calendar, {rota.name: rota for rota in rules.rotas})
        self.receivers = {receiver.name: receiver for receiver in rules.receivers}
        self.clocks = {clock.name: clock for clock in rules.clocks}
        self._chains = {chain.name: chain for chain in rules.chains}
        self._asked = {
            trait: asks_for(rules.routes, trait) for trait in ("sources", "languages", "rules")
        }
        self.log = logger("tell")

    def round(self, unit: Unit, now: datetime, room: int = 0) -> Round:
        """What is decided in one transaction at one moment.

        Args:
            unit: the transaction.
            now: the moment.
            room: for so much news of groups that are due, where very much of it waits.
        """
        return Round(self, unit, now, room)

    def traits(self, unit: Unit, incident: Incident) -> Traits:
        """What the routes ask of an incident besides what it says itself."""
        if not any(self._asked.values()):
            return Traits()
        signals = unit.incidents.signals(incident.id)
        languages = (each.facts.get("language") for each in signals)
        return Traits(
            sources=unit.incidents.target(incident).sources
            if self._asked["sources"]
            else frozenset(),
            languages=frozenset(each for each in languages if isinstance(each, str)),
            rules=frozenset(rule for each in signals for rule in rules_of(each)),
        )

    def chain(self, leaf: Leaf | None) -> ChainOptions | None:
        """The chain that belongs to a route, if it has one."""
        name = leaf.route.escalation if leaf else None
        return self._chains.get(name) if name else None

    def clock(self, run: ClockRun) -> Clock | None:
        """A kept clock as it runs; None when the configuration has it no more."""
        options = self.clocks.get(run.name)
        return None if options is None else begin(options, self.calendar, run.started_at)

    def via(self, receiver: str, channel: str) -> Via | None:
        """A receiver's way through a channel; None when the configuration has it no more."""
        found = self.receivers.get(receiver)
        return next((via for via in found.channels if via.use == channel), None) if found else None

    def unwanted(self, unit: Unit, pending: Pending, now: datetime) -> Reason | None:
        """Why a notification must not leave any more; None while it is wanted.

        To be asked just before each attempt. Of a message about several incidents every single one
        must be unwanted.
        """
        round_ = self.round(unit, now)
        own = round_.unwanted(
            pending.incident_id, pending.receiver, pending.page, pending.created_at
        )
        if own is None:
            return None
        after = asked = 0
        while some := unit.outbox.still_asked(pending.id, after, SLICE):
            if round_.any_wanted(some, pending):
                return None
            after, asked = some[-1].incident_id, asked + len(some)
            if asked >= ASKED:
                # A message too many is better than a writer that is held up.
                return None
        return own


class Round:
    """What is decided in one transaction at one moment."""

    def __init__(self, teller: Teller, unit: Unit, now: datetime, room: int = 0) -> None:
        self._teller = teller
        self.unit = unit
        self.now = now
        self.room = room
        """For so many incidents more there is room in messages of groups that are due."""
        self._gatherer = Gatherer(self)
        self._fresh: dict[GroupKey, tuple[GroupOptions, list[News]]] = {}
        self._asked: dict[GroupKey, set[int]] = {}
        self._silences: Sequence[Silence] | None = None
        self._histories: dict[int, list[Entry]] = {}
        self._clocks: dict[int, Sequence[ClockRun]] = {}
        self._told: dict[int, list[Told]] = {}
        self._missed: dict[int, list[Muted]] = {}
        self._pages: dict[int, list[GroupKey]] = {}
        self._held: list[object] = []
        """Rows that are not to be fetched again: the session itself remembers only what somebody holds."""
        self._leaves: dict[tuple[int, int], Leaf | None] = {}
        self._messages: dict[tuple[object, ...], Message] = {}
        self.titles: dict[int, str] = {}
        """Of each incident that a message told of in this round: the title of the first."""
        self.sent = 0
        """Messages put into the outbox."""

    @property
    def fresh(self) -> int:
        """How many groups have news of this round."""
        return len(self._fresh)

    # -- what is known of an incident ----------------------------------------------------------

    def prepare(self, incident_ids: Sequence[int]) -> None:
        """Fetch what looks at these incidents will ask for, of all of them at once."""
        unit, numbers = self.unit, list(incident_ids)
        if not numbers:
            return
        self._held += unit.incidents.held(numbers)
        held, clocks = unit.following.held(numbers)
        self._held += held
        told, missed = unit.outbox.told_of(numbers), unit.following.missed_of(numbers)
        pages = unit.news.with_pages_of(numbers)
        for number in numbers:
            self._clocks[number] = clocks.get(number, [])
            self._told[number] = told.get(number, [])
            self._missed[number] = missed.get(number, [])
            self._pages[number] = pages.get(number, [])
        self._fetch_histories(numbers)

    def born(self, incident_id: int) -> None:
        """An incident was opened in this transaction: there is nothing to be asked of the store."""
        self._clocks[incident_id] = []
        self._told[incident_id] = []
        self._missed[incident_id] = []
        self._pages[incident_id] = []

    def changed(self, incident_id: int) -> None:
        """Something happened to an incident outside this round: what is known of it is asked anew."""
        self._histories.pop(incident_id, None)
        self._told.pop(incident_id, None)

    def clocks(self, incident_id: int) -> Sequence[ClockRun]:
        """The latest run of each clock of an incident."""
        if incident_id not in self._clocks:
            self._clocks[incident_id] = self.unit.following.clocks(incident_id)
        return self._clocks[incident_id]

    def keep_clocks(self, incident_id: int, runs: Sequence[ClockRun]) -> None:
        """How its clocks stand now."""
        self._clocks[incident_id] = runs

    def told(self, incident_id: int) -> list[Told]:
        """Who was told of an incident, or is about to be, what this round has sent included."""
        if incident_id not in self._told:
            self._told[incident_id] = self.unit.outbox.told(incident_id)
        return self._told[incident_id]

    def leaf(self, incident: Incident) -> Leaf | None:
        """The first route that speaks for an incident: its chain, its groups."""
        key = (incident.id, int(incident.severity))
        if key not in self._leaves:
            traits = self._teller.traits(self.unit, incident)
            found = matching(self._teller.rules.routes, incident, traits)
            self._leaves[key] = found[0] if found else None
        return self._leaves[key]

    def history(self, incident_id: int) -> list[Entry]:
        """What happened to an incident so far, this round included."""
        if incident_id not in self._histories:
            self._histories[incident_id] = self.unit.incidents.entries(incident_id)
        return self._histories[incident_id]

    def append(self, incident_id: int, entry: Entry) -> None:
        """Something happened to an incident in this round."""
        self.history(incident_id).append(entry)
        self.unit.incidents.append(incident_id, entry)

    def muted_until(self, incident: Incident) -> datetime | None:
        """Until when silences cover an incident; None when none does."""
        if not self.silences:
            return None
        return muted_until(self.silences, self.target(incident), self.now)

    @property
    def silences(self) -> Sequence[Silence]:
        """Those that last, also those still to begin."""
        if self._silences is None:
            self._silences = self.unit.silences.lasting(self.now)
        return self._silences

    def target(self, incident: Incident, mentions: Iterable[int] = ()) -> Target:
        """An incident as silences and crises see it; its posts only where somebody looks at them."""
        about = frozenset(mentions)
        if not self._matters(incident):
            return Target(incident.brand, incident.kind, incident.severity, mentions=about)
        whole = self.unit.incidents.target(incident)
        if not whole.stories:
            # Nobody posted it: a source, a channel.
            whole = replace(whole, stories=frozenset({incident.subject}))
        return replace(whole, mentions=about) if about else whole

    def _matters(self, incident: Incident) -> bool:
        inhibition = self._teller.rules.inhibition
        seen = any(each.source or each.story for each in self.silences)
        return seen or (inhibition.enabled and incident.kind in inhibition.kinds)

    def _crises(self, target: Target) -> list[Crisis]:
        """The crises of a brand, as far as they consist of the mentions that the news is about."""
        inhibition = self._teller.rules.inhibition
        if not inhibition.enabled or target.kind not in inhibition.kinds or not target.mentions:
            return []
        return [
            Crisis(
                crisis.id,
                crisis.brand,
                crisis.severity,
                self.unit.following.among(crisis.id, target.mentions),
                frozenset(each.receiver for each in self.unit.outbox.told(crisis.id)),
            )
            for crisis in self.unit.incidents.mates(target.brand, CRISIS_SUBJECT)
        ]

    # -- news ----------------------------------------------------------------------------------

    def news(
        self,
        incident: Incident,
        event: Event,
        reason: Reason,
        to: tuple[str, str],
        *,
        mentions: Iterable[int] = (),
        page: str = "",
    ) -> Reason:
        """Let a receiver be told through a channel, unless something stands in between.

        Returns the reason for what becomes of it; it is kept as a decision as well.
        """
        receiver, channel = to
        news = news_of(
            incident,
            event,
            receiver=receiver,
            channel=channel,
            reason=reason,
            now=self.now,
            page=page,
        )
        target = self.target(incident, mentions)
        options = self._teller.receivers.get(receiver)
        quiet = options.quiet if options else None
        ruled = rule_on(
            news,
            target,
            Circumstances(
                self._teller.calendar,
                self.silences,
                self._crises(target),
                self._teller.rules.inhibition,
            ),
            quiet=quiet,
            told_at=self._told_at(incident.id, receiver) if quiet else None,
            now=self.now,
        )
        self.decide(
            incident, event, to, send=ruled.ruling is Ruling.TELL, reason=ruled.reason.value
        )
        if ruled.ruling is not Ruling.MUTE:
            self._gather(incident, ruled.news)
        return ruled.reason

    def tell_again(self, incident: Incident) -> datetime | None:
        """Those who missed something because of a silence that is over. Returns when one will be."""
        known = self._missed.get(incident.id)
        missed = self.unit.following.missed(incident.id) if known is None else known
        if not missed:
            return None
        again, end = heard_again(
            missed,
            self.told(incident.id),
            self.history(incident.id),
            self.silences,
            self.target(incident),
            state=incident.state,
            now=self.now,
        )
        for each in again:
            to = (each.receiver, each.channel)
            self.news(incident, Event.CONTINUES, Reason.SILENCE_ENDED, to)
            self.append(incident.id, each.entry(self.now))
        return end

    def _told_at(self, incident_id: int, receiver: str) -> datetime | None:
        told = self.told(incident_id)
        return max((each.at for each in told if each.receiver == receiver), default=None)

    def decide(
        self, incident: Incident, event: Event, to: tuple[str, str], *, send: bool, reason: str
    ) -> None:
        """Keep why somebody is, or is not, told."""
        receiver, channel = to
        self.unit.outbox.decided(
            incident.id,
            self.now,
            event,
            receiver=receiver,
            channel=channel,
            send=send,
            reason=reason,
        )
        if not incident.drill:
            self._teller.metrics.decisions.labels("yes" if send else "no", reason).inc()

    def _gather(self, incident: Incident, news: News) -> None:
        leaf = self.leaf(incident)
        options = (leaf.route.group if leaf else None) or APART
        self._fresh.setdefault(group_key(news, options), (options, []))[1].append(news)

    # -- groups --------------------------------------------------------------------------------

    def ask_pages(self, incident: Incident) -> None:
        """Have the groups asked in which pages about an incident wait: it may have been taken."""
        keys = self._pages.get(incident.id)
        if keys is None:
            keys = self.unit.news.with_pages_of([incident.id]).get(incident.id, [])
        for key in keys:
            self._asked.setdefault(key, set()).add(incident.id)

    def ask_groups(self, incident: Incident) -> None:
        """Have the groups asked that repeat what burns, of all who were told of an incident."""
        leaf = self.leaf(incident)
        options = (leaf.route.group if leaf else None) or APART
        if options.repeat_hours is None:
            return
        for receiver, channel in who_may_rest(
            self.unit.outbox.told(incident.id), incident.opened_at
        ):
            news = news_of(
                incident,
                Event.CONTINUES,
                receiver=receiver,
                channel=channel,
                reason=Reason.REPEATED,
                now=self.now,
            )
            self._fresh.setdefault(group_key(news, options), (options, []))

    def flush(self, due: Iterable[GroupKey] = ()) -> None:
        """Ask every group with news of this round, and those that are due, whether a message leaves.

        For what there is no room, stays due.
        """
        fresh, self._fresh = self._fresh, {}
        asked, self._asked = self._asked, {}
        ready = set(keys := list(due))
        for key in dict.fromkeys([*fresh, *asked, *keys]):
            options, news = fresh.get(key, (None, []))
            about = asked.get(key, set())
            if news or about or key in fresh or self.room:
                self._flush(key, options, news, about, due=key in ready)

    def _flush(
        self,
        key: GroupKey,
        given: GroupOptions | None,
        fresh: Sequence[News],
        asked: Collection[int],
        *,
        due: bool,
    ) -> None:
        group = self.unit.news.group(key)
        options = given or (group.options if group else APART)
        group = replace(group or Group(options, None, None), options=options)
        if group.gathering or self.unit.news.more_than(key, max(0, self._teller.many - len(fresh))):
            if fresh or asked:
                self._gatherer.take_in(key, group, fresh, asked)
            if due:
                self._gatherer.ask(key, self.unit.news.group(key) or group)
            return
        kept = self.unit.news.of(key)
        if due:
            self.room = max(0, self.room - max(len(kept), PRICE))
        if not kept and not fresh and self._repeats_many(key, group):
            self._gatherer.repeat(key, group)
            return
        self._flush_few(key, group, kept, fresh, asked)

    def _flush_few(
        self,
        key: GroupKey,
        group: Group,
        kept: Sequence[Kept],
        fresh: Sequence[News],
        asked: Collection[int],
    ) -> None:
        options, sent_at = group.options, group.sent_at
        first = {*asked, *(each.incident_id for each in fresh)}
        waiting = _waiting(kept, fresh)
        wanted = self._wanted(waiting, [each for each in waiting if each.incident_id in first])
        over = self._over(kept, wanted)
        planned = self._plan(key, wanted, options, sent_at, over)
        if planned.leaves:
            # Only what leaves is looked at piece by piece: of a flood that waits that would be slow.
            self.hold({each.incident_id for each in wanted})
            others = [each for each in wanted if each.incident_id not in first]
            wanted = self._wanted(wanted, others)
            over = self._over(kept, wanted)
            planned = self._plan(key, wanted, options, sent_at, over)
        stays = wanted
        if planned.leaves:
            self._send(planned)
            sent_at, stays = self.now, planned.stays
            planned = self._plan(key, stays, options, sent_at, over)
        self._store(key, Group(options, sent_at, planned.next_at), kept, stays)

    def _repeats_many(self, key: GroupKey, group: Group) -> bool:
        due, many = repeats_at(group.options, group.sent_at), self._teller.many
        return (
            due is not None
            and due <= self.now
            and len(self.burning(key, group.options, after=0, limit=many + 1)) > many
        )

    def _plan(
        self,
        key: GroupKey,
        waiting: Sequence[News],
        options: GroupOptions,
        sent_at: datetime | None,
        over: frozenset[int],
    ) -> GroupPlan:
        due = repeats_at(options, sent_at)
        if not waiting and due is not None and due > self.now:
            # What burns is looked at when its moment has come.
            return GroupPlan((), None, due)
        repeats = not waiting and due is not None
        numbers = self.burning(key, options, after=0, limit=self._teller.many) if repeats else ()
        return plan_group(
            waiting,
            options,
            sent_at=sent_at,
            burning=self.repeated(key, options, numbers),
            over=over,
            now=self.now,
        )

    def wanted(self, news: Sequence[News]) -> list[News]:
        """What is wanted still of some news; what is not is withheld."""
        return list(self._wanted(news, news))

    def any_wanted(self, told: Sequence[About], pending: Pending) -> bool:
        """Whether any of some incidents that a message tells of wants it still."""
        self._fetch_histories({each.incident_id for each in told if each.page})
        return any(
            self.unwanted(each.incident_id, pending.receiver, each.page, pending.created_at) is None
            for each in told
        )

    def _wanted(self, waiting: Sequence[News], asked: Sequence[News]) -> tuple[News, ...]:
        """What waits, without those of the asked that are not wanted any more."""
        self._fetch_histories({each.incident_id for each in asked if each.page})
        refused = set()
        for news in asked:
            why = self.unwanted(news.incident_id, news.receiver, news.page, news.since)
            if why is None and self._is_silenced(news):
                why = Reason.SILENCED
            if why is not None:
                refused.add(id(news))
                self.withhold(news, why)
        return tuple(news for news in waiting if id(news) not in refused)

    def _is_silenced(self, news: News) -> bool:
        """Whether a silence that began while news waited mutes it. At its end it is looked at again."""
        if not self.silences or not mutable(news):
            return False
        incident = self._incident(news.incident_id)
        if covering(self.silences, self.target(incident), self.now) is None:
            return False
        self.unit.incidents.look([incident.id], self.now)
        return True

    def hold(self, incident_ids: Collection[int]) -> None:
        """What a message tells of is read at once, not incident by incident."""
        numbers = sorted(incident_ids)
        for start in range(0, len(numbers), _CHUNK):
            self._held += self.unit.incidents.held(numbers[start : start + _CHUNK])

    def _fetch_histories(self, incident_ids: Collection[int]) -> None:
        """The histories of many incidents at once: a flood of them is few queries."""
        missing = sorted(set(incident_ids) - self._histories.keys())
        for start in range(0, len(missing), _CHUNK):
            some = missing[start : start + _CHUNK]
            self._histories.update({number: [] for number in some})
            for line in self.unit.incidents.chain.of(some):
                if (entry := line.entry()) is not None:
                    self._histories[line.incident_id].append(entry)
            if len(some) > 1:
                clocks = self.unit.following.held(some)[1]
                self._clocks.update({n: clocks.get(n, []) for n in some if n not in self._clocks})

    def _over(self, kept: Sequence[Kept], wanted: Sequence[News]) -> frozenset[int]:
        ended = {each.news.incident_id for each in kept if each.over}
        return frozenset(
            ended | {each.incident_id for each in wanted if each.event is Event.RESOLVED}
        )

    def unwanted(
        self, incident_id: int, receiver: str, page: str, since: datetime
    ) -> Reason | None:
        """Why a page or a reminder must not leave any more; None while it is wanted.

        Args:
            incident_id: that it is about.
            receiver: to be told.
            page: its key; what is no page is always wanted.
            since: when it was decided.
        """
        if not page:
            return None
        history = self.history(incident_id)
        # Its own reason: that of the message may be the end of quiet hours.
        reason = next((each.reason for each in history if each.page == page and each.reason), None)
        entry = Entry(since, Happened.TOLD, receiver, page, reason)
        why = still_wanted(entry, history, self.now)
        if why is None and reason is Reason.REMINDER:
            return self._reminder_unwanted(incident_id, page, history)
        return why

    def _reminder_unwanted(
        self, incident_id: int, page: str, history: Sequence[Entry]
    ) -> Reason | None:
        for run in self.clocks(incident_id):
            clock, options = self._teller.clock(run), self._teller.clocks.get(run.name)
            if clock is None or options is None:
                continue
            clock = restart(clock, options, self._teller.calendar, history, self.now)
            if page in {clock.key(share) for share in options.remind_at_percent}:
                return call_unwanted(clock, options, history, self.now)
        return None

    def withhold(self, news: News, why: Reason) -> None:
        """News does not leave: why is kept as a decision."""
        incident = self._incident(news.incident_id)
        to = (news.receiver, news.channel)
        self.decide(incident, news.event, to, send=False, reason=why.value)

    def _incident(self, incident_id: int) -> Incident:
        found = self.unit.incidents.get(incident_id)
        if found is None:
            raise LookupError(f"there is no incident {incident_id}")
        return found

    def burning(self, key: GroupKey, options: GroupOptions, *, after: int, limit: int) -> list[int]:
        """Incidents that a group may repeat: open, by number, from one on; see :meth:`repeated`."""
        if options.by is GroupBy.INCIDENT:
            return [number for number in [int(key[_PLACE])] if number > after]
        brand = key[_PLACE] if options.by in _BY_BRAND else None
        return self.unit.incidents.open_ones(brand, after=after, limit=limit)

    def repeated(
        self, key: GroupKey, options: GroupOptions, incident_ids: Sequence[int]
    ) -> list[News]:
        """What would be said of some incidents that burn: of those of the group that it was told of."""
        if not incident_ids:
            return []
        receiver, channel = key[0], key[1]
        self.hold(incident_ids)
        told = self.unit.outbox.told_of(incident_ids)
        said = []
        for number in incident_ids:
            incident = self._incident(number)
            news = news_of(
                incident,
                Event.CONTINUES,
                receiver=receiver,
                channel=channel,
                reason=Reason.REPEATED,
                now=self.now,
            )
            heard = who_may_rest(told.get(number, []), incident.opened_at)
            if (
                incident.state is IncidentState.OPEN
                and group_key(news, options) == key
                and (receiver, channel) in heard
            ):
                if self._is_silenced(news):
                    self.withhold(news, Reason.SILENCED)
                else:
                    said.append(news)
        return said

    def _store(
        self, key: GroupKey, group: Group, kept: Sequence[Kept], stays: Sequence[News]
    ) -> None:
        """Keep what stays: rows that were there stay as they are, the rest is dropped or added."""
        staying = {id(news) for news in stays}
        self.unit.news.drop([each.id for each in kept if id(each.news) not in staying])
        known = {id(each.news) for each in kept}
        new = [news for news in stays if id(news) not in known]
        plain = not group.options.interval_minutes and group.options.repeat_hours is None
        if not stays and plain:
            # Nothing waits, and the last message holds nothing back: there is nothing to remember.
            self.unit.news.forget(key)
            return
        self.unit.news.put(key, group)
        if new:
            self.unit.news.keep(key, new)

    # -- words ---------------------------------------------------------------------------------

    def _send(self, planned: GroupPlan) -> None:
        """Put one message for what leaves into the outbox."""
        first, reason = planned.leaves[0], planned.reason or planned.leaves[0].reason
        via = self._teller.via(first.receiver, first.channel)
        if via is None:
            for news in planned.leaves:
                self.withhold(news, Reason.NO_ROUTE)
            return
        lead = self._incident(first.incident_id)
        message = self._message(planned.leaves, reason, self._language(first.receiver))
        if self._teller.links is not None and len(planned.leaves) == 1:
            # Of several incidents a link could show only one.
            message = with_links(message, self._teller.links, lead, first.receiver, self.now)
        before = self.unit.outbox.planned(lead.id, first.receiver, first.channel)
        self.unit.outbox.add(
            key=self._key(lead, first, before),
            incident_id=lead.id,
            event=first.event,
            receiver=first.receiver,
            channel=first.channel,
            addresses=via.to,
            message=to_json(message),
            now=self.now,
            reason=reason.value,
            page=first.page,
            further=[
                About(each.incident_id, each.event, each.reason, each.since, each.page)
                for each in planned.leaves[1:]
            ],
            drill=message.drill,
        )
        self.sent += 1
        for news in planned.leaves:
            self._told.pop(news.incident_id, None)
        for news in planned.leaves:
            self.titles.setdefault(news.incident_id, message.title)
        numbers = [each.incident_id for each in planned.leaves]
        self._tell_log(first, reason, numbers, len(numbers))

    def send_gathered(self, number: int, key: GroupKey) -> bool:
        """Finish a message that was put together slice by slice. False when it tells of nothing."""
        receiver, channel = key[0], key[1]
        gathered, via = self.unit.outbox.gathered(number), self._teller.via(receiver, channel)
        if gathered is None:
            self.unit.outbox.call_off(number)
            return False
        if via is None:
            # The receiver went between two slices.
            drills = gathered.drills
            self.unit.outbox.withhold(number, Reason.NO_ROUTE, self.now)
            counter = self._teller.metrics.decisions.labels("no", Reason.NO_ROUTE.value)
            counter.inc(gathered.crowd.total - drills)
            return False
        told = gathered.lead
        lead = self._incident(told.incident_id)
        news = news_of(
            lead,
            told.event,
            receiver=receiver,
            channel=channel,
            reason=told.reason,
            now=told.since,
            page=told.page,
        )
        reason = self.unit.outbox.reason_of(number) or told.reason
        message = self._alone(news, reason, self._language(receiver))
        if gathered.crowd.total > 1:
            message = compose_several(message, gathered.crowd)
        elif self._teller.links is not None:
            message = with_links(message, self._teller.links, lead, receiver, self.now)
        drill = gathered.drills == gathered.crowd.total
        before = self.unit.outbox.planned(lead.id, receiver, channel)
        self.unit.outbox.finish(
            number,
            told,
            key=self._key(lead, news, before),
            addresses=via.to,
            message=to_json(as_drill(message) if drill else message),
            reason=reason.value,
            drill=drill,
            now=self.now,
        )
        self.sent += 1
        self.titles.setdefault(lead.id, message.title)
        self._tell_log(news, reason, gathered.crowd.numbers, gathered.crowd.total)
        return True

    def has_way(self, receiver: str, channel: str) -> bool:
        """Whether the configuration knows a receiver's way through a channel."""
        return self._teller.via(receiver, channel) is not None

    def forget_told(self, incident_id: int) -> None:
        """Who was told of an incident is asked anew."""
        self._told.pop(incident_id, None)

    def _tell_log(
        self, first: News, reason: Reason, gravest: Sequence[int], incidents: int
    ) -> None:
        tell = partial(
            self._teller.log.info,
            "told",
            incident=list(gravest[:NAMED]),
            incidents=incidents,
            receiver=first.receiver,
            channel=first.channel,
            happened=first.event.value,
            reason=reason.value,
        )
        self.unit.afterwards(tell)

    def _language(self, receiver: str) -> str:
        return self._teller.receivers[receiver].language or self._teller.rules.language

    def _message(self, leaves: Sequence[News], reason: Reason, language: str) -> Message:
        what = tuple((each.incident_id, each.event, each.reason, each.page) for each in leaves)
        key = (what, reason, language)
        if key not in self._messages:
            self._messages[key] = self._compose(leaves, reason, language)
        return self._messages[key]

    def _compose(self, leaves: Sequence[News], reason: Reason, language: str) -> Message:
        lead = self._incident(leaves[0].incident_id)
        message = self._alone(leaves[0], reason, language)
        if len(leaves) > 1:
            incidents = [self._incident(each.incident_id) for each in leaves]
            events = {each.incident_id: each.event for each in leaves}
            message = compose_several(message, crowd_of(incidents, events))
            lead = lead if all(each.drill for each in incidents) else replace(lead, drill=False)
        return as_drill(message) if lead.drill else message

    def _alone(self, news: News, reason: Reason, language: str) -> Message:
        """The message about one incident."""
        rules, lead = self._teller.rules, self._incident(news.incident_id)
        pairs, total = self.unit.incidents.exhibits(lead.id, EXHIBITS)
        return compose(
            lead,
            news.event,
            reason,
            signals=self.unit.incidents.signals(lead.id),
            exhibits=[Exhibit(mention, assessment) for mention, assessment in pairs],
            total_mentions=total,
            language=language,
            timezone=rules.timezone,
            keep_handles=rules.handles.get(lead.brand, frozenset()),
            occasion=self._occasion(lead, news),
        )

    def _occasion(self, incident: Incident, news: News) -> Occasion:
        """Who took it, or which clock calls."""
        run = self._run_of(news)
        if run is None:
            return Occasion(who=incident.acknowledged_by or "")
        options = self._teller.clocks[run.name]
        return Occasion(
            who=incident.acknowledged_by or "",
            clock=run.name,
            due_at=run.due_at,
            missing=tuple(need.value for need in options.needs if need not in run.done),
        )

    def _run_of(self, news: News) -> ClockRun | None:
        if not news.page.startswith("clock:"):
            return None
        name = news.page.split(":")[1]
        runs = self.clocks(news.incident_id)
        return next((run for run in runs if run.name == name and name in self._teller.clocks), None)

    def _key(self, lead: Incident, news: News, before: int) -> str:
        """The idempotency key: the same for every attempt of one message, never for two messages."""
        parts = (
            self._teller.installation,
            str(lead.id),
            # A restored backup gives ids anew: the moment keeps an old message from looking like a new one.
            lead.opened_at.isoformat(),
            news.event.value,
            news.receiver,
            news.channel,
            # Dead letters count: a message after one must not carry its key.
            str(before),
        )
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        return f"mw-{lead.id}-{news.event.value}-{digest}"


def _waiting(kept: Sequence[Kept], fresh: Sequence[News]) -> tuple[News, ...]:
    """What waited, and what is new."""
    waiting: tuple[News, ...] = tuple(each.news for each in kept)
    for news in fresh:
        waiting = joined(waiting, news) if news.event is Event.RESOLVED else (*waiting, news)
    return waiting

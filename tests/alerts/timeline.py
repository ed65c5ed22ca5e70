"""Plays a timeline: things happen, the clock moves, and notifications come out.

A small stand-in for the daemon without store and channels: every decision is made by the functions of
``alerts``, in the order in which the daemon asks them. The format is described in
``tests/scenarios/README.md``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field

from alerts.base import Event, Incident, IncidentState, Reason, Severity, Signal, SignalKind
from alerts.clocks import (
    DEFAULT_CLOCKS,
    Clock,
    ClockOptions,
    begin,
    call_unwanted,
    clocks_for,
    plan_clock,
    read,
    restart,
)
from alerts.escalation import (
    ChainOptions,
    Page,
    Surroundings,
    page_breach,
    plan_escalation,
    problems,
    still_wanted,
    who_may_rest,
)
from alerts.grouping import (
    APART,
    GroupOptions,
    GroupPlan,
    News,
    group_key,
    joined,
    news_of,
    plan_group,
)
from alerts.history import Entry, Happened, standing
from alerts.holding import Circumstances, Ruling, mutable, rule_on
from alerts.incidents import SPIKES, Joined, correlate, quiet
from alerts.rota import RotaOptions
from alerts.routes import ReceiverOptions, RouteOptions, Told, matching, plan
from alerts.silences import (
    Crisis,
    InhibitionOptions,
    Muted,
    Silence,
    SilenceLimits,
    Target,
    covering,
    heard_again,
    muted_until,
    problem_with,
)
from alerts.weekhours import DAYS
from alerts.worktime import Calendar, OfficeOptions
from connectors.options import Options

FOLDER = Path(__file__).parent.parent / "scenarios"


class Setup(Options):
    """The part of a configuration that a timeline needs, with the keys of the real one."""

    office: OfficeOptions = OfficeOptions()
    receivers: tuple[ReceiverOptions, ...] = Field(min_length=1)
    routes: tuple[RouteOptions, ...] = Field(min_length=1)
    clocks: tuple[ClockOptions, ...] = DEFAULT_CLOCKS
    escalations: tuple[ChainOptions, ...] = ()
    rotas: tuple[RotaOptions, ...] = ()
    inhibition: InhibitionOptions = InhibitionOptions()
    silences: SilenceLimits = SilenceLimits()


class Scenario(Options):
    """One timeline."""

    name: str
    covers: str
    """The sentence of the requirements, or the complaint, that it is about."""
    date: date
    happens: tuple[str, ...] = Field(min_length=1)
    until: str
    told: tuple[str, ...]
    not_told: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    setup: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Line:
    """One notification, or one that was not sent."""

    at: datetime
    receiver: str
    channel: str
    reason: str
    count: int = 1
    incidents: tuple[int, ...] = field(default=(), compare=False)


def load(file: Path) -> Iterator[tuple[Scenario, Setup]]:
    """The scenarios of a file, each with its setup."""
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    for table in data.pop("scenario"):
        scenario = Scenario.model_validate(table)
        yield scenario, Setup.model_validate({**data, **scenario.setup})


class Times:
    """Reads moments one after the other: ``12:00``, ``Sat 09:00``, ``2026-12-25 09:00``."""

    FORM = re.compile(
        r"^(?:(?P<date>\d{4}-\d{2}-\d{2}) |(?P<day>[A-Z][a-z]{2}) )?"
        r"(?P<clock>\d{2}:\d{2}(?::\d{2})?)(?P<again>\*)?(?: (?P<rest>.*))?$"
    )

    def __init__(self, start: date, zone: ZoneInfo) -> None:
        self._day, self._zone = start, zone
        self._last: datetime | None = None

    def read(self, text: str) -> tuple[datetime, str]:
        """The moment at the start of a line, and the rest of it."""
        found = self.FORM.match(text)
        if found is None:
            raise ValueError(f'"{text}" does not begin with a time')
        if found["date"]:
            self._day = date.fromisoformat(found["date"])
        elif found["day"]:
            wanted = DAYS.index(found["day"].lower())
            self._day += timedelta(days=(wanted - self._day.weekday()) % 7)
        clock = datetime.fromisoformat(f"{self._day} {found['clock']}")
        at = clock.replace(tzinfo=self._zone, fold=1 if found["again"] else 0).astimezone(UTC)
        if self._last is not None and at < self._last:
            raise ValueError(f'"{text}" goes back in time; name its day')
        self._last = at
        return at, found["rest"] or ""


@dataclass
class Case:
    """What the store would know of one incident."""

    incident: Incident
    history: list[Entry] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    muted: list[Muted] = field(default_factory=list)
    clocks: dict[str, Clock] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    stories: set[str] = field(default_factory=set)
    mentions: set[int] = field(default_factory=set)
    inhibited: bool = False
    """Its latest news went to nobody, since a crisis consists of it."""

    def target(self, mentions: Iterable[int] | None = None) -> Target:
        return Target(
            self.incident.brand,
            self.incident.kind,
            self.incident.severity,
            frozenset(self.sources),
            frozenset(self.stories),
            frozenset(self.mentions if mentions is None else mentions),
        )

    def told_at(self, receiver: str) -> datetime | None:
        return max((each.at for each in self.told if each.receiver == receiver), default=None)


class Timeline:
    """Plays one scenario. ``told`` and ``withheld`` are what came of it."""

    VERBS = (
        ("acknowledges", Happened.ACKNOWLEDGED),
        ("gives back", Happened.RELEASED),
        ("notes", Happened.NOTED),
        ("ticks", Happened.TICKED),
        ("publishes a statement", Happened.FIRST_STATEMENT),
        ("answers", Happened.ANSWERED),
        ("resolves", Happened.RESOLVED),
        ("reopens", Happened.REOPENED),
        ("reviews", Happened.REVIEWED),
    )

    def __init__(
        self, setup: Setup, scenario: Scenario, *, also_every: timedelta | None = None
    ) -> None:
        found = problems(
            setup.escalations, setup.rotas, [receiver.name for receiver in setup.receivers]
        )
        if found:
            raise ValueError("; ".join(found))
        self.setup, self.scenario = setup, scenario
        self.calendar = Calendar(setup.office)
        self.around = Surroundings(self.calendar, {rota.name: rota for rota in setup.rotas})
        self.receivers = {receiver.name: receiver for receiver in setup.receivers}
        self.chains = {chain.name: chain for chain in setup.escalations}
        self.cases: dict[int, Case] = {}
        self.silences: list[Silence] = []
        self.waiting: dict[tuple[str, ...], tuple[News, ...]] = {}
        self.groups: dict[tuple[str, ...], GroupOptions] = {}
        self.sent_at: dict[tuple[str, ...], datetime] = {}
        self.told: list[Line] = []
        self.withheld: list[Line] = []
        self.up = True
        self.missed_posts: list[str] = []
        self.also_every = also_every

    def times(self) -> Times:
        return Times(self.scenario.date, self.calendar.zone)

    # -- the clock -------------------------------------------------------------------------------

    def play(self) -> None:
        """Let everything happen, and the clock run to the end."""
        times = self.times()
        lines = [times.read(line) for line in self.scenario.happens]
        end, _ = times.read(self.scenario.until)
        now = lines[0][0]
        for at, what in lines:
            self._run(now, at)
            now = at
            self._happen(what, now)
            self._tick(now)
        self._run(now, end)

    def _run(self, now: datetime, end: datetime) -> None:
        """From wake-up to wake-up, to the end."""
        while True:
            due = self._tick(now)
            if self.also_every is not None:
                due = min(due or now + self.also_every, now + self.also_every)
            if due is None or due > end or not self.up:
                break
            if due <= now:
                raise AssertionError(f"asked to look again at {due}, which is not after {now}")
            now = due
        self._tick(end)

    def _tick(self, now: datetime) -> datetime | None:
        """Everything that is due now. Returns when to look again."""
        if not self.up:
            return None
        while True:
            before = len(self.told), len(self.withheld)
            moments = [self._tend(case, now) for case in list(self.cases.values())]
            moments += [self._flush(key, now) for key in list(self.groups)]
            if (len(self.told), len(self.withheld)) == before:
                return min((moment for moment in moments if moment is not None), default=None)

    # -- what happens ----------------------------------------------------------------------------

    def _happen(self, what: str, now: datetime) -> None:
        words, options = _parts(what)
        if words.startswith("post "):
            if self.up:
                self._post(words, options, now)
            else:
                self.missed_posts.append(what)
        elif words == "daemon stops":
            self.up = False
        elif words == "daemon starts":
            self.up = True
            late, self.missed_posts = self.missed_posts, []
            for line in late:
                self._happen(line, now)
        elif words.endswith(" silences"):
            self._silence(words.removesuffix(" silences"), options, now)
        elif words.endswith(" ends the silence"):
            self.silences = [
                replace(each, ends_at=min(each.ends_at, now)) for each in self.silences
            ]
        else:
            self._act(words, now)

    def _post(self, words: str, options: Mapping[str, str], now: datetime) -> None:
        found = re.match(r"^post (\w+) (\w+)(?: x(\d+))?$", words)
        if found is None:
            raise ValueError(f'"{words}": write post KIND SEVERITY, or post KIND SEVERITY x33')
        kind, severity = SignalKind(found[1]), Severity[found[2].upper()]
        for number in range(int(found[3] or 1)):
            story = options.get("story", f"story-{len(self.cases) + 1}")
            story = f"{story}-{number}" if found[3] else story
            mentions = tuple(int(each) for each in options.get("posts", "0").split(","))
            signal = Signal(
                kind,
                options.get("brand", "Zonnehoek"),
                severity,
                f"{kind}:{story}:{now}:{number}",
                story,
                now,
                mentions,
            )
            self._signal(signal, options.get("source", "x"), options.get("rule"), now)

    def _signal(self, signal: Signal, source: str, rule: str | None, now: datetime) -> None:
        placed = correlate(signal, [case.incident for case in self.cases.values()], now=now)
        if isinstance(placed, Joined):
            case = self.cases[placed.incident.id]
            case.incident, event = placed.incident, placed.event
        else:
            incident = placed.incident(len(self.cases) + 1)
            case = self.cases[incident.id] = Case(incident)
            event = Event.OPENED
        case.sources.add(source)
        case.stories.add(signal.subject)
        case.mentions |= set(signal.mention_ids)
        if event is not None:
            case.history.append(Entry(now, Happened(event.value)))
        rules = [signal.kind.value, *([rule] if rule else [])]
        for clock in clocks_for(self.setup.clocks, rules=rules, severity=case.incident.severity):
            case.clocks.setdefault(clock.name, begin(clock, self.calendar, now))
        if event is not None:
            self._announce(case, event, now, mentions=signal.mention_ids)

    def _silence(self, author: str, options: Mapping[str, str], now: datetime) -> None:
        kind = options.get("kind")
        silence = Silence(
            len(self.silences) + 1,
            author,
            options.get("because", "planned"),
            now,
            now + _duration(options["for"]),
            brand=options.get("brand", ""),
            kind=SignalKind(kind) if kind else None,
            source=options.get("source", ""),
            story=options.get("story", ""),
        )
        refusal = problem_with(silence, self.setup.silences, now)
        if refusal is not None:
            raise ValueError(refusal)
        self.silences.append(silence)

    def _act(self, words: str, now: datetime) -> None:
        words, _, number = words.partition(" #")
        case = self.cases[int(number or max(self.cases))]
        verbs = [each for each in self.VERBS if words.endswith(f" {each[0]}")]
        if not verbs:
            raise ValueError(f'"{words}" is nothing that can happen')
        verb, what = verbs[0]
        before = case.incident.state
        was = standing(case.history, now)
        case.history.append(Entry(now, what, words.removesuffix(f" {verb}")))
        stands = standing(case.history, now)
        if stands is None:
            raise AssertionError("what was opened stands somehow")
        case.incident = replace(case.incident, state=stands.state)
        if before is case.incident.state:
            return
        if what is Happened.RESOLVED:
            self._announce(case, Event.RESOLVED, now)
        elif what is Happened.REOPENED:
            self._announce(case, Event.OPENED, now)
        elif what is Happened.ACKNOWLEDGED:
            for to in who_may_rest(case.told, stands.since):
                self._news(case, Event.CONTINUES, Reason.TAKEN, to, now)
        elif what is Happened.RELEASED and was is not None:
            for to in who_may_rest(case.told, was.since):
                self._news(case, Event.CONTINUES, Reason.GIVEN_BACK, to, now)

    # -- what the daemon decides ------------------------------------------------------------------

    def _announce(
        self, case: Case, event: Event, now: datetime, *, mentions: Iterable[int] = ()
    ) -> None:
        decisions = plan(
            case.incident,
            event,
            routes=self.setup.routes,
            receivers=self.setup.receivers,
            told=case.told,
            now=now,
        )
        rulings = []
        for decision in decisions:
            channel = decision.via.use if decision.via else ""
            if decision.send:
                rulings.append(
                    self._news(
                        case,
                        event,
                        decision.reason,
                        (decision.receiver, channel),
                        now,
                        mentions=mentions,
                    )
                )
            else:
                self._withhold(now, decision.receiver, channel, decision.reason, case)
        case.inhibited = bool(rulings) and set(rulings) == {Reason.PART_OF_CRISIS}

    def _news(
        self,
        case: Case,
        event: Event,
        reason: Reason,
        to: tuple[str, str],
        now: datetime,
        *,
        mentions: Iterable[int] = (),
        page: str = "",
    ) -> Reason:
        receiver, channel = to
        news = news_of(
            case.incident,
            event,
            receiver=receiver,
            channel=channel,
            reason=reason,
            now=now,
            page=page,
        )
        ruled = rule_on(
            news,
            case.target(mentions or None),
            Circumstances(
                self.calendar, self.silences, list(self._crises()), self.setup.inhibition
            ),
            quiet=self.receivers[receiver].quiet,
            told_at=case.told_at(receiver),
            now=now,
        )
        if ruled.ruling is not Ruling.TELL:
            self._withhold(now, receiver, channel, ruled.reason, case)
        if ruled.ruling is Ruling.MUTE:
            if ruled.reason is Reason.SILENCED:
                case.muted.append(Muted(receiver, channel, now))
            return ruled.reason
        options = self._group_of(case.incident)
        key = group_key(ruled.news, options)
        self.groups[key] = options
        self.waiting[key] = joined(self.waiting.get(key, ()), ruled.news)
        return ruled.reason

    def _crises(self) -> Iterator[Crisis]:
        for case in self.cases.values():
            burns = case.incident.state in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
            if burns and case.incident.kind in SPIKES:
                yield Crisis(
                    case.incident.id,
                    case.incident.brand,
                    case.incident.severity,
                    frozenset(case.mentions),
                    frozenset(each.receiver for each in case.told),
                )

    def _route(self, incident: Incident) -> RouteOptions | None:
        return next((leaf.route for leaf in matching(self.setup.routes, incident)), None)

    def _group_of(self, incident: Incident) -> GroupOptions:
        route = self._route(incident)
        return (route.group if route else None) or APART

    # -- what is due -------------------------------------------------------------------------------

    def _tend(self, case: Case, now: datetime) -> datetime | None:
        if case.incident.state not in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED):
            return None
        if quiet(case.incident, now):
            self._resolve_by_itself(case, now)
            return None
        again, silence_end = heard_again(
            case.muted,
            case.told,
            case.history,
            self.silences,
            case.target(),
            state=case.incident.state,
            now=now,
        )
        for each in again:
            to = (each.receiver, each.channel)
            self._news(case, Event.CONTINUES, Reason.SILENCE_ENDED, to, now)
            case.history.append(each.entry(now))
        moments = [silence_end, self._watch_clocks(case, now), self._escalate(case, now)]
        moments.append(self._quiet_at(case.incident, now))
        return min((moment for moment in moments if moment is not None), default=None)

    def _resolve_by_itself(self, case: Case, now: datetime) -> None:
        case.history.append(Entry(now, Happened.RESOLVED, "merkwacht"))
        case.incident = replace(case.incident, state=IncidentState.RESOLVED)
        self._announce(case, Event.RESOLVED, now)

    def _quiet_at(self, incident: Incident, now: datetime) -> datetime | None:
        """When an incident will end by itself, found by asking the function that decides it."""
        last = max(incident.opened_at, incident.last_signal_at)
        for hours in (6, 24):
            if quiet(incident, last + timedelta(hours=hours)):
                return last + timedelta(hours=hours)
        return None

    def _watch_clocks(self, case: Case, now: datetime) -> datetime | None:
        moments = []
        for options in self.setup.clocks:
            if options.name not in case.clocks:
                continue
            clock = restart(case.clocks[options.name], options, self.calendar, case.history, now)
            planned = plan_clock(
                clock,
                options,
                case.history,
                now,
                muted_until=muted_until(self.silences, case.target(), now),
            )
            moments.append(planned.next_at)
            for call in planned.calls:
                page = None
                if call.reason is Reason.BREACHED and (chain := self._chain(case)) is not None:
                    page = page_breach(case.history, chain, now, self.around, key=call.key)
                if page is not None:
                    self._page(case, page, now)
                else:
                    case.history.append(Entry(now, Happened.TOLD, "", call.key, call.reason))
                    for to in dict.fromkeys((each.receiver, each.channel) for each in case.told):
                        self._news(case, Event.CONTINUES, call.reason, to, now, page=call.key)
        return min((moment for moment in moments if moment is not None), default=None)

    def _chain(self, case: Case) -> ChainOptions | None:
        route = self._route(case.incident)
        return self.chains[route.escalation] if route and route.escalation else None

    def _escalate(self, case: Case, now: datetime) -> datetime | None:
        chain = self._chain(case)
        if chain is None or case.inhibited:
            return None
        planned = plan_escalation(
            case.history,
            chain,
            now,
            self.around,
            muted_until=muted_until(self.silences, case.target(), now),
        )
        for page in planned.pages:
            self._page(case, page, now)
        return planned.next_at

    def _page(self, case: Case, page: Page, now: datetime) -> None:
        case.history += page.entries()
        if not page.send:
            self._withhold(now, "", "", page.reason, case)
        for name in page.receivers:
            for via in self.receivers[name].channels:
                to = (name, via.use)
                self._news(case, Event.CONTINUES, page.reason, to, now, page=page.key)

    def _flush(self, key: tuple[str, ...], now: datetime) -> datetime | None:
        options = self.groups[key]
        waiting = tuple(
            news for news in self.waiting.get(key, ()) if not self._withdrawn(news, now)
        )
        burning = list(self._burning(key, options, now))
        planned = self._plan(key, waiting, burning, now)
        if planned.leaves:
            # A silence may have begun while it waited, or while it burnt.
            waiting = tuple(news for news in waiting if not self._silenced(news, now))
            burning = [news for news in burning if waiting or not self._silenced(news, now)]
            planned = self._plan(key, waiting, burning, now)
        self.waiting[key] = waiting
        if not planned.leaves:
            return planned.next_at
        first = planned.leaves[0]
        ids = tuple(sorted(news.incident_id for news in planned.leaves))
        if planned.reason is None:
            raise AssertionError("what leaves has a reason")
        self.told.append(
            Line(now, first.receiver, first.channel, planned.reason.value, len(ids), ids)
        )
        self.sent_at[key] = now
        self.waiting[key] = planned.stays
        for news in planned.leaves:
            case = self.cases[news.incident_id]
            case.told.append(Told(news.receiver, news.channel, news.event, now))
        return planned.next_at

    def _plan(
        self,
        key: tuple[str, ...],
        waiting: Sequence[News],
        burning: Sequence[News],
        now: datetime,
    ) -> GroupPlan:
        over = [
            number
            for number, case in self.cases.items()
            if case.incident.state in (IncidentState.RESOLVED, IncidentState.REVIEWED)
        ]
        options, sent_at = self.groups[key], self.sent_at.get(key)
        return plan_group(waiting, options, sent_at=sent_at, burning=burning, over=over, now=now)

    def _silenced(self, news: News, now: datetime) -> bool:
        case = self.cases[news.incident_id]
        silence = covering(self.silences, case.target(), now)
        if silence is None or not mutable(news):
            return False
        pair = (news.receiver, news.channel)
        known = [each for each in case.muted if (each.receiver, each.channel) == pair]
        if news.reason is not Reason.REPEATED or all(each.at < silence.starts_at for each in known):
            case.muted.append(Muted(*pair, now))
            self._withhold(now, *pair, Reason.SILENCED, case)
        return True

    def _withdrawn(self, news: News, now: datetime) -> bool:
        case = self.cases[news.incident_id]
        entry = Entry(news.since, Happened.TOLD, news.receiver, news.page, news.reason)
        why = still_wanted(entry, case.history, now) if news.page else None
        for options in self.setup.clocks:
            clock = case.clocks.get(options.name)
            if clock is not None and news.reason is Reason.REMINDER:
                clock = restart(clock, options, self.calendar, case.history, now)
                if news.page in {clock.key(share) for share in options.remind_at_percent}:
                    why = why or call_unwanted(clock, options, case.history, now)
        if why is None:
            return False
        self._withhold(now, news.receiver, news.channel, why, case)
        return True

    def _burning(
        self, key: tuple[str, ...], options: GroupOptions, now: datetime
    ) -> Iterator[News]:
        for case in self.cases.values():
            if case.incident.state is not IncidentState.OPEN:
                continue
            for receiver, channel in who_may_rest(case.told, case.incident.opened_at):
                news = news_of(
                    case.incident,
                    Event.CONTINUES,
                    receiver=receiver,
                    channel=channel,
                    reason=Reason.REPEATED,
                    now=now,
                )
                if group_key(news, options) == key:
                    yield news

    def _withhold(
        self, now: datetime, receiver: str, channel: str, reason: Reason, case: Case
    ) -> None:
        self.withheld.append(Line(now, receiver, channel, reason.value, 1, (case.incident.id,)))

    # -- what is expected --------------------------------------------------------------------------

    def expected(self, lines: Iterable[str]) -> list[Line]:
        """Lines such as ``12:00 crisis team/mail opened x33 #1`` as values."""
        times, found = self.times(), []
        for line in lines:
            at, rest = times.read(line)
            parsed = re.match(
                r"^(?:(?P<receiver>[^/]+)/(?P<channel>\S+)|nobody) (?P<reason>\w+)"
                r"(?: x(?P<count>\d+))?(?: #(?P<number>\d+))?$",
                rest,
            )
            if parsed is None:
                raise ValueError(f'"{line}": write TIME RECEIVER/CHANNEL REASON')
            found.append(
                Line(
                    at,
                    parsed["receiver"] or "",
                    parsed["channel"] or "",
                    Reason(parsed["reason"]).value,
                    int(parsed["count"] or 1),
                    (int(parsed["number"]),) if parsed["number"] else (),
                )
            )
        return found

    def clock_lines(self, now: datetime) -> list[str]:
        """How each clock stands at the end, as ``crisis #1 due 2026-11-13 13:00 met``."""
        found = []
        for case in self.cases.values():
            for options in self.setup.clocks:
                if options.name in case.clocks:
                    clock = restart(
                        case.clocks[options.name], options, self.calendar, case.history, now
                    )
                    state = read(clock, options, case.history, now).state
                    local = clock.due_at.astimezone(self.calendar.zone)
                    found.append(
                        f"{options.name} #{case.incident.id} due {local:%Y-%m-%d %H:%M} {state}"
                    )
        return found


def _parts(text: str) -> tuple[str, dict[str, str]]:
    """``Anna silences kind=abuse for=2h`` as its words and its options."""
    words, options = [], {}
    for part in text.split():
        name, sign, value = part.partition("=")
        if sign:
            options[name] = value
        else:
            words.append(part)
    return " ".join(words), options


def _duration(text: str) -> timedelta:
    units = {"m": "minutes", "h": "hours", "d": "days"}
    return timedelta(**{units[text[-1]]: float(text[:-1])})


__all__ = ["FOLDER", "Line", "Scenario", "Setup", "Timeline", "load"]

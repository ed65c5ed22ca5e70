"""Who is next when nobody answers: chains of steps, derived from the history and nothing else.

Every page has a key that follows from its place. What stands in the history is never planned again, so a
restart, a second call or a late one changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from pydantic import Field, model_validator

from alerts.base import IncidentState, Reason
from alerts.history import Entry, Happened, Standing, keys, standing, told_with, until
from alerts.rota import RotaOptions, on_duty
from alerts.routes import Told
from alerts.worktime import Calendar, Counting
from connectors.options import Options

MINUTES_A_WEEK = 7 * 24 * 60


class StepOptions(Options):
    """One step: wait, then tell somebody."""

    wait_minutes: float = Field(default=15, ge=0, le=MINUTES_A_WEEK)
    """Minutes since the step before was paged; of the first step, since the incident began."""
    counts: Counting = Counting.WALL_CLOCK
    """What the wait is counted in: wall_clock, working_days or office_hours."""
    only: Literal["always", "office_hours", "outside_office_hours"] = "always"
    """When the step is for; at other times the chain goes on to the next."""
    receivers: tuple[str, ...] = ()
    """Who is told."""
    rota: str | None = None
    """And whoever is on duty then."""

    @model_validator(mode="after")
    def _somebody(self) -> StepOptions:
        if not self.receivers and self.rota is None:
            raise ValueError("a step tells somebody: give receivers or a rota")
        return self


class ChainOptions(Options):
    """Steps, one after the other, until somebody takes the incident."""

    name: str = Field(min_length=1)
    """What routes call it."""
    steps: tuple[StepOptions, ...] = Field(min_length=1)
    """In order."""
    rounds: int = Field(default=1, ge=1, le=10)
    """How often the chain is gone through before it gives up. Once: whoever did not answer twice will not
    answer a third time, and a clock that runs out pages all the same."""
    repeat_after_minutes: float = Field(default=30, ge=5, le=MINUTES_A_WEEK)
    """Minutes between the last step and the first of the next round."""
    when_nobody_answers: tuple[str, ...] = ()
    """Who is told, once, that the chain was gone through in vain."""
    stale_after_minutes: float | None = Field(default=240, ge=5, le=30 * 24 * 60)
    """Minutes without a sign of life after which a taken incident is told again; none: never."""
    stale_counts: Counting = Counting.WALL_CLOCK
    """What these minutes are counted in."""
    stale_times: int = Field(default=3, ge=1, le=10)
    """How often in a row it is told again; nothing rings for ever."""
    stale_receivers: tuple[str, ...] = ()
    """Who is told then; without it the receivers and rota of the first step."""

    @property
    def everybody(self) -> frozenset[str]:
        """Every receiver it names, for checking that they exist."""
        named = [name for step in self.steps for name in step.receivers]
        return frozenset([*named, *self.when_nobody_answers, *self.stale_receivers])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What waits and steps refer to."""

    calendar: Calendar
    rotas: Mapping[str, RotaOptions] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Page:
    """Somebody is to be told, or a step is passed over; both go into the history with their key."""

    key: str
    reason: Reason
    """Told: ``ESCALATED``, ``STALE``, ``BREACHED``, ``NOBODY_ANSWERED``. Passed over:
    ``WRONG_HOURS``, ``NOBODY_ON_DUTY``."""
    receivers: tuple[str, ...]
    """Empty when the step is passed over."""
    at: datetime
    """When the history says it happened: now, or when a step passed over was due."""
    level: int | None = None
    """The step, counted from 0; None for what is no step."""

    @property
    def send(self) -> bool:
        """Whether anybody is told."""
        return bool(self.receivers)

    def entries(self) -> list[Entry]:
        """What goes into the history in the same transaction as the notifications."""
        if not self.send:
            return [Entry(self.at, Happened.PASSED, "", self.key, self.reason, self.level)]
        return [
            Entry(self.at, Happened.TOLD, name, self.key, self.reason, self.level)
            for name in self.receivers
        ]


@dataclass(frozen=True, slots=True)
class EscalationPlan:
    """What a chain asks for now, and when to ask it again."""

    pages: tuple[Page, ...]
    next_at: datetime | None
    """None: nothing more unless something happens."""
    rests: Reason | None = None
    """Why nothing is due: ``ACKNOWLEDGED``, ``OVER``, ``SILENCED``, ``NOBODY_ANSWERED``."""


def plan_escalation(
    history: Sequence[Entry],
    chain: ChainOptions,
    now: datetime,
    around: Surroundings,
    *,
    muted_until: datetime | None = None,
) -> EscalationPlan:
    """Decide who is paged now because nobody answered.

    Args:
        history: everything that happened to the incident, pages included.
        chain: the chain of the first route that matched.
        now: the present moment.
        around: calendar and rotas.
        muted_until: a silence covers the incident until then; its pages wait.

    Raises:
        KeyError: a step names a rota that does not exist.
        ValueError: a wait never ends, since the calendar has no working time.
    """
    stands = standing(history, now)
    if stands is None or stands.state in (IncidentState.RESOLVED, IncidentState.REVIEWED):
        return EscalationPlan((), None, Reason.OVER)
    if muted_until is not None and muted_until > now:
        return EscalationPlan((), muted_until, Reason.SILENCED)
    if stands.state is IncidentState.ACKNOWLEDGED:
        return _stale(history, stands, chain, now, around)
    return _ladder(history, stands, chain, now, around)


def page_breach(
    history: Sequence[Entry], chain: ChainOptions, now: datetime, around: Surroundings, *, key: str
) -> Page | None:
    """One level further up because a clock ran out: also when somebody has taken the incident.

    The level after the highest that was paged since the incident began, at most the last. Steps that are
    for other hours or have nobody on duty are passed by. None when that was done or the incident is over.

    Args:
        history: everything that happened to the incident.
        chain: its chain.
        now: the present moment.
        around: calendar and rotas.
        key: of the clock's call.
    """
    stands = standing(history, now)
    burning = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
    if stands is None or stands.state not in burning or key in keys(history):
        return None
    paged = [
        entry.level
        for entry in until(history, now)
        if entry.level is not None and entry.what is Happened.TOLD and entry.at >= stands.since
    ]
    last = len(chain.steps) - 1
    level = min(max(paged, default=-1) + 1, last)
    for candidate in [*range(level, last + 1), *range(level - 1, -1, -1)]:
        found = _receivers(chain.steps[candidate], now, now, around)
        if not isinstance(found, Reason):
            return Page(key, Reason.BREACHED, found, now, candidate)
    return None


def who_may_rest(told: Sequence[Told], since: datetime) -> list[tuple[str, str]]:
    """Receivers and channels to tell that somebody took the incident: all that were told of it.

    Args:
        told: every notification of the incident.
        since: when the incident last began; what was told before, an all-clear has ended.
    """
    pairs = ((each.receiver, each.channel) for each in told if each.at >= since)
    return list(dict.fromkeys(pairs))


def still_wanted(entry: Entry, history: Sequence[Entry], now: datetime) -> Reason | None:
    """Why a page that was planned must not leave any more; None while it is wanted.

    To be asked just before each attempt of delivery: a mail server that was down for an hour must not
    ring for what somebody took half an hour ago.
    """
    stands = standing(history, now)
    if stands is None or stands.state in (IncidentState.RESOLVED, IncidentState.REVIEWED):
        return Reason.OVER
    if entry.reason in (Reason.ESCALATED, Reason.NOBODY_ANSWERED):
        # Given back after it was planned: the new beginning has pages of its own.
        taken = stands.state is not IncidentState.OPEN or entry.at < stands.since
        return Reason.ACKNOWLEDGED if taken else None
    if entry.reason is Reason.STALE:
        alive = stands.active_at is not None and stands.active_at > entry.at
        return Reason.ACKNOWLEDGED if alive or stands.state is IncidentState.OPEN else None
    return None


def _ladder(
    history: Sequence[Entry],
    stands: Standing,
    chain: ChainOptions,
    now: datetime,
    around: Surroundings,
) -> EscalationPlan:
    pages: list[Page] = []
    reached = stands.since
    resumed = _resumed(history, stands, now)
    for turn in range(chain.rounds):
        for level, step in enumerate(chain.steps):
            key = f"chain:{stands.beginning}.{turn + 1}.{level + 1}"
            done = told_with(history, key)
            if done is None and turn == 0:
                done = _reached_by_breach(history, stands, level, now)
            if done is not None:
                reached = max(reached, min(done, now))
                continue
            again = turn > 0 and level == 0
            due = _due(chain, step, max(reached, resumed), again=again, around=around)
            if due > now:
                return EscalationPlan(tuple(pages), due)
            page = _page(key, level, step, due=due, now=now, around=around)
            pages.append(page)
            reached = page.at
    return _in_vain(history, stands, chain, pages, reached=reached, now=now)


def _resumed(history: Sequence[Entry], stands: Standing, now: datetime) -> datetime:
    """When people were told anew because a silence ended: they get their time to answer."""
    told = (entry.at for entry in history if entry.reason is Reason.SILENCE_ENDED)
    return max((at for at in told if stands.since <= at <= now), default=stands.since)


def _due(
    chain: ChainOptions, step: StepOptions, since: datetime, *, again: bool, around: Surroundings
) -> datetime:
    if again:
        return since + timedelta(minutes=chain.repeat_after_minutes)
    return around.calendar.add_working(since, timedelta(minutes=step.wait_minutes), step.counts)


def _page(
    key: str, level: int, step: StepOptions, *, due: datetime, now: datetime, around: Surroundings
) -> Page:
    """The page of a step that is due. The next wait runs from its moment."""
    found = _receivers(step, due, now, around)
    if isinstance(found, Reason):
        # Judged by the moment it was due, so that a late look judges alike.
        return Page(key, found, (), due, level)
    return Page(key, Reason.ESCALATED, found, now, level)


def _receivers(
    step: StepOptions, due: datetime, now: datetime, around: Surroundings
) -> tuple[str, ...] | Reason:
    if step.only != "always" and around.calendar.is_open(due) != (step.only == "office_hours"):
        return Reason.WRONG_HOURS
    names = dict.fromkeys(step.receivers)
    if step.rota is not None:
        rota = around.rotas[step.rota]
        names |= dict.fromkeys(on_duty(rota, now).receivers or on_duty(rota, due).receivers)
    return tuple(names) or Reason.NOBODY_ON_DUTY


def _reached_by_breach(
    history: Sequence[Entry], stands: Standing, level: int, now: datetime
) -> datetime | None:
    """When a clock that ran out paged this level already: its own page would be the second."""
    return min(
        (
            entry.at
            for entry in history
            if entry.reason is Reason.BREACHED
            and entry.level == level
            and stands.since <= entry.at <= now
        ),
        default=None,
    )


def _in_vain(
    history: Sequence[Entry],
    stands: Standing,
    chain: ChainOptions,
    pages: Sequence[Page],
    *,
    reached: datetime,
    now: datetime,
) -> EscalationPlan:
    """After the last round: say once that nobody answered, then rest."""
    key = f"chain:{stands.beginning}.end"
    if not chain.when_nobody_answers or key in keys(history):
        return EscalationPlan(tuple(pages), None, Reason.NOBODY_ANSWERED)
    due = reached + timedelta(minutes=chain.repeat_after_minutes)
    if due > now:
        return EscalationPlan(tuple(pages), due)
    last = Page(key, Reason.NOBODY_ANSWERED, chain.when_nobody_answers, now)
    return EscalationPlan((*pages, last), None, Reason.NOBODY_ANSWERED)


def _stale(
    history: Sequence[Entry],
    stands: Standing,
    chain: ChainOptions,
    now: datetime,
    around: Surroundings,
) -> EscalationPlan:
    if chain.stale_after_minutes is None or stands.active_at is None:
        return EscalationPlan((), None, Reason.ACKNOWLEDGED)
    wait = timedelta(minutes=chain.stale_after_minutes)
    prefix = f"chain:{stands.beginning}.stale."
    before: dict[str, datetime] = {}
    for entry in history:
        if entry.page.startswith(prefix):
            before.setdefault(entry.page, entry.at)
    in_a_row = [at for at in before.values() if at >= stands.active_at]
    if len(in_a_row) >= chain.stale_times:
        return EscalationPlan((), None, Reason.ACKNOWLEDGED)
    due = around.calendar.add_working(max([stands.active_at, *in_a_row]), wait, chain.stale_counts)
    if due > now:
        return EscalationPlan((), due, Reason.ACKNOWLEDGED)
    key = f"{prefix}{len(before) + 1}"
    found = _stale_receivers(chain, due, now, around)
    page = (
        Page(key, found, (), now)
        if isinstance(found, Reason)
        else Page(key, Reason.STALE, found, now)
    )
    following = around.calendar.add_working(page.at, wait, chain.stale_counts)
    more = len(in_a_row) + 1 < chain.stale_times
    return EscalationPlan((page,), following if more else None, Reason.ACKNOWLEDGED)


def _stale_receivers(
    chain: ChainOptions, due: datetime, now: datetime, around: Surroundings
) -> tuple[str, ...] | Reason:
    if chain.stale_receivers:
        return chain.stale_receivers
    for step in chain.steps:
        found = _receivers(step, due, now, around)
        if not isinstance(found, Reason):
            return found
    return Reason.NOBODY_ON_DUTY


def problems(
    chains: Iterable[ChainOptions], rotas: Iterable[RotaOptions], receivers: Iterable[str]
) -> list[str]:
    """Names in chains and rotas that refer to nothing, each as a sentence for the configuration check."""
    people, known = set(receivers), {}
    found = []
    for rota in rotas:
        if rota.name in known:
            found.append(f"two rotas are called {rota.name}")
        known[rota.name] = rota
        found += [
            f"rota {rota.name} names {name}, who is no receiver"
            for name in sorted(rota.everybody - people)
        ]
    for chain in chains:
        found += [
            f"escalation {chain.name} names {name}, who is no receiver"
            for name in sorted(chain.everybody - people)
        ]
        found += [
            f"escalation {chain.name} names the rota {step.rota}, which does not exist"
            for step in chain.steps
            if step.rota is not None and step.rota not in known
        ]
    return found

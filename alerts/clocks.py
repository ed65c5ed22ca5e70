"""The two promises of the policy as clocks: started by a rule, reminded of, met or breached.

A *crisis* is acknowledged and has a first statement within an hour, day and night; *feedback* is answered
within 24 hours on working days. Pure: due moments follow from the options and the calendar, everything
else from the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator

from alerts.base import IncidentState, Reason, Severity, SeverityWord, SignalKind
from alerts.history import Entry, Happened, keys, standing, until
from alerts.worktime import Calendar, Counting
from connectors.options import Options

_NO_TIME = timedelta(0)
BREACH = 100
"""The share, in per cent, at which a clock has run out."""


class Milestone(StrEnum):
    """What a clock can wait for: the word of the history entry."""

    ACKNOWLEDGED = Happened.ACKNOWLEDGED.value
    FIRST_STATEMENT = Happened.FIRST_STATEMENT.value
    ANSWERED = Happened.ANSWERED.value
    RESOLVED = Happened.RESOLVED.value


class ClockOptions(Options):
    """A promise with a due moment."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")
    """How rules, logs and metrics call it."""
    limit_hours: float = Field(gt=0, le=24 * 90)
    """How long it runs, in the time that ``counts`` names."""
    counts: Counting = Counting.WALL_CLOCK
    """wall_clock; working_days (midnight to midnight, free days left out); or office_hours."""
    needs: tuple[Milestone, ...] = Field(min_length=1)
    """What stops it: all of these. Resolving the incident ends every clock."""
    rules: tuple[str, ...] = ()
    """What starts it: kinds of signals, or ids of rules of the policy."""
    min_severity: SeverityWord = "low"
    """Least severity of the incident that starts it."""
    remind_at_percent: tuple[float, ...] = (50, 80)
    """When those who were told are reminded."""
    remind_by: Literal["open_time", "clock"] = "open_time"
    """Per cent of what: of the office hours until it is due, or of the clock's own time. A wall clock
    knows no office hours: both are the same for it."""

    @field_validator("remind_at_percent")
    @classmethod
    def _rising_shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(set(shares)) or any(not 0 < each < BREACH for each in shares):
            raise ValueError("reminders are rising shares between 0 and 100, such as [50, 80]")
        return shares

    @property
    def limit(self) -> timedelta:
        """``limit_hours`` as a duration."""
        return timedelta(hours=self.limit_hours)


CRISIS = ClockOptions(
    name="crisis",
    limit_hours=1,
    needs=(Milestone.ACKNOWLEDGED, Milestone.FIRST_STATEMENT),
    rules=(
        SignalKind.LEAK.value,
        SignalKind.THREAT.value,
        SignalKind.VOLUME_SPIKE.value,
        SignalKind.NEGATIVITY_SPIKE.value,
        SignalKind.TOPIC_BURST.value,
        SignalKind.OFFICIAL_ACCOUNT.value,
    ),
    min_severity="high",
)
"""One hour, day and night."""

FEEDBACK = ClockOptions(
    name="feedback",
    limit_hours=24,
    counts=Counting.WORKING_DAYS,
    needs=(Milestone.ANSWERED,),
    rules=("feedback", "complaint"),
)
"""24 hours on working days."""

DEFAULT_CLOCKS = (CRISIS, FEEDBACK)


class ClockState(StrEnum):
    """How a clock stands: a closed set for logs, metrics and reports."""

    RUNNING = "running"
    MET = "met"
    """All it needs had happened when it was due."""
    BREACHED = "breached"
    """It is past due and something is still missing."""
    LATE = "late"
    """All it needs has happened, too late."""
    CALLED_OFF = "called_off"
    """The incident ended before the clock was due, without what the clock needs."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that was started. All moments are UTC."""

    name: str
    started_at: datetime
    due_at: datetime
    reminders: tuple[tuple[float, datetime], ...] = ()
    """Per cent and moment of each reminder, rising."""

    def key(self, percent: float) -> str:
        """The key of a call: the same for ever for this start of this clock."""
        return f"clock:{self.name}:{self.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}:{percent:g}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a clock stands at a moment."""

    state: ClockState
    due_at: datetime
    missing: tuple[Milestone, ...]
    """What it still waits for."""
    stopped_at: datetime | None
    """When the last it needs happened, or the incident ended."""
    done: tuple[tuple[Milestone, datetime], ...]
    """When each first happened since the start: what the histograms are fed with."""


@dataclass(frozen=True, slots=True)
class Call:
    """A reminder or a breach that is due to be told."""

    key: str
    clock: str
    reason: Reason
    """``REMINDER`` or ``BREACHED``."""
    percent: float
    due_at: datetime
    missing: tuple[Milestone, ...]


@dataclass(frozen=True, slots=True)
class ClockPlan:
    """What a clock has to say now, and when to ask it again."""

    calls: tuple[Call, ...]
    """None or one: of several that are due, only the latest is told."""
    next_at: datetime | None
    reading: Reading


def clocks_for(
    clocks: Iterable[ClockOptions], *, rules: Iterable[str], severity: Severity
) -> list[ClockOptions]:
    """The clocks that start when these rules (kinds of signals, ids of policy rules) have fired.

    Ask again when an incident worsens: it may have become grave enough for a clock.
    """
    fired = set(rules)
    return [
        clock
        for clock in clocks
        if fired & set(clock.rules) and severity >= Severity[clock.min_severity.upper()]
    ]


def begin(options: ClockOptions, calendar: Calendar, at: datetime) -> Clock:
    """Start a clock.

    Raises:
        ValueError: the calendar has no working time within ten years, or ``at`` is naive.
    """
    due = calendar.add_working(at, options.limit, options.counts)
    return Clock(
        options.name,
        at.astimezone(UTC),
        due,
        tuple(
            (share, _reminder(options, calendar, at, due, share))
            for share in options.remind_at_percent
        ),
    )


def _reminder(
    options: ClockOptions, calendar: Calendar, at: datetime, due: datetime, percent: float
) -> datetime:
    if options.counts is not Counting.WALL_CLOCK and options.remind_by == "open_time":
        usable = calendar.working_between(at, due)
        if usable > _NO_TIME:
            return calendar.add_working(at, usable * percent / BREACH)
    return calendar.add_working(at, options.limit * percent / BREACH, options.counts)


def restart(
    clock: Clock, options: ClockOptions, calendar: Calendar, history: Sequence[Entry], now: datetime
) -> Clock:
    """The clock as it runs now: from the last reopening, if its incident was reopened."""
    again = [
        entry.at
        for entry in until(history, now)
        if entry.what is Happened.REOPENED and entry.at > clock.started_at
    ]
    return begin(options, calendar, max(again)) if again else clock


def read(clock: Clock, options: ClockOptions, history: Sequence[Entry], now: datetime) -> Reading:
    """How a clock stands, from what happened since it started.

    What somebody had taken already when it started is taken: it became graver in their hands.
    """
    done: dict[Milestone, datetime] = {}
    ended: datetime | None = None
    stood = standing(history, min(clock.started_at, now))
    if stood is not None and stood.state is IncidentState.ACKNOWLEDGED:
        done[Milestone.ACKNOWLEDGED] = clock.started_at
    for entry in until(history, now):
        if entry.at < clock.started_at:
            continue
        if entry.what in (Happened.RESOLVED, Happened.REVIEWED) and ended is None:
            ended = entry.at
        if entry.what.value in set(Milestone):
            done.setdefault(Milestone(entry.what.value), entry.at)
    missing = tuple(need for need in options.needs if need not in done)
    met_at = None if missing else max(done[need] for need in options.needs)
    if met_at is not None and (ended is None or met_at <= ended):
        stopped: datetime | None = met_at
        state = ClockState.MET if met_at <= clock.due_at else ClockState.LATE
    elif ended is not None:
        stopped = ended
        state = ClockState.CALLED_OFF if ended <= clock.due_at else ClockState.BREACHED
    else:
        stopped = None
        state = ClockState.RUNNING if now <= clock.due_at else ClockState.BREACHED
    return Reading(state, clock.due_at, missing, stopped, tuple(done.items()))


def plan_clock(
    clock: Clock,
    options: ClockOptions,
    history: Sequence[Entry],
    now: datetime,
    *,
    muted_until: datetime | None = None,
) -> ClockPlan:
    """What a clock has to say now. Never the same twice; of what was missed, only the latest.

    Args:
        clock: as it runs now, see :func:`restart`.
        options: it was started from.
        history: everything that happened to the incident, earlier calls included.
        now: the present moment.
        muted_until: a silence covers the incident until then; the clock runs on and says so afterwards.
    """
    reading = read(clock, options, history, now)
    if reading.stopped_at is not None:
        return ClockPlan((), None, reading)
    if muted_until is not None and muted_until > now:
        return ClockPlan((), muted_until, reading)
    said = keys(history)
    moments = [*clock.reminders, (float(BREACH), clock.due_at)]
    # Due means past for the breach (the last moment is still in time), reached for reminders.
    due = [(share, at) for share, at in moments if (at < now if share == BREACH else at <= now)]
    ahead = [at for _, at in moments[len(due) :]]
    # One step after the due moment: on it, it could still be met.
    after = ahead[0] if ahead else None
    if after == clock.due_at:
        after += timedelta(seconds=1)
    calls: tuple[Call, ...] = ()
    if due:
        share = due[-1][0]
        if clock.key(share) not in said:
            calls = (
                Call(
                    clock.key(share),
                    clock.name,
                    Reason.BREACHED if share == BREACH else Reason.REMINDER,
                    share,
                    clock.due_at,
                    reading.missing,
                ),
            )
    return ClockPlan(calls, after, reading)


def call_unwanted(
    clock: Clock, options: ClockOptions, history: Sequence[Entry], now: datetime
) -> Reason | None:
    """Why a call that was planned must not leave any more; None while the clock runs.

    To be asked before each attempt of delivery: a reminder that was kept over night is no use when the
    answer went out meanwhile.
    """
    stopped = read(clock, options, history, now).stopped_at
    return Reason.OVER if stopped is not None else None

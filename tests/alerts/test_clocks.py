"""The clocks of the policy: due moments, reminders, breach, and what stops them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.base import Reason, Severity
from alerts.clocks import (
    CRISIS,
    DEFAULT_CLOCKS,
    FEEDBACK,
    ClockOptions,
    ClockState,
    Milestone,
    begin,
    call_unwanted,
    clocks_for,
    plan_clock,
    read,
    restart,
)
from alerts.history import Entry, Happened
from alerts.worktime import Calendar, Counting, OfficeOptions

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
OFFICE = Calendar(OfficeOptions())
NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM)


def after(minutes: float, what: Happened, who: str = "Anna") -> Entry:
    return Entry(NOON + timedelta(minutes=minutes), what, who)


def minutes(count: float) -> datetime:
    return NOON + timedelta(minutes=count)


OPENED = after(0, Happened.OPENED, "")
TAKEN = after(10, Happened.ACKNOWLEDGED)
STATED = after(40, Happened.FIRST_STATEMENT)


@pytest.mark.parametrize(
    ("start", "due"),
    [
        ("2026-11-13 23:40", "2026-11-14 00:40"),
        ("2026-12-25 04:00", "2026-12-25 05:00"),
        ("2026-03-29 01:30", "2026-03-29 03:30"),
    ],
)
def test_a_crisis_has_an_hour_day_and_night(start, due):
    assert begin(CRISIS, OFFICE, local(start)).due_at == local(due)


@pytest.mark.parametrize(
    ("start", "due", "half", "nearly"),
    [
        ("2026-11-13 15:00", "2026-11-16 15:00", "2026-11-16 11:00", "2026-11-16 13:24"),
        ("2026-11-10 22:00", "2026-11-11 22:00", "2026-11-11 13:00", "2026-11-11 15:24"),
        ("2026-11-14 12:00", "2026-11-17 00:00", "2026-11-16 13:00", "2026-11-16 15:24"),
        ("2026-12-24 15:00", "2026-12-28 15:00", "2026-12-28 11:00", "2026-12-28 13:24"),
    ],
)
def test_feedback_has_24_hours_on_working_days_and_reminders_while_people_work(
    start, due, half, nearly
):
    clock = begin(FEEDBACK, OFFICE, local(start))

    assert clock.due_at == local(due)
    assert [at for _, at in clock.reminders] == [local(half), local(nearly)]


def test_a_wall_clock_reminds_by_itself_although_the_office_closes_meanwhile():
    clock = begin(CRISIS, OFFICE, local("2026-11-13 16:40"))

    assert clock.reminders == ((50, local("2026-11-13 17:10")), (80, local("2026-11-13 17:28")))


def test_24_office_hours_are_three_days_for_those_who_mean_that():
    options = FEEDBACK.model_copy(update={"counts": Counting.OFFICE_HOURS})
    clock = begin(options, OFFICE, local("2026-11-13 15:00"))

    assert clock.due_at == local("2026-11-18 15:00")
    assert clock.reminders[0] == (50, local("2026-11-17 11:00"))


def test_reminders_by_the_clock_may_fall_into_the_night():
    options = FEEDBACK.model_copy(update={"remind_by": "clock"})
    clock = begin(options, OFFICE, local("2026-11-13 15:00"))

    assert clock.reminders == ((50, local("2026-11-16 03:00")), (80, local("2026-11-16 10:12")))


@pytest.mark.parametrize(
    ("rules", "severity", "clocks"),
    [
        (["leak"], Severity.HIGH, ["crisis"]),
        (["leak"], Severity.MEDIUM, []),
        (["abuse"], Severity.CRITICAL, []),
        (["abuse", "complaint"], Severity.LOW, ["feedback"]),
        (["negativity_spike", "feedback"], Severity.HIGH, ["crisis", "feedback"]),
    ],
)
def test_the_rule_that_fired_starts_the_clock(rules, severity, clocks):
    found = clocks_for(DEFAULT_CLOCKS, rules=rules, severity=severity)

    assert [clock.name for clock in found] == clocks


@pytest.mark.parametrize(
    ("history", "now", "state", "missing"),
    [
        ([OPENED], 30, ClockState.RUNNING, (Milestone.ACKNOWLEDGED, Milestone.FIRST_STATEMENT)),
        ([OPENED, TAKEN], 30, ClockState.RUNNING, (Milestone.FIRST_STATEMENT,)),
        ([OPENED, TAKEN], 60, ClockState.RUNNING, (Milestone.FIRST_STATEMENT,)),
        ([OPENED, TAKEN], 61, ClockState.BREACHED, (Milestone.FIRST_STATEMENT,)),
        ([OPENED, STATED], 50, ClockState.RUNNING, (Milestone.ACKNOWLEDGED,)),
        ([OPENED, TAKEN, STATED], 90, ClockState.MET, ()),
        ([OPENED, TAKEN, after(60, Happened.FIRST_STATEMENT)], 90, ClockState.MET, ()),
        ([OPENED, TAKEN, after(70, Happened.FIRST_STATEMENT)], 90, ClockState.LATE, ()),
        (
            [OPENED, TAKEN, after(20, Happened.RESOLVED)],
            90,
            ClockState.CALLED_OFF,
            (Milestone.FIRST_STATEMENT,),
        ),
        (
            [OPENED, TAKEN, after(80, Happened.RESOLVED)],
            90,
            ClockState.BREACHED,
            (Milestone.FIRST_STATEMENT,),
        ),
    ],
)
def test_a_crisis_clock_stops_when_it_is_taken_and_stated(history, now, state, missing):
    found = read(begin(CRISIS, OFFICE, NOON), CRISIS, history, minutes(now))

    assert (found.state, found.missing) == (state, missing)


def test_taking_feedback_is_not_answering_it():
    clock = begin(FEEDBACK, OFFICE, NOON)

    assert read(clock, FEEDBACK, [OPENED, TAKEN], minutes(20)).state is ClockState.RUNNING
    answered = [OPENED, TAKEN, after(30, Happened.ANSWERED)]
    assert read(clock, FEEDBACK, answered, minutes(40)).state is ClockState.MET


def test_a_reading_says_how_long_each_milestone_took():
    again = after(50, Happened.FIRST_STATEMENT)
    found = read(begin(CRISIS, OFFICE, NOON), CRISIS, [OPENED, TAKEN, STATED, again], minutes(90))

    assert dict(found.done) == {
        Milestone.ACKNOWLEDGED: minutes(10),
        Milestone.FIRST_STATEMENT: minutes(40),
    }
    assert found.stopped_at == minutes(40)


def test_what_has_not_happened_yet_does_not_stop_a_clock():
    found = read(begin(CRISIS, OFFICE, NOON), CRISIS, [OPENED, TAKEN, STATED], minutes(20))

    assert found.state is ClockState.RUNNING


def test_a_clock_reminds_twice_and_breaches_once():
    clock, history = begin(CRISIS, OFFICE, NOON), [OPENED]
    said = []
    now = NOON
    while True:
        found = plan_clock(clock, CRISIS, history, now)
        for call in found.calls:
            said.append((now, call.reason, call.percent))
            history.append(Entry(now, Happened.TOLD, "comms", call.key, call.reason))
        if found.next_at is None:
            break
        assert found.next_at > now
        now = found.next_at

    assert said == [
        (minutes(30), Reason.REMINDER, 50),
        (minutes(48), Reason.REMINDER, 80),
        (minutes(60) + timedelta(seconds=1), Reason.BREACHED, 100),
    ]


def test_of_reminders_that_were_missed_only_the_latest_is_told():
    clock = begin(CRISIS, OFFICE, NOON)

    (late,) = plan_clock(clock, CRISIS, [OPENED], minutes(50)).calls
    (later,) = plan_clock(clock, CRISIS, [OPENED], minutes(500)).calls

    assert (late.percent, later.reason) == (80, Reason.BREACHED)
    assert late.missing == (Milestone.ACKNOWLEDGED, Milestone.FIRST_STATEMENT)


def test_a_clock_that_stopped_says_nothing():
    found = plan_clock(begin(CRISIS, OFFICE, NOON), CRISIS, [OPENED, TAKEN, STATED], minutes(500))

    assert (found.calls, found.next_at) == ((), None)


def test_a_silence_holds_what_a_clock_says_and_not_the_clock():
    clock = begin(CRISIS, OFFICE, NOON)

    held = plan_clock(clock, CRISIS, [OPENED], minutes(70), muted_until=minutes(90))
    heard = plan_clock(clock, CRISIS, [OPENED], minutes(90), muted_until=minutes(90))

    assert (held.calls, held.next_at) == ((), minutes(90))
    assert held.reading.state is ClockState.BREACHED
    assert [call.reason for call in heard.calls] == [Reason.BREACHED]


def test_a_call_is_wanted_until_the_clock_has_stopped():
    clock = begin(CRISIS, OFFICE, NOON)
    history = [OPENED, TAKEN, STATED]

    assert call_unwanted(clock, CRISIS, history, minutes(35)) is None
    assert call_unwanted(clock, CRISIS, history, minutes(40)) is Reason.OVER


def test_a_reopened_incident_has_its_clock_anew_with_keys_of_its_own():
    clock = begin(CRISIS, OFFICE, NOON)
    history = [OPENED, TAKEN, STATED, after(50, Happened.RESOLVED), after(90, Happened.REOPENED)]

    again = restart(clock, CRISIS, OFFICE, history, minutes(100))

    assert again.due_at == minutes(150)
    assert read(again, CRISIS, history, minutes(100)).state is ClockState.RUNNING
    assert again.key(50) != clock.key(50)
    assert restart(clock, CRISIS, OFFICE, history, minutes(80)) == clock


@given(
    st.datetimes(
        datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        datetime(2030, 1, 1),  # noqa: DTZ001 - same
        timezones=st.just(UTC),
    ),
    st.sampled_from([CRISIS, FEEDBACK]),
    st.sampled_from(list(Counting)),
    st.sampled_from(["open_time", "clock"]),
)
@settings(deadline=None)
def test_reminders_lie_in_order_between_start_and_due_moment(start, options, counts, by):
    options = options.model_copy(update={"counts": counts, "remind_by": by})
    clock = begin(options, OFFICE, start)

    moments = [start, *(at for _, at in clock.reminders), clock.due_at]
    assert moments == sorted(moments)
    # An hour after midnight has no office hours in it: then it is the clock's own share.
    usable = OFFICE.working_between(start, clock.due_at) > timedelta(0)
    if by == "open_time" and counts is not Counting.WALL_CLOCK and usable:
        instant = timedelta(microseconds=1)
        assert all(OFFICE.is_open(at - instant) for _, at in clock.reminders)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=40), st.integers(0, 100))
@settings(deadline=None)
def test_whenever_a_clock_is_asked_it_says_each_thing_once_and_nothing_after_it_stopped(
    asked, stopped
):
    clock = begin(CRISIS, OFFICE, NOON)
    history = [
        OPENED,
        after(stopped, Happened.ACKNOWLEDGED),
        after(stopped, Happened.FIRST_STATEMENT),
    ]
    said = []
    for now in sorted(asked):
        for call in plan_clock(clock, CRISIS, history, minutes(now)).calls:
            said.append((now, call.key))
            history.append(Entry(minutes(now), Happened.TOLD, "comms", call.key, call.reason))

    assert len({key for _, key in said}) == len(said)
    assert all(now < stopped for now, _ in said)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"needs": []}, "needs"),
        ({"needs": ["noted"]}, "needs"),
        ({"limit_hours": 0}, "limit_hours"),
        ({"remind_at_percent": [80, 50]}, "rising"),
        ({"remind_at_percent": [50, 100]}, "between 0 and 100"),
        ({"counts": "days"}, "counts"),
        ({"name": "Crisis!"}, "name"),
    ],
)
def test_a_wrong_clock_is_refused_by_name(options, told):
    with pytest.raises(ValidationError) as refused:
        ClockOptions.model_validate(
            {"name": "crisis", "limit_hours": 1, "needs": ["answered"], **options}
        )

    assert told in str(refused.value)


def test_what_was_taken_before_it_became_grave_needs_no_second_taking():
    later = begin(CRISIS, OFFICE, minutes(30))
    history = [OPENED, TAKEN, after(30, Happened.WORSENED, "")]
    reading = read(later, CRISIS, history, minutes(31))
    assert reading.missing == (Milestone.FIRST_STATEMENT,)
    assert read(later, CRISIS, [*history, STATED], minutes(50)).state is ClockState.MET
    given_back = [OPENED, TAKEN, after(20, Happened.RELEASED), after(30, Happened.WORSENED, "")]
    assert Milestone.ACKNOWLEDGED in read(later, CRISIS, given_back, minutes(31)).missing

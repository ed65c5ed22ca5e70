"""Chains: who is paged next, never twice, never after somebody took it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.base import Event, IncidentState, Reason
from alerts.escalation import (
    ChainOptions,
    StepOptions,
    Surroundings,
    page_breach,
    plan_escalation,
    problems,
    still_wanted,
    who_may_rest,
)
from alerts.history import Entry, Happened, standing
from alerts.rota import RotaOptions
from alerts.routes import Told
from alerts.worktime import Calendar, OfficeOptions

NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)
OFFICE = Calendar(OfficeOptions())
DUTY = RotaOptions.model_validate(
    {
        "name": "duty",
        "shifts": [{"days": "mon-fri", "hours": "09:00-17:00", "receivers": ["desk"]}],
        "gaps_allowed": True,
    }
)
AROUND = Surroundings(OFFICE, {"duty": DUTY})


def chain(*steps: dict[str, object], **options: object) -> ChainOptions:
    return ChainOptions.model_validate({"name": "crisis", "steps": steps, **options})


THREE = chain(
    {"wait_minutes": 10, "receivers": ["one"]},
    {"wait_minutes": 15, "receivers": ["two", "three"]},
    {"wait_minutes": 20, "receivers": ["board"]},
    rounds=2,
)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def entry(minute: float, what: Happened, who: str = "Anna") -> Entry:
    return Entry(at(minute), what, who)


def run(history, using=THREE, *, until=600, around=AROUND):
    """Ask whenever the plan says so; what was paged at which minute."""
    history, now, paged = list(history), NOON, []
    while True:
        found = plan_escalation(history, using, now, around)
        for page in found.pages:
            history += page.entries()
            minute = (now - NOON).total_seconds() / 60
            paged.append((minute, page.reason.value, page.receivers))
        upcoming = sorted(
            moment
            for moment in [found.next_at, *(each.at for each in history)]
            if moment is not None and moment > now
        )
        if not upcoming or upcoming[0] > at(until):
            return paged
        now = upcoming[0]


OPENED = entry(0, Happened.OPENED, "")


def test_step_follows_step_and_round_follows_round_until_the_limit():
    assert run([OPENED]) == [
        (10, "escalated", ("one",)),
        (25, "escalated", ("two", "three")),
        (45, "escalated", ("board",)),
        (75, "escalated", ("one",)),
        (90, "escalated", ("two", "three")),
        (110, "escalated", ("board",)),
    ]


def test_unless_it_says_otherwise_a_chain_is_gone_through_once_and_says_so_soon():
    usual = chain({"receivers": ["one"]}, when_nobody_answers=["operations"])

    assert run([OPENED], usual) == [
        (15, "escalated", ("one",)),
        (45, "nobody_answered", ("operations",)),
    ]


def test_that_nobody_answered_is_said_once():
    last = chain({"receivers": ["one"]}, rounds=1, when_nobody_answers=["operations"])

    assert run([OPENED], last) == [
        (15, "escalated", ("one",)),
        (45, "nobody_answered", ("operations",)),
    ]


def test_nobody_is_paged_after_somebody_took_it_until_it_goes_stale():
    paged = run([OPENED, entry(12, Happened.ACKNOWLEDGED)], until=3000)

    assert paged == [
        (10, "escalated", ("one",)),
        (252, "stale", ("one",)),
        (492, "stale", ("one",)),
        (732, "stale", ("one",)),
    ]


def test_a_sign_of_life_puts_staleness_off():
    history = [
        OPENED,
        entry(5, Happened.ACKNOWLEDGED),
        entry(200, Happened.NOTED),
        entry(430, Happened.TICKED),
        entry(600, Happened.RESOLVED),
    ]

    assert run(history, until=3000) == []


def test_what_was_given_back_begins_anew():
    history = [OPENED, entry(5, Happened.ACKNOWLEDGED), entry(30, Happened.RELEASED)]

    assert run(history, until=60) == [
        (40, "escalated", ("one",)),
        (55, "escalated", ("two", "three")),
    ]


def test_an_incident_that_is_over_pages_nobody_and_reopened_begins_anew():
    over = [OPENED, entry(5, Happened.RESOLVED)]

    assert run(over) == []
    assert run([*over, entry(100, Happened.REOPENED)], until=120) == [(110, "escalated", ("one",))]


def test_after_a_night_without_power_one_step_is_paged_not_all():
    found = plan_escalation([OPENED], THREE, at(500), AROUND)

    assert [page.receivers for page in found.pages] == [("one",)]
    assert found.next_at == at(515)


def test_waits_may_count_office_hours():
    # Friday, an hour before the office closes.
    friday = datetime(2026, 11, 13, 15, 0, tzinfo=UTC)
    patient = chain({"wait_minutes": 120, "counts": "office_hours", "receivers": ["one"]})

    found = plan_escalation([Entry(friday, Happened.OPENED)], patient, friday, AROUND)

    assert found.next_at == datetime(2026, 11, 16, 9, 0, tzinfo=UTC)


def test_steps_for_other_hours_are_passed_over_with_a_reason():
    both = chain(
        {"wait_minutes": 10, "only": "outside_office_hours", "receivers": ["night"]},
        {"wait_minutes": 10, "only": "office_hours", "receivers": ["desk"]},
        rounds=1,
    )

    assert run([OPENED], both) == [
        (10, "wrong_hours", ()),
        (20, "escalated", ("desk",)),
    ]


def test_a_step_passed_over_is_judged_by_the_moment_it_was_due_however_late_one_looks():
    both = chain(
        {"wait_minutes": 10, "only": "outside_office_hours", "receivers": ["night"]},
        {"wait_minutes": 600, "receivers": ["desk"]},
        rounds=1,
    )
    # Due at 12:10, looked at when the office has closed.
    found = plan_escalation([OPENED], both, at(400), AROUND)

    (passed,) = found.pages
    assert (passed.reason, passed.at, passed.send) == (Reason.WRONG_HOURS, at(10), False)
    assert found.next_at == at(610)


def test_a_rota_says_who_and_a_gap_goes_to_the_next_step_with_a_reason():
    on_duty = chain(
        {"wait_minutes": 5, "rota": "duty"}, {"wait_minutes": 5, "receivers": ["board"]}, rounds=1
    )
    night = [Entry(NOON + timedelta(hours=10), Happened.OPENED)]

    assert run([OPENED], on_duty)[0] == (5, "escalated", ("desk",))
    assert run(night, on_duty, until=2000) == [
        (605, "nobody_on_duty", ()),
        (610, "escalated", ("board",)),
    ]


def test_a_silence_holds_the_chain_and_its_end_gives_time_to_answer():
    held = plan_escalation([OPENED], THREE, at(30), AROUND, muted_until=at(60))
    heard = [OPENED, Entry(at(60), Happened.TOLD, "one", "", Reason.SILENCE_ENDED)]
    early = plan_escalation(heard, THREE, at(61), AROUND)

    assert (held.pages, held.next_at, held.rests) == ((), at(60), Reason.SILENCED)
    assert (early.pages, early.next_at) == ((), at(70))
    assert plan_escalation(heard, THREE, at(70), AROUND).pages[0].receivers == ("one",)


def test_a_clock_that_runs_out_pages_one_level_up_also_when_somebody_has_it():
    taken = [OPENED, *_paged(10, 1, 0, "one"), entry(12, Happened.ACKNOWLEDGED)]

    page = page_breach(taken, THREE, at(61), AROUND, key="clock:crisis:1:100")

    assert page is not None
    assert (page.receivers, page.level, page.reason) == (("two", "three"), 1, Reason.BREACHED)
    assert page_breach([*taken, *page.entries()], THREE, at(62), AROUND, key=page.key) is None


def test_a_breach_at_the_end_of_the_chain_pages_its_last_level():
    history = [
        OPENED,
        *_paged(10, 1, 0, "one"),
        *_paged(25, 1, 1, "two"),
        *_paged(45, 1, 2, "board"),
    ]

    page = page_breach(history, THREE, at(61), AROUND, key="k")

    assert page is not None
    assert page.receivers == ("board",)


def test_what_a_breach_has_paged_the_chain_does_not_page_again():
    breach = Entry(at(5), Happened.TOLD, "one", "clock:crisis:1:100", Reason.BREACHED, 0)

    assert run([OPENED, breach], until=26) == [(20, "escalated", ("two", "three"))]


def test_no_breach_is_paged_for_what_is_over():
    over = [OPENED, entry(5, Happened.RESOLVED)]

    assert page_breach(over, THREE, at(61), AROUND, key="k") is None


@pytest.mark.parametrize(
    ("reason", "since", "why"),
    [
        (Reason.ESCALATED, [], None),
        (Reason.ESCALATED, [entry(12, Happened.ACKNOWLEDGED)], Reason.ACKNOWLEDGED),
        (Reason.NOBODY_ANSWERED, [entry(12, Happened.ACKNOWLEDGED)], Reason.ACKNOWLEDGED),
        (Reason.ESCALATED, [entry(12, Happened.RESOLVED)], Reason.OVER),
        (
            Reason.ESCALATED,
            [entry(12, Happened.ACKNOWLEDGED), entry(14, Happened.RELEASED)],
            Reason.ACKNOWLEDGED,
        ),
        (Reason.BREACHED, [entry(12, Happened.ACKNOWLEDGED)], None),
        (Reason.BREACHED, [entry(12, Happened.REVIEWED)], Reason.OVER),
        (Reason.STALE, [entry(5, Happened.ACKNOWLEDGED)], None),
        (
            Reason.STALE,
            [entry(5, Happened.ACKNOWLEDGED), entry(12, Happened.NOTED)],
            Reason.ACKNOWLEDGED,
        ),
    ],
)
def test_a_page_that_waits_for_delivery_is_asked_whether_it_is_still_wanted(reason, since, why):
    page = Entry(at(10), Happened.TOLD, "one", "chain:1.1.1", reason, 0)

    assert still_wanted(page, [OPENED, page, *since], at(20)) is why


def test_who_was_told_may_rest_when_somebody_takes_it():
    told = [
        Told("gone", "mail", Event.OPENED, at(-10)),
        Told("one", "mail", Event.OPENED, at(0)),
        Told("two", "sms", Event.CONTINUES, at(5)),
        Told("one", "mail", Event.CONTINUES, at(6)),
    ]

    assert who_may_rest(told, at(0)) == [("one", "mail"), ("two", "sms")]


def _paged(minute: float, turn: int, level: int, who: str) -> list[Entry]:
    key = f"chain:1.{turn}.{level + 1}"
    return [Entry(at(minute), Happened.TOLD, who, key, Reason.ESCALATED, level)]


def test_a_clock_set_back_pages_nobody_twice():
    future = [OPENED, *_paged(100, 1, 0, "one")]

    found = plan_escalation(future, THREE, at(12), AROUND)

    assert [page.receivers for page in found.pages] == []
    assert found.next_at == at(27)


ACTS = st.lists(
    st.tuples(
        st.integers(1, 400),
        st.sampled_from(
            [
                Happened.ACKNOWLEDGED,
                Happened.RELEASED,
                Happened.NOTED,
                Happened.RESOLVED,
                Happened.REOPENED,
                Happened.CONTINUES,
            ]
        ),
    ),
    max_size=6,
)
STEPS = st.lists(
    st.builds(
        StepOptions,
        wait_minutes=st.integers(0, 60),
        counts=st.sampled_from(["wall_clock", "office_hours"]),
        only=st.sampled_from(["always", "office_hours", "outside_office_hours"]),
        receivers=st.lists(st.sampled_from(["one", "two"]), unique=True).map(tuple),
        rota=st.just("duty"),
    ),
    min_size=1,
    max_size=3,
)


@given(
    ACTS,
    STEPS,
    st.integers(1, 3),
    st.lists(st.integers(0, 900), max_size=25),
)
@settings(deadline=None)
def test_however_often_it_is_asked_each_page_comes_once_and_never_to_what_is_taken(
    acts, steps, rounds, asked
):
    using = ChainOptions(
        name="any", steps=tuple(steps), rounds=rounds, when_nobody_answers=("operations",)
    )
    history = [OPENED, *(entry(minute, what) for minute, what in acts)]
    seen: list[str] = []
    for minute in sorted(asked):
        now = at(minute)
        found = plan_escalation(history, using, now, AROUND)
        stands = standing(history, now)
        assert stands is not None
        for page in found.pages:
            if page.reason in (Reason.ESCALATED, Reason.NOBODY_ANSWERED):
                assert stands.state is IncidentState.OPEN
            if page.reason is Reason.STALE:
                assert stands.state is IncidentState.ACKNOWLEDGED
            assert page.at <= now
            seen.append(page.key)
            history += page.entries()
        again = plan_escalation(history, using, now, AROUND)
        assert again.pages == ()
        assert again.next_at is None or again.next_at > now
        assert found.next_at is None or found.next_at > now
    assert len(seen) == len(set(seen))


@given(ACTS, STEPS, st.lists(st.integers(0, 900), max_size=25))
@settings(deadline=None)
def test_asking_in_between_changes_nothing(acts, steps, asked):
    using = ChainOptions(name="any", steps=tuple(steps))
    history = [OPENED, *(entry(minute, what) for minute, what in acts)]
    # Entries that mean nothing to the chain, as reasons to ask.
    more = [Entry(at(minute), Happened.CONTINUES) for minute in asked]

    assert run([*history, *more], using, until=900) == run(history, using, until=900)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"wait_minutes": 5}]}, "tells somebody"),
        ({"steps": [{"receivers": ["a"], "wait_minutes": -1}]}, "wait_minutes"),
        ({"steps": [{"receivers": ["a"]}], "rounds": 11}, "rounds"),
        ({"steps": [{"receivers": ["a"]}], "repeat_after_minutes": 0}, "repeat_after_minutes"),
    ],
)
def test_a_wrong_chain_is_refused(options, told):
    with pytest.raises(ValidationError) as refused:
        ChainOptions.model_validate({"name": "crisis", **options})

    assert told in str(refused.value)


def test_names_that_refer_to_nothing_are_named():
    found = problems(
        [chain({"receivers": ["ann"], "rota": "nights"}, when_nobody_answers=["ops"])],
        [DUTY, DUTY],
        ["ann"],
    )

    assert found == [
        "rota duty names desk, who is no receiver",
        "two rotas are called duty",
        "rota duty names desk, who is no receiver",
        "escalation crisis names ops, who is no receiver",
        "escalation crisis names the rota nights, which does not exist",
    ]


def test_local_office_hours_follow_the_clock():
    summer = datetime(2026, 7, 1, 9, 0, tzinfo=ZoneInfo("Europe/Amsterdam"))
    desk = chain({"wait_minutes": 0, "only": "office_hours", "receivers": ["desk"]})

    found = plan_escalation([Entry(summer, Happened.OPENED)], desk, summer, AROUND)

    assert found.pages[0].receivers == ("desk",)

"""Who is on duty, and that gaps are found before anybody is missed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.rota import RotaOptions, gaps, on_duty

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM)


def rota(*shifts: dict[str, object], **options: object) -> RotaOptions:
    return RotaOptions.model_validate({"name": "duty", "shifts": shifts, **options})


OFFICE = {"days": "mon-fri", "hours": "09:00-17:00", "receivers": ["comms"]}
EVENING = {"days": "mon-fri", "hours": "17:00-09:00", "receivers": ["anna", "bram"]}
TURNS = {**EVENING, "starting": "2026-11-16"}
REST = {"days": "sat,sun", "receivers": ["anna", "bram"], "starting": "2026-11-16"}
MONDAY_MORNING = {"days": "mon", "hours": "00:00-09:00", "receivers": ["anna", "bram"]}
FULL = rota(OFFICE, TURNS, REST, MONDAY_MORNING)


@pytest.mark.parametrize(
    ("at", "receivers"),
    [
        ("2026-11-18 10:00", ("comms",)),
        ("2026-11-18 16:59", ("comms",)),
        ("2026-11-18 17:00", ("anna",)),
        ("2026-11-19 08:59", ("anna",)),
        ("2026-11-25 20:00", ("bram",)),
        ("2026-12-02 20:00", ("anna",)),
        ("2026-11-11 20:00", ("bram",)),
        ("2026-11-22 03:00", ("anna",)),
        ("2026-11-29 03:00", ("bram",)),
    ],
)
def test_shifts_and_weekly_turns_say_who(at, receivers):
    assert on_duty(FULL, local(at)).receivers == receivers


def test_a_turn_of_two_weeks_lasts_two_weeks():
    both = rota({"receivers": ["anna", "bram"], "starting": "2026-11-16", "weeks_each": 2})

    who = [on_duty(both, local("2026-11-18 12:00") + timedelta(weeks=each)) for each in range(5)]

    assert [duty.receivers[0] for duty in who] == ["anna", "anna", "bram", "bram", "anna"]


def test_a_shift_over_midnight_stays_with_whoever_began_it():
    nights = rota(
        {"hours": "20:00-08:00", "receivers": ["anna", "bram"], "starting": "2026-11-16"},
        {"hours": "08:00-20:00", "receivers": ["comms"]},
    )

    # The night from Sunday to Monday belongs to the week that ends.
    assert on_duty(nights, local("2026-11-23 07:00")).receivers == ("anna",)
    assert on_duty(nights, local("2026-11-23 21:00")).receivers == ("bram",)


def test_shifts_that_overlap_are_on_duty_together_in_the_order_written():
    both = rota({"receivers": ["comms"]}, OFFICE | {"receivers": ["anna", "comms"]})

    assert on_duty(both, local("2026-11-18 10:00")).receivers == ("comms", "anna")


def test_a_swap_goes_before_the_shifts_and_says_why():
    swapped = rota(
        {"receivers": ["anna"]},
        overrides=[
            {
                "start": "2026-12-24T12:00:00",
                "end": "2026-12-27T12:00:00",
                "receivers": ["carla"],
                "reason": "Christmas",
            },
            {
                "start": "2026-12-25T18:00:00+01:00",
                "end": "2026-12-25T23:00:00+01:00",
                "receivers": ["dirk"],
            },
        ],
    )

    assert on_duty(swapped, local("2026-12-24 11:59")).receivers == ("anna",)
    duty = on_duty(swapped, local("2026-12-24 12:00"))
    assert (duty.receivers, duty.override) == (("carla",), "Christmas")
    assert duty.until == local("2026-12-25 00:00")
    assert on_duty(swapped, local("2026-12-25 20:00")).receivers == ("dirk",)
    assert on_duty(swapped, local("2026-12-27 12:00")).receivers == ("anna",)
    assert swapped.everybody == {"anna", "carla", "dirk"}


@pytest.mark.parametrize(
    ("shifts", "told"),
    [
        (
            [
                {"days": "mon-fri", "receivers": ["a"]},
                {"days": "sat", "hours": "06:00-02:00", "receivers": ["a"]},
                {"days": "sun", "hours": "02:00-24:00", "receivers": ["a"]},
            ],
            "nobody on Saturday 00:00-06:00",
        ),
        ([OFFICE, EVENING, REST], "nobody on Monday 00:00-09:00"),
        ([{"days": "mon-fri", "receivers": ["a"]}], "nobody on Saturday 00:00 to Sunday 24:00"),
        ([{"days": "tue-sat", "receivers": ["a"]}], "nobody on Sunday 00:00 to Monday 24:00"),
        (
            [{"hours": "06:00-02:00", "receivers": ["a"]}],
            "Monday 02:00-06:00, Tuesday 02:00-06:00",
        ),
    ],
)
def test_hours_without_anybody_are_an_error_that_names_them(shifts, told):
    with pytest.raises(ValidationError) as refused:
        rota(*shifts)

    assert told in str(refused.value)
    assert "gaps_allowed" in str(refused.value)


def test_a_gap_may_be_meant():
    office = rota(OFFICE, gaps_allowed=True)

    assert on_duty(office, local("2026-11-21 10:00")).receivers == ()
    assert gaps(office)[-1] == "Friday 17:00 to Monday 09:00"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shifts": [{"receivers": []}]}, "receivers"),
        ({"shifts": [{"receivers": ["a"], "days": "weekend"}]}, "names no days"),
        ({"shifts": [{"receivers": ["a"], "starting": "2026-11-18"}]}, "write 2026-11-16"),
        ({"timezone": "Nowhere"}, "IANA"),
        (
            {
                "overrides": [
                    {
                        "start": "2026-12-24T12:00:00",
                        "end": "2026-12-24T11:00:00",
                        "receivers": ["a"],
                    }
                ]
            },
            "ends before it begins",
        ),
    ],
)
def test_a_wrong_rota_is_refused(options, told):
    with pytest.raises(ValidationError) as refused:
        RotaOptions.model_validate({"name": "duty", "shifts": [{"receivers": ["a"]}], **options})

    assert told in str(refused.value)


def test_a_naive_moment_is_refused():
    with pytest.raises(ValueError, match="naive"):
        on_duty(FULL, datetime(2026, 11, 13))  # noqa: DTZ001 - that is the point


CHANGES = [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]


@given(
    st.sampled_from(CHANGES),
    st.integers(-3 * 24 * 60, 3 * 24 * 60),
    st.lists(st.integers(0, 95), min_size=1, max_size=4, unique=True),
)
@settings(deadline=None)
def test_where_the_week_has_no_gap_somebody_is_on_duty_also_when_the_clock_changes(
    change, offset, quarters
):
    marks = [f"{quarter // 4:02d}:{quarter % 4 * 15:02d}" for quarter in sorted(quarters)]
    turns = [*marks[1:], marks[0]]
    if len(marks) == 1:
        shifts = [{"receivers": ["a", "b"], "starting": "2026-01-05"}]
    else:
        shifts = [
            {"hours": f"{one}-{two}", "receivers": ["a", "b"], "starting": "2026-01-05"}
            for one, two in zip(marks, turns, strict=True)
        ]
    full = rota(*shifts)
    at = change + timedelta(minutes=offset)

    duty = on_duty(full, at)

    assert len(duty.receivers) == 1
    assert duty.until > at
    assert on_duty(full, duty.until - timedelta(seconds=1)).receivers == duty.receivers


@given(st.integers(0, 7 * 24 * 60 - 1))
@settings(deadline=None)
def test_a_gap_that_is_named_is_where_nobody_is(minute):
    office = rota(OFFICE, gaps_allowed=True)
    at = local("2026-11-16 00:00") + timedelta(minutes=minute)
    working = at.weekday() < 5 and 9 <= at.hour < 17

    assert bool(on_duty(office, at).receivers) is working

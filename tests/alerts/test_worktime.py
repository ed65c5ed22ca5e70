"""Working time: what counts, and that counting forwards and measuring undo each other."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.weekhours import Span, days_of, moment, span_of, stretches, week_of
from alerts.worktime import Calendar, Counting, OfficeOptions

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
OFFICE = Calendar(OfficeOptions())
SHOP = Calendar(
    OfficeOptions(
        hours={"mon-sat": ("09:00-12:30", "13:00-18:00"), "sun": ("00:00-24:00",)},
        country="BE",
        days_off=("12-24", "2026-05-15"),
        special_hours={"12-31": ("10:00-12:00",), "2026-12-27": ()},
    )
)
NIGHTLY = Calendar(OfficeOptions(hours={"daily": ("00:00-06:00",)}, country=None))
HOURS = timedelta(hours=1)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-13 09:00", 8, "2026-11-13 17:00"),
        ("2026-11-13 15:00", 4, "2026-11-16 11:00"),
        ("2026-11-13 15:00", 2, "2026-11-13 17:00"),
        ("2026-11-14 12:00", 1, "2026-11-16 10:00"),
        ("2026-11-13 20:00", 1, "2026-11-16 10:00"),
        ("2026-11-13 06:00", 1, "2026-11-13 10:00"),
        # Christmas of 2026 is a Friday and a Saturday; New Year's Day a Friday.
        ("2026-12-24 16:00", 2, "2026-12-28 10:00"),
        ("2026-12-31 16:00", 2, "2027-01-04 10:00"),
        # 24, 28, 29, 30 and 31 December, then 4 January to its end.
        ("2026-12-23 17:00", 48, "2027-01-04 17:00"),
        # King's Day, a Monday.
        ("2026-04-24 16:00", 2, "2026-04-28 10:00"),
    ],
)
def test_office_hours_leave_out_nights_weekends_and_holidays(start, hours, end):
    assert OFFICE.add_working(local(start), hours * HOURS) == local(end)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-10 10:00", "2026-11-11 10:00"),
        ("2026-11-13 15:00", "2026-11-16 15:00"),
        ("2026-11-14 12:00", "2026-11-17 00:00"),
        ("2026-12-24 10:00", "2026-12-28 10:00"),
        ("2026-04-03 10:00", "2026-04-08 00:00"),
    ],
)
def test_24_hours_on_working_days_end_at_the_same_hour_of_the_next_one(start, end):
    found = OFFICE.add_working(local(start), 24 * HOURS, Counting.WORKING_DAYS)

    assert found == local(end)


@pytest.mark.parametrize(
    ("day", "open_hours"), [("2026-03-29", 5), ("2026-10-25", 7), ("2026-10-24", 6)]
)
def test_an_office_open_while_the_clock_changes_is_open_an_hour_less_or_more(day, open_hours):
    start = local(f"{day} 00:00")

    assert NIGHTLY.working_between(start, local(f"{day} 12:00")) == open_hours * HOURS
    assert NIGHTLY.add_working(start, open_hours * HOURS) == local(f"{day} 06:00")


def test_a_wall_clock_runs_through_the_change_of_the_clock():
    start = local("2026-03-29 01:30")

    assert OFFICE.add_working(start, HOURS, Counting.WALL_CLOCK) == local("2026-03-29 03:30")


def test_countries_differ():
    dutch, belgian = OFFICE, Calendar(OfficeOptions(country="BE"))

    assert belgian.holiday(date(2026, 7, 21)) == "Nationale feestdag"
    assert dutch.holiday(date(2026, 7, 21)) is None
    assert dutch.holiday(date(2026, 4, 27)) == "Koningsdag"
    assert belgian.holiday(date(2026, 4, 27)) is None


def test_a_holiday_on_which_people_work_is_a_working_day():
    calendar = Calendar(OfficeOptions(work_on=("goede vrijdag",)))

    assert calendar.is_open(local("2026-04-03 10:00"))
    assert not OFFICE.is_open(local("2026-04-03 10:00"))


def test_further_holidays_of_a_region_or_kind_are_free():
    calendar = Calendar(OfficeOptions(subdivision="Noord", also=("school", "optional")))

    assert calendar.holiday(date(2026, 7, 28)) is not None
    assert OFFICE.holiday(date(2026, 7, 28)) is None
    assert calendar.holiday(date(2026, 5, 5)) == "Bevrijdingsdag"


def test_own_days_off_and_special_hours_go_before_the_week():
    assert not SHOP.is_open(local("2027-12-24 10:00"))
    assert not SHOP.is_open(local("2026-05-15 10:00"))
    assert SHOP.is_open(local("2027-05-15 10:00"))
    assert SHOP.is_open(local("2026-12-31 11:00"))
    assert not SHOP.is_open(local("2026-12-31 14:00"))
    assert not SHOP.is_open(local("2026-12-27 10:00"))


def test_the_next_opening_is_now_when_the_office_is_open():
    now = local("2026-11-13 10:00")

    assert OFFICE.next_open(now) == now
    assert OFFICE.next_open(local("2026-12-24 17:00")) == local("2026-12-28 09:00")


CALENDARS = st.sampled_from([OFFICE, SHOP, NIGHTLY])
COUNTINGS = st.sampled_from(Counting)
MOMENTS = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2035, 1, 1),  # noqa: DTZ001 - same
    timezones=st.just(UTC),
)
GAPS = st.timedeltas(timedelta(0), timedelta(days=20))
DURATIONS = st.timedeltas(timedelta(0), timedelta(hours=200))


@given(CALENDARS, COUNTINGS, MOMENTS, DURATIONS)
@settings(deadline=None)
def test_measuring_undoes_adding_exactly(calendar, counting, start, duration):
    end = calendar.add_working(start, duration, counting)

    assert end >= start
    assert calendar.working_between(start, end, counting) == duration


@given(CALENDARS, COUNTINGS, MOMENTS, GAPS)
@settings(deadline=None)
def test_adding_what_was_measured_leads_back_but_for_time_that_does_not_count(
    calendar, counting, start, gone
):
    end = start + gone
    measured = calendar.working_between(start, end, counting)
    back = calendar.add_working(start, measured, counting)

    assert back <= end
    assert calendar.working_between(back, end, counting) == timedelta(0)
    if calendar.is_open(end - timedelta(microseconds=1)) and measured:
        assert back == end


@given(CALENDARS, COUNTINGS, MOMENTS, DURATIONS, DURATIONS)
@settings(deadline=None)
def test_adding_in_two_parts_is_adding_at_once(calendar, counting, start, one, two):
    first = calendar.add_working(start, one, counting)

    assert calendar.add_working(first, two, counting) == calendar.add_working(
        start, one + two, counting
    )


@given(CALENDARS, COUNTINGS, MOMENTS, GAPS, GAPS)
@settings(deadline=None)
def test_what_lies_between_adds_up_and_turns_its_sign(calendar, counting, one, gap, further):
    two = one + gap
    three = two + further

    assert calendar.working_between(one, two, counting) + calendar.working_between(
        two, three, counting
    ) == calendar.working_between(one, three, counting)
    assert calendar.working_between(two, one, counting) == -calendar.working_between(
        one, two, counting
    )


def test_working_time_that_never_comes_is_an_error_with_a_remedy():
    options = OfficeOptions(hours={"mon": ("09:00-17:00",)}, country=None)
    closed = Calendar(
        options.model_copy(
            update={"days_off": tuple(f"{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 32))}
        )
    )

    with pytest.raises(ValueError, match="days_off"):
        closed.add_working(local("2026-11-13 09:00"), HOURS)
    with pytest.raises(ValueError, match="days_off"):
        closed.next_open(local("2026-11-13 09:00"))


def test_negative_time_and_naive_moments_are_refused():
    with pytest.raises(ValueError, match="negative"):
        OFFICE.add_working(local("2026-11-13 09:00"), -HOURS)
    with pytest.raises(ValueError, match="naive"):
        OFFICE.add_working(datetime(2026, 11, 13), HOURS)  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timezone": "Amsterdam"}, "IANA"),
        ({"hours": {}}, "no office hours"),
        ({"hours": {"mon-fry": ["09:00-17:00"]}}, "names no days"),
        ({"hours": {"mon": ["9-17"]}}, "09:00-17:00"),
        ({"hours": {"mon": ["09:00-12:00", "11:00-17:00"]}}, "Monday overlap"),
        ({"hours": {"mon": ["22:00-06:00"]}}, "end at 24:00"),
        ({"country": "DE"}, "NL"),
        ({"subdivision": "Friesland"}, "Friesland"),
        ({"also": ["bank"]}, "bank"),
        ({"work_on": ["Carnaval"]}, "Goede vrijdag"),
        ({"country": None, "work_on": ["Koningsdag"]}, "need a country"),
        ({"days_off": ["24 december"]}, "12-24"),
        ({"days_off": ["02-30"]}, "02-30"),
        ({"special_hours": {"13-01": []}}, "13-01"),
    ],
)
def test_wrong_office_hours_are_refused_with_what_is_right(options, told):
    with pytest.raises(ValidationError) as refused:
        OfficeOptions.model_validate(options)

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", (0,)),
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("fri-mon", (4, 5, 6, 0)),
        ("sat, sun", (5, 6)),
        ("daily", (0, 1, 2, 3, 4, 5, 6)),
    ],
)
def test_days_are_read_as_written(text, days):
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["25:00-26:00", "09:60-10:00", "09:00", "10:00-10:00", "0-24:01"])
def test_spans_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r"09:00-17:00|22:00-06:00|whole day"):
        span_of(text)


def test_a_night_runs_into_the_next_day():
    assert span_of("22:00-06:00") == Span(22 * 60, 30 * 60)
    (stretch,) = stretches([span_of("22:00-06:00")], date(2026, 10, 24), AMSTERDAM)
    assert stretch[1] - stretch[0] == 9 * HOURS
    assert week_of({"sun": ["22:00-06:00"]})[6] == (Span(22 * 60, 30 * 60),)


def test_what_the_clock_skips_is_the_moment_of_the_change_and_what_it_shows_twice_the_first():
    skipped = moment(date(2026, 3, 29), 2 * 60 + 30, AMSTERDAM)
    twice = moment(date(2026, 10, 25), 2 * 60 + 30, AMSTERDAM)

    assert skipped == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert twice == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert not list(stretches([span_of("02:00-03:00")], date(2026, 3, 29), AMSTERDAM))


@given(
    st.dates(date(2020, 1, 1), date(2035, 1, 1)),
    st.integers(0, 2 * 24 * 60 - 1),
    st.sampled_from(["Europe/Amsterdam", "America/St_Johns", "Australia/Lord_Howe", "UTC"]),
)
@settings(deadline=None)
def test_moments_never_run_backwards(day, minute, zone):
    assert moment(day, minute, ZoneInfo(zone)) <= moment(day, minute + 1, ZoneInfo(zone))

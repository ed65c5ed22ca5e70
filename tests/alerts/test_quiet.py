"""Quiet hours: when they are, what breaks through."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.base import Severity, SignalKind
from alerts.quiet import QuietOptions, kept_until, quiet_since_until
from alerts.worktime import Calendar, OfficeOptions

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
OFFICE = Calendar(OfficeOptions())
NIGHTS = QuietOptions()
OFF_DUTY = QuietOptions(
    hours={"mon-fri": ("18:00-08:00",), "sat,sun": ("00:00-24:00",), "mon": ("00:00-08:00",)},
    holidays=True,
    kinds=(SignalKind.THREAT,),
)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM)


@pytest.mark.parametrize(
    ("options", "at", "found"),
    [
        (NIGHTS, "2026-11-13 21:59", None),
        (NIGHTS, "2026-11-13 22:00", ("2026-11-13 22:00", "2026-11-14 07:00")),
        (NIGHTS, "2026-11-14 06:59", ("2026-11-13 22:00", "2026-11-14 07:00")),
        (NIGHTS, "2026-11-14 07:00", None),
        (OFF_DUTY, "2026-11-15 12:00", ("2026-11-13 18:00", "2026-11-16 08:00")),
        (OFF_DUTY, "2026-12-26 12:00", ("2026-12-24 18:00", "2026-12-28 08:00")),
        (OFF_DUTY, "2026-04-27 12:00", ("2026-04-24 18:00", "2026-04-28 08:00")),
        (NIGHTS, "2026-03-29 03:30", ("2026-03-28 22:00", "2026-03-29 07:00")),
        (NIGHTS, "2026-10-25 02:30", ("2026-10-24 22:00", "2026-10-25 07:00")),
    ],
)
def test_quiet_hours_are_local_and_adjoining_ones_are_one(options, at, found):
    expected = None if found is None else (local(found[0]), local(found[1]))

    assert quiet_since_until(options, OFFICE, local(at)) == expected


NIGHT = local("2026-11-13 23:00")


def kept(
    *,
    kind: SignalKind = SignalKind.LEAK,
    severity: Severity = Severity.HIGH,
    relief: bool = False,
    told_at: datetime | None = None,
) -> datetime | None:
    return kept_until(
        OFF_DUTY,
        OFFICE,
        kind=kind,
        severity=severity,
        relief=relief,
        told_at=told_at,
        now=NIGHT,
    )


MORNING = local("2026-11-16 08:00")


def test_what_is_grave_or_of_a_kind_that_counts_breaks_through_and_the_rest_is_kept():
    assert kept() == MORNING
    assert kept(severity=Severity.CRITICAL) is None
    assert kept(kind=SignalKind.THREAT, severity=Severity.LOW) is None


def test_good_news_waits_unless_the_receiver_was_woken_in_these_hours():
    assert kept(relief=True, severity=Severity.CRITICAL) == MORNING
    assert kept(relief=True, told_at=NIGHT - timedelta(hours=6)) == MORNING
    assert kept(relief=True, told_at=NIGHT - timedelta(hours=1)) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"hours": {"daily": ["00:00-24:00"]}}, "all week long"),
        ({"hours": {"daily": ["22-7"]}}, "09:00-17:00"),
        ({"timezone": "CET+1"}, "IANA"),
        ({"breaks_through": "grave"}, "breaks_through"),
    ],
)
def test_wrong_quiet_hours_are_refused(options, told):
    with pytest.raises(ValidationError) as refused:
        QuietOptions.model_validate(options)

    assert told in str(refused.value)


@given(
    st.integers(0, 370 * 24 * 60),
    st.sampled_from([NIGHTS, OFF_DUTY]),
)
@settings(deadline=None)
def test_quiet_hours_that_are_found_hold_the_moment_and_end_in_a_loud_one(minute, options):
    at = local("2026-01-01 00:00") + timedelta(minutes=minute)
    found = quiet_since_until(options, OFFICE, at)

    if found is not None:
        assert found[0] <= at < found[1]
        assert quiet_since_until(options, OFFICE, found[1]) is None
        assert quiet_since_until(options, OFFICE, found[1] - timedelta(seconds=1)) == found

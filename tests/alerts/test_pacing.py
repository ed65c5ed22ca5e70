"""Rate limits that are kept before anybody says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts import CHANNELS
from alerts.pacing import PACES, Pace, Pacer, pace_of
from tests.alerts.make import NOON

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def leave(pacer: Pacer, seconds: float, *addresses: str) -> bool:
    """Let a message leave then, if it may."""
    now = NOON + seconds * SECOND
    if pacer.free_at(addresses, now) > now:
        return False
    pacer.left(addresses, now)
    return True


def test_slack_gets_one_message_a_second_in_each_of_its_channels() -> None:
    pacer = Pacer(PACES["slack"])

    assert leave(pacer, 0, "#crisis")
    assert not leave(pacer, 0.9, "#crisis")
    assert not leave(pacer, 0.9, "Crisis"), "the same place, written in another way"
    assert leave(pacer, 0.9, "#press"), "has a pace of its own"
    assert pacer.free_at(["#crisis"], NOON) == NOON + SECOND
    assert leave(pacer, 1, "#crisis")


def test_a_message_to_several_places_waits_for_the_last_of_them() -> None:
    pacer = Pacer(PACES["slack"])
    leave(pacer, 0.0, "#a")
    leave(pacer, 0.5, "#b")

    assert pacer.free_at(["#a", "#b"], NOON + 0.6 * SECOND) == NOON + 1.5 * SECOND


def test_a_webhook_without_addresses_is_one_place() -> None:
    pacer = Pacer(PACES["slack"])

    assert leave(pacer, 0)
    assert not leave(pacer, 0.5)
    assert leave(pacer, 1)


def test_mails_leave_at_once_until_the_minute_is_full() -> None:
    pacer = Pacer(PACES["email"])

    sent = [leave(pacer, 0.1 * number, f"{number}@example.com") for number in range(40)]

    assert sent == [True] * 30 + [False] * 10
    assert not leave(pacer, 59.9, "a@example.com")
    assert leave(pacer, 60, "a@example.com")


def test_a_clock_set_back_holds_up_nothing() -> None:
    pacer = Pacer(Pace(1, MINUTE))
    leave(pacer, 3600)

    assert leave(pacer, 0)
    assert not leave(pacer, 30)


def test_a_channel_without_a_pace_is_never_held_up() -> None:
    pacer = Pacer(pace_of("webhook"))

    assert all(leave(pacer, 0) for _ in range(1000))


@pytest.mark.parametrize(
    ("kind", "per_minute", "pace"),
    [
        ("slack", None, Pace(1, SECOND, per_address=True)),
        ("slack", 30, Pace(1, 2 * SECOND, per_address=True)),
        ("email", 100, Pace(100, MINUTE)),
        ("webhook", 10, Pace(10, MINUTE)),
        ("webhook", None, None),
    ],
)
def test_the_configuration_may_say_another_pace(
    kind: str, per_minute: int | None, pace: Pace | None
) -> None:
    assert pace_of(kind, per_minute) == pace


def test_only_kinds_that_exist_have_a_pace() -> None:
    assert set(PACES) <= set(CHANNELS)


@given(
    st.integers(1, 5),
    st.lists(st.floats(0, 20, allow_nan=False), max_size=60),
)
def test_no_stretch_of_time_ever_holds_more_than_the_pace_allows(
    messages: int, pauses: list[float]
) -> None:
    pacer, moments, at = Pacer(Pace(messages, 10 * SECOND)), [], 0.0
    for pause in pauses:
        at += pause
        if leave(pacer, at):
            moments.append(at)

    for first, last in zip(moments, moments[messages:], strict=False):
        assert last - first >= 10 - 1e-5, "moments are whole microseconds"

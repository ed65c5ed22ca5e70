"""When a delivery is tried again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.base import DeliveryError, DeliveryFault
from alerts.retry import FIRST_PAUSE, GIVE_UP_AFTER, LONGEST_PAUSE, next_attempt
from tests.alerts.make import NOON, minutes


def failed(*, permanent: bool = False, retry_after: timedelta | None = None) -> DeliveryError:
    return DeliveryError(
        "no", fault=DeliveryFault.TIMEOUT, permanent=permanent, retry_after=retry_after
    )


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 900), (7, 900), (10_000, 900)],
)
def test_the_pause_doubles_up_to_a_quarter_of_an_hour(attempts, seconds):
    due = next_attempt(attempts, failed(), NOON, NOON, jitter=0.0)

    assert due == NOON + timedelta(seconds=seconds)


def test_a_permanent_error_ends_it_at_once():
    assert next_attempt(1, failed(permanent=True), NOON, NOON, jitter=0.0) is None


def test_an_attempt_that_came_to_no_answer_is_tried_again():
    assert next_attempt(1, None, NOON, NOON, jitter=0.0) == NOON + FIRST_PAUSE


def test_the_servers_own_wish_is_honoured_when_it_is_longer():
    wish = failed(retry_after=timedelta(hours=2))

    assert next_attempt(1, wish, NOON, NOON, jitter=1.0) == NOON + timedelta(hours=2)


def test_a_wish_shorter_than_the_pause_does_not_hurry_it():
    wish = failed(retry_after=timedelta(seconds=1))

    assert next_attempt(3, wish, NOON, NOON, jitter=0.0) == NOON + timedelta(seconds=120)


def test_there_is_one_last_attempt_after_two_days_and_then_none():
    almost = NOON + GIVE_UP_AFTER - minutes(1)

    assert next_attempt(200, failed(), NOON, almost, jitter=0.0) == NOON + GIVE_UP_AFTER
    assert next_attempt(201, failed(), NOON, NOON + GIVE_UP_AFTER, jitter=0.0) is None


@given(
    st.integers(1, 500),
    st.floats(0, 1),
    st.timedeltas(timedelta(0), timedelta(hours=47)),
    st.none() | st.timedeltas(timedelta(0), timedelta(days=3000)),
)
def test_the_next_attempt_lies_ahead_and_within_the_two_days(attempts, jitter, age, wish):
    now = NOON + age

    due = next_attempt(attempts, failed(retry_after=wish), NOON, now, jitter=jitter)

    assert due is not None
    assert now < due <= NOON + GIVE_UP_AFTER
    assert due - now <= max(LONGEST_PAUSE, wish or timedelta(0))

"""Groups: what leaves together, when, and that nothing is lost or said twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.base import Event, Reason, Severity, SignalKind
from alerts.grouping import (
    APART,
    GroupBy,
    GroupOptions,
    News,
    group_key,
    joined,
    news_of,
    plan_group,
)
from tests.alerts.make import incident

NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)
GROUPED = GroupOptions(wait_seconds=30, interval_minutes=5)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def news(
    number: int = 1,
    since: float = 0,
    event: Event = Event.OPENED,
    *,
    severity: Severity = Severity.HIGH,
    not_before: float | None = None,
    page: str = "",
    reason: Reason | None = None,
) -> News:
    found = news_of(
        incident(SignalKind.LEAK, number=number, severity=severity),
        event,
        receiver="comms",
        channel="mail",
        reason=reason or Reason(event.value),
        now=at(since),
        page=page,
    )
    return replace(found, not_before=None if not_before is None else at(not_before))


def plan(*waiting: News, now: float, sent: float | None = None, **more):
    return plan_group(
        waiting, GROUPED, sent_at=None if sent is None else at(sent), now=at(now), **more
    )


def test_the_first_of_a_group_waits_for_its_like():
    early, due = plan(news(1), news(2, 20), now=29), plan(news(1), news(2, 20), now=30)

    assert (early.leaves, early.reason, early.next_at) == ((), Reason.GROUPED, at(30))
    assert ([each.incident_id for each in due.leaves], due.reason) == ([1, 2], Reason.OPENED)
    assert (due.stays, due.next_at) == ((), None)


def test_later_ones_wait_for_the_interval():
    assert plan(news(1, 60), now=299, sent=0).next_at == at(300)
    assert plan(news(1, 60), now=300, sent=0).leaves


def test_what_is_critical_skips_the_wait_and_not_the_interval():
    grave = news(1, 10, severity=Severity.CRITICAL)

    assert plan(grave, now=10).leaves
    assert plan(grave, now=10, sent=0).next_at == at(300)


def test_one_incident_is_said_once_with_its_gravest_news():
    found = plan(
        news(1, 0, Event.CONTINUES),
        news(1, 5, Event.WORSENED, severity=Severity.CRITICAL),
        news(1, 9, Event.CONTINUES, severity=Severity.CRITICAL),
        now=30,
    )

    (said,) = found.leaves
    assert (said.event, said.reason, said.severity) == (
        Event.WORSENED,
        Reason.WORSENED,
        Severity.CRITICAL,
    )
    assert said.since == at(0)


def test_the_gravest_incident_comes_first():
    found = plan(news(1), news(2, severity=Severity.CRITICAL), news(3), now=30)

    assert [each.incident_id for each in found.leaves] == [2, 1, 3]


def test_what_ended_meanwhile_is_said_to_be_over():
    (said,) = plan(news(1), now=30, over=[1]).leaves

    assert (said.event, said.reason) == (Event.RESOLVED, Reason.RESOLVED)


def test_an_all_clear_takes_the_place_of_what_was_still_to_be_said():
    waiting = joined((news(1), news(2)), news(1, 10, Event.RESOLVED))

    assert [(each.incident_id, each.event) for each in waiting] == [
        (2, Event.OPENED),
        (1, Event.RESOLVED),
    ]
    assert len(joined(waiting, news(3))) == 3


def test_what_is_kept_for_quiet_hours_leaves_at_their_end_in_one_message():
    kept = [news(1, 0, not_before=3600), news(2, 100, not_before=3600)]

    early, due = plan(*kept, now=60), plan(*kept, now=3600)

    assert (early.leaves, early.reason, early.next_at) == ((), Reason.QUIET_HOURS, at(3600))
    assert (len(due.leaves), due.reason) == (2, Reason.QUIET_HOURS_ENDED)


def test_what_breaks_through_takes_along_what_was_kept_of_its_incident():
    kept = [news(1, 0, not_before=3600), news(2, 5, not_before=3600)]
    found = plan(*kept, news(1, 50, Event.WORSENED, severity=Severity.CRITICAL), now=50)

    assert [each.incident_id for each in found.leaves] == [1]
    assert [each.incident_id for each in found.stays] == [2]
    assert found.next_at == at(3600)


def test_what_burns_is_repeated_after_the_interval_for_repeats():
    options = GroupOptions(repeat_hours=4)
    burning = [news(1), news(2)]
    early = plan_group((), options, sent_at=at(0), burning=burning, now=at(60))
    due = plan_group((), options, sent_at=at(0), burning=burning, now=at(4 * 3600))

    assert (early.leaves, early.next_at) == ((), at(4 * 3600))
    assert {(each.event, each.reason) for each in due.leaves} == {
        (Event.CONTINUES, Reason.REPEATED)
    }
    assert due.next_at == at(8 * 3600)
    assert plan_group((), GROUPED, sent_at=at(0), burning=burning, now=at(9e5)).next_at is None


@pytest.mark.parametrize(
    ("by", "same"),
    [
        (GroupBy.INCIDENT, 0),
        (GroupBy.STORY, 1),
        (GroupBy.KIND, 2),
        (GroupBy.BRAND, 3),
        (GroupBy.RECEIVER, 4),
    ],
)
def test_news_is_gathered_by_what_the_route_says(by, same):
    one = news(1)
    others = [
        replace(one, incident_id=2),
        replace(one, incident_id=2, story="b"),
        replace(one, incident_id=2, story="b", kind=SignalKind.THREAT),
        replace(one, incident_id=2, story="b", kind=SignalKind.THREAT, brand="Maanhoek"),
    ]
    options = GroupOptions(by=by)

    alike = sum(group_key(one, options) == group_key(other, options) for other in others)
    assert alike == same
    assert group_key(one, options) != group_key(replace(one, channel="sms"), options)
    assert group_key(one, options) != group_key(replace(one, page="chain:1.1.1"), options)


def test_without_grouping_everything_leaves_at_once():
    assert plan_group((news(1),), APART, sent_at=at(0), now=at(0)).leaves


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(0, 1500),
            st.sampled_from([Event.OPENED, Event.WORSENED, Event.CONTINUES, Event.RESOLVED]),
            st.sampled_from([Severity.LOW, Severity.CRITICAL]),
            st.none() | st.integers(100, 2000),
        ),
        max_size=15,
    ),
    st.integers(0, 120),
    st.integers(0, 10),
)
@settings(max_examples=50, deadline=None)
def test_nothing_is_lost_nothing_twice_and_the_interval_is_kept(pieces, wait, interval):
    options = GroupOptions(wait_seconds=wait, interval_minutes=interval)
    coming = sorted(pieces, key=lambda piece: piece[1])
    waiting: tuple[News, ...] = ()
    sent: list[datetime] = []
    told: set[int] = set()
    now = at(0)
    while True:
        while coming and at(coming[0][1]) <= now:
            number, since, event, grave, kept = coming.pop(0)
            not_before = None if kept is None else since + kept
            piece = news(number, since, event, severity=grave, not_before=not_before)
            waiting = joined(waiting, piece)
        found = plan_group(waiting, options, sent_at=sent[-1] if sent else None, now=now)
        if found.leaves:
            ids = [each.incident_id for each in found.leaves]
            assert len(ids) == len(set(ids))
            assert not sent or now - sent[-1] >= timedelta(minutes=interval)
            assert {each.incident_id for each in waiting} == {
                *ids,
                *(each.incident_id for each in found.stays),
            }
            sent.append(now)
            told |= set(ids)
        waiting = found.stays
        assert found.next_at is None or found.next_at > now
        moments = [found.next_at, at(coming[0][1]) if coming else None]
        upcoming = [moment for moment in moments if moment is not None]
        if not upcoming:
            break
        now = min(upcoming)

    assert waiting == ()
    assert told == {number for number, *_ in pieces}


def test_a_repeat_shorter_than_the_interval_is_refused():
    with pytest.raises(ValidationError, match="repeat_hours"):
        GroupOptions(interval_minutes=60, repeat_hours=0.5)

"""Silences and crises: what they mute, what they never do, and the resend."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.base import Event, IncidentState, Severity, SignalKind
from alerts.routes import Told
from alerts.silences import (
    Crisis,
    InhibitionOptions,
    Muted,
    Silence,
    SilenceLimits,
    Target,
    covering,
    heard_again,
    muted_until,
    part_of,
    problem_with,
)

NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)
TARGET = Target(
    "Zonnehoek", SignalKind.THREAT, Severity.HIGH, frozenset({"x"}), frozenset({"story-1"})
)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def silence(start: float = 0, end: float = 60, number: int = 1, **matcher: object) -> Silence:
    found = Silence(number, "Bram", "drill", at(start), at(end), kind=SignalKind.THREAT)
    return replace(found, **matcher)


@pytest.mark.parametrize(
    ("matcher", "muted"),
    [
        ({}, True),
        ({"kind": None, "brand": "Zonnehoek"}, True),
        ({"brand": "Maanhoek"}, False),
        ({"kind": SignalKind.LEAK}, False),
        ({"source": "x"}, True),
        ({"source": "news"}, False),
        ({"story": "story-1"}, True),
        ({"story": "story-2"}, False),
        ({"up_to": Severity.MEDIUM}, False),
    ],
)
def test_a_silence_mutes_what_all_its_matchers_fit(matcher, muted):
    assert bool(covering([silence(**matcher)], TARGET, at(30))) is muted


@pytest.mark.parametrize(("minute", "muted"), [(-1, False), (0, True), (59, True), (60, False)])
def test_a_silence_begins_and_ends_to_the_moment(minute, muted):
    assert silence().covers(TARGET, at(minute)) is muted


def test_what_is_seen_elsewhere_as_well_is_not_muted_by_source_or_story():
    wider = replace(
        TARGET, sources=frozenset({"x", "news"}), stories=frozenset({"story-1", "story-2"})
    )

    assert covering([silence(source="x"), silence(story="story-1")], wider, at(1)) is None


def test_by_default_nothing_critical_is_muted():
    assert covering([silence()], replace(TARGET, severity=Severity.CRITICAL), at(1)) is None


def test_silences_that_follow_one_another_mute_until_the_last_ends():
    chain = [silence(0, 60), silence(50, 90, 2), silence(90, 120, 3), silence(130, 150, 4)]

    assert muted_until(chain, TARGET, at(10)) == at(120)
    assert muted_until(chain, TARGET, at(125)) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"author": " "}, "say who you are"),
        ({"reason": ""}, "say why"),
        ({"ends_at": at(-1)}, "ends before it begins"),
        ({"starts_at": at(-90), "ends_at": at(-30)}, "ends before it begins"),
        ({"ends_at": at(8 * 24 * 60)}, "7 days at most"),
        ({"kind": None}, "mute everything"),
    ],
)
def test_a_silence_without_author_reason_end_or_matcher_is_refused(change, told):
    refusal = problem_with(replace(silence(), **change), SilenceLimits(), NOON)

    assert refusal is not None
    assert told in refusal


def test_a_proper_silence_is_accepted():
    assert problem_with(silence(0, 7 * 24 * 60), SilenceLimits(), NOON) is None


MISSED = Muted("comms", "mail", at(10))


def again(told=(), history=(), silences=(), state=IncidentState.OPEN, now=60.0):
    return heard_again(
        [MISSED], told, history, silences or [silence()], TARGET, state=state, now=at(now)
    )


def test_when_the_silence_ends_those_who_missed_something_hear_of_it_once():
    (missed,), upcoming = again()

    assert (missed, upcoming) == (MISSED, None)
    assert again(history=[missed.entry(at(60))]) == ([], None)


def test_while_it_lasts_the_end_is_waited_for():
    assert again(now=30) == ([], at(60))


@pytest.mark.parametrize(
    "state", [IncidentState.ACKNOWLEDGED, IncidentState.RESOLVED, IncidentState.REVIEWED]
)
def test_what_is_taken_or_over_is_not_sent_again(state):
    assert again(state=state) == ([], None)


def test_who_was_told_since_missed_nothing_and_who_was_told_before_did():
    before = Told("comms", "mail", Event.OPENED, at(5))
    since = Told("comms", "mail", Event.WORSENED, at(20))
    other = Told("comms", "slack", Event.WORSENED, at(20))

    assert again(told=[since]) == ([], None)
    assert again(told=[before, other]) == ([MISSED], None)


CRISIS = Crisis(
    7, "Zonnehoek", Severity.HIGH, frozenset({1, 2, 3}), frozenset({"comms", "webcare"})
)
SINGLE = Target(
    "Zonnehoek", SignalKind.ABUSE, Severity.LOW, frozenset(), frozenset(), frozenset({2})
)


@pytest.mark.parametrize(
    ("change", "receiver", "muted"),
    [
        ({}, "webcare", True),
        ({"mentions": frozenset({1, 3})}, "comms", True),
        ({"mentions": frozenset({2, 9})}, "webcare", False),
        ({"mentions": frozenset()}, "webcare", False),
        ({"brand": "Maanhoek"}, "webcare", False),
        ({"severity": Severity.HIGH}, "webcare", False),
        ({"kind": SignalKind.SILENT_SOURCE}, "webcare", False),
        ({}, "legal", False),
    ],
)
def test_a_crisis_mutes_the_mentions_it_consists_of_towards_those_who_know_it(
    change, receiver, muted
):
    found = part_of(replace(SINGLE, **change), receiver, [CRISIS], InhibitionOptions())

    assert (found is CRISIS) is muted


@given(st.sampled_from(sorted(set(SignalKind) - {SignalKind.ABUSE})))
@settings(deadline=None)
def test_no_configuration_lets_a_crisis_mute_more_than_insults(kind):
    everything = InhibitionOptions(kinds=tuple(SignalKind))

    assert part_of(replace(SINGLE, kind=kind), "webcare", [CRISIS], everything) is None


def test_inhibition_can_be_switched_off():
    assert part_of(SINGLE, "webcare", [CRISIS], InhibitionOptions(enabled=False)) is None


SILENCES = st.lists(
    st.builds(
        lambda start, length, number: silence(start, start + length, number),
        st.integers(-50, 100),
        st.integers(1, 60),
        st.integers(1, 1000),
    ),
    max_size=6,
)


@given(SILENCES, st.integers(-60, 200))
@settings(max_examples=50, deadline=None)
def test_the_end_of_being_muted_is_the_first_moment_without_a_silence(silences, minute):
    end = muted_until(silences, TARGET, at(minute))
    quiet = [each for each in range(minute, 210) if not covering(silences, TARGET, at(each))]

    assert end == (None if quiet[0] == minute else at(quiet[0]))


@given(SILENCES, st.lists(st.integers(0, 200), max_size=30))
@settings(max_examples=50, deadline=None)
def test_whenever_it_is_asked_each_missed_message_is_sent_again_once_and_never_while_muted(
    silences, asked
):
    history = []
    for minute in sorted(asked):
        found, upcoming = heard_again(
            [MISSED], [], history, silences, TARGET, state=IncidentState.OPEN, now=at(minute)
        )
        assert upcoming is None or upcoming > at(minute)
        if found:
            assert minute >= 10
            assert covering(silences, TARGET, at(minute)) is None
        history += [each.entry(at(minute)) for each in found]

    assert len(history) <= 1

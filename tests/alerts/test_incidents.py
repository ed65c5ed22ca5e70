"""Which signals belong together, and when an incident ends by itself."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.base import Event, Incident, IncidentState, Severity, SignalKind
from alerts.incidents import CRISIS_SUBJECT, Joined, Opened, correlate, gravest, quiet
from tests.alerts.make import NOON, incident, minutes, signal

SPIKE_KINDS = [SignalKind.VOLUME_SPIKE, SignalKind.NEGATIVITY_SPIKE]


def gather(signals) -> tuple[dict[int, Incident], dict[str, int]]:
    """Let signals come in one by one, as a store would; give the incidents and who joined which."""
    incidents: dict[int, Incident] = {}
    membership: dict[str, int] = {}
    for each in signals:
        found = correlate(each, incidents.values(), now=NOON)
        if isinstance(found, Opened):
            opened = found.incident(len(incidents) + 1)
            incidents[opened.id] = opened
            membership[each.key] = opened.id
        else:
            incidents[found.incident.id] = found.incident
            membership[each.key] = found.incident.id
    return incidents, membership


def test_a_first_signal_opens_an_incident():
    found = correlate(signal(), [], now=NOON + minutes(5))

    assert isinstance(found, Opened)
    opened = found.incident(3)
    assert (opened.id, opened.state) == (3, IncidentState.OPEN)
    assert (opened.opened_at, opened.last_signal_at) == (NOON + minutes(5), NOON)
    assert found.event is Event.OPENED


def test_a_reshare_joins_the_incident_of_its_story_however_late():
    later = NOON + timedelta(days=3)

    found = correlate(
        signal(at=later), [incident(severity=Severity.HIGH, subject="story-1")], now=later
    )

    assert isinstance(found, Joined)
    assert found.event is Event.CONTINUES
    assert found.incident.last_signal_at == later


@pytest.mark.parametrize(
    "other",
    [
        signal(subject="story-2"),
        signal(brand="Maanhoek"),
        signal(SignalKind.THREAT),
        signal(SignalKind.VOLUME_SPIKE),
    ],
)
def test_another_story_brand_or_kind_is_another_incident(other):
    assert isinstance(correlate(other, [incident()], now=NOON), Opened)


@pytest.mark.parametrize("state", [IncidentState.RESOLVED, IncidentState.REVIEWED])
def test_nothing_joins_what_is_over(state):
    assert isinstance(correlate(signal(), [incident(state=state)], now=NOON), Opened)


def test_an_acknowledged_incident_is_still_joined():
    taken = incident(state=IncidentState.ACKNOWLEDGED)

    assert isinstance(correlate(signal(at=NOON), [taken], now=NOON), Joined)


def test_volume_and_negativity_are_one_crisis():
    volume = signal(SignalKind.VOLUME_SPIKE, subject="volume:Zonnehoek", severity=Severity.HIGH)
    opened = correlate(volume, [], now=NOON)
    assert isinstance(opened, Opened)
    assert opened.subject == CRISIS_SUBJECT

    joined = correlate(
        signal(
            SignalKind.NEGATIVITY_SPIKE,
            subject="negativity:Zonnehoek",
            severity=Severity.CRITICAL,
            at=NOON + minutes(20),
        ),
        [opened.incident(1)],
        now=NOON + minutes(20),
    )

    assert isinstance(joined, Joined)
    assert joined.event is Event.WORSENED
    assert (joined.severity, joined.incident.kind) == (
        Severity.CRITICAL,
        SignalKind.NEGATIVITY_SPIKE,
    )


def test_a_spike_a_day_later_is_a_new_crisis():
    later = NOON + timedelta(days=1)
    running = incident(SignalKind.VOLUME_SPIKE, subject=CRISIS_SUBJECT)

    found = correlate(signal(SignalKind.VOLUME_SPIKE, at=later), [running], now=later)

    assert isinstance(found, Opened)


def test_late_news_that_changes_nothing_is_no_event():
    running = incident(last_signal_at=NOON + minutes(30))

    found = correlate(
        signal(at=NOON, severity=Severity.CRITICAL), [running], now=NOON + minutes(60)
    )

    assert isinstance(found, Joined)
    assert found.event is None
    assert found.incident.last_signal_at == NOON + minutes(30)


def test_late_news_that_is_worse_is_told():
    running = incident(severity=Severity.HIGH, last_signal_at=NOON + minutes(30))

    found = correlate(
        signal(at=NOON, severity=Severity.CRITICAL), [running], now=NOON + minutes(60)
    )

    assert isinstance(found, Joined)
    assert found.event is Event.WORSENED


def test_a_post_from_the_future_does_not_keep_an_incident_open_for_ever():
    found = correlate(signal(at=NOON + timedelta(days=9)), [], now=NOON)

    assert isinstance(found, Opened)
    assert found.last_signal_at == NOON


@given(
    st.lists(
        st.builds(
            lambda number, brand, story, kind, severity, late: signal(
                kind,
                brand=brand,
                subject=story,
                severity=severity,
                at=NOON - minutes(late),
                key=str(number),
            ),
            st.integers(),
            st.sampled_from(["Zonnehoek", "Maanhoek"]),
            st.sampled_from(["a", "b"]),
            st.sampled_from(SignalKind),
            st.sampled_from(Severity),
            st.integers(0, 300),
        ),
        unique_by=lambda each: each.key,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_in_which_signals_come_in_changes_nothing(signals, random):
    shuffled = list(signals)
    random.shuffle(shuffled)

    first, first_membership = gather(signals)
    second, second_membership = gather(shuffled)

    def groups(membership):
        found: dict[int, set[str]] = {}
        for key, number in membership.items():
            found.setdefault(number, set()).add(key)
        return {frozenset(keys) for keys in found.values()}

    def nameless(incidents):
        return {replace(each, id=0) for each in incidents.values()}

    assert groups(first_membership) == groups(second_membership)
    assert nameless(first) == nameless(second)


@given(
    st.lists(st.sampled_from(Severity), min_size=1, max_size=8),
)
def test_severity_never_falls_and_every_rise_is_told(severities):
    running = incident(severity=severities[0])
    for place, severity in enumerate(severities[1:], start=1):
        now = NOON + minutes(place)
        found = correlate(signal(severity=severity, at=now), [running], now=now)
        assert isinstance(found, Joined)
        assert found.severity == max(running.severity, severity)
        assert (found.event is Event.WORSENED) == (severity > running.severity)
        running = found.incident


@pytest.mark.parametrize("kind", SPIKE_KINDS)
@pytest.mark.parametrize("state", [IncidentState.OPEN, IncidentState.ACKNOWLEDGED])
def test_a_crisis_ends_by_itself_after_six_quiet_hours(kind, state):
    running = incident(kind, state=state, opened_at=NOON, last_signal_at=NOON + minutes(60))

    assert not quiet(running, NOON + minutes(60 + 359))
    assert quiet(running, NOON + minutes(60 + 360))


@pytest.mark.parametrize(
    "kind",
    [
        SignalKind.LEAK,
        SignalKind.THREAT,
        SignalKind.OFFICIAL_ACCOUNT,
        SignalKind.SILENT_SOURCE,
    ],
)
def test_what_a_person_must_end_does_not_end_by_itself(kind):
    assert not quiet(incident(kind), NOON + timedelta(days=400))


def test_what_is_over_does_not_end_again():
    over = incident(SignalKind.VOLUME_SPIKE, state=IncidentState.RESOLVED)

    assert not quiet(over, NOON + timedelta(days=9))


def test_an_incident_opened_late_has_its_full_quiet_time():
    running = incident(
        SignalKind.VOLUME_SPIKE, opened_at=NOON, last_signal_at=NOON - timedelta(hours=8)
    )

    assert not quiet(running, NOON + minutes(1))


def test_the_gravest_signal_names_an_incident():
    worst = signal(SignalKind.THREAT, severity=Severity.CRITICAL)

    assert gravest([signal(), worst, signal(SignalKind.ABUSE)]) is worst

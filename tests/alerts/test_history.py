"""How an incident stands, read from its history."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.base import IncidentState, Reason
from alerts.history import Entry, Happened, standing

NOON = datetime(2026, 11, 13, 11, 0, tzinfo=UTC)
OPEN, TAKEN = IncidentState.OPEN, IncidentState.ACKNOWLEDGED
RESOLVED, REVIEWED = IncidentState.RESOLVED, IncidentState.REVIEWED


def tale(*words: str) -> list[Entry]:
    return [
        Entry(NOON + timedelta(minutes=place), Happened(word), f"who{place}")
        for place, word in enumerate(words)
    ]


def end(history: list[Entry]) -> datetime:
    return NOON + timedelta(minutes=len(history))


@pytest.mark.parametrize(
    ("words", "state", "beginning", "taken_by"),
    [
        (["opened"], OPEN, 1, ""),
        (["opened", "acknowledged"], TAKEN, 1, "who1"),
        (["opened", "acknowledged", "acknowledged"], TAKEN, 1, "who1"),
        (["opened", "acknowledged", "assigned"], TAKEN, 1, "who2"),
        (["opened", "acknowledged", "noted"], TAKEN, 1, "who1"),
        (["opened", "acknowledged", "released"], OPEN, 2, ""),
        (["opened", "released"], OPEN, 1, ""),
        (["opened", "worsened", "continues", "told"], OPEN, 1, ""),
        (["opened", "resolved"], RESOLVED, 1, ""),
        (["opened", "resolved", "acknowledged"], RESOLVED, 1, ""),
        (["opened", "resolved", "released"], RESOLVED, 1, ""),
        (["opened", "resolved", "reviewed"], REVIEWED, 1, ""),
        (["opened", "resolved", "reopened"], OPEN, 2, ""),
        (["opened", "reopened"], OPEN, 1, ""),
    ],
)
def test_the_history_says_how_it_stands(words, state, beginning, taken_by):
    found = standing(tale(*words), end(tale(*words)))

    assert found is not None
    assert (found.state, found.beginning, found.taken_by) == (state, beginning, taken_by)


def test_before_it_was_opened_it_does_not_stand_at_all():
    assert standing([], NOON) is None
    assert standing(tale("acknowledged", "resolved"), NOON + timedelta(hours=1)) is None


def test_what_has_not_happened_yet_does_not_count():
    found = standing(tale("opened", "acknowledged", "resolved"), NOON + timedelta(minutes=1))

    assert found is not None
    assert (found.state, found.active_at) == (TAKEN, NOON + timedelta(minutes=1))


@given(st.lists(st.sampled_from(Happened), max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_entries_may_come_in_any_order_and_telling_changes_no_state(words, random):
    history = tale("opened", *words)
    mixed = list(history)
    random.shuffle(mixed)
    told = [Entry(each.at, Happened.TOLD, "comms", "k", Reason.ESCALATED, 0) for each in history]

    assert standing(mixed, end(history)) == standing(history, end(history))
    assert standing([*history, *told], end(history)) == standing(history, end(history))

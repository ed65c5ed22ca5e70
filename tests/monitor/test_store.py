"""The store keeps what belongs together, together, and nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy.exc
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.base import IncidentState
from classifiers.base import Assessment, SentimentLabel
from connectors.base import Reject
from monitor.store import Store
from monitor.store.mentions import bucket_of
from tests.alerts.make import assessment
from tests.monitor.make import NOON, add_incident, fresh_store, new_mention, sql

HELD = (IncidentState.OPEN.value, IncidentState.ACKNOWLEDGED.value)
BAD, FINE = assessment(negative=0.9), assessment(negative=0.1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    with made.write() as unit:
        unit.sources.ensure("feed", "rss", "print", NOON)
    yield made
    made.close()


def assess_all(store: Store, opinion: Assessment = FINE, version: str = "v1") -> list[int]:
    with store.write() as unit:
        queued = [item.mention.id for item in unit.mentions.queue(1000)]
        unit.mentions.assess(dict.fromkeys(queued, opinion), version, NOON)
    return queued


def counts(store: Store) -> dict[datetime, Counter[str]]:
    with store.read() as unit:
        found = unit.mentions.counts("Zonnehoek", NOON - timedelta(days=9), NOON + timedelta(1))
    return {
        bucket: Counter({label.value: count for label, count in cell.items() if count})
        for bucket, cell in found.items()
    }


@pytest.mark.parametrize(
    "sabotage",
    [
        "BEFORE UPDATE OF cursor ON source",
        "BEFORE INSERT ON mention WHEN NEW.post_id = 'p2'",
        "BEFORE INSERT ON reject",
    ],
)
def test_a_page_and_its_cursor_are_kept_together_or_not_at_all(store: Store, sabotage: str) -> None:
    def keep_page() -> None:
        with store.write() as unit:
            unit.mentions.add([new_mention(1), new_mention(2)], NOON)
            unit.sources.reject("feed", [Reject("no text", "<item/>")], NOON)
            unit.sources.advance("feed", {"page": 2})

    sql(store.path, f"CREATE TRIGGER no {sabotage} BEGIN SELECT RAISE(ABORT, 'sabotage'); END")
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="sabotage"):
        keep_page()
    with store.read() as unit:
        assert unit.mentions.total() == 0
        assert unit.sources.rejects() == 0
        assert unit.sources.state("feed").cursor is None

    sql(store.path, "DROP TRIGGER no")
    keep_page()
    with store.read() as unit:
        assert unit.mentions.total() == 2
        assert unit.sources.rejects() == 1
        assert unit.sources.state("feed").cursor == {"page": 2}


def test_a_page_that_comes_again_adds_nothing_but_newer_engagement(store: Store) -> None:
    with store.write() as unit:
        assert unit.mentions.add([new_mention(1, likes=5)], NOON).new == {"Zonnehoek": 1}
    ids = assess_all(store)
    with store.write() as unit:
        assert not unit.mentions.add([new_mention(1, likes=9, source="other")], NOON).new
        assert not unit.mentions.add([new_mention(1, likes=2)], NOON).new
        assert unit.sources.reject("feed", [Reject("no text", "<item/>")] * 3, NOON) == 1
        assert unit.sources.reject("feed", [Reject("no text", "<item/>")], NOON) == 0
    with store.read() as unit:
        ((mention, opinion),) = unit.mentions.each(None, None)
        assert unit.mentions.queue(10) == []
    assert (mention.id, mention.post.engagement.likes) == (ids[0], 9)
    assert opinion is not None


def test_one_page_may_hold_a_post_twice(store: Store) -> None:
    with store.write() as unit:
        new = unit.mentions.add([new_mention(1), new_mention(2), new_mention(1, likes=3)], NOON).new
    assert new == {"Zonnehoek": 2}


def test_a_large_page_is_recognised_whole(store: Store) -> None:
    page = [new_mention(number) for number in range(1000)]
    with store.write() as unit:
        assert unit.mentions.add(page, NOON).new.total() == 1000
    with store.write() as unit:
        assert unit.mentions.add(page[::-1], NOON).new.total() == 0


def test_two_brands_keep_one_post_each(store: Store) -> None:
    with store.write() as unit:
        new = unit.mentions.add([new_mention(1), new_mention(1, brand="Harskamp")], NOON).new
        assert new == {"Zonnehoek": 1, "Harskamp": 1}
    assess_all(store, BAD)
    with store.read() as unit:
        for brand in ("Zonnehoek", "Harskamp"):
            ((_, cell),) = unit.mentions.counts(brand, NOON, NOON + timedelta(hours=1)).items()
            assert cell[SentimentLabel.NEGATIVE] == 1


def test_a_date_in_the_future_becomes_now_and_one_in_the_past_stays(store: Store) -> None:
    old = datetime(1994, 2, 1, tzinfo=UTC)
    with store.write() as unit:
        unit.mentions.add(
            [new_mention(1, at=NOON + timedelta(days=400)), new_mention(2, at=old)], NOON
        )
    with store.read() as unit:
        moments = [mention.post.published_at for mention, _ in unit.mentions.each(None, None)]
    assert moments == [old, NOON]


def test_a_naive_moment_is_refused(store: Store) -> None:
    naive = datetime(2026, 11, 9, 12)  # noqa: DTZ001 - that is the point
    with (
        pytest.raises(sqlalchemy.exc.StatementError, match="naive"),
        store.write() as unit,
    ):
        unit.sources.succeeded("feed", naive, naive)


def test_another_version_moves_a_mention_in_the_counts_and_keeps_both_opinions(
    store: Store,
) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(1), new_mention(2)], NOON)
    assess_all(store, BAD, "v1")
    with store.write() as unit:
        (first, _), _ = unit.mentions.each(None, None)
        assert unit.mentions.assess({first.id: FINE}, "v2", NOON) == {first.id}
        assert not unit.mentions.assess({first.id: BAD}, "v2", NOON), "once per version"
    assert counts(store)[NOON] == {"negative": 1, "neutral": 1}
    assert sql(store.path, "SELECT count(*) FROM assessment") == [(3,)]

    with store.write() as unit:
        known_before = {first.id: FINE}
        assert not unit.mentions.assess(known_before, "v1", NOON), "back to a version known before"
    assert counts(store)[NOON] == {"negative": 2}


def test_what_was_deleted_while_it_was_assessed_is_passed_over(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(1), new_mention(2)], NOON)
        queued = [item.mention.id for item in unit.mentions.queue(10)]
    sql(store.path, "DELETE FROM mention WHERE post_id = 'p1'")
    with store.write() as unit:
        assert unit.mentions.assess(dict.fromkeys(queued, BAD), "v1", NOON) == {queued[1]}
    assert counts(store) == {NOON: {"negative": 1}}


def test_a_batch_that_fails_half_way_leaves_nothing_and_may_come_again(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(number) for number in range(5)], NOON)
    sql(
        store.path,
        "CREATE TRIGGER no BEFORE UPDATE OF counted_as ON mention WHEN NEW.post_id = 'p3'"
        " BEGIN SELECT RAISE(ABORT, 'sabotage'); END",
    )
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="sabotage"):
        assess_all(store)
    assert counts(store) == {}
    assert sql(store.path, "SELECT count(*) FROM assessment") == [(0,)]
    assert sql(store.path, "SELECT count(*) FROM bucket_voices") == [(0,)]
    sql(store.path, "DROP TRIGGER no")
    assert len(assess_all(store)) == 5
    assert counts(store) == {NOON: {"neutral": 5}}
    assert assess_all(store) == []


def test_what_was_brought_in_by_hand_is_never_counted(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add_imported([new_mention(1)], NOON)
    assess_all(store)
    assert counts(store) == {}


Step = tuple[int, str, bool, int]
"""Post, version of the models, opinion, minutes before noon."""


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from(["v1", "v2", "v3"]),
            st.booleans(),
            st.integers(0, 20),
        ),
        max_size=30,
    )
)
def test_counts_always_equal_the_mentions_under_their_latest_opinions(steps: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        store = fresh_store(Path(folder))
        for number, version, bad, minutes in steps:
            with store.write() as unit:
                unit.mentions.add([new_mention(number, at=NOON - timedelta(minutes=minutes))], NOON)
                for mention, _ in unit.mentions.each(None, None):
                    if mention.post.id == f"p{number}":
                        said = {mention.id: BAD if bad else FINE}
                        unit.mentions.assess(said, version, NOON)
        with store.read() as unit:
            expected: dict[datetime, Counter[str]] = {}
            for mention, opinion in unit.mentions.each(None, None):
                assert opinion is not None
                cell = expected.setdefault(bucket_of(mention.post.published_at), Counter())
                cell[opinion.sentiment.label.value] += 1
        assert {bucket: cell for bucket, cell in counts(store).items() if cell} == expected
        store.close()


def test_a_mention_that_was_set_aside_leaves_the_queue_and_stays(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(1), new_mention(2)], NOON)
        unit.mentions.fail(unit.mentions.queue(1)[0].mention.id)
    with store.read() as unit:
        assert [item.mention.post.id for item in unit.mentions.queue(10)] == ["p2"]
        assert (unit.mentions.queue_length(), unit.mentions.total()) == (1, 2)


def test_the_purge_keeps_what_burning_incidents_are_about(store: Store) -> None:
    old, young = NOON - timedelta(days=400), NOON - timedelta(days=1)
    with store.write() as unit:
        unit.mentions.add([new_mention(n, at=old) for n in (1, 2, 3)], NOON)
        unit.mentions.add([new_mention(4, at=young)], NOON)
    first, second, _, fourth = assess_all(store)
    burning, over = add_incident(store, first, key="a"), add_incident(store, second, key="b")

    def purge() -> int:
        with store.write() as unit:
            return unit.mentions.purge(NOON - timedelta(days=365), keep_states=HELD, limit=500)

    with store.write() as unit:
        assert unit.incidents.resolve(over.id, "eva", NOON)
    assert purge() == 2
    assert sql(store.path, "SELECT id FROM mention ORDER BY id") == [(first,), (fourth,)]
    assert sql(store.path, "SELECT mention_id FROM assessment ORDER BY 1") == [(first,), (fourth,)]
    assert sql(store.path, "SELECT mention_id FROM incident_mention") == [(first,)]
    with store.write() as unit:
        assert unit.incidents.acknowledge(burning.id, "eva", NOON)
    assert purge() == 0, "acknowledged is not over"
    with store.write() as unit:
        assert unit.incidents.resolve(burning.id, "eva", NOON)
    assert purge() == 1


def test_the_purge_takes_no_more_than_it_may_at_once(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(n, at=NOON - timedelta(days=9)) for n in range(7)], NOON)
    deleted = []
    for _ in range(4):
        with store.write() as unit:
            deleted.append(unit.mentions.purge(NOON, keep_states=HELD, limit=3))
    assert deleted == [3, 3, 1, 0]


def test_an_id_is_never_given_to_another_post_or_incident(store: Store) -> None:
    with store.write() as unit:
        unit.mentions.add([new_mention(1, at=NOON - timedelta(days=9))], NOON)
    (gone,) = assess_all(store)
    with store.write() as unit:
        assert unit.mentions.purge(NOON, keep_states=HELD, limit=9) == 1
        unit.mentions.add([new_mention(2)], NOON)
        assert unit.mentions.queue(1)[0].mention.id > gone


def test_a_source_that_became_another_starts_from_the_beginning(store: Store) -> None:
    with store.write() as unit:
        unit.sources.advance("feed", {"page": 7})
        unit.sources.ensure("feed", "rss", "print", NOON)
        assert unit.sources.state("feed").cursor == {"page": 7}
        unit.sources.ensure("feed", "rss", "another", NOON)
        assert unit.sources.state("feed").cursor is None


def test_a_due_time_written_while_the_clock_ran_ahead_does_not_last(store: Store) -> None:
    with store.write() as unit:
        unit.sources.succeeded("feed", NOON, NOON + timedelta(days=3000))
        unit.sources.ensure("feed", "rss", "print", NOON)
        assert unit.sources.state("feed").next_due_at == NOON


def test_listening_without_a_break_is_one_stretch_and_a_gap_ends_it(store: Store) -> None:
    def heard(minutes: int) -> None:
        with store.write() as unit:
            unit.sources.cover("feed", NOON + timedelta(minutes=minutes), gap=timedelta(minutes=15))

    for minutes in (0, 5, 20, 40, 45):
        heard(minutes)
    with store.read() as unit:
        stretches = unit.sources.coverage(NOON, NOON + timedelta(hours=1))
        later = unit.sources.coverage(NOON + timedelta(minutes=30), NOON + timedelta(hours=1))
    spans = [
        ((each.started_at - NOON).seconds // 60, (each.ended_at - NOON).seconds // 60)
        for each in stretches
    ]
    assert spans == [(0, 20), (40, 45)]
    assert [each.started_at for each in later] == [NOON + timedelta(minutes=40)]

"""The outbox: order within a lane, nobody held up by another's trouble, nothing lost to a crash."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.base import Event, Receipt
from monitor.store import Store
from monitor.store.outbox import PROMPT_ATTEMPTS, Pending
from tests.monitor.make import NOON, add_incident, add_notification, fresh_store, sql

LEASE = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    yield made
    made.close()


def claim(store: Store, after: timedelta = timedelta()) -> list[Pending]:
    with store.write() as unit:
        return unit.outbox.claim(NOON + after, LEASE)


def keys(claimed: list[Pending]) -> list[str]:
    return [item.key for item in claimed]


def fail(
    store: Store,
    item: Pending,
    after: timedelta | None,
    *,
    aside: bool = False,
    not_before: timedelta | None = None,
) -> None:
    with store.write() as unit:
        unit.outbox.failed(
            item,
            None if after is None else NOON + after,
            fault="unreachable",
            error="down",
            aside=aside,
            not_before=None if not_before is None else NOON + not_before,
        )


def deliver(store: Store, item: Pending) -> None:
    with store.write() as unit:
        unit.outbox.delivered(item, NOON, Receipt(thread={"message_id": item.key}))


def test_a_key_is_put_in_once(store: Store) -> None:
    incident = add_incident(store)
    add_notification(store, "k1", incident)
    with store.write() as unit:
        again = unit.outbox.add(
            key="k1",
            incident_id=incident.id,
            event=Event.OPENED,
            receiver="crisis",
            channel="mail",
            addresses=(),
            message={},
            now=NOON,
        )
    assert not again
    assert keys(claim(store)) == ["k1"]


def test_a_lane_leaves_in_order_and_lanes_do_not_wait_for_each_other(store: Store) -> None:
    first, second = add_incident(store, key="a"), add_incident(store, key="b")
    add_notification(store, "mail1", first)
    add_notification(store, "mail2", second)
    add_notification(store, "chat1", first, channel="chat")
    add_notification(store, "press1", first, receiver="press")
    claimed = claim(store)
    assert keys(claimed) == ["mail1", "chat1", "press1"]
    assert claim(store) == [], "each is theirs who took it"
    fail(store, claimed[0], MINUTE)
    assert claim(store) == [], "mail2 waits for mail1, which waits for its channel"
    again = claim(store, MINUTE)
    assert keys(again) == ["mail1"]
    assert again[0].attempts == 2
    deliver(store, again[0])
    assert keys(claim(store, MINUTE)) == ["mail2"]


def test_what_has_trouble_of_its_own_lets_other_incidents_pass_but_not_its_own(
    store: Store,
) -> None:
    first, second = add_incident(store, key="a"), add_incident(store, key="b")
    add_notification(store, "a1", first)
    add_notification(store, "a2", first)
    add_notification(store, "b1", second)
    fail(store, claim(store)[0], 10 * MINUTE, aside=True)
    assert keys(claim(store)) == ["b1"], "a2 waits for a1: an incident is told in order"
    deliver(store, claim(store, 10 * MINUTE)[0])
    assert keys(claim(store, 10 * MINUTE)) == ["a2"]


def test_a_dead_letter_holds_up_nobody_and_is_shown(store: Store) -> None:
    incident = add_incident(store)
    add_notification(store, "k1", incident)
    add_notification(store, "k2", incident)
    fail(store, claim(store)[0], None)
    assert keys(claim(store)) == ["k2"]
    with store.read() as unit:
        (letter,) = unit.outbox.dead()
        assert (letter.state, letter.error) == ("dead", "down")
        assert len(unit.outbox.told(incident.id)) == 1, "a dead letter told nobody"
        assert unit.outbox.planned(incident.id, "crisis", "mail") == 2, "but it had a key"


def test_the_latest_receipt_names_the_thread_of_what_follows(store: Store) -> None:
    incident = add_incident(store)
    for key in ("k1", "k2", "k3"):
        add_notification(store, key, incident)
    threads = []
    for _ in range(3):
        (item,) = claim(store)
        threads.append(item.thread)
        deliver(store, item)
    assert threads == [None, {"message_id": "k1"}, {"message_id": "k2"}]


def test_after_a_crash_what_was_under_way_is_due_at_once(store: Store) -> None:
    incident = add_incident(store)
    add_notification(store, "under way", incident)
    add_notification(store, "failed", incident, channel="chat")
    add_notification(store, "untried", incident, receiver="press")
    claimed = claim(store)
    fail(store, claimed[1], 10 * MINUTE)
    with store.write() as unit:
        # As a new process finds it: the lease of "under way" and "untried" is held by nobody.
        assert unit.outbox.take_back(NOON + MINUTE) == 2
    assert keys(claim(store, MINUTE)) == ["under way", "untried"]
    assert keys(claim(store, 10 * MINUTE)) != [], "what failed waits for its own time"


def test_a_message_that_may_be_what_kills_waits_and_lets_others_pass(store: Store) -> None:
    add_notification(store, "killer", add_incident(store, key="a"))
    add_notification(store, "innocent", add_incident(store, key="b"))
    for _ in range(PROMPT_ATTEMPTS + 1):
        assert keys(claim(store)) == ["killer"]
        with store.write() as unit:
            assert unit.outbox.take_back(NOON) == 1
    assert keys(claim(store)) == ["innocent"]
    assert "killer" in keys(claim(store, 15 * MINUTE)), "it is not given up"


def test_a_long_absence_does_not_make_dead_letters(store: Store) -> None:
    add_notification(store, "k1", add_incident(store))
    claim(store)
    with store.write() as unit:
        assert unit.outbox.take_back(NOON + timedelta(days=9)) == 1
    assert keys(claim(store, timedelta(days=9))) == ["k1"]


def test_what_was_put_off_while_the_clock_ran_ahead_does_not_wait_for_years(store: Store) -> None:
    add_notification(store, "k1", add_incident(store), now=NOON + timedelta(days=3000))
    assert claim(store) == []
    with store.write() as unit:
        assert unit.outbox.take_back(NOON) == 1
    assert keys(claim(store)) == ["k1"]


def test_something_new_to_say_probes_a_lane_that_waits(store: Store) -> None:
    incident = add_incident(store)
    add_notification(store, "k1", incident)
    fail(store, claim(store)[0], 15 * MINUTE)
    add_notification(store, "k2", incident)
    assert claim(store) == [], "not at once: it was tried a moment ago"
    assert keys(claim(store, MINUTE)) == ["k1"]


def test_a_probe_respects_what_the_server_asked_for(store: Store) -> None:
    incident = add_incident(store)
    add_notification(store, "k1", incident)
    fail(store, claim(store)[0], 15 * MINUTE, not_before=10 * MINUTE)
    add_notification(store, "k2", incident)
    assert claim(store, 9 * MINUTE) == []
    assert keys(claim(store, 10 * MINUTE)) == ["k1"]


def test_a_probe_does_not_disturb_an_attempt_that_is_under_way(store: Store) -> None:
    incident = add_incident(store)
    add_notification(store, "k1", incident)
    claim(store)
    add_notification(store, "k2", incident)
    assert claim(store, 2 * MINUTE) == [], "the lease of k1 holds"


def test_an_attempt_under_way_shows_no_old_error(store: Store) -> None:
    incident = add_incident(store)
    add_notification(store, "k1", incident)
    fail(store, claim(store)[0], MINUTE)
    assert sql(store.path, "SELECT fault, error FROM notification") == [("unreachable", "down")]
    claim(store, MINUTE)
    assert sql(store.path, "SELECT fault, error FROM notification") == [(None, None)]

"""A flood: one message about very many incidents, in slices that nothing makes longer and no end loses."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from alerts.base import Event, Reason, Severity, SignalKind
from alerts.grouping import GroupOptions
from alerts.quiet import QuietOptions
from alerts.routes import ReceiverOptions, Via
from alerts.silences import Silence
from monitor import copying
from monitor.announcing import Announcer
from monitor.following import FollowStep
from monitor.store import Store
from monitor.store.outbox import Pending
from monitor.telling import Rulebook
from tests.monitor.make import NOON, fresh_store, logged, sql
from tests.monitor.test_following import GATHERED, MAIL, Desk, rulebook
from tests.monitor.test_migrations import downgrade

MANY = 8
"""More than so much news is put together in slices."""
ROOM = 8
"""So much of it in one transaction."""


class Flooded(Desk):
    """A desk for which eight are very many already."""

    def __init__(self, store: Store, rules: Rulebook) -> None:
        super().__init__(store, rules)
        self.announcer = Announcer(rules, installation="test", metrics=self.metrics, many=MANY)
        self.step = FollowStep(
            store=store,
            announcer=self.announcer,
            now=lambda: self.moment,
            # A clock on which every handful of looks takes long: a handful is a turn.
            monotonic=itertools.count().__next__,
            room=ROOM,
        )

    def flood(self, count: int) -> None:
        """One leak that is told at once, then so many within the interval after it."""
        self.leaks(1, severity=Severity.CRITICAL)
        self.at(0)
        self.moment = NOON + timedelta(seconds=5)
        self.leaks(count, first=1, severity=Severity.CRITICAL)
        self.at(0.1)

    def turns_until(self, minutes: float, enough: Callable[[], bool]) -> None:
        """Do turn after turn at that moment until it is enough."""
        self.moment = NOON + timedelta(minutes=minutes)
        while not enough():
            assert self.step.run()[0], "there is nothing left to do"

    def gathering(self) -> bool:
        """Whether a message is half way."""
        rows = sql(self.store.path, "SELECT count(*) FROM notification WHERE state = 'gathering'")
        return rows != [(0,)] and self.gathered() > 0

    def gathered(self) -> int:
        query = (
            "SELECT count(*) FROM notification_about AS about JOIN notification ON id = notification_id"
            " WHERE state = 'gathering'"
        )
        return int(sql(self.store.path, query)[0][0])

    def last(self) -> dict[str, Any]:
        """The latest message."""
        query = "SELECT message FROM notification WHERE state = 'pending' ORDER BY created_at, id"
        message: dict[str, Any] = json.loads(sql(self.store.path, query)[-1][0])
        return message

    def heard(self, number: int, receiver: str = "crisis") -> list[Event]:
        with self.store.read() as unit:
            return [each.event for each in unit.outbox.told(number) if each.receiver == receiver]

    def waiting(self) -> int:
        with self.store.read() as unit:
            return unit.news.count()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    yield made
    made.close()


@contextmanager
def largest(store: Store) -> Iterator[list[int]]:
    """Counts statements, and rows written by them; notes those of the largest transaction."""
    most, now = [0], [0]

    def begins(*_: Any) -> None:
        now[0] = 0

    def runs(_c: Any, _u: Any, _s: Any, parameters: Any, _x: Any, many: bool) -> None:
        now[0] += len(parameters) if many else 1
        most[0] = max(most[0], now[0])

    event.listen(store._engine, "begin", begins)
    event.listen(store._engine, "before_cursor_execute", runs)
    try:
        yield most
    finally:
        event.remove(store._engine, "begin", begins)
        event.remove(store._engine, "before_cursor_execute", runs)


def test_no_transaction_grows_with_the_flood(tmp_path: Path) -> None:
    def worst(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        store = fresh_store(folder)
        desk = Flooded(store, rulebook(GATHERED))
        desk.flood(count)
        with largest(store) as most:
            desk.at(5)
            desk.at(10)
        assert desk.told() == [("crisis", "opened"), ("crisis", "opened"), ("anna", "escalated")]
        store.close()
        return most[0]

    assert worst(110) <= worst(55) * 1.05


def test_a_message_about_very_many_counts_them_all_and_names_the_gravest(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(20)
    desk.leaks(1, first=21, severity=Severity.HIGH)
    assert desk.at(5) > 20 / ROOM
    assert desk.told() == [("crisis", "opened"), ("crisis", "opened")]
    message = desk.last()
    assert message["title"] == "Zonnehoek: 21 incidenten tegelijk"
    assert message["incident_id"] == 2, "the first of the critical ones speaks"
    assert message["incidents"] == list(range(2, 23)), "what is less grave comes last"
    assert all(desk.heard(number) == [Event.OPENED] for number in range(1, 23))
    assert desk.waiting() == 0


def test_a_flood_through_slices_is_the_message_that_it_would_be_at_once(tmp_path: Path) -> None:
    messages = []
    for name, make in (("slices", Flooded), ("once", Desk)):
        folder = tmp_path / name
        folder.mkdir()
        store = fresh_store(folder)
        desk = make(store, rulebook(GATHERED))
        desk.leaks(1, severity=Severity.CRITICAL)
        desk.at(0)
        desk.leaks(30, first=1)
        desk.at(5)
        messages.append(
            sql(
                store.path,
                "SELECT incident_id, event, receiver, channel, message, reason, page, key"
                " FROM notification ORDER BY id",
            )
        )
        store.close()
    assert messages[0] == messages[1]


def test_a_process_that_dies_between_two_slices_loses_nothing_and_repeats_nothing(
    store: Store,
) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.turns_until(5, desk.gathering)
    half = desk.gathered()
    assert 0 < half < 30
    # The next slice is on its way when the process dies.
    with suppress(KeyboardInterrupt), store.write() as unit:
        round_ = desk.announcer.teller.round(unit, desk.moment, ROOM)
        round_.flush(unit.news.due(desk.moment, 10))
        unit.flush()
        raise KeyboardInterrupt
    store.close()

    again = Store(store.path)
    later = Flooded(again, rulebook(GATHERED))
    assert later.gathered() == half
    assert [state for (state,) in sql(again.path, "SELECT DISTINCT state FROM notification")] == [
        "pending",
        "gathering",
    ], "what is half a message leaves not"
    with again.write() as unit:
        claimed = unit.outbox.claim(desk.moment, timedelta(minutes=5))
    assert [each.incident_id for each in claimed] == [1]
    later.at(5)
    assert later.told() == [("crisis", "opened"), ("crisis", "opened")]
    assert later.last()["title"] == "Zonnehoek: 30 incidenten tegelijk"
    assert all(later.heard(number) == [Event.OPENED] for number in range(1, 32))
    assert later.waiting() == 0
    again.close()


def test_what_comes_in_while_a_message_is_put_together_is_for_the_next(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.turns_until(5, desk.gathering)
    desk.leaks(3, first=31, severity=Severity.CRITICAL)
    desk.at(5)
    assert len(desk.last()["incidents"]) == 30
    desk.at(9.9)
    assert desk.waiting() == 3
    desk.at(10)
    assert desk.told().count(("crisis", "opened")) == 3


def test_an_all_clear_in_the_middle_is_told_after_what_it_clears(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.turns_until(5, desk.gathering)
    with store.write() as unit:
        for number in (2, 31):
            unit.incidents.resolve(number, "Anna", desk.moment)
            incident = unit.incidents.get(number)
            assert incident is not None
            desk.announcer.tell(unit, incident, Event.RESOLVED, desk.moment)
    desk.at(5)
    assert desk.heard(2) == [Event.OPENED], "it had been counted already"
    desk.at(10)
    assert desk.heard(2) == [Event.OPENED, Event.RESOLVED]
    assert desk.heard(31) == [Event.RESOLVED], "what is over before its turn came says so"
    assert desk.waiting() == 0


def test_a_page_tells_of_nothing_that_was_taken_between_two_slices(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.at(5)
    # The first leak's page leaves; those of the others wait for the interval, then go in slices.
    desk.at(10)
    desk.at(10.1)
    desk.turns_until(15, desk.gathering)
    left = [number for number in range(1, 32) if not desk.heard(number, "anna")]
    assert left
    desk.acknowledge(left[-1])
    desk.at(15)
    pages = [number for number in range(1, 32) if desk.heard(number, "anna")]
    assert pages == [number for number in range(1, 32) if number != left[-1]]
    decided = "SELECT receiver FROM decision WHERE reason = 'acknowledged' AND NOT send"
    assert ("anna",) in sql(store.path, decided)


def test_a_page_about_many_is_withdrawn_once_all_of_them_are_taken(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(20)
    desk.at(10)
    desk.at(15)

    def why() -> Reason | None:
        with store.read() as unit:
            page = max(
                (unit.outbox.look_up(number) for number in numbers), key=lambda each: each.id
            )
            assert isinstance(page, Pending)
            return desk.announcer.teller.unwanted(unit, page, desk.moment)

    pages = "SELECT id FROM notification WHERE receiver = 'anna' AND state = 'pending'"
    numbers = [number for (number,) in sql(store.path, pages)]
    for number in range(1, 21):
        desk.acknowledge(number)
    assert why() is None, "one of them is open still"
    desk.acknowledge(21)
    assert why() is Reason.ACKNOWLEDGED


def test_what_burns_is_repeated_in_one_message_however_many_it_is(store: Store) -> None:
    desk = Flooded(store, rulebook(GroupOptions(by="kind", repeat_hours=2)))
    desk.flood(20)
    desk.at(5)
    desk.acknowledge(4)
    before = len(desk.told())
    desk.at(10)
    # Two hours after the last message, which said that one was taken.
    desk.at(129)
    desk.turns_until(130, desk.gathering)
    desk.at(130)
    repeats = [receiver for receiver, reason in desk.told()[before:] if reason == "repeated"]
    assert repeats.count("crisis") == 1
    told = sql(
        store.path,
        "SELECT json_array_length(message, '$.incidents') FROM notification"
        " WHERE reason = 'repeated' AND receiver = 'crisis'",
    )
    assert told == [(20,)], "all but the one that was taken"


def test_what_was_kept_for_the_night_is_one_message_in_the_morning(store: Store) -> None:
    rules = rulebook(GroupOptions(by="kind", at_once="critical"))
    quiet = QuietOptions(hours={"daily": (f"{NOON:%H}:30-07:00",)}, timezone="UTC")
    asleep = ReceiverOptions(name="crisis", channels=(MAIL,), quiet=quiet)
    others = [each for each in rules.receivers if each.name != "crisis"]
    desk = Flooded(store, Rulebook(rules.routes, [asleep, *others], "nl", "UTC", {}))
    desk.moment = NOON + timedelta(minutes=40)
    desk.leaks(20)
    desk.at(60)
    assert desk.told() == []
    assert desk.waiting() == 20
    desk.at(24 * 60)
    assert desk.told() == [("crisis", "quiet_hours_ended")]
    assert len(desk.last()["incidents"]) == 20


def test_a_flood_for_a_receiver_that_is_gone_is_withheld_and_says_so(store: Store) -> None:
    Flooded(store, rulebook(GATHERED)).flood(20)
    later = Flooded(store, rulebook(GATHERED, channel=Via(use="slack")))
    later.at(5)
    assert [each for each in later.told() if each[1] != "opened"] == []
    withheld = "SELECT count(*) FROM decision WHERE reason = 'no_route' AND NOT send"
    assert sql(store.path, withheld) == [(20,)]
    assert later.waiting() == 0


def test_a_receiver_that_goes_between_two_slices_is_withheld_whole(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.turns_until(5, desk.gathering)
    later = Flooded(store, rulebook(GATHERED, channel=Via(use="slack")))
    later.at(5)
    withheld = "SELECT incident_id FROM decision WHERE reason = 'no_route' AND NOT send"
    assert sorted(sql(store.path, withheld)) == [(number,) for number in range(2, 32)]
    assert later.told() == [("crisis", "opened")], "nothing is left of what was begun"
    assert later.heard(2) == []
    assert later.waiting() == later.gathered() == 0
    counted = later.metrics.registry.get_sample_value(
        "merkwacht_routing_decisions_total", {"sent": "no", "reason": "no_route"}
    )
    assert counted == 30


def test_the_line_about_a_message_names_twenty_of_its_incidents_the_gravest_first(
    tmp_path: Path,
) -> None:
    def named(make: type[Desk], name: str) -> list[str]:
        folder = tmp_path / name
        folder.mkdir()
        store = fresh_store(folder)
        desk = make(store, rulebook(GATHERED))
        desk.leaks(1, severity=Severity.CRITICAL)
        desk.at(0)
        desk.leaks(30, first=1)
        desk.leaks(1, first=31, severity=Severity.CRITICAL)
        with logged() as sink:
            desk.at(5)
        store.close()
        [line] = [line for line in sink.getvalue().splitlines() if "event=told" in line]
        assert "incidents=31" in line
        return re.findall(r"\bincident=(\d+)", line)

    assert named(Desk, "once") == named(Flooded, "slices") == ["32", *map(str, range(2, 21))]


def test_the_way_back_lets_what_was_half_a_message_wait_again(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.turns_until(5, desk.gathering)
    moved = desk.gathered()
    assert 0 < moved < 30
    store.close()
    downgrade(store.path, "0012")
    waits = "SELECT incident_id FROM waiting WHERE receiver = 'crisis' ORDER BY incident_id"
    assert sql(store.path, waits) == [(number,) for number in range(2, 32)]
    assert sql(store.path, "SELECT incident_id, state FROM notification") == [(1, "pending")]
    assert sql(store.path, "SELECT count(*) FROM notification_about") == [(0,)]
    assert sql(store.path, "PRAGMA foreign_key_check") == []

    again = Store(store.path)
    later = Flooded(again, rulebook(GATHERED))
    later.at(5)
    assert later.told() == [("crisis", "opened"), ("crisis", "opened")]
    assert later.last()["title"] == "Zonnehoek: 30 incidenten tegelijk"
    assert all(later.heard(number) == [Event.OPENED] for number in range(1, 32))
    assert later.waiting() == 0
    again.close()


def test_a_copy_made_between_two_slices_goes_on_with_the_same_message(
    store: Store, tmp_path: Path
) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.turns_until(5, desk.gathering)
    aside = tmp_path / "copy.db"
    copying.copy(store.path, aside)
    desk.at(5)
    restored = Store(aside)
    later = Flooded(restored, rulebook(GATHERED))
    later.at(5)
    whole = "SELECT key, message FROM notification ORDER BY id"
    assert sql(aside, whole) == sql(store.path, whole), "who got it before recognises it by its key"
    restored.close()


def test_each_incident_of_a_message_shows_that_it_was_told(store: Store) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(20)
    desk.turns_until(5, desk.gathering)

    def told(*numbers: int) -> list[tuple[int, str, str]]:
        with store.read() as unit:
            return [
                (each.incident_id, each.receiver, each.event)
                for each in unit.outbox.of_incidents(numbers)
            ]

    assert told(3) == [], "nothing is told by what is half a message"
    desk.at(5)
    assert told(2) == [(2, "crisis", "opened")], "it leads"
    assert told(3) == [(3, "crisis", "opened")]
    assert told(3, 4) == [(3, "crisis", "opened")], "one message, however many it tells of"
    assert told(1, 2, 3) == [(1, "crisis", "opened"), (2, "crisis", "opened")]


def test_a_silence_that_begins_between_two_slices_mutes_the_rest_until_it_ends(
    store: Store,
) -> None:
    desk = Flooded(store, rulebook(GATHERED))
    desk.flood(30)
    desk.turns_until(5, desk.gathering)
    moved = desk.gathered()
    begins, ends = desk.moment, desk.moment + timedelta(hours=1)
    muted = Silence(
        1, "bram", "a drill", begins, ends, kind=SignalKind.LEAK, up_to=Severity.CRITICAL
    )
    with store.write() as unit:
        unit.silences.add(muted, begins)
    desk.at(5)
    assert len(desk.last()["incidents"]) == moved, "what had been counted is told"
    silent = [number for number in range(1, 32) if not desk.heard(number)]
    assert len(silent) == 30 - moved
    desk.at(64)
    assert [number for number in range(1, 32) if not desk.heard(number)] == silent
    desk.at(65)
    assert all(desk.heard(number) for number in silent)
    assert desk.told().count(("crisis", "silence_ended")) == 1

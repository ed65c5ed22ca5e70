"""The step that follows incidents: killed, restarted, flooded, and cheap when there is nothing to do."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from alerts.base import Event, Incident, Reason, Receipt, Severity, Signal, SignalKind
from alerts.clocks import DEFAULT_CLOCKS, Milestone
from alerts.escalation import ChainOptions, StepOptions
from alerts.grouping import GroupOptions
from alerts.history import Happened
from alerts.routes import ReceiverOptions, RouteOptions, Via
from monitor.announcing import Announcer
from monitor.following import FollowStep
from monitor.metrics import Metrics
from monitor.store import Store
from monitor.telling import Rulebook
from tests.monitor.make import NOON, fresh_store, new_mention, sql
from tests.monitor.test_store_plans import counted, plans

ROOT = Path(__file__).parent.parent.parent
MAIL = Via(use="mail", to=("crisis@zonnehoek.example",))
CHAIN = ChainOptions(
    name="crisis",
    steps=(
        StepOptions(wait_minutes=10, receivers=("anna",)),
        StepOptions(wait_minutes=15, receivers=("board",)),
    ),
    rounds=1,
)
GATHERED = GroupOptions(by="kind")


def rulebook(group: GroupOptions | None = None, channel: Via = MAIL) -> Rulebook:
    names = ("crisis", "anna", "board")
    return Rulebook(
        routes=(RouteOptions(receivers=("crisis",), escalation="crisis", group=group),),
        receivers=[ReceiverOptions(name=name, channels=(channel,)) for name in names],
        language="nl",
        timezone="Europe/Amsterdam",
        handles={},
        clocks=DEFAULT_CLOCKS,
        chains=(CHAIN,),
    )


class Desk:
    """Announcer and step over one store, and a clock that stands where it is put."""

    def __init__(self, store: Store, rules: Rulebook) -> None:
        self.store, self.moment = store, NOON
        self.metrics = Metrics(CollectorRegistry())
        self.announcer = Announcer(rules, installation="test", metrics=self.metrics)
        self.step = FollowStep(store=store, announcer=self.announcer, now=lambda: self.moment)

    def leaks(self, count: int, first: int = 0, severity: Severity = Severity.HIGH) -> None:
        signals = [
            Signal(SignalKind.LEAK, "Zonnehoek", severity, f"leak:{n}", f"story{n}", self.moment)
            for n in range(first, first + count)
        ]
        with self.store.write() as unit:
            self.announcer.announce(unit, signals, self.moment)

    def at(self, minutes: float) -> int:
        """Let the clock stand there and do all that is due. Returns how many turns that took."""
        self.moment = NOON + timedelta(minutes=minutes)
        turns = 0
        while self.step.run()[0]:
            turns += 1
        return turns

    def incident(self, number: int) -> Incident:
        with self.store.read() as unit:
            found = unit.incidents.get(number)
        assert found is not None
        return found

    def acknowledge(self, number: int) -> None:
        with self.store.write() as unit:
            assert unit.incidents.acknowledge(number, "Anna", self.moment)
            found = unit.incidents.get(number)
            assert found is not None
            self.announcer.taken(unit, found, self.moment)

    def told(self) -> list[tuple[str, str]]:
        query = "SELECT receiver, reason FROM notification WHERE state <> 'withdrawn' ORDER BY id"
        return [(receiver, reason) for receiver, reason in sql(self.store.path, query)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = fresh_store(tmp_path)
    yield made
    made.close()


def test_a_restart_goes_on_in_the_middle_of_the_chain(store: Store) -> None:
    desk = Desk(store, rulebook())
    desk.leaks(1)
    desk.at(10)
    with_new_steps = Desk(store, rulebook())
    with_new_steps.at(24.9)
    assert with_new_steps.told() == [("crisis", "opened"), ("anna", "escalated")]
    with_new_steps.at(25)
    assert with_new_steps.told()[-1] == ("board", "escalated")


def test_a_page_that_waits_for_its_channel_is_not_wanted_once_somebody_took_it(
    store: Store,
) -> None:
    desk = Desk(store, rulebook())
    desk.leaks(1)
    desk.at(10)
    with store.write() as unit:
        (opened, page) = sorted(
            unit.outbox.claim(desk.moment, timedelta(minutes=5)), key=lambda each: each.id
        )
        assert desk.announcer.teller.unwanted(unit, page, desk.moment) is None
        unit.outbox.delivered(opened, desk.moment, Receipt())
    desk.moment = NOON + timedelta(minutes=12)
    desk.acknowledge(1)

    with store.write() as unit:
        why = desk.announcer.teller.unwanted(unit, page, desk.moment)
        assert why is Reason.ACKNOWLEDGED
        unit.outbox.withdraw(page.id, why, desk.moment)
        assert desk.announcer.teller.unwanted(unit, opened, desk.moment) is None
    assert sql(store.path, "SELECT state FROM notification WHERE reason = 'escalated'") == [
        ("withdrawn",)
    ]
    decided = "SELECT receiver FROM decision WHERE reason = 'acknowledged' AND NOT send"
    assert sql(store.path, decided) == [("anna",)]
    with store.read() as unit:
        told = {each.receiver for each in unit.outbox.told(1)}
    assert told == {"crisis", "anna"}, "what was taken is told to who was about to be rung"


def test_times_of_clocks_are_counted_once(store: Store) -> None:
    desk = Desk(store, rulebook())
    desk.leaks(1)
    desk.at(6)
    desk.acknowledge(1)
    desk.at(7)
    desk.at(20)
    with store.write() as unit:
        unit.incidents.record(1, Happened.FIRST_STATEMENT, "Anna", desk.moment)
    desk.at(21)
    desk.at(22)

    def sample(name: str, **labels: str) -> float | None:
        return desk.metrics.registry.get_sample_value(name, {"clock": "crisis", **labels})

    seconds = "merkwacht_clock_milestone_seconds"
    assert sample(f"{seconds}_sum", milestone="acknowledged") == 360
    assert sample(f"{seconds}_count", milestone="acknowledged") == 1
    assert sample(f"{seconds}_sum", milestone="first_statement") == 1200
    assert sample("merkwacht_clock_outcomes_total", outcome="met") == 1
    with store.read() as unit:
        (run,) = unit.following.clocks(1)
    assert run.done[Milestone.ACKNOWLEDGED] == NOON + timedelta(minutes=6)
    assert run.rule == "leak"


def test_a_drill_is_told_and_counted_nowhere(store: Store) -> None:
    desk = Desk(store, rulebook())
    desk.leaks(1)
    sql(store.path, "UPDATE incident SET drill = 1")
    desk.at(10)
    desk.acknowledge(1)
    desk.at(11)
    assert desk.told()[1] == ("anna", "escalated")
    drills = sql(store.path, "SELECT drill FROM notification WHERE reason = 'escalated'")
    assert drills == [(1,)]
    counted = desk.metrics.registry.get_sample_value(
        "merkwacht_routing_decisions_total", {"sent": "yes", "reason": "escalated"}
    )
    assert not counted
    seconds = {"clock": "crisis", "milestone": "acknowledged"}
    name = "merkwacht_clock_milestone_seconds_count"
    assert not desk.metrics.registry.get_sample_value(name, seconds)


def test_a_flood_becomes_few_messages_that_say_so(store: Store) -> None:
    desk = Desk(store, rulebook(GATHERED))
    desk.leaks(1, severity=Severity.CRITICAL)
    for number in range(4):
        desk.moment = NOON + timedelta(seconds=10 * number + 1)
        desk.leaks(50, first=1 + 50 * number, severity=Severity.CRITICAL)
    # A clock on which every handful of looks takes long.
    desk.step = FollowStep(
        store=store,
        announcer=desk.announcer,
        now=lambda: desk.moment,
        monotonic=itertools.count().__next__,
    )
    assert desk.at(5) > 2, "what takes long is more than one turn"
    desk.at(9)
    assert desk.told() == [("crisis", "opened"), ("crisis", "opened")]
    (title, numbers), *_ = sql(
        store.path,
        "SELECT json_extract(message, '$.title'), json_array_length(message, '$.incidents') "
        "FROM notification ORDER BY id DESC LIMIT 1",
    )
    assert "200 incidenten" in title
    assert numbers == 200
    with store.read() as unit:
        assert [each.event for each in unit.outbox.told(150)] == [Event.OPENED]
        assert unit.news.count() == 0


def test_looking_whether_something_is_due_goes_by_its_indexes(store: Store) -> None:
    hot = {
        "ix_incident_next_look_at": lambda unit: unit.following.due(NOON, 100),
        "ix_news_group_next_look_at": lambda unit: unit.news.due(NOON, 100),
        "ix_incident_mates": lambda unit: unit.incidents.mates("Zonnehoek", "story1"),
        "ix_decision_held_back": lambda unit: unit.following.missed(1),
        "ix_waiting_group_key": lambda unit: unit.news.of(("crisis", "mail")),
        "ix_waiting_incident_id": lambda unit: unit.news.with_pages_of([1]),
        "ix_incident_event_incident_id": lambda unit: unit.incidents.entries(1),
        "sqlite_autoindex_clock_1": lambda unit: unit.following.clocks(1),
        "ix_clock_unfinished": lambda unit: unit.following.unfinished(),
        "ix_silence_ends_at": lambda unit: unit.silences.lasting(NOON),
        "ix_notification_about_incident_id": lambda unit: unit.outbox.told(1),
    }
    for index, ask in hot.items():
        plan = plans(store, ask)
        assert any(index in line for line in plan), (index, plan)
    for ask in (lambda unit: unit.following.next_at(), lambda unit: unit.news.next_at()):
        plan = plans(store, ask)
        assert all("next_look_at" in line for line in plan), plan


def test_what_is_over_costs_nothing_any_more(store: Store) -> None:
    desk = Desk(store, rulebook(GATHERED))

    def cost() -> tuple[int, int]:
        """Of a turn with nothing to do, and of one with a leak to follow."""
        with counted(store) as idle:
            desk.step.run()
        desk.leaks(1, first=10_000 + int(desk.moment.timestamp()))
        with counted(store) as busy:
            desk.step.run()
        with store.write() as unit:
            for each in unit.incidents.burning():
                unit.incidents.resolve(each.id, "Anna", desk.moment)
        desk.at((desk.moment - NOON) / timedelta(minutes=1) + 60)
        return idle[0], busy[0]

    young = cost()
    for day in range(1, 31):
        desk.moment = NOON + timedelta(days=day)
        desk.leaks(4, first=100 * day)
        desk.at(day * 1440 + 10)
        with store.write() as unit:
            for each in unit.incidents.burning():
                unit.incidents.resolve(each.id, "Anna", desk.moment)
        desk.at(day * 1440 + 60)
    old = cost()
    assert old[0] <= young[0] + 20
    assert old[1] <= 2 * young[1] + 50


KILLED = """
import os, sys
from datetime import timedelta
from pathlib import Path
from monitor.store import Store
from tests.monitor.make import NOON
from tests.monitor.test_following import Desk, rulebook

store = Store(Path(sys.argv[1]))
desk = Desk(store, rulebook())
desk.moment = NOON + timedelta(minutes=10)
with store.write() as unit:
    round_ = desk.announcer.teller.round(unit, desk.moment)
    desk.step._look(round_, unit.incidents.get(1))
    round_.flush()
    unit.flush()
    os._exit(9 if round_.sent == 1 else 1)
"""


def test_a_process_killed_between_plan_and_commit_has_told_nobody(store: Store) -> None:
    desk = Desk(store, rulebook())
    desk.leaks(1)
    desk.at(0)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.path)], cwd=ROOT, check=False, timeout=60
    )
    assert killed.returncode == 9
    assert desk.told() == [("crisis", "opened")]
    desk.at(10)
    assert desk.told() == [("crisis", "opened"), ("anna", "escalated")]


def test_news_of_a_receiver_that_the_configuration_has_no_more_is_withheld(store: Store) -> None:
    desk = Desk(store, rulebook(GATHERED))
    with store.write() as unit:
        unit.mentions.add([new_mention(1)], NOON)
    desk.leaks(1)
    later = Desk(store, rulebook(GATHERED, channel=Via(use="slack")))
    later.at(1)
    assert later.told() == []
    reasons = {why for (why,) in sql(store.path, "SELECT reason FROM decision WHERE NOT send")}
    assert reasons == {"no_route"}


def moment(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_quiet_incidents_end_at_their_moment_and_not_before(store: Store) -> None:
    desk = Desk(store, rulebook())
    with store.write() as unit:
        abuse = Signal(SignalKind.ABUSE, "Zonnehoek", Severity.LOW, "abuse:1", "2026-11-09", NOON)
        desk.announcer.announce(unit, [abuse], NOON)
    desk.at(24 * 60 - 1)
    with store.write() as unit:
        unit.incidents.touch(1, moment(60))
    desk.at(24 * 60)
    assert desk.incident(1).state == "open"
    assert desk.step.next_at() is not None
    desk.at(25 * 60)
    assert desk.incident(1).state == "resolved"
    assert desk.step.next_at() is None


def test_an_incident_that_cannot_be_followed_keeps_no_other_from_it(store: Store) -> None:
    desk = Desk(store, rulebook())
    desk.leaks(3)
    desk.at(0)
    # As a newer program might leave it: a word that this one does not know.
    sql(store.path, "UPDATE incident SET kind = 'fire' WHERE id = 2")
    desk.at(10)
    assert desk.told().count(("anna", "escalated")) == 2
    sql(store.path, "UPDATE incident SET kind = 'leak' WHERE id = 2")
    desk.at(15)
    assert desk.told().count(("anna", "escalated")) == 3

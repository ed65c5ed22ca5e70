"""One channel in place of another: who, when, once, and what the first still gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from alerts.base import Event, Incident, Reason
from alerts.message import to_json
from alerts.pacing import Pacer, pace_of
from alerts.routes import Via
from monitor.store import Unit
from monitor.store.outbox import About, Pending
from tests.alerts.make import message
from tests.monitor.make import NOON, add_incident, sql
from tests.monitor.office import Office, office

AFTER_TEN = {("crisis", "email"): Via(use="slack", stands_in_for="email", after_minutes=10)}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Office]:
    # That a channel is broken is told besides: tests/monitor/test_faults.py.
    day = timedelta(days=1)
    with office(tmp_path, "email", "slack", stand_ins=AFTER_TEN, broken_after=day) as made:
        yield made


def mails(here: Office) -> list[str]:
    return here.desks["email"].keys


def posts(here: Office) -> list[str]:
    return here.desks["slack"].keys


def test_what_waits_for_ten_minutes_goes_the_other_way_once(here: Office) -> None:
    here.desks["email"].be("refused")
    incidents = [add_incident(here.store, key=f"s{number}") for number in range(2)]
    keys = [here.put("a1", each, "email") for each in incidents]
    here.work_for(minutes=9)
    assert posts(here) == []
    here.work_for(minutes=30)
    assert len(posts(here)) == 2, "once each, in order, however long it lasts"
    taken_over = sql(
        here.store.path, "SELECT failover_of FROM notification WHERE channel = 'slack' ORDER BY id"
    )
    assert [key for (key,) in taken_over if key] == keys
    assert not set(posts(here)) & set(keys), "under keys of their own"
    reasons = sql(here.store.path, "SELECT DISTINCT reason FROM decision WHERE channel = 'slack'")
    assert (Reason.STANDING_IN.value,) in reasons
    assert "omdat email niet bezorgt sinds" in here.desks["slack"].taken[0][1]


def test_what_comes_in_later_goes_the_other_way_at_once(here: Office) -> None:
    here.desks["email"].be("refused")
    incident = add_incident(here.store)
    here.put("a1", incident, "email")
    here.work_for(minutes=12)
    here.put("a2", incident, "email")
    here.work()
    assert len(posts(here)) == 2


def test_an_incident_that_still_burns_is_told_by_the_first_channel_too(here: Office) -> None:
    here.desks["email"].be("refused")
    incident = add_incident(here.store)
    key = here.put("a1", incident, "email")
    here.work_for(minutes=12)
    here.desks["email"].be("")
    here.work_for(minutes=17)
    assert mails(here) == [key]
    assert len(posts(here)) == 1


def test_an_incident_that_is_over_is_not_told_late(here: Office) -> None:
    here.desks["email"].be("refused")
    incident = add_incident(here.store)
    here.put("a1", incident, "email")
    here.work_for(minutes=12)
    with here.store.write() as unit:
        unit.incidents.resolve(incident.id, "eva", here.clock())
    here.desks["email"].be("")
    here.work_for(minutes=17)
    assert mails(here) == []
    assert here.states(incident, "email") == ["withdrawn"]
    why = sql(here.store.path, "SELECT reason FROM decision WHERE channel = 'email'")
    assert why == [(Reason.STOOD_IN.value,)]


def test_what_the_first_channel_began_it_also_ends(here: Office) -> None:
    incident = add_incident(here.store)
    opened = here.put("a1", incident, "email")
    here.work()
    here.desks["email"].be("refused")
    closing = here.put("a2", incident, "email")
    here.work_for(minutes=12)
    with here.store.write() as unit:
        unit.incidents.resolve(incident.id, "eva", here.clock())
    here.desks["email"].be("")
    here.work_for(minutes=17)
    assert mails(here) == [opened, closing], "its thread would stay open"


def together(here: Office, key: str, incidents: Sequence[Incident]) -> str:
    """Let one mail tell of several incidents. Returns its key."""
    lead, *others = incidents
    with here.store.write() as unit:
        unit.outbox.add(
            key=f"mw-{lead.id}-opened-{key}",
            incident_id=lead.id,
            event=Event.OPENED,
            receiver="crisis",
            channel="email",
            addresses=here.to("email"),
            message=to_json(message()),
            now=here.clock(),
            further=[About(each.id, Event.OPENED, Reason.OPENED, NOON) for each in others],
        )
    return f"mw-{lead.id}-opened-{key}"


def over(here: Office, *incidents: Incident) -> None:
    with here.store.write() as unit:
        for each in incidents:
            unit.incidents.resolve(each.id, "eva", here.clock())


def test_what_stands_in_tells_of_the_same_incidents_and_the_first_of_none_once_all_are_over(
    here: Office,
) -> None:
    here.desks["email"].be("refused")
    three = [add_incident(here.store, key=f"s{number}") for number in range(3)]
    together(here, "a1", three)
    here.work_for(minutes=12)
    with here.store.read() as unit:
        told = unit.outbox.told_of([each.id for each in three])
    assert all(
        ("crisis", "slack", Event.OPENED) in [(one.receiver, one.channel, one.event) for one in of]
        for of in told.values()
    )
    over(here, *three[:2])
    here.work_for(minutes=17)
    assert here.states(three[0], "email") == ["pending"], "one of them burns"
    over(here, three[2])
    here.desks["email"].be("")
    here.work_for(minutes=17)
    assert mails(here) == []
    assert here.states(three[0], "email") == ["withdrawn"]


def test_what_the_first_channel_told_among_others_it_also_ends(here: Office) -> None:
    two = [add_incident(here.store, key=f"s{number}") for number in range(2)]
    opened = together(here, "a1", two)
    here.work()
    here.desks["email"].be("refused")
    closing = here.put("a2", two[1], "email")
    here.work_for(minutes=12)
    over(here, *two)
    here.desks["email"].be("")
    here.work_for(minutes=17)
    assert mails(here) == [opened, closing], "its reader would wait for the end of it"


def test_the_second_way_is_spared_when_the_first_is_back_in_time(here: Office) -> None:
    here.desks["email"].be("refused")
    here.desks["slack"].be("refused")
    incident = add_incident(here.store)
    key = here.put("a1", incident, "email")
    here.work_for(minutes=12)
    here.desks["email"].be("")
    here.work_for(minutes=17)
    here.desks["slack"].be("")
    here.work_for(minutes=17)
    assert (mails(here), [each for each in posts(here) if "-1-" in each]) == ([key], [])
    assert here.states(incident, "slack") == ["withdrawn"]


def test_what_the_first_refused_for_good_goes_the_other_way_at_once(here: Office) -> None:
    here.desks["email"].be("4xx")
    incident = add_incident(here.store)
    here.put("a1", incident, "email")
    here.work()
    assert here.states(incident, "email") == ["dead"]
    assert here.states(incident, "slack") == ["delivered"]
    assert "heeft geweigerd" in here.desks["slack"].taken[0][1]


def test_what_is_told_there_anyway_does_not_come_twice(here: Office) -> None:
    here.desks["email"].be("refused")
    incident = add_incident(here.store)
    here.put("a1", incident, "email")
    own = here.put("b1", incident, "slack")
    here.work_for(minutes=20)
    assert [key for key in posts(here) if key.startswith(f"mw-{incident.id}-")] == [own]


def test_a_restart_in_between_doubles_nothing(here: Office) -> None:
    here.desks["email"].be("refused")
    incident = add_incident(here.store)
    here.put("a1", incident, "email")
    here.work_for(minutes=12)
    here.die()
    here.begin()
    here.work_for(minutes=12)
    assert len(posts(here)) == 1


def test_other_receivers_of_the_channel_wait_for_it(here: Office) -> None:
    here.desks["email"].be("refused")
    incident = add_incident(here.store)
    here.put("a1", incident, "email", receiver="press")
    here.work_for(minutes=20)
    assert here.states(incident, "slack") == []


# -- before an attempt -----------------------------------------------------------------------------


def test_what_is_not_wanted_any_more_is_withdrawn_just_before_it_would_leave(
    tmp_path: Path,
) -> None:
    with office(tmp_path, "email") as here:
        incident = add_incident(here.store)
        pages = [here.put(name, incident, "email") for name in ("a1", "a2", "a3")]

        def unwanted(_unit: Unit, item: Pending, _now: datetime) -> Reason | None:
            return None if item.key == pages[2] else Reason.ACKNOWLEDGED

        here.step._unwanted = unwanted
        assert here.work() == 1, "and what is behind it need not wait for another turn"
        assert mails(here) == [pages[2]]
        assert here.states(incident, "email") == ["withdrawn", "withdrawn", "delivered"]


def test_a_drill_is_marked_on_every_channel(tmp_path: Path) -> None:
    kinds = ("email", "slack", "webhook", "alertmanager", "apprise")
    with office(tmp_path, *kinds) as here:
        incident = add_incident(here.store)
        for number, kind in enumerate(kinds):
            with here.store.write() as unit:
                unit.outbox.add(
                    key=f"mw-1-opened-{number}",
                    incident_id=incident.id,
                    event=Event.OPENED,
                    receiver="crisis",
                    channel=kind,
                    addresses=here.to(kind),
                    message=to_json(message()),
                    now=here.clock(),
                    drill=True,
                )
        here.work()
        for kind in kinds[1:]:
            assert "[OEFENING]" in here.desks[kind].taken[0][1], kind
        server = here.desks["email"]._server  # type: ignore[attr-defined] # the rest of a mail
        assert "[OEFENING]" in server.mails[0].subject


# -- paces -----------------------------------------------------------------------------------------


def test_slack_gets_a_message_a_second_whoever_they_are_for(tmp_path: Path) -> None:
    pacers = {"slack": Pacer(pace_of("slack"))}
    with office(tmp_path, "slack", "webhook", pacers=pacers) as here:
        incident = add_incident(here.store)
        for number in range(3):
            here.put(f"a{number}", incident, "slack", receiver=f"r{number}")
            here.put(f"b{number}", incident, "webhook", receiver=f"r{number}")
        assert here.work() == 4, "the others have no pace"
        assert here.step.held_until is not None
        counts = []
        for _ in range(4):
            here.clock.advance(seconds=0.5)
            here.work()
            counts.append(len(posts(here)))
        assert counts == [1, 2, 2, 3]
        assert here.step.held_until is None


def test_mails_keep_to_what_the_server_takes_in_a_minute(tmp_path: Path) -> None:
    pacers = {"email": Pacer(pace_of("email", 5))}
    with office(tmp_path, "email", pacers=pacers) as here:
        incident = add_incident(here.store)
        for number in range(12):
            here.put(f"a{number}", incident, "email", receiver=f"r{number}")
        counts = []
        for _ in range(3):
            here.work()
            counts.append(len(mails(here)))
            here.clock.advance(minutes=1)
        assert counts == [5, 10, 12]


def test_who_asks_to_slow_down_is_left_alone_by_all(tmp_path: Path) -> None:
    with office(tmp_path, "slack") as here:
        incident = add_incident(here.store)
        here.desks["slack"].be("429")
        here.put("a1", incident, "slack", receiver="r1")
        here.work()
        here.put("a2", incident, "slack", receiver="r2")
        here.clock.advance(seconds=119)
        assert here.work() == 0
        here.desks["slack"].be("")
        here.clock.advance(seconds=1)
        assert here.work() == 2


def test_a_server_that_is_down_is_knocked_at_by_one_at_a_time(tmp_path: Path) -> None:
    with office(tmp_path, "email", "webhook") as here:
        incident = add_incident(here.store)
        here.desks["email"].be("silent")
        here.put("a0", incident, "email", receiver="r0")
        here.work()
        for number in range(1, 9):
            here.put(f"a{number}", incident, "email", receiver=f"r{number}")
        here.put("b", incident, "webhook")
        assert here.step.run() == 2, "one mail, and what is for others"
        while here.step.in_flight:
            here.inbox.pump(1)

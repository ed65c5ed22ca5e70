"""The step ``deliver`` with real channels against real servers, under a moved clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.base import DeliveryFault
from monitor.delivering import LEASE
from monitor.store import StoreBusyError
from tests.monitor.make import add_incident, add_notification, logged, write_locked
from tests.monitor.office import Office
from tests.monitor.office import office as an_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with an_office(tmp_path, "email", "slack", watched=False) as made:
        yield made


def arrived(office: Office) -> list[str]:
    """The ends of the keys of the mails that were taken."""
    return [key.rpartition("-")[2] for key in office.mail.keys]


def test_both_servers_down_for_an_hour_lose_nothing_and_mix_up_nothing(office: Office) -> None:
    office.mail.be("refused")
    office.chat.be("refused")
    incidents = [add_incident(office.store, key=f"s{n}") for n in range(4)]
    for number, incident in enumerate(incidents):
        for to in ("crisis", "press"):
            office.put(f"{to}{number}", incident, receiver=to)
        office.put(f"chat{number}", incident, "slack")
        office.work_for(minutes=15)
    assert office.mail.taken == []
    assert office.chat.taken == []
    office.mail.be("")
    office.chat.be("")
    office.work_for(minutes=16)
    for to in ("crisis", "press"):
        got = [key for key in arrived(office) if key.startswith(to)]
        assert got == [f"{to}{number}" for number in range(4)]
    assert [key.rpartition("-")[2] for key in office.chat.keys] == [f"chat{n}" for n in range(4)]
    for incident in incidents:
        assert {each.state for each in office.sent(incident)} == {"delivered"}


def test_a_server_that_is_down_is_tried_ever_more_rarely(office: Office) -> None:
    office.mail.be("refused")
    office.put("k1", add_incident(office.store))
    assert office.work_for(hours=1) in range(7, 12)
    assert office.work_for(hours=1) in range(4, 8)


def test_a_message_refused_for_good_is_a_dead_letter_and_holds_up_nobody(office: Office) -> None:
    incident = add_incident(office.store)
    first, *_ = [office.put(key, incident) for key in ("k1", "k2", "k3")]
    office.mail.replies[first] = "554 we do not want this"
    assert office.work() == 3, "at once, and once"
    assert arrived(office) == ["k2", "k3"]
    assert [each.state for each in office.sent(incident)] == ["dead", "delivered", "delivered"]
    assert "554" in (office.sent(incident)[0].error or "")
    (failure,) = office.step.failures
    assert failure.fault is DeliveryFault.REFUSED
    office.clock.advance(hours=60)
    assert office.work() == 0


def test_an_address_that_a_server_refuses_beside_others_is_worth_a_look(office: Office) -> None:
    incident = add_incident(office.store)
    office.mail._server.unknown.add("weg@zonnehoek.example")
    office.put("k1", incident)
    both = ("crisis@zonnehoek.example", "weg@zonnehoek.example")
    add_notification(
        office.store,
        "mw-1-opened-k2",
        incident,
        channel="email",
        addresses=both,
        now=office.clock(),
    )
    with logged() as sink:
        office.work()
    assert [each.state for each in office.sent(incident)] == ["delivered", "delivered"]
    assert "weg@zonnehoek.example" in (office.sent(incident)[1].error or ""), "the dossier says so"
    levels = re.findall(r"level=(\w+) +event=delivered", sink.getvalue())
    assert levels == ["info", "warning"]


def test_a_message_with_passing_trouble_of_its_own_steps_aside_after_a_while(
    office: Office,
) -> None:
    first, second = add_incident(office.store, key="a"), add_incident(office.store, key="b")
    office.mail.replies[office.put("k1", first)] = "451 greylisted, come back later"
    office.put("k2", second)
    office.work()
    assert arrived(office) == [], "in order, for the time being"
    office.work_for(minutes=10)
    assert arrived(office) == ["k2"]
    office.mail.replies.clear()
    office.work_for(minutes=16)
    assert arrived(office) == ["k2", "k1"]


def test_what_nobody_takes_for_two_days_is_a_dead_letter(office: Office) -> None:
    office.mail.be("refused")
    incident = add_incident(office.store)
    office.put("k1", incident)
    office.clock.advance(hours=47)
    office.work()
    assert office.sent(incident)[0].state == "pending"
    office.clock.advance(hours=1)
    office.work()
    assert office.sent(incident)[0].state == "dead"
    assert str(office.mail.port) in (office.sent(incident)[0].error or ""), "says where"


def test_the_pause_that_slack_asks_for_is_kept_also_by_a_new_alert(office: Office) -> None:
    office.chat.be("429")
    office.chat.wish = ("Retry-After", "1800")
    incident = add_incident(office.store)
    office.put("k1", incident, "slack")
    assert office.work() == 1
    office.chat.be("")
    office.clock.advance(minutes=5)
    office.put("k2", incident, "slack")
    assert office.work_for(minutes=24) == 0
    assert office.work_for(minutes=2) == 2
    assert [key.rpartition("-")[2] for key in office.chat.keys] == ["k1", "k2"]


def test_a_new_alert_probes_a_channel_that_was_down(office: Office) -> None:
    office.mail.be("refused")
    incident = add_incident(office.store)
    office.put("k1", incident)
    office.work_for(minutes=40)
    office.mail.be("")
    assert office.work() == 0, "its pause has grown long"
    office.put("k2", incident)
    office.clock.advance(seconds=30)
    office.work()
    assert arrived(office) == ["k1", "k2"]


def test_a_wrong_password_waits_for_the_person_who_mends_it(office: Office) -> None:
    office.mail.ask_for("right")
    office.mail.password = "wrong"
    office.die()
    office.begin()
    incident = add_incident(office.store)
    office.put("k1", incident)
    office.work_for(hours=2)
    (sent,) = office.sent(incident)
    assert sent.state == "pending"
    assert "password" in (sent.error or "")
    assert "wrong" not in (sent.error or "")
    office.mail.password = "right"
    office.die()
    office.begin()
    office.work_for(minutes=15)
    assert arrived(office) == ["k1"]


def test_a_message_for_a_channel_that_was_taken_away_waits_and_says_so(office: Office) -> None:
    incident = add_incident(office.store)
    office.put("k1", incident, "pager")
    office.put("k2", incident)
    office.work()
    assert arrived(office) == ["k2"]
    waiting = office.sent(incident)[0]
    assert waiting.state == "pending"
    assert "pager" in (waiting.error or "")


def test_an_outcome_that_cannot_be_recorded_is_recorded_later_and_not_sent_twice(
    office: Office,
) -> None:
    incident = add_incident(office.store)
    office.put("k1", incident)
    office.put("k2", incident)
    assert office.step.run() == 1
    with write_locked(office.store.path):
        while office.step.in_flight:
            office.inbox.pump(1)
        assert arrived(office) == ["k1"]
        with pytest.raises(StoreBusyError):
            office.step.run()
    office.clock.advance(hours=1)
    assert office.work() == 1
    assert arrived(office) == ["k1", "k2"], "k1 was known to be out"


def test_a_process_killed_before_it_could_record_repeats_under_the_same_key(
    office: Office,
) -> None:
    incident = add_incident(office.store)
    office.put("k1", incident)
    assert office.step.run() == 1
    office.die()  # the mail is out; nobody will record it
    assert arrived(office) == ["k1"]
    office.begin()
    office.clock.advance(seconds=5)
    assert timedelta(seconds=5) < LEASE
    assert office.work() == 1, "at once, not at the end of the lease"
    first, second = office.mail.taken
    assert first == second, "key and number of the mail"
    assert office.sent(incident)[0].state == "delivered"

"""The step ``deliver`` with real channels against real servers, under a moved clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from alerts.base import Channel, DeliveryFault, Incident
from alerts.email import EmailChannel, EmailOptions
from alerts.slack import SlackChannel, SlackOptions
from monitor.delivering import LEASE, DeliverStep
from monitor.inbox import Inbox
from monitor.metrics import Metrics
from monitor.store import StoreBusyError
from monitor.store.outbox import Sent
from tests.fakes import FakeClock
from tests.monitor.make import NOON, add_incident, add_notification, fresh_store, write_locked
from tests.monitor.servers import Answer, Mail, MailServer, Webhook


class Office:
    """A store with an outbox, two channels, and the step that empties it."""

    def __init__(self, folder: Path, mail: MailServer, chat: Webhook) -> None:
        self.store = fresh_store(folder, busy_seconds=0.05)
        self.mail, self.chat = mail, chat
        self.clock = FakeClock(NOON)
        self.inbox = Inbox()
        self.pool = ThreadPoolExecutor(4)
        self.password = "right"
        self.step = self.new_step()

    def new_step(self) -> DeliverStep:
        """As a new process has it."""
        address = {"host": "127.0.0.1", "port": self.mail.port, "security": "none"}
        if self.mail.password is not None:
            address |= {"username": "merkwacht", "password": self.password}
        channels: dict[str, Channel] = {
            "mail": EmailChannel(
                EmailOptions.model_validate({**address, "from": "merkwacht@zonnehoek.example"}),
                hostname="localhost",
            ),
            "chat": SlackChannel(SlackOptions.model_validate({"webhook_url": self.chat.hook})),
        }
        return DeliverStep(
            store=self.store,
            channels=channels,
            inbox=self.inbox,
            pool=self.pool,
            metrics=Metrics(CollectorRegistry()),
            now=self.clock,
            delivered=lambda: None,
            rng=random.Random(1),
        )

    def work(self) -> int:
        """Deliver until nothing more is due. Returns how many attempts were made."""
        attempts = 0
        while started := self.step.run():
            attempts += started
            while self.step.in_flight:
                self.inbox.pump(1)
        return attempts

    def work_for(self, **duration: float) -> int:
        """The same with the clock moved on in steps of half a minute."""
        attempts = self.work()
        end = self.clock.moment + timedelta(**duration)
        while self.clock.moment < end:
            self.clock.advance(seconds=30)
            attempts += self.work()
        return attempts

    def put(self, key: str, incident: Incident, channel: str = "mail", to: str = "crisis") -> None:
        addresses = (f"{to}@zonnehoek.example",) if channel == "mail" else ()
        add_notification(
            self.store,
            key,
            incident,
            receiver=to,
            channel=channel,
            addresses=addresses,
            now=self.clock(),
        )

    def sent(self, incident: Incident) -> list[Sent]:
        with self.store.read() as unit:
            return unit.outbox.of_incident(incident.id)

    def close(self) -> None:
        self.pool.shutdown()
        self.store.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with MailServer() as mail, Webhook() as chat:
        made = Office(tmp_path, mail, chat)
        yield made
        made.close()


def refuse(*keys: str, reply: str) -> Callable[[Mail], str]:
    return lambda mail: reply if mail.key in keys else "250 taken"


def arrived(office: Office) -> list[str]:
    return [mail.key for mail in office.mail.mails]


def test_both_servers_down_for_an_hour_lose_nothing_and_mix_up_nothing(office: Office) -> None:
    office.mail.down()
    office.chat.down()
    incidents = [add_incident(office.store, key=f"s{n}") for n in range(4)]
    for number, incident in enumerate(incidents):
        for to in ("crisis", "press"):
            office.put(f"{to}-{number}", incident, to=to)
        office.put(f"chat-{number}", incident, "chat")
        office.work_for(minutes=15)
    assert office.mail.mails == []
    assert office.chat.posts == []
    office.mail.up()
    office.chat.up()
    office.work_for(minutes=16)
    for to in ("crisis", "press"):
        got = [key for key in arrived(office) if key.startswith(to)]
        assert got == [f"{to}-{number}" for number in range(4)]
    assert len(office.chat.posts) == 4
    assert all(f"chat-{number}" in post for number, post in enumerate(office.chat.posts))
    for incident in incidents:
        assert {each.state for each in office.sent(incident)} == {"delivered"}


def test_a_server_that_is_down_is_tried_ever_more_rarely(office: Office) -> None:
    office.mail.down()
    office.put("k1", add_incident(office.store))
    assert office.work_for(hours=1) in range(7, 12)
    assert office.work_for(hours=1) in range(4, 8)


def test_a_message_refused_for_good_is_a_dead_letter_and_holds_up_nobody(office: Office) -> None:
    office.mail.answer = refuse("k1", reply="554 we do not want this")
    incident = add_incident(office.store)
    for key in ("k1", "k2", "k3"):
        office.put(key, incident)
    assert office.work() == 3, "at once, and once"
    assert arrived(office) == ["k2", "k3"]
    assert [each.state for each in office.sent(incident)] == ["dead", "delivered", "delivered"]
    assert "554" in (office.sent(incident)[0].error or "")
    (failure,) = office.step.failures
    assert failure.fault is DeliveryFault.REFUSED
    office.clock.advance(hours=60)
    assert office.work() == 0


def test_a_message_with_passing_trouble_of_its_own_steps_aside_after_a_while(
    office: Office,
) -> None:
    office.mail.answer = refuse("k1", reply="451 greylisted, come back later")
    first, second = add_incident(office.store, key="a"), add_incident(office.store, key="b")
    office.put("k1", first)
    office.put("k2", second)
    office.work()
    assert arrived(office) == [], "in order, for the time being"
    office.work_for(minutes=10)
    assert arrived(office) == ["k2"]
    office.mail.answer = refuse(reply="")
    office.work_for(minutes=16)
    assert arrived(office) == ["k2", "k1"]


def test_what_nobody_takes_for_two_days_is_a_dead_letter(office: Office) -> None:
    office.mail.down()
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
    office.chat.answer = Answer(429, b"rate_limited", (("Retry-After", "1800"),))
    incident = add_incident(office.store)
    office.put("k1", incident, "chat")
    assert office.work() == 1
    office.chat.answer = Answer(body=b"ok")
    office.clock.advance(minutes=5)
    office.put("k2", incident, "chat")
    assert office.work_for(minutes=24) == 0
    assert office.work_for(minutes=2) == 2
    assert ["k1" in office.chat.posts[0], "k2" in office.chat.posts[1]] == [True, True]


def test_a_new_alert_probes_a_channel_that_was_down(office: Office) -> None:
    office.mail.down()
    incident = add_incident(office.store)
    office.put("k1", incident)
    office.work_for(minutes=40)
    office.mail.up()
    assert office.work() == 0, "its pause has grown long"
    office.put("k2", incident)
    office.clock.advance(seconds=30)
    office.work()
    assert arrived(office) == ["k1", "k2"]


def test_a_wrong_password_waits_for_the_person_who_mends_it(tmp_path: Path) -> None:
    with MailServer(password="right") as mail, Webhook() as chat:
        office = Office(tmp_path, mail, chat)
        office.password = "wrong"
        office.step = office.new_step()
        incident = add_incident(office.store)
        office.put("k1", incident)
        office.work_for(hours=2)
        (sent,) = office.sent(incident)
        assert sent.state == "pending"
        assert "password" in (sent.error or "")
        assert "wrong" not in (sent.error or "")
        office.password = "right"
        office.step = office.new_step()
        office.work_for(minutes=15)
        assert arrived(office) == ["k1"]
        office.close()


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
    office.pool.shutdown()  # the mail is out; nobody will record it
    assert arrived(office) == ["k1"]
    office.pool, office.inbox = ThreadPoolExecutor(4), Inbox()
    office.step = office.new_step()
    office.clock.advance(seconds=5)
    assert timedelta(seconds=5) < LEASE
    assert office.work() == 1, "at once, not at the end of the lease"
    first, second = office.mail.mails
    assert (first.key, first.message_id) == (second.key, second.message_id)
    assert office.sent(incident)[0].state == "delivered"

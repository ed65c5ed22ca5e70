"""Every channel through every fault, against real servers: nothing lost, nothing mixed up.

The clock is moved; servers that hang are waited for half a second, which is all the patience that the
channels have here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.base import DeliveryFault
from monitor.delivering import LEASE
from tests.monitor.make import add_incident
from tests.monitor.office import DESKS, Office, office

ASK_LATER = timedelta(seconds=120)
"""What the servers answer with 429."""


@dataclass(frozen=True)
class Expected:
    """What a fault looks like from here."""

    fault: DeliveryFault
    permanent: bool = False
    asks_for_pause: bool = False
    arrived: bool = False
    """The other side has it, and could not say so."""


PASSING = {
    "refused": Expected(DeliveryFault.UNREACHABLE),
    "silent": Expected(DeliveryFault.TIMEOUT),
    "5xx": Expected(DeliveryFault.SERVER_ERROR),
    "429": Expected(DeliveryFault.RATE_LIMITED, asks_for_pause=True),
    "dropped": Expected(DeliveryFault.UNREACHABLE, arrived=True),
}
OF_ITS_OWN = {
    # SMTP counts the other way round (4xx passes, 5xx is for good) and has no word for a pause.
    ("email", "429"): Expected(DeliveryFault.SERVER_ERROR),
    # apprise does not say how long a service wants to be left alone.
    ("apprise", "429"): Expected(DeliveryFault.RATE_LIMITED),
}

KINDS = sorted(DESKS)
SENDER = Path(__file__).with_name("sender.py")


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    kind: str = request.param
    other = "webhook" if kind == "slack" else "slack"
    with office(tmp_path, kind, other) as made:
        yield made


def every_kind() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("here", KINDS, indirect=True)


def kind_of(here: Office) -> str:
    return next(iter(here.desks))


@every_kind()
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_loses_nothing_and_keeps_the_order(here: Office, fault: str) -> None:
    kind = kind_of(here)
    desk, expected = here.desks[kind], OF_ITS_OWN.get((kind, fault), PASSING[fault])
    incident = add_incident(here.store)
    desk.be(fault)
    first, second = here.put("a1", incident, kind), here.put("a2", incident, kind)
    assert here.work() == 1, "the second waits for the first"
    (failure,) = here.step.failures
    assert (failure.fault, failure.channel) == (expected.fault, kind)
    assert here.states(incident, kind) == ["pending", "pending"]
    assert desk.keys == ([first] if expected.arrived else [])
    desk.be("")
    if expected.asks_for_pause:
        here.clock.advance(seconds=ASK_LATER.total_seconds() - 1)
        assert here.work() == 0, "kept, to the second"
        here.clock.advance(seconds=1)
        assert here.work() == 2
    here.work_for(minutes=2)
    assert here.states(incident, kind) == ["delivered", "delivered"]
    assert desk.keys == ([first] if expected.arrived else []) + [first, second]
    identities = {identity for key, identity in desk.taken if key == first}
    if kind != "alertmanager":  # where the alert's end moves on with the clock
        assert len(identities) == 1, "a repeat is recognisable"


@every_kind()
def test_a_slow_server_gets_each_message_once(here: Office) -> None:
    kind = kind_of(here)
    incident = add_incident(here.store)
    here.desks[kind].be("slow")
    keys = [here.put("a1", incident, kind), here.put("a2", incident, kind)]
    assert here.work() == 2
    assert here.desks[kind].keys == keys
    assert here.step.failures == []


@every_kind()
def test_a_refusal_for_good_is_a_dead_letter_and_one_alert_over_another_channel(
    here: Office,
) -> None:
    kind, other = here.desks
    incident = add_incident(here.store)
    here.desks[kind].be("4xx")
    for name in ("a1", "a2", "a3"):
        here.put(name, incident, kind)
    assert here.work() == 3, "each at once, and once"
    assert here.states(incident, kind) == ["dead"] * 3
    assert {failure.fault for failure in here.step.failures} == {DeliveryFault.REFUSED}
    here.work_for(minutes=30)
    assert here.troubles() == [(kind, "open", [(other, "opened")])], "one, not three"
    here.desks[kind].be("")
    last = here.put("a4", incident, kind)
    here.work_for(minutes=12)
    assert here.desks[kind].keys == [last], "the dead are told nobody, the living are"
    told = [(other, "opened"), (other, "resolved")]
    assert here.troubles() == [(kind, "resolved", told)]


@every_kind()
def test_a_channel_that_is_down_is_one_alert_over_another_channel_until_it_is_back(
    here: Office,
) -> None:
    kind, other = here.desks
    incidents = [add_incident(here.store, key=f"s{number}") for number in range(3)]
    here.desks[kind].be("refused")
    for incident in incidents:
        here.put("a1", incident, kind)
    here.work_for(minutes=9)
    assert here.troubles() == [], "it may pass"
    here.work_for(minutes=30)
    assert here.troubles() == [(kind, "open", [(other, "opened")])]
    here.desks[kind].be("")
    here.work_for(minutes=17)
    assert here.desks[kind].keys == [f"mw-{each.id}-opened-a1" for each in incidents]
    told = [(other, "opened"), (other, "resolved")]
    assert here.troubles() == [(kind, "resolved", told)]


# -- killed --------------------------------------------------------------------------------------


@every_kind()
def test_killed_before_sending_it_is_sent_at_the_next_start(here: Office) -> None:
    kind = kind_of(here)
    incident = add_incident(here.store)
    keys = [here.put("a1", incident, kind), here.put("a2", incident, kind)]
    with here.store.write() as unit:
        (head,) = unit.outbox.heads(here.clock())
        unit.outbox.take(unit.outbox.look_up(head.id), here.clock(), LEASE)  # and dies
    here.begin()
    here.clock.advance(seconds=5)
    assert here.work() == 2, "at once, not at the end of the lease"
    assert here.desks[kind].keys == keys


@every_kind()
def test_killed_after_sending_and_before_marking_it_is_repeated_under_its_key(
    here: Office,
) -> None:
    kind = kind_of(here)
    incident = add_incident(here.store)
    first, second = here.put("a1", incident, kind), here.put("a2", incident, kind)
    assert here.step.run() == 1
    here.die()
    assert here.desks[kind].keys == [first]
    here.begin()
    here.clock.advance(seconds=5)
    here.work()
    assert here.desks[kind].keys == [first, first, second]
    if kind != "alertmanager":
        assert len({identity for key, identity in here.desks[kind].taken if key == first}) == 1


@every_kind()
def test_a_process_killed_with_sigkill_while_the_server_answers_repeats_under_the_same_key(
    here: Office,
) -> None:
    """A real one: the server kills it when it has the whole message, before it says anything."""
    kind = kind_of(here)
    desk, incident = here.desks[kind], add_incident(here.store)
    first, second = here.put("a1", incident, kind), here.put("a2", incident, kind)
    command = [sys.executable, str(SENDER), str(here.store.path), kind, json.dumps(desk.options())]
    process = subprocess.Popen(command)

    def kill() -> bool:
        process.kill()
        process.wait()
        return True

    desk.before_answer = kill
    assert process.wait(120) == -9
    desk.before_answer = None
    assert desk.keys == [first]
    here.begin()
    here.clock.moment = datetime.now(UTC)
    here.work()
    assert desk.keys == [first, first, second]


@every_kind()
def test_killed_after_marking_it_is_not_repeated(here: Office) -> None:
    kind = kind_of(here)
    incident = add_incident(here.store)
    first, second = here.put("a1", incident, kind), here.put("a2", incident, kind)
    assert here.step.run() == 1
    while here.step.in_flight:
        here.inbox.pump(1)
    here.die()
    here.begin()
    here.work()
    assert here.desks[kind].keys == [first, second]


@every_kind()
def test_killed_in_the_middle_of_an_outage_it_goes_on_where_it_was(here: Office) -> None:
    kind, other = here.desks
    incident = add_incident(here.store)
    here.desks[kind].be("refused")
    key = here.put("a1", incident, kind)
    here.work_for(minutes=9)
    here.die()
    here.begin()
    here.work_for(minutes=2)
    assert here.troubles() == [(kind, "open", [(other, "opened")])], "down since before the start"
    here.die()
    here.desks[kind].be("")
    here.begin()
    here.work_for(minutes=17)
    assert here.desks[kind].keys == [key]
    assert [state for _, state, _ in here.troubles()] == ["resolved"]

"""A drill through the real daemon and a real mail server: marked everywhere, counted nowhere."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from alerts.base import IncidentState, Severity, Signal, SignalKind
from monitor import drilling
from monitor.app import App, is_running
from monitor.commands.drilling import follow, write
from monitor.commands.incidents import By, acknowledge, announcer_of
from monitor.store.incidents import RefusedError
from tests.fakes import FakeClock
from tests.monitor.servers import MailServer

CONFIG = """
language = "nl"
[store]
path = "drill.db"
[http]
enabled = false
[network]
allow_private_addresses = ["127.0.0.1"]
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "file"
name = "posts"
path = "posts.jsonl"
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {port}
security = "none"
from = "merkwacht@zonnehoek.example"
[[receivers]]
name = "crisis"
channels = [{{ use = "mail", to = ["crisis@zonnehoek.example"] }}]
[[receivers]]
name = "board"
channels = [{{ use = "mail", to = ["board@zonnehoek.example"] }}]
[[escalations]]
name = "crisis"
steps = [{{ wait_minutes = 15, receivers = ["board"] }}]
[[routes]]
kinds = ["volume_spike", "negativity_spike", "topic_burst"]
min_severity = "high"
receivers = ["crisis"]
escalation = "crisis"
"""


class Room:
    """The daemon, its mail server and a clock."""

    def __init__(self, folder: Path) -> None:
        self.mail = MailServer()
        self.mail.up()
        (folder / "posts.jsonl").touch()
        (folder / "config.toml").write_text(CONFIG.format(port=self.mail.port))
        self.clock = FakeClock()
        self.app = App(folder / "config.toml", now=self.clock)
        self.store = self.app.store
        self.announcer = announcer_of(self.app.config, self.store)

    def tick(self, **after: float) -> None:
        self.clock.advance(**after)
        self.app.daemon.tick()

    def begin(self, severity: Severity = Severity.CRITICAL) -> int:
        return drilling.begin(
            self.store,
            self.announcer,
            brand="Zonnehoek",
            kind=SignalKind.NEGATIVITY_SPIKE,
            severity=severity,
            by="Anna",
            now=self.clock(),
        )

    def subjects(self) -> list[tuple[str, str]]:
        return [(mail.to[0].partition("@")[0], mail.subject) for mail in self.mail.mails]

    def value(self, name: str, **labels: str) -> float:
        return self.app.metrics.registry.get_sample_value(name, labels) or 0.0

    def close(self) -> None:
        self.app.close()
        self.mail.down()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.close()


def test_a_drill_goes_the_whole_way_and_says_so_everywhere(room: Room) -> None:
    number = room.begin()
    room.tick(seconds=2)
    room.tick(minutes=16)
    assert [who for who, _ in room.subjects()] == ["crisis", "board"]
    acknowledge(room.store, room.app.config, number, By("Bram", room.clock()), "")
    course = drilling.course(room.store, number)
    assert (course.taken_by, course.taken_after) == ("Bram", timedelta(minutes=16, seconds=2))
    assert [each.after for each in course.told][:1] == [timedelta(seconds=2)]
    assert drilling.end(room.store, room.announcer, number, by="Anna", now=room.clock())
    assert not drilling.end(room.store, room.announcer, number, by="Anna", now=room.clock())
    room.tick(minutes=1)
    told = room.subjects()
    assert {who for who, subject in told[2:]} == {"crisis", "board"}, "both hear that it is over"
    assert all("[OEFENING]" in subject for _, subject in told), told


def test_a_drill_is_counted_nowhere(room: Room) -> None:
    room.begin()
    room.tick(seconds=2)
    room.tick(minutes=16)
    assert len(room.mail.mails) == 2, "the chain has gone on, which the daemon itself decides"
    kind = SignalKind.NEGATIVITY_SPIKE.value
    assert room.value("merkwacht_incidents_opened_total", kind=kind) == 0
    assert room.value("merkwacht_incidents_burning", brand="Zonnehoek", kind=kind) == 0
    assert room.value("merkwacht_signals_total", brand="Zonnehoek", kind=kind) == 0
    decisions = [
        sample.value
        for family in room.app.metrics.registry.collect()
        if family.name == "merkwacht_routing_decisions"
        for sample in family.samples
        if sample.name.endswith("_total")
    ]
    assert decisions
    assert sum(decisions) == 0


def test_a_real_crisis_during_a_drill_is_an_incident_of_its_own(room: Room) -> None:
    number = room.begin()
    with room.store.write() as unit:
        signal = Signal(
            SignalKind.NEGATIVITY_SPIKE,
            "Zonnehoek",
            Severity.CRITICAL,
            "real",
            "crisis",
            room.clock(),
        )
        [real] = room.announcer.announce(unit, [signal], room.clock())
    assert real.incident.id != number
    assert not real.incident.drill
    room.tick(seconds=2)
    marked = ["[OEFENING]" in subject for _, subject in room.subjects()]
    assert sorted(marked) == [False, True]
    assert room.begin() not in {number, real.incident.id}, "nor does a drill join either of them"


def test_a_drill_that_would_reach_nobody_is_refused_and_leaves_nothing(room: Room) -> None:
    with pytest.raises(RefusedError, match="no_route"):
        room.begin(Severity.LOW)
    with room.store.read() as unit:
        assert unit.incidents.latest(5) == []


def test_a_real_incident_is_no_drill(room: Room) -> None:
    with room.store.write() as unit:
        signal = Signal(SignalKind.LEAK, "Zonnehoek", Severity.HIGH, "k", "s", room.clock())
        incident = unit.incidents.open(signal, room.clock())
    with pytest.raises(RefusedError, match="is no drill"):
        drilling.end(room.store, room.announcer, incident.id, by="Anna", now=room.clock())
    with pytest.raises(RefusedError, match="no incident 99"):
        drilling.course(room.store, 99)


def watched(room: Room, number: int, script: dict[int, str]) -> tuple[drilling.Course, list[str]]:
    """Follow a drill; ``script`` says what happens at the n-th pause."""
    heard: list[str] = []
    pauses = iter(range(1000))

    def pause(_seconds: float) -> None:
        if script.get(next(pauses)) == "taken":
            acknowledge(room.store, room.app.config, number, By("Bram", room.clock()), "")
        room.tick(minutes=1)

    course = follow(
        room.store,
        room.announcer,
        number,
        by="Anna",
        patience=timedelta(minutes=30),
        now=room.clock,
        pause=pause,
        hear=heard.append,
    )
    return course, heard


def test_who_watches_hears_each_step_once_and_the_drill_ends_when_it_is_taken(room: Room) -> None:
    number = room.begin()
    course, heard = watched(room, number, {3: "taken"})
    assert heard == [
        "  crisis by mail: delivered after 1 min 0 s",
        "  taken by Bram after 3 min 0 s",
    ]
    assert course.ended
    with room.store.read() as unit:
        incident = unit.incidents.get(number)
    assert incident is not None
    assert incident.state is IncidentState.RESOLVED
    sink = io.StringIO()
    write(course, sink, as_json=True)
    assert json.loads(sink.getvalue())["seconds_to_take"] == 180


def test_a_drill_that_nobody_takes_ends_when_patience_does(room: Room) -> None:
    course, _ = watched(room, room.begin(), {})
    assert course.ended
    assert course.taken_after is None
    sink = io.StringIO()
    write(course, sink, as_json=False)
    assert "negativity_spike, critical, Zonnehoek" in sink.getvalue()


def test_it_is_known_whether_a_daemon_runs(room: Room, tmp_path: Path) -> None:
    assert is_running(room.store.path)
    assert not is_running(tmp_path / "other.db")

"""The timelines of tests/scenarios through the real store and the real steps, restarts included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from alerts.base import Event, Incident, Receipt, Severity, Signal, SignalKind
from alerts.history import Happened
from alerts.silences import Silence, problem_with
from connectors.base import Post
from monitor.announcing import Announcer
from monitor.following import FollowStep
from monitor.metrics import Metrics
from monitor.store import Store, Unit
from monitor.store.mentions import NewMention
from monitor.telling import Rulebook
from tests.alerts.timeline import FOLDER, Line, Scenario, Setup, Timeline, _duration, load
from tests.monitor.make import fresh_store, sql

LEASE = timedelta(minutes=5)

CASES = [
    pytest.param(scenario, setup, id=f"{file.stem}: {scenario.name}")
    for file in sorted(FOLDER.glob("*.toml"))
    for scenario, setup in load(file)
]


def newest(unit: Unit) -> int:
    """The number of the mention that was stored last."""
    asked = unit._session.connection().exec_driver_sql("SELECT max(id) FROM mention")
    return int(asked.scalar_one())


class StoredTimeline(Timeline):
    """The same timeline, played by the daemon's steps over a real database.

    Nothing is kept here but the clock: whenever the daemon starts, store and steps are new.
    """

    def __init__(
        self,
        folder: Path,
        setup: Setup,
        scenario: Scenario,
        *,
        also_every: timedelta | None = None,
    ) -> None:
        super().__init__(setup, scenario, also_every=also_every)
        self.moment = datetime.min.replace(tzinfo=UTC)
        self.path = folder / "merkwacht.db"
        self.starts: list[tuple[datetime, datetime | None]] = []
        self.posts = 0
        self.numbered: dict[int, int] = {}
        self.store = fresh_store(folder)
        self.begin()

    def begin(self) -> None:
        rules = Rulebook(
            routes=self.setup.routes,
            receivers=self.setup.receivers,
            language="nl",
            timezone="Europe/Amsterdam",
            handles={},
            office=self.setup.office,
            clocks=self.setup.clocks,
            chains=self.setup.escalations,
            rotas=self.setup.rotas,
            inhibition=self.setup.inhibition,
        )
        self.metrics = Metrics(CollectorRegistry())
        self.announcer = Announcer(rules, installation="test", metrics=self.metrics)
        self.step = FollowStep(store=self.store, announcer=self.announcer, now=lambda: self.moment)

    def close(self) -> None:
        self.store.close()

    def _happen(self, what: str, now: datetime) -> None:
        self.moment = now
        if what == "daemon stops":
            self.starts.append((now, None))
        elif what == "daemon starts":
            self.starts[-1] = (self.starts[-1][0], now)
            self.store.close()
            self.store = Store(self.path)
            self.begin()
        elif what.endswith(" ends the silence"):
            with self.store.write() as unit:
                for silence in unit.silences.lasting(now):
                    unit.silences.expire(silence.id, "Bram", now)
                unit.incidents.look([each.id for each in unit.incidents.burning()], now)
            return
        super()._happen(what, now)

    def _tick(self, now: datetime) -> datetime | None:
        self.moment = now
        if not self.up:
            return None
        while self.step.run()[0]:
            pass
        self._deliver(now)
        return self.step.next_at()

    def _deliver(self, now: datetime) -> None:
        """The other side takes all that waits: nothing that leaves now is unwanted already."""
        with self.store.write() as unit:
            while claimed := unit.outbox.claim(now, LEASE):
                for pending in claimed:
                    assert self.announcer.teller.unwanted(unit, pending, now) is None
                    unit.outbox.delivered(pending, now, Receipt())
                unit.flush()

    def _post(self, words: str, options: Mapping[str, str], now: datetime) -> None:
        found = re.match(r"^post (\w+) (\w+)(?: x(\d+))?$", words)
        assert found is not None
        kind, severity = SignalKind(found[1]), Severity[found[2].upper()]
        signals = []
        with self.store.write() as unit:
            for _ in range(int(found[3] or 1)):
                self.posts += 1
                story = options.get("story", f"story-{self.posts}")
                story = f"{story}-{self.posts}" if found[3] else story
                signals.append(self._found(unit, kind, severity, story, options))
            self.announcer.announce(unit, signals, now)

    def _found(
        self,
        unit: Unit,
        kind: SignalKind,
        severity: Severity,
        story: str,
        options: Mapping[str, str],
    ) -> Signal:
        brand = "" if kind is SignalKind.SILENT_SOURCE else options.get("brand", "Zonnehoek")
        named = [int(each) for each in options.get("posts", "").split(",") if each]
        mentions = [self._mention(unit, brand, story, options, number) for number in named or [0]]
        return Signal(
            kind,
            brand,
            severity,
            f"{kind}:{self.posts}",
            story,
            self.moment,
            tuple(mentions) if brand else (),
            {"rule": options["rule"]} | {"rules": []} if "rule" in options else {},
        )

    def _mention(
        self, unit: Unit, brand: str, story: str, options: Mapping[str, str], number: int
    ) -> int:
        if number in self.numbered:
            return self.numbered[number]
        post = Post("news", f"{self.posts}-{number}", "Brood bij Zonnehoek.", self.moment)
        new = NewMention(
            brand=brand or "Zonnehoek",
            source=options.get("source", "x"),
            post=post,
            matched=("zonnehoek",),
            story=story,
        )
        unit.mentions.add([new], self.moment)
        unit.flush()
        found = newest(unit)
        if number:
            self.numbered[number] = found
        return found

    def _silence(self, author: str, options: Mapping[str, str], now: datetime) -> None:
        kind = options.get("kind")
        silence = Silence(
            0,
            author,
            options.get("because", "planned"),
            now,
            now + _duration(options["for"]),
            brand=options.get("brand", ""),
            kind=SignalKind(kind) if kind else None,
            source=options.get("source", ""),
            story=options.get("story", ""),
        )
        assert problem_with(silence, self.setup.silences, now) is None
        with self.store.write() as unit:
            unit.silences.add(silence, now)
            unit.incidents.look([each.id for each in unit.incidents.burning()], now)

    def _act(self, words: str, now: datetime) -> None:
        words, _, given = words.partition(" #")
        verb, what = next(each for each in self.VERBS if words.endswith(f" {each[0]}"))
        who = words.removesuffix(f" {verb}")
        with self.store.write() as unit:
            number = int(given or unit.incidents.latest(1)[0].id)
            match what:
                case Happened.ACKNOWLEDGED:
                    if unit.incidents.acknowledge(number, who, now):
                        self.announcer.taken(unit, self._incident(unit, number), now)
                case Happened.RESOLVED:
                    if unit.incidents.resolve(number, who, now):
                        self._tell(unit, number, Event.RESOLVED, now)
                case Happened.REOPENED:
                    unit.incidents.reopen(number, who, now)
                    self._tell(unit, number, Event.OPENED, now)
                case Happened.RELEASED:
                    before = self._incident(unit, number)
                    unit.incidents.release(number, who, now)
                    unit.flush()
                    self.announcer.given_back(unit, before, now)
                case _:
                    unit.incidents.record(number, what, who, now)

    def _incident(self, unit: Unit, number: int) -> Incident:
        incident = unit.incidents.get(number)
        assert incident is not None
        return incident

    def _tell(self, unit: Unit, number: int, event: Event, now: datetime) -> None:
        unit.flush()
        self.announcer.tell(unit, self._incident(unit, number), event, now)

    # -- what came of it ---------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        query = (
            "SELECT n.created_at, receiver, channel, n.reason, n.incident_id, "
            "(SELECT group_concat(incident_id) FROM notification_about a "
            "WHERE a.notification_id = n.id) FROM notification n WHERE state = 'delivered'"
        )
        found = []
        for at, receiver, channel, reason, first, further in sql(self.path, query):
            ids = tuple(
                sorted([first, *(int(each) for each in (further or "").split(",") if each)])
            )
            found.append(Line(self._left(at), receiver, channel, reason, len(ids), ids))
        return found

    def _left(self, written: str) -> datetime:
        """When it could leave: what people do while the daemon is down waits in the outbox."""
        at = datetime.fromisoformat(f"{written}+00:00")
        for stopped, started in self.starts:
            if started is not None and stopped <= at < started:
                return started
        return at

    def withheld_lines(self) -> Iterator[Line]:
        query = "SELECT at, receiver, channel, reason, incident_id FROM decision WHERE NOT send"
        for at, receiver, channel, reason, number in sql(self.path, query):
            yield Line(self._left(at), receiver, channel, reason, 1, (number,))

    def stored_clocks(self) -> list[str]:
        found = []
        with self.store.read() as unit:
            for incident in reversed(unit.incidents.latest(1000)):
                runs = {run.name: run for run in unit.following.clocks(incident.id)}
                for options in self.setup.clocks:
                    if options.name in runs:
                        run = runs[options.name]
                        local = run.due_at.astimezone(self.calendar.zone)
                        found.append(
                            f"{run.name} #{incident.id} due {local:%Y-%m-%d %H:%M} {run.outcome}"
                        )
        return found


def in_words(lines: list[Line], timeline: Timeline) -> str:
    zone = timeline.calendar.zone
    return "\n".join(
        f"  {line.at.astimezone(zone):%a %Y-%m-%d %H:%M:%S} "
        f"{line.receiver}/{line.channel} {line.reason} x{line.count} {list(line.incidents[:5])}"
        for line in sorted(lines)
    )


@pytest.mark.parametrize(("scenario", "setup"), CASES)
def test_the_daemon_tells_what_the_timeline_says(
    scenario: Scenario, setup: Setup, tmp_path: Path
) -> None:
    timeline = StoredTimeline(tmp_path, setup, scenario)
    timeline.play()
    timeline.close()
    compare(timeline, scenario)


# All of them asked more often are played by the functions alone; here some show that the store keeps up.
@pytest.mark.parametrize(("scenario", "setup"), CASES[::9])
def test_asking_more_often_than_needed_changes_nothing(
    scenario: Scenario, setup: Setup, tmp_path: Path
) -> None:
    every = timedelta(minutes=47, seconds=11)
    timeline = StoredTimeline(tmp_path, setup, scenario, also_every=every)
    timeline.play()
    timeline.close()
    compare(timeline, scenario)


def compare(timeline: StoredTimeline, scenario: Scenario) -> None:
    """What came of it against what the timeline says."""
    told, expected = sorted(timeline.lines()), sorted(timeline.expected(scenario.told))
    assert told == expected, f"{scenario.name}\ntold:\n{in_words(told, timeline)}"
    for line, wanted in zip(told, expected, strict=True):
        assert not wanted.incidents or wanted.incidents == line.incidents, scenario.told
    withheld = list(timeline.withheld_lines())
    for wanted in timeline.expected(scenario.not_told):
        assert wanted in withheld, f"not told:\n{in_words(withheld, timeline)}"
    if scenario.clocks:
        timeline.store = Store(timeline.path)
        assert timeline.stored_clocks() == list(scenario.clocks)
        timeline.close()

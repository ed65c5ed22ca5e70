"""Sources that answer and bring nothing where they usually bring plenty."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from alerts.base import IncidentState, SignalKind
from monitor.metrics import Metrics
from monitor.polling import Source
from monitor.silence import MISSING
from monitor.tending import TendStep
from tests.monitor.crowds import BRAND, Crowd, announcer


class Named:
    """As much of a brand as counting needs."""

    name = BRAND


class NoConnector:
    """A source is not polled here."""


def source(name: str) -> Source:
    return Source(
        name=name,
        kind="rss",
        connector=NoConnector(),  # type: ignore[arg-type]
        brands=[Named()],  # type: ignore[list-item]
        interval=timedelta(minutes=5),
        silent_after=timedelta(days=30),
        fingerprint="print",
    )


class Office:
    """A crowd, and the step that looks after its sources."""

    def __init__(self, folder: Path, rates: dict[str, int]) -> None:
        self.crowd = Crowd(folder, rates)
        self.rates = rates
        self.restart()

    def restart(self) -> None:
        self.step = TendStep(
            store=self.crowd.store,
            sources=[source(name) for name in self.crowd.sources],
            announcer=announcer(),
            retention=timedelta(days=90),
            metrics=Metrics(CollectorRegistry()),
            now=self.crowd.clock,
        )

    def live(
        self, days: float, *, without: tuple[str, ...] = (), dark: tuple[str, ...] = ()
    ) -> None:
        """So many days, looked at every four hours; some sources bring nothing, or are not heard."""
        for _ in range(round(days * 6)):
            begin = self.crowd.clock()
            rates = {name: rate for name, rate in self.rates.items() if name not in without}
            self.crowd.past(1 / 6, rates, dark=dark)
            if without:
                with self.crowd.store.write() as unit:
                    for name in set(without) - set(dark):
                        for hour in range(5):
                            at = begin + timedelta(hours=hour)
                            unit.sources.cover(name, at, gap=timedelta(hours=1))
            self.step.run()

    def told(self) -> list[tuple[str, IncidentState]]:
        with self.crowd.store.read() as unit:
            found = unit.incidents.latest(100)
        assert {each.kind for each in found} <= {SignalKind.SILENT_SOURCE}
        return [(each.subject, each.state) for each in reversed(found)]

    def fact(self, name: str) -> object:
        (signal,) = self.crowd.signals()
        return signal.facts[name]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path, {"big": 12, "small": 1})
    made.crowd.past(9, made.rates)
    made.step.run()
    yield made
    made.crowd.close()


@pytest.mark.parametrize(("fault", "told"), [("unauthorized", True), ("unreachable", False)])
def test_a_source_that_only_a_person_can_mend_is_told_however_long_it_may_be_silent(
    office: Office, fault: str, told: bool
) -> None:
    for hour in range(2):
        now = office.crowd.clock() + timedelta(hours=hour)
        with office.crowd.store.write() as unit:
            unit.sources.failed("big", now, now, fault=fault, error="x.example: make a new token")
        if hour == 0:
            office.step.run()
            assert office.told() == [], "one refusal may be a slip"
    office.step.run()
    assert office.told() == ([("big", IncidentState.OPEN)] if told else [])
    if told:
        assert office.fact("error") == "x.example: make a new token"


def test_a_source_that_brings_nothing_any_more_is_told_and_its_return_ends_it(
    office: Office,
) -> None:
    assert office.told() == []
    began = office.crowd.clock()
    office.live(1, without=("big",))
    assert office.told() == [("big", IncidentState.OPEN)]
    expected = office.fact("expected")
    assert isinstance(expected, int)
    assert expected >= MISSING
    assert office.fact("observed") == 0
    since = datetime.fromisoformat(str(office.fact("since")))
    assert began - timedelta(hours=4) <= since <= began
    office.live(1, without=("big",))
    assert len(office.crowd.signals()) == 1, "told once"
    office.live(0.5)
    assert office.told() == [("big", IncidentState.RESOLVED)]


def test_a_night_is_no_silence(office: Office) -> None:
    office.live(3)
    assert office.told() == []


def test_a_small_source_may_be_silent_for_days(office: Office) -> None:
    office.live(2, without=("small",))
    assert office.told() == []


def test_a_source_that_is_dark_is_not_said_to_bring_nothing(office: Office) -> None:
    office.live(2, dark=("big",))
    assert office.told() == []


def test_a_new_source_is_given_a_week_to_become_known(tmp_path: Path) -> None:
    office = Office(tmp_path, {"big": 12})
    office.crowd.past(4, office.rates)
    office.live(2, without=("big",))
    assert office.told() == []
    office.crowd.close()


def test_a_restart_goes_on_where_it_was(office: Office) -> None:
    for _ in range(6):
        office.live(1 / 6, without=("big",))
        office.restart()
    assert office.told() == [("big", IncidentState.OPEN)]
    office.restart()
    office.step.run()
    assert office.told() == [("big", IncidentState.OPEN)], "neither told twice nor taken back"

"""Signs of life: the heartbeat, the line a day, and that neither can stop anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from alerts.base import Event
from alerts.daily import Figures, daily_line
from alerts.routes import ReceiverOptions, Via
from monitor.heartbeat import Heartbeat, HeartbeatOptions
from monitor.vouching import Daily, DailyLine
from tests.alerts.webserver import Reply, Site, trust_only, web_server
from tests.monitor.make import NOON, add_incident, add_notification, new_mention
from tests.monitor.office import Office, office


@pytest.fixture(autouse=True)
def _few_authorities(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_only(tmp_path_factory.getbasetemp(), monkeypatch)


# -- heartbeat -------------------------------------------------------------------------------------


class Heart:
    """A heartbeat towards a server of this test."""

    def __init__(self, here: Office, site: Site, **options: object) -> None:
        self.stale: dict[str, float] = {}
        self.here = here
        given = {"url": f"{site.url}/ping/geheim", "allow_private_address": True, **options}
        self.beat = Heartbeat(
            HeartbeatOptions.model_validate({"timeout_seconds": 0.5, **given}),
            stale=lambda: self.stale,
            figures=lambda: {"waiting": 3},
            inbox=here.inbox,
            pool=here.pool,
            metrics=here.metrics,
            now=here.clock,
        )

    def run(self) -> bool:
        began = self.beat.run()
        while self.beat.under_way:
            self.here.inbox.pump(1)
        return began

    def counted(self, outcome: str) -> float:
        labels = {"outcome": outcome}
        found = self.here.metrics.registry.get_sample_value("merkwacht_heartbeats_total", labels)
        return found or 0.0


@pytest.fixture
def site() -> Iterator[Site]:
    with web_server() as served:
        yield served


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path, "email", "slack") as made:
        yield made


def test_the_heart_beats_at_its_interval(here: Office, site: Site) -> None:
    heart = Heart(here, site, every_seconds=300)
    assert heart.run()
    here.clock.advance(seconds=299)
    assert not heart.run()
    here.clock.advance(seconds=1)
    assert heart.run()
    assert [(each.method, each.path) for each in site.requests] == [("GET", "/ping/geheim")] * 2
    assert heart.counted("ok") == 2


def test_it_is_withheld_while_a_step_is_stale_and_comes_at_once_afterwards(
    here: Office, site: Site
) -> None:
    heart = Heart(here, site)
    heart.stale = {"deliver": 130.0}
    for _ in range(3):
        assert not heart.run()
        here.clock.advance(seconds=10)
    assert (site.requests, heart.counted("withheld")) == ([], 1)
    heart.stale = {}
    assert heart.run()


def test_a_post_carries_figures(here: Office, site: Site) -> None:
    assert Heart(here, site, method="POST").run()
    (request,) = site.requests
    assert (request.method, request.json()) == ("POST", {"waiting": 3})


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(500), "server_error"),
        (Reply(404), "refused"),
        (Reply(hang=True), "timeout"),
        (Reply(drop=True), "unreachable"),
        (Reply(302, headers={"Location": "http://127.0.0.1/"}), "refused"),
    ],
)
def test_a_failure_is_counted_and_told_without_the_address(
    here: Office, site: Site, reply: Reply, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site.usual = reply
    heart = Heart(here, site)
    assert heart.run()
    assert heart.counted(outcome) == 1
    assert "geheim" not in "".join(capsys.readouterr())
    site.usual = Reply()
    here.clock.advance(seconds=300)
    assert heart.run()
    assert heart.counted("ok") == 1


def test_a_private_address_is_refused_unless_that_is_meant(here: Office, site: Site) -> None:
    heart = Heart(here, site, url="https://127.0.0.1:1/ping", allow_private_address=False)
    assert heart.run()
    assert heart.counted("unreachable") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "ftp://a.example"}, "is not an address"),
        ({"url": "http://a.example/ping"}, "has to begin with https"),
        (
            {"url": "http://10.0.0.1/x", "allow_private_address": True, "bearer_token": "t"},
            "readable on the network",
        ),
        ({"daily_at": "08:30"}, "belong together"),
        ({"daily_to": ["operations"]}, "belong together"),
        ({"daily_at": "08:30+01:00", "daily_to": ["operations"]}, "without a zone"),
        ({"every_seconds": 1}, "greater than or equal to 15"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        HeartbeatOptions.model_validate(options)


# -- the line a day --------------------------------------------------------------------------------

OPERATIONS = ReceiverOptions(
    name="operations",
    language="en",
    channels=(
        Via(use="email", to=("ops@zonnehoek.example",)),
        Via(use="slack", stands_in_for="email"),
    ),
)
PRESS = ReceiverOptions(name="press", channels=(Via(use="slack"),))


class Line:
    """The line a day at half past eight in Amsterdam, under a moved clock."""

    def __init__(self, here: Office, at: str = "08:30") -> None:
        self.here = here
        daily = Daily(
            at=time.fromisoformat(at),
            receivers=[OPERATIONS, PRESS],
            language="nl",
            timezone="Europe/Amsterdam",
            installation="here",
        )
        self.step = DailyLine(
            daily,
            store=here.store,
            brands=["Zonnehoek"],
            channels={name: desk.channel() for name, desk in here.desks.items()},
            pacers={},
            inbox=here.inbox,
            pool=here.pool,
            metrics=here.metrics,
            now=here.clock,
        )

    def at(self, moment: datetime) -> int:
        self.here.clock.moment = moment
        return self.run()

    def run(self) -> int:
        began = self.step.run()
        while self.step.in_flight:
            self.here.inbox.pump(1)
        return began


def utc(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def test_it_is_told_once_a_day_to_each_over_its_usual_channels(here: Office) -> None:
    line = Line(here)
    assert line.at(utc(10, 7, 29)) == 0, "08:29 in Amsterdam"
    assert line.at(utc(10, 7, 30)) == 2
    assert line.at(utc(10, 7, 31)) == 0
    assert Line(here).at(utc(10, 22, 59)) == 0, "nor after a restart"
    assert line.at(utc(10, 23, 1)) == 0, "a new day, too early"
    assert line.at(utc(11, 9)) == 2, "late, for it was down"
    assert [key for key, _ in here.desks["email"].taken] == [
        "mw-daily-2026-11-10-here",
        "mw-daily-2026-11-11-here",
    ]
    assert len(here.desks["slack"].taken) == 2


def test_it_says_how_things_stand_in_the_receivers_language(here: Office) -> None:
    with here.store.write() as unit:
        unit.mentions.add([new_mention(n, at=NOON) for n in range(3)], NOON)
    incident = add_incident(here.store)
    add_notification(here.store, "mw-1-opened-k", incident, channel="email", receiver="crisis")
    here.work()
    line = Line(here)
    line.at(NOON + timedelta(hours=1))
    text = here.desks["slack"].taken[-1][1]
    assert "Merkwacht waakt" in text
    assert "1 melding bezorgd" in text
    assert "1 incident staat open, 0 meldingen wachten" in text
    server = here.desks["email"]._server  # type: ignore[attr-defined] # the rest of a mail
    assert server.mails[-1].subject == "[Daily] Merkwacht is watching"


def test_a_failure_is_tried_again_and_reaches_them_under_the_same_key(here: Office) -> None:
    here.desks["email"].be("refused")
    line = Line(here)
    assert line.at(utc(10, 8)) == 2
    here.clock.advance(seconds=29)
    assert line.run() == 0
    here.clock.advance(seconds=1)
    assert line.run() == 1
    here.desks["email"].be("")
    here.clock.advance(minutes=1)
    assert line.run() == 1
    assert here.desks["email"].keys == ["mw-daily-2026-11-10-here"]
    assert len(here.desks["slack"].taken) == 1


def test_a_refusal_for_good_is_not_repeated_that_day(here: Office) -> None:
    here.desks["email"].be("4xx")
    line = Line(here)
    line.at(utc(10, 8))
    here.clock.advance(hours=2)
    assert line.run() == 0
    here.desks["email"].be("")
    assert line.at(utc(11, 8)) == 2


@pytest.mark.parametrize("night", [date(2026, 3, 29), date(2026, 10, 25)])
def test_a_night_in_which_the_clock_changes_has_one_line_too(here: Office, night: date) -> None:
    line = Line(here, "02:30")
    begin = datetime(night.year, night.month, night.day, tzinfo=UTC)
    told = [line.at(begin + timedelta(minutes=15) * step) for step in range(4 * 22)]
    assert sum(told) == 2, "one for each of the two"


def test_it_is_about_no_incident_in_every_channel(tmp_path: Path) -> None:
    figures = Figures(12, 3, ["x", "nieuws"], 1, 0, 0)
    said = daily_line(figures, now=NOON, language="nl", timezone="Europe/Amsterdam")
    assert said.event is Event.OPENED
    assert "Nu niet gehoord: x, nieuws" in said.summary
    with office(tmp_path, "webhook", "slack", "email") as here:
        line = Line(here)
        line.step._options = Daily(
            at=time(0),
            receivers=[
                ReceiverOptions(
                    name="all",
                    channels=tuple(Via(use=name, to=here.to(name)) for name in here.desks),
                )
            ],
            language="nl",
            timezone="Europe/Amsterdam",
            installation="here",
        )
        line.run()
        posted = json.loads(here.desks["webhook"].taken[0][1])
        assert posted["type"] == "daily"
        assert set(posted["data"]) == {"language", "timezone", "title", "summary", "since"}
        assert "incident 0" not in here.desks["slack"].taken[0][1]
        assert "teken van leven" in here.desks["slack"].taken[0][1]
        assert len(here.desks["email"].taken) == 1


def test_alertmanager_is_left_out(tmp_path: Path) -> None:
    with office(tmp_path, "alertmanager", "slack") as here:
        line = Line(here)
        line.step._options = Daily(
            at=time(0),
            receivers=[
                ReceiverOptions(name="all", channels=(Via(use="alertmanager"), Via(use="slack")))
            ],
            language="nl",
            timezone="Europe/Amsterdam",
            installation="here",
        )
        assert line.run() == 1

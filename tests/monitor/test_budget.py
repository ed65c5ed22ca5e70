"""What a source may cost: kept with each page, told before it is out, shown, and never passed."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.x import XConnector
from monitor import config
from monitor.app import App, build_tariff
from monitor.budget import Level, Period, Tariff, bounds, standings
from monitor.commands import sources as command
from monitor.commands.checking import check_online
from monitor.store import Store
from monitor.store.spending import Spent
from tests.connectors.conftest import MovedClock
from tests.connectors.faultserver import FaultServer
from tests.connectors.paidx import PaidX
from tests.monitor.make import sql
from tests.monitor.servers import MailServer

CONFIG = """
language = "en"
[store]
path = "merkwacht.db"
[http]
enabled = false
[network]
allow_private_addresses = ["127.0.0.1"]
[[brands]]
name = "Zonnehoek"
query = "zonnehoek"
[[sources]]
kind = "x"
name = "on x"
bearer_token = "t"
base_url = "{x}"
page_size = 20
{budget}
[[channels]]
kind = "email"
name = "mail"
host = "127.0.0.1"
port = {mail}
security = "none"
from = "merkwacht@zonnehoek.example"
hello_hostname = "localhost"
messages_per_minute = 6000
[[receivers]]
name = "operations"
channels = [{{ use = "mail", to = ["ops@zonnehoek.example"] }}]
[[routes]]
kinds = ["budget"]
receivers = ["operations"]
"""
BUDGET = """[sources.budget]
per_day = 1.5
per_month = 20
"""


class Office:
    """An installation that watches X for money, with a clock of its own."""

    def __init__(self, folder: Path, server: FaultServer, mail: MailServer) -> None:
        self.clock = MovedClock(datetime(2026, 11, 10, 12, 0, tzinfo=UTC))
        self.x = PaidX(self.clock)
        server.answer = self.x
        self.server, self.mail = server, mail
        self.file = folder / "config.toml"
        self.write(BUDGET)

    def write(self, budget: str) -> None:
        self.file.write_text(
            CONFIG.format(x=self.server.url, mail=self.mail.port, budget=budget), encoding="utf-8"
        )

    def app(self) -> App:
        return App(self.file, now=self.clock)

    def live(self, app: App, minutes: int = 10) -> None:
        self.clock.move(timedelta(minutes=minutes))
        app.daemon.tick()

    def told(self) -> list[str]:
        return [str(mail.subject) for mail in self.mail.mails]

    def shown(self, app: App, *, as_json: bool = False) -> str:
        sink = io.StringIO()
        command.show(
            app.store,
            sink,
            now=self.clock(),
            since=timedelta(days=1),
            timezone="UTC",
            tariffs={each.name: build_tariff(each) for each in app.config.sources},
            as_json=as_json,
        )
        return sink.getvalue()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with FaultServer() as server, MailServer() as mail:
        yield Office(tmp_path, server, mail)


def spent(app: App, on: date) -> Spent:
    with app.store.read() as unit:
        return unit.spending.of("on x", on, on)


def read(app: App) -> int:
    [(count,)] = sql(app.store.path, "SELECT count(*) FROM mention")
    return int(count)


def unread(app: App) -> int:
    query = "SELECT coalesce(sum(count), 0) FROM bucket_count WHERE sentiment = 'unread'"
    [(count,)] = sql(app.store.path, query)
    return int(count)


def test_a_budget_is_kept_told_of_and_renewed(office: Office) -> None:
    today = office.clock().date()
    with office.app() as app:
        office.x.storm(60)
        office.live(app)
        assert (read(app), office.told()) == (60, [])
        assert spent(app, today) == Spent(Counter(post=60, user=60), Decimal("0.9"))

        office.x.storm(25)
        office.live(app)
        assert [re.sub(r".*\] ", "", each) for each in office.told()] == [
            "Source on x: budget nearly spent"
        ]

        office.x.storm(60)
        office.live(app)
        assert len(office.told()) == 2
        assert "budget spent, posts are only counted" in office.told()[1]
        assert (read(app), unread(app)) == (100, 45)

        for _ in range(3):
            office.x.storm(3)
            office.live(app)
        assert len(office.told()) == 2, "once in a period"
        assert (read(app), unread(app)) == (100, 54)
        assert spent(app, today).cost == Decimal("1.5")
        assert office.x.cost(today, dict(XConnector.prices)) == Decimal("1.5")
        assert "on x    x     only counting" in office.shown(app)
        assert "1.50 of 1.50 USD" in office.shown(app)
        left = app.metrics.registry.get_sample_value(
            "merkwacht_source_budget_left_ratio", {"source": "on x", "period": "day"}
        )
        assert left == 0

        office.live(app, minutes=12 * 60)
        assert (read(app), unread(app)) == (154, 0)
        assert len(office.told()) == 3
        assert spent(app, office.clock().date()).cost == Decimal("0.81")
        assert sql(app.store.path, "SELECT kind, state FROM incident") == [("budget", "resolved")]
        assert (
            app.metrics.registry.get_sample_value(
                "merkwacht_source_spent_total", {"source": "on x", "unit": "post"}
            )
            == 154
        )


def test_a_restart_knows_what_was_spent_and_tells_nothing_twice(office: Office) -> None:
    with office.app() as app:
        office.x.storm(120)
        office.live(app)
        office.live(app)
        assert (read(app), len(office.told())) == (100, 1), "out at once: no warning before"
    with office.app() as app:
        office.x.storm(10)
        office.live(app)
        assert (read(app), unread(app), len(office.told())) == (100, 30, 1)


def test_a_raised_budget_reads_on_where_it_stopped(office: Office) -> None:
    with office.app() as app:
        office.x.storm(110)
        office.live(app)
        office.live(app)
        assert (read(app), unread(app)) == (100, 10)
    office.write(BUDGET.replace("1.5", "15"))
    with office.app() as app:
        office.live(app)
        assert (read(app), unread(app)) == (110, 0)
        assert sql(app.store.path, "SELECT state FROM incident") == [("resolved",)]


def test_without_a_budget_what_it_cost_is_known_all_the_same(office: Office) -> None:
    office.write("")
    with office.app() as app:
        office.x.storm(30)
        office.live(app)
        [line] = office.shown(app, as_json=True).splitlines()
        assert json.loads(line)["spent"]["day"] == {
            "units": {"post": 30, "user": 30},
            "cost": 0.45,
            "budget": None,
            "currency": "USD",
            "out": False,
        }


def test_a_check_of_a_source_with_a_budget_costs_nothing(office: Office) -> None:
    office.x.storm(30)
    office.clock.move(timedelta(minutes=5))
    found = {each.part: each for each in check_online(config.load(office.file), office.clock)}
    assert found["source on x"].detail == "answers, 30 posts counted, none read"
    assert office.x.billed == {}


# -- the books -------------------------------------------------------------------------------------


def test_a_page_and_what_it_cost_are_stored_together_or_not_at_all(office: Office) -> None:
    with office.app() as app:
        office.x.storm(10)
        trigger = (
            "CREATE TRIGGER broken BEFORE UPDATE OF cursor ON source"
            " BEGIN SELECT RAISE(ABORT, 'broken here'); END"
        )
        sql(app.store.path, trigger)
        office.live(app)
        assert (read(app), spent(app, office.clock().date())) == (0, Spent())
        sql(app.store.path, "DROP TRIGGER broken")
        office.live(app, minutes=60)
        assert (read(app), spent(app, office.clock().date()).units["post"]) == (10, 10)


def test_days_and_months_add_up_and_fractions_are_rounded_against_us(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    prices = {"post": Decimal("0.0000015")}
    with store.write() as unit:
        unit.spending.add("x", date(2026, 10, 31), {"post": 5}, prices)
        unit.spending.add("x", date(2026, 11, 1), {"post": 1, "user": 2}, prices)
        unit.spending.add("x", date(2026, 11, 1), {"post": 2}, prices)
        unit.spending.add("y", date(2026, 11, 1), {"unit": 7, "search": 0}, {})
    with store.read() as unit:
        known = unit.spending.all(date(2026, 11, 1), date(2026, 11, 30))
    assert known == {
        "x": Spent(Counter(post=3, user=2), Decimal("0.000005")),
        "y": Spent(Counter(unit=7), Decimal(0)),
    }
    store.close()


@pytest.mark.parametrize(
    ("now", "day", "month"),
    [
        ("2026-11-30T23:59:59+00:00", "2026-12-01", "2026-12-01"),
        ("2026-12-31T12:00:00+00:00", "2027-01-01", "2027-01-01"),
        ("2028-02-28T12:00:00+00:00", "2028-02-29", "2028-03-01"),
        ("2026-11-01T00:30:00+01:00", "2026-11-01", "2026-11-01"),
    ],
)
def test_periods_are_those_of_utc(now: str, day: str, month: str) -> None:
    moment = datetime.fromisoformat(now)
    ends = [bounds(period, moment)[1].date().isoformat() for period in Period]
    assert ends == [day, month]


def test_a_month_can_be_out_while_the_day_is_not(tmp_path: Path) -> None:
    store, now = Store(tmp_path / "a.db"), datetime(2026, 11, 20, 12, tzinfo=UTC)
    limits = {Period.DAY: Decimal(5), Period.MONTH: Decimal(20)}
    tariff = Tariff("USD", {"post": Decimal(1)}, Decimal(2), limits)
    with store.write() as unit:
        for day in range(1, 20):
            unit.spending.add("x", date(2026, 11, day), {"post": 1}, tariff.prices)
    with store.read() as unit:
        today, month = standings(unit, "x", tariff, now)
    assert (today.level, today.left) == (Level.FINE, 5)
    assert (month.level, month.left, month.begins) == (Level.OUT, 1, date(2026, 11, 1))
    store.close()


# -- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("", "sources[0].budget: give per_day or per_month, or both"),
        ("per_day = 0", "sources[0].budget.per_day: input should be greater than 0"),
        (
            "per_day = 0.1",
            "sources[0].budget.per_day: 0.1 buys nothing: the smallest page may cost",
        ),
        ("per_day = 5\nper_weak = 1", "sources[0].budget.per_weak: unknown key"),
        ("per_day = 5\nprices = { pots = 1 }", "sources[0].budget.prices.pots: is nothing that"),
        ('per_day = 5\ncurrency = "EUR"', "sources[0].budget.prices.post: is missing: the price"),
        ('per_day = 5\ncurrency = "euro"', "sources[0].budget.currency: "),
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused(office: Office, table: str, problem: str) -> None:
    office.write(f"[sources.budget]\n{table}\n")
    with pytest.raises(config.ConfigError) as refused:
        config.load(office.file)
    assert f"{office.file}: {problem}" in str(refused.value)


def test_prices_of_ones_own_and_a_currency_go_together(office: Office) -> None:
    office.write(
        '[sources.budget]\nper_month = 10\ncurrency = "EUR"\nprices = { post = 0.004, user = 0, media = 0 }\n'
    )
    [source] = config.load(office.file).sources
    tariff = build_tariff(source)
    assert tariff is not None
    assert (tariff.currency, tariff.least) == ("EUR", Decimal("0.04"))
    assert tariff.limits == {Period.MONTH: 10}


def test_only_what_sends_a_bill_has_a_budget(office: Office) -> None:
    text = office.file.read_text(encoding="utf-8")
    start, end = text.index('kind = "x"'), text.index("page_size")
    text = text[:start] + 'kind = "rss"\nname = "on x"\nurl = "http://127.0.0.1/"\n' + text[end:]
    office.file.write_text(text.replace("page_size = 20", ""), encoding="utf-8")
    with pytest.raises(config.ConfigError, match=r"sources\[0\]\.budget: unknown key"):
        config.load(office.file)

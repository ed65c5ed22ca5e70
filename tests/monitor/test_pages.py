"""The pages behind a link, asked for over HTTP as a browser, a mail scanner or a stranger would."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import pytest

from alerts.base import IncidentState
from alerts.links import Action, Links
from monitor.pages import FORM_BYTES, incident_routes
from monitor.site import SiteServer
from tests.alerts.hostile import HOSTILE
from tests.monitor.counter import Office, office


class Visitor:
    """A browser without scripts."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, path: str, method: str = "GET", body: str | bytes | None = None
    ) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path, body, kind)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def press(self, page: str, path: str, name: str, **more: str) -> tuple[HTTPResponse, str]:
        """Fill in the form of a page and send it."""
        fields = {"ticket": ticket_in(page), "name": name, **more}
        return self.ask(path, "POST", urlencode(fields))


def ticket_in(page: str) -> str:
    found = re.search(r'name="ticket" value="([^"]+)"', page)
    assert found, "no form"
    return found[1]


@contextmanager
def visiting(tmp_path: Path, **options: object) -> Iterator[tuple[Office, Visitor]]:
    with office(tmp_path, **options) as made:  # type: ignore[arg-type]
        server = SiteServer("127.0.0.1", 0, metrics=made.metrics)
        server.bind()
        server.show(incident_routes(made.desk))
        server.start()
        try:
            yield made, Visitor(server.port)
        finally:
            server.close()


def test_a_link_shows_the_incident_and_a_form_to_take_it(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        answer, page = visitor.ask(f"/i/{made.ticket()}")

    assert answer.status == 200
    assert answer.headers["Content-Language"] == "nl"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert "Zonnehoek: bedreiging in een openbaar bericht" in page
    assert "Nog niemand heeft dit opgepakt." in page
    assert "Ik pak het op" in page
    assert "Ik kom jullie opzoeken" in page
    assert "<script" not in page


def test_the_receivers_language_is_spoken(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        answer, page = visitor.ask(f"/i/{made.ticket('ops')}")

    assert answer.headers["Content-Language"] == "en"
    assert "Nobody has taken this yet." in page
    assert "I take it" in page


def test_what_posts_say_is_masked(tmp_path):
    with visiting(tmp_path, text="Bel me op 06-12345678 bij Zonnehoek") as (made, visitor):
        page = visitor.ask(f"/i/{made.ticket()}")[1]

    assert "12345678" not in page


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
def test_a_program_that_follows_links_does_nothing(tmp_path, method):
    with visiting(tmp_path) as (made, visitor):
        for _ in range(3):
            visitor.ask(f"/i/{made.ticket()}", method)
            visitor.ask(f"/i/{made.ticket()}?name=Anna&action=take", method)

        assert made.now().state is IncidentState.OPEN
        assert made.history() == []
        assert made.changes == []


def test_the_form_takes_the_incident(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        path = f"/i/{made.ticket()}"
        answer, page = visitor.press(visitor.ask(path)[1], path, " Anna  de Vries ")

        assert answer.status == 200
        assert "Genoteerd: u hebt dit opgepakt." in page
        assert "Opgepakt door Anna de Vries" in page
        assert made.now().state is IncidentState.ACKNOWLEDGED
        assert made.now().acknowledged_by == "Anna de Vries"
        assert made.history() == [("acknowledged", "Anna de Vries", "link")]
        assert made.changes == [None]
        assert made.metrics.actions.labels("link", "take", "done")._value.get() == 1


def test_who_presses_second_hears_who_was_first(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        path = f"/i/{made.ticket()}"
        form = visitor.ask(path)[1]
        visitor.press(form, path, "Anna")
        answer, page = visitor.press(form, path, "Bram")

        assert answer.status == 409
        assert "Er was iemand voor u: Anna heeft dit al opgepakt" in page
        assert made.now().acknowledged_by == "Anna"
        assert len(made.history()) == 1


def test_of_many_who_press_at_once_one_gets_it(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        path = f"/i/{made.ticket()}"
        form = visitor.ask(path)[1]
        statuses: list[int] = []

        def press(name: str) -> None:
            statuses.append(visitor.press(form, path, name)[0].status)

        people = [threading.Thread(target=press, args=(f"P{number}",)) for number in range(8)]
        for each in people:
            each.start()
        for each in people:
            each.join(20)

        assert sorted(statuses) == [200, *[409] * 7]
        assert len(made.history()) == 1


def test_what_is_taken_can_be_closed_and_those_who_knew_hear(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        path = f"/i/{made.ticket()}"
        visitor.press(visitor.ask(path)[1], path, "Anna")
        taken = visitor.ask(path)[1]
        assert "Sluit het incident" in taken
        answer, page = visitor.press(taken, path, "Bram")

        assert answer.status == 200
        assert "Gesloten door Bram" in page
        assert "<form" not in page
        assert made.now().state is IncidentState.RESOLVED
        with made.store.read() as unit:
            sent = unit.outbox.of_incident(made.incident.id)
        assert {each.event for each in sent} >= {"opened", "resolved"}


def test_a_form_of_what_is_over_says_so(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        path = f"/i/{made.ticket()}"
        form = visitor.ask(path)[1]
        with made.store.write() as unit:
            unit.incidents.resolve(made.incident.id, "merkwacht", made.clock(), "went quiet")
        answer, page = visitor.press(form, path, "Anna")

        assert answer.status == 409
        assert "al gesloten" in page
        assert "Vanzelf gesloten" in page
        assert made.now().acknowledged_by is None


@pytest.mark.parametrize("name", ["", "   ", "\u202e\u200f", "...", "Merkwacht", "\x00"])
def test_without_a_name_nothing_is_taken(tmp_path, name):
    with visiting(tmp_path) as (made, visitor):
        path = f"/i/{made.ticket()}"
        answer, page = visitor.press(visitor.ask(path)[1], path, name)

        assert answer.status == 400
        assert "Vul uw naam in" in page
        assert "<form" in page
        assert made.now().state is IncidentState.OPEN


def test_the_link_itself_is_no_ticket_to_act(tmp_path):
    """Who makes a page of their own that posts to the link has no ticket for the form."""
    with visiting(tmp_path) as (made, visitor):
        path = f"/i/{made.ticket()}"
        for fields in (
            {"name": "Eve"},
            {"name": "Eve", "ticket": made.ticket()},
            {"name": "Eve", "ticket": "A" * 88},
        ):
            assert visitor.ask(path, "POST", urlencode(fields))[0].status == 404
        assert visitor.ask(path, "POST", b"\xff\x00&&&=%ZZ" * 40)[0].status == 404
        assert visitor.ask(path, "POST", "a=1&" * 200)[0].status == 404
        assert made.now().state is IncidentState.OPEN


def test_a_ticket_to_act_belongs_to_its_incident(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        other = replace(made.incident, id=made.incident.id + 1)
        seen = made.links.read(made.links.ticket_for(other, "crisis", made.clock()), None)
        fields = {"name": "Eve", "ticket": made.links.turned(seen, Action.TAKE)}
        answer, _ = visitor.ask(f"/i/{made.ticket()}", "POST", urlencode(fields))

        assert answer.status == 404
        assert made.now().state is IncidentState.OPEN


def test_a_form_that_is_too_large_is_refused(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        answer, _ = visitor.ask(f"/i/{made.ticket()}", "POST", "a=" + "x" * FORM_BYTES)

    assert answer.status == 413


@pytest.mark.parametrize(
    ("trouble", "status", "told"),
    [
        ("cut off", 404, "Deze link klopt niet"),
        ("forged", 404, "Deze link klopt niet"),
        ("expired", 410, "Deze link is verlopen"),
        ("another beginning", 404, "Dit incident is er niet meer"),
    ],
)
def test_a_link_that_is_not_good_says_what_to_do(tmp_path, trouble, status, told):
    with visiting(tmp_path) as (made, visitor):
        text = made.ticket()
        if trouble == "cut off":
            text = text[:-3]
        elif trouble == "forged":
            text = Links(bytes(32)).ticket_for(made.incident, "crisis", made.clock())
        elif trouble == "expired":
            made.clock.advance(days=7)
        else:
            earlier = replace(made.incident, opened_at=made.incident.opened_at - timedelta(days=1))
            text = made.links.ticket_for(earlier, "crisis", made.clock())
        for method in ("GET", "POST"):
            if trouble == "another beginning" and method == "POST":
                continue
            answer, page = visitor.ask(f"/i/{text}", method)
            assert answer.status == status
            assert told in page
            assert "merkwacht incidents" in page
        assert made.now().state is IncidentState.OPEN


def test_a_daemon_that_ends_asks_to_come_back(tmp_path):
    with visiting(tmp_path) as (made, visitor):
        made.inbox.close()
        answer, page = visitor.ask(f"/i/{made.ticket()}")

    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert "probeer het over een halve minuut weer" in page


class Outline(HTMLParser):
    """The tags of a page with the attributes that do something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        table = dict(attrs)
        handlers = ",".join(sorted(name for name in table if name.startswith("on")))
        where = table.get("href") or table.get("src") or table.get("action") or ""
        self.tags.append((tag, where, handlers))


def outline(page: str) -> list[tuple[str, str, str]]:
    found = Outline()
    found.feed(page)
    return found.tags


def test_hostile_posts_and_names_change_nothing_but_the_text(tmp_path):
    with visiting(tmp_path, text="rustig bij Zonnehoek") as (made, visitor):
        path = f"/i/{made.ticket()}"
        visitor.press(visitor.ask(path)[1], path, "Anna")
        plain = outline(visitor.ask(path)[1])
        for number, (name, text) in enumerate(HOSTILE.items(), start=2):
            storable = text.encode("utf-8", "replace").decode()
            made.open(f"{storable} bij Zonnehoek", number)
            path = f"/i/{made.ticket()}"
            visitor.press(visitor.ask(path)[1], path, f"Anna {storable}"[:500])
            page = visitor.ask(path)[1]

            assert outline(page) == plain, name
            assert not set("\x00\x07\x1b\u202a\u202e\u2066\u2069") & set(html.unescape(page)), name

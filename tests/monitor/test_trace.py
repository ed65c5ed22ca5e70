"""``trace``: a mention's life in order, with nothing that must not be shown."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alerts.base import Event, Receipt
from classifiers.base import (
    Abuse,
    AbuseLabel,
    Assessment,
    Confidence,
    Finding,
    Leak,
    LeakBand,
    LeakCategory,
    Sentiment,
    SentimentLabel,
)
from classifiers.detectors import FINGERPRINT
from connectors.base import Post
from monitor.cli import app
from monitor.store import Store
from monitor.store.mentions import NewMention
from tests.monitor.make import NOON, add_incident, add_notification, fresh_store, new_mention, sql

VALID = Path(__file__).parent / "config" / "valid.toml"
MINUTE = timedelta(minutes=1)
SECRET = "Wachtwoord: Zomer2026!Geheim"
REGISTERED = "het plan voor de fabriek in Zwolle"
TEXT = f"Zonnehoek lekt. {SECRET} en IBAN NL91ABNA0417164300. @jan.jansen https://x.example/jan_j/status/1"


def opinion(text: str) -> Assessment:
    start = text.find(REGISTERED)
    findings: tuple[Finding, ...] = ()
    if start >= 0:
        where = (start, start + len(REGISTERED))
        kind = LeakCategory.INTERNAL
        findings = (Finding(FINGERPRINT, kind, *where, Confidence.HIGH, label="plan-1"),)
    return Assessment(
        language="nl",
        sentiment=Sentiment(
            SentimentLabel.NEGATIVE,
            {
                SentimentLabel.NEGATIVE: 0.9,
                SentimentLabel.NEUTRAL: 0.1,
                SentimentLabel.POSITIVE: 0.0,
            },
        ),
        leak=Leak(LeakBand.ESCALATE, 0.97, LeakCategory.CREDENTIALS, findings),
        abuse=Abuse(AbuseLabel.NONE, 0.01),
    )


def post(number: int, text: str, source: str = "feed") -> NewMention:
    return NewMention(
        brand="Zonnehoek",
        source=source,
        post=Post(
            platform="x",
            id="at://did:plc:jansen/1",
            text=text,
            published_at=NOON,
            url="https://x.example/jan_j/status/1",
            author="jan_j",
        ),
        matched=("zonnehoek",),
        story=f"story{number}",
    )


class Desk:
    def __init__(self, folder: Path) -> None:
        self.config = folder / "config.toml"
        shutil.copy(VALID, self.config)
        self.store: Store = fresh_store(folder)

    def told(self, number: int, style: str = "json") -> tuple[int, str, str]:
        words = ["trace", str(number), "--format", style, "--config", str(self.config)]
        outcome = CliRunner().invoke(app, words)
        return outcome.exit_code, outcome.stdout, outcome.stderr

    def steps(self, number: int) -> list[dict[str, Any]]:
        status, page, said = self.told(number)
        assert status == 0, said
        steps: list[dict[str, Any]] = json.loads(page)["steps"]
        return steps


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def live(desk: Desk) -> None:
    """From its publication to its deliveries."""
    with desk.store.write() as unit:
        unit.mentions.add([post(1, TEXT)], NOON + MINUTE)
        unit.mentions.assess({1: opinion(TEXT)}, "model-1", NOON + 2 * MINUTE)
    add_incident(desk.store, 1)
    add_incident(desk.store, key="leak:other")
    incident = add_incident(desk.store, 1, key="leak:2")
    at = NOON + 3 * MINUTE
    add_notification(desk.store, "k1", incident, now=at)
    add_notification(desk.store, "k2", incident, receiver="legal", now=at)
    with desk.store.write() as unit:
        for _ in range(3):
            unit.outbox.decided(
                incident.id,
                at,
                Event.WORSENED,
                receiver="press",
                channel="mail",
                send=False,
                reason="cooling_down",
            )
        first, second = unit.outbox.claim(at, MINUTE)
        unit.outbox.delivered(first, at + MINUTE, Receipt())
        unit.outbox.failed(
            second,
            None,
            fault="refused",
            error="550 <piet@zonnehoek.example>: no such user",
            aside=False,
            not_before=None,
        )


def test_a_life_is_told_in_order_from_publication_to_delivery(desk: Desk) -> None:
    live(desk)
    steps = desk.steps(1)
    assert [each["at"] for each in steps] == sorted(each["at"] for each in steps)
    whats = [each["what"] for each in steps]
    assert whats[0] == "published"
    assert whats.index("stored") < whats.index("assessed") < whats.index("notification")
    assert whats[-1] == "delivered"
    by_what = {each["what"]: each for each in steps}
    assert by_what["stored"]["source"] == "feed"
    assert by_what["stored"]["seconds_after_publication"] == 60
    assert by_what["assessed"]["version"] == "model-1"
    assert by_what["assessed"]["leak"]["band"] == "escalate"
    assert by_what["decision"]["reason"] == "cooling_down"
    assert by_what["decision"]["times"] == 3
    states = {each["receiver"]: each["state"] for each in steps if each["what"] == "notification"}
    assert states == {"crisis": "delivered", "legal": "dead"}


def test_a_life_goes_on_with_who_took_it_and_how_it_ended(desk: Desk) -> None:
    live(desk)
    with desk.store.write() as unit:
        number = unit.looking.life_of(1).incidents[-1]  # type: ignore[union-attr]
        unit.incidents.acknowledge(number, "eva", NOON + 5 * MINUTE, "for few: ask Piet")
        unit.incidents.resolve(number, "merkwacht", NOON + 9 * MINUTE, "went quiet")
    handled = [each for each in desk.steps(1) if each["what"] == "handled"]
    assert [(each["event"], each["actor"]) for each in handled] == [
        ("acknowledged", "eva"),
        ("resolved", "merkwacht"),
    ]
    page = desk.told(1, "text")[1]
    assert f"incident {number} acknowledged by eva" in page
    assert "Piet" not in page
    told = " ".join(page.split())
    assert "journalctl MERKWACHT_MENTION=1 + MERKWACHT_INCIDENT=1 + MERKWACHT_INCIDENT=3" in told


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_secret_author_or_address_is_shown(desk: Desk, style: str) -> None:
    live(desk)
    _, page, _ = desk.told(1, style)
    for word in ("Zomer2026", "NL91ABNA", "jan_j", "jansen", "piet", "did:plc"):
        assert word not in page, word
    assert "Zonnehoek lekt." in page


def test_what_the_register_knows_is_hidden_and_an_unread_text_is_not_shown(desk: Desk) -> None:
    text = f"Zonnehoek doet {REGISTERED}."
    with desk.store.write() as unit:
        unit.mentions.add([post(1, text)], NOON)
    assert "Zwolle" not in desk.told(1)[1], "nobody knows yet what is registered in it"
    assert "waits for its assessment" in desk.told(1)[1]
    with desk.store.write() as unit:
        unit.mentions.assess({1: opinion(text)}, "model-1", NOON)
    page = desk.told(1)[1]
    assert "Zwolle" not in page
    with desk.store.write() as unit:
        unit.mentions.add([post(1, "Zonnehoek heeft spijt.")], NOON + MINUTE)
        unit.mentions.assess({1: opinion("")}, "model-1", NOON + 2 * MINUTE)
    steps = desk.steps(1)
    assert "Zwolle" not in json.dumps(steps), "also not in what it said before"
    assert [each["what"] for each in steps] == ["published", "stored", "edited", "assessed"]
    assert "Zonnehoek heeft spijt." in steps[-1]["excerpt"]


def test_what_was_deleted_is_told_by_its_incidents(desk: Desk) -> None:
    live(desk)
    with desk.store.write() as unit:
        unit.incidents.keep_evidence(3, [1], NOON)
    sql(desk.store.path, "PRAGMA foreign_keys = ON")
    with desk.store.write() as unit:
        assert unit.mentions.purge(NOON + timedelta(days=9), keep_states=(), limit=9) == 1
    status, page, _ = desk.told(1, "text")
    assert status == 0
    assert "its row is gone" in page
    assert "Zomer2026" not in page
    assert "legal" in page


def test_what_its_platform_deleted_says_so(desk: Desk) -> None:
    live(desk)
    with desk.store.write() as unit:
        unit.mentions.withdraw([("x", "at://did:plc:jansen/1")], ["Zonnehoek"], NOON + MINUTE)
    _, page, _ = desk.told(1, "text")
    assert "deleted by its platform" in page
    assert "lekt" not in page


def test_an_unknown_number_is_said(desk: Desk) -> None:
    status, page, said = desk.told(99)
    assert (status, page) == (1, "")
    assert "nothing is known of mention 99" in said


def test_the_page_fits_a_terminal(desk: Desk) -> None:
    live(desk)
    with desk.store.write() as unit:
        unit.mentions.add([new_mention(2, text="woord " * 300)], NOON)
    _, page, _ = desk.told(1, "text")
    assert [line for line in page.splitlines() if len(line) > 80] == []

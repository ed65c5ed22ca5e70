"""The Alertmanager channel against a server shaped like it, and against the real one where it is."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from alerts.alertmanager import AlertmanagerChannel, AlertmanagerOptions
from alerts.base import DeliveryError, DeliveryFault, Event, Severity, SignalKind
from tests.alerts.hostile import HOSTILE, STEERING, hostile_message
from tests.alerts.make import NOON, delivery, message
from tests.alerts.webserver import Reply, Site, trust_only, web_server

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
LATER = NOON + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _few_authorities(tmp_path_factory, monkeypatch):
    trust_only(tmp_path_factory.getbasetemp(), monkeypatch)


@pytest.fixture
def site() -> Iterator[Site]:
    with web_server() as served:
        served.usual = Reply(200, b"[]")
        yield served


def channel(*urls: str, now: datetime = LATER, **options: object) -> AlertmanagerChannel:
    table = {"urls": urls, "timeout_seconds": 5, **options}
    return AlertmanagerChannel(AlertmanagerOptions.model_validate(table), now=lambda: now)


def failure(made: AlertmanagerChannel, **options: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as failed:
        made.send(delivery(to=(), **options))
    assert "geheim" not in str(failed.value)
    assert failed.value.__cause__ is None
    return failed.value


# -- what is sent ----------------------------------------------------------------------------------


def test_an_incident_becomes_an_alert(site):
    sent = message(link="https://merkwacht.example/i/12")
    receipt = channel(site.url, labels={"team": "comms"}).send(delivery(sent, to=(), key="mw-12"))

    (request,) = site.requests
    assert (request.method, request.path) == ("POST", "/api/v2/alerts")
    (alert,) = request.json()
    assert alert["labels"] == receipt.thread["labels"] == {
        "alertname": "MerkwachtIncident", "brand": "Zonnehoek", "incident": "12", "kind": "leak",
        "severity": "critical", "team": "comms",
    }  # fmt: skip
    assert alert["startsAt"] == "2026-11-13T11:00:00.000Z"
    assert alert["endsAt"] == "2026-11-20T11:05:00.000Z", "a week after it was told"
    assert alert["generatorURL"] == "https://merkwacht.example/i/12"
    said = alert["annotations"]
    assert said["title"] == sent.title
    assert said["summary"] == sent.summary
    assert said["actions"].startswith("1. ")
    assert said["why"].count("\n") == len(sent.why) - 1
    assert (said["event"], said["key"]) == ("opened", "mw-12")
    assert "Gisteren" not in json.dumps(alert), "no text of a post"


def test_an_end_is_told_as_an_end(site):
    over = message(event=Event.RESOLVED)
    channel(site.url).send(delivery(over, to=()))

    asked, told = site.requests
    assert (asked.method, told.method) == ("GET", "POST")
    (alert,) = told.json()
    assert alert["endsAt"] == "2026-11-13T11:05:00.000Z"


def test_what_was_told_from_a_clock_ahead_is_no_alert_of_the_future(site):
    early = NOON - timedelta(hours=1)
    channel(site.url, now=early, expire_hours=0.5).send(delivery(to=()))

    (alert,) = site.requests[0].json()
    assert (alert["startsAt"], alert["endsAt"]) == (
        "2026-11-13T10:00:00.000Z",
        "2026-11-13T10:30:00.000Z",
    )


def labels(severity: str = "high", **more: str) -> dict[str, str]:
    return {
        "alertname": "MerkwachtIncident", "brand": "Zonnehoek", "incident": "12", "kind": "leak",
        "severity": severity, **more,
    }  # fmt: skip


def test_what_worsens_ends_the_alert_that_it_was(site):
    others = [
        labels("medium"), labels("critical"), labels("high", brand="Other"),
        labels("high", incident="13"),
    ]  # fmt: skip
    found = json.dumps([{"labels": each} for each in [*others, labels("high")]])
    site.replies = [Reply(200, found.encode())]

    channel(site.url).send(delivery(message(event=Event.WORSENED), to=()))

    asked, told = site.requests
    assert asked.path == (
        "/api/v2/alerts?filter=alertname%3D%22MerkwachtIncident%22&filter=incident%3D%2212%22"
    )
    current, *ended = told.json()
    assert current["labels"] == labels("critical")
    assert [each["labels"] for each in ended] == [labels("medium"), labels("high")]
    assert {each["endsAt"] for each in ended} == {"2026-11-13T11:05:00.000Z"}


def test_an_installation_ends_its_own_alerts_only(site):
    found = [labels("high", site="a"), labels("high", site="b"), labels("high")]
    site.replies = [Reply(200, json.dumps([{"labels": each} for each in found]).encode())]

    made = channel(site.url, labels={"site": "a"})
    made.send(delivery(message(event=Event.CONTINUES), to=()))

    assert [each["labels"] for each in site.requests[1].json()[1:]] == [labels("high", site="a")]


@pytest.mark.parametrize(
    "answer", [Reply(404), Reply(403), Reply(200, b"no json"), Reply(200, b'{"a": 1}')]
)
def test_where_it_cannot_be_asked_the_latest_alert_is_remembered(site, answer):
    site.replies = [answer]
    thread = {"labels": labels("low")}

    receipt = channel(site.url).send(delivery(message(event=Event.WORSENED), to=(), thread=thread))

    assert [each["labels"]["severity"] for each in site.requests[1].json()] == ["critical", "low"]
    assert receipt.thread == {"labels": labels("critical")}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_stays_a_text(site, text):
    channel(site.url).send(delivery(hostile_message(text), to=(), key=f"k {text}"))

    (alert,) = site.requests[0].json()
    assert set(alert["labels"]) <= {"alertname", "brand", "incident", "kind", "severity"}
    assert all(alert["labels"].values()), "Alertmanager drops empty ones"
    assert "\n" not in alert["labels"].get("brand", "")
    assert not set(json.dumps(alert, ensure_ascii=False)) & set(STEERING)
    said = alert["annotations"]
    assert "\n" not in said["title"] + said["key"]
    for told in (said["title"], said["summary"], said["actions"], said["why"]):
        for active in ("<", ">", "://", "](", "@everyone", "@here", "javascript:a", "{{", "{%"):
            assert active not in told
    assert all(len(value) < 10_000 for value in said.values())


# -- more than one ---------------------------------------------------------------------------------


def test_every_member_of_a_cluster_is_told(site):
    with web_server() as second:
        receipt = channel(site.url, second.url).send(delivery(to=()))
        assert site.posted()[0].body == second.posted()[0].body
    assert receipt.note is None


def test_one_member_that_takes_it_is_enough_and_the_other_is_noted(site):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with web_server() as second:
        second.usual = Reply(500)
        receipt = channel(f"http://127.0.0.1:{port}", second.url, site.url).send(delivery(to=()))
    assert receipt.note is not None
    assert "Connection refused" in receipt.note
    assert "HTTP 500" in receipt.note
    assert len(site.posted()) == 1


def test_if_no_member_takes_it_what_may_pass_decides(site):
    with web_server() as second:
        site.usual, second.usual = Reply(400), Reply(503)
        error = failure(channel(site.url, second.url))
    assert (error.fault, error.permanent) == (DeliveryFault.SERVER_ERROR, False)


# -- what can go wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault", "permanent"),
    [
        (302, "refused", True),
        (400, "refused", True),
        (401, "unauthorized", True),
        (403, "unauthorized", True),
        (404, "refused", True),
        (429, "rate_limited", False),
        (500, "server_error", False),
        (503, "server_error", False),
    ],
)
def test_a_status_says_whether_trying_again_helps(site, status, fault, permanent):
    site.usual = Reply(status, b'"no: geheim \\u001b[31m"', {"Retry-After": "9"})

    error = failure(channel(site.url, bearer_token="geheim"))

    assert (error.fault.value, error.permanent) == (fault, permanent)
    assert error.retry_after == timedelta(seconds=9)
    assert f"HTTP {status}: no: … [31m" in str(error)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(drop=True), "unreachable"),
        (Reply(hang=True), "timeout"),
        (Reply(drip=True), "timeout"),
        (Reply(500, endless=True), "server_error"),
    ],
    ids=["drop", "hang", "drip", "endless"],
)
def test_what_may_pass_is_left_to_the_outbox(site, reply, fault):
    site.usual = reply

    error = failure(channel(site.url, timeout_seconds=0.4))

    assert (error.fault.value, error.permanent) == (fault, False)


def test_a_slow_answer_is_an_answer(site):
    site.usual = Reply(200, b"[]", wait_seconds=0.3)
    channel(site.url).send(delivery(to=()))
    assert len(site.requests) == 1


def test_an_untrusted_certificate_is_no_alertmanager(certificates):
    with web_server(certificates.context()) as site:
        assert failure(channel(site.url)).fault is DeliveryFault.TLS
        login = {"username": "merk", "password": "wacht"}
        channel(site.url, ca_file=str(certificates.authority), **login).send(delivery(to=()))
        assert site.requests[0].headers["authorization"] == "Basic bWVyazp3YWNodA=="


def test_a_check_changes_nothing_and_knows_an_alertmanager(site):
    site.usual = Reply(200, b'{"versionInfo": {"version": "0.25.0"}}')
    channel(site.url, bearer_token="t-1").check()
    assert [(each.method, each.path) for each in site.requests] == [("GET", "/api/v2/status")]
    assert site.requests[0].headers["authorization"] == "Bearer t-1"

    for body in (b"<html>log in</html>", b"[]", b"{}"):
        site.usual = Reply(200, body)
        with pytest.raises(DeliveryError, match="not as an Alertmanager"):
            channel(site.url).check()
    site.usual = Reply(401)
    with pytest.raises(DeliveryError, match="other credentials"):
        channel(site.url).check()


def test_no_secret_and_no_text_reaches_the_log_even_at_debug(site, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    made = channel(site.url, bearer_token="geheim", timeout_seconds=0.4)
    made.send(delivery(to=()))
    for reply in (Reply(500, b'"geheim"'), Reply(hang=True)):
        site.replies = [reply]
        failure(made)
    assert "geheim" not in caplog.text
    assert "Zonnehoek" not in caplog.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "urls"),
        ({"urls": []}, "urls"),
        ({"urls": ["a.example:9093"]}, "is not an address"),
        ({"urls": ["https://u:geheim@a.example"]}, "is not an address"),
        ({"urls": ["http://a.example:9093?x=geheim"]}, "is not an address"),
        ({"urls": ["http://a.example"], "bearer_token": "geheim"}, "readable on the network"),
        ({"urls": ["http://a.example"], "labels": {"severity": "x"}}, "cannot be a label"),
        ({"urls": ["http://a.example"], "labels": {"a-b": "x"}}, "cannot be a label"),
        ({"urls": ["http://a.example"], "labels": {"a": " "}}, "is empty"),
        ({"urls": ["http://a.example"], "expire_hours": 0}, "expire_hours"),
    ],
)
def test_wrong_options_are_refused_in_plain_words(options, told):
    with pytest.raises(ValidationError) as refused:
        AlertmanagerOptions.model_validate(options)
    assert told in str(refused.value)
    assert "u:geheim" not in str(refused.value)
    assert "'geheim'" not in str(refused.value)


def test_an_address_may_be_written_with_or_without_the_api():
    urls = ["http://a.example:9093/", "https://b.example/am/api/v2"]
    options = AlertmanagerOptions.model_validate({"urls": urls})
    assert options.urls == ("http://a.example:9093", "https://b.example/am")


# -- the real one ----------------------------------------------------------------------------------

CONFIG = """
route:
  receiver: quiet
  group_by: [brand]
  group_wait: 10ms
  group_interval: 50ms
  routes:
    - receiver: phone
      matchers: [severity = critical]
receivers:
  - name: quiet
  - name: phone
    webhook_configs: [{url: "URL/phone", send_resolved: true}]
"""


@dataclass
class Real:
    """A running Alertmanager, and the receiver that its route for critical alerts leads to."""

    url: str
    phone: Site

    def burning(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(
            f"{self.url}/api/v2/alerts?active=true", timeout=20, trust_env=False
        ).json()
        return found

    def heard(self, count: int) -> list[dict[str, Any]]:
        """Wait until its phone rang ``count`` times."""
        pause = threading.Event()
        for _ in range(400):
            if len(self.phone.requests) >= count:
                break
            pause.wait(0.05)
        return [request.json() for request in self.phone.requests]


def start(folder: Path, phone: Site) -> tuple[subprocess.Popen[bytes], str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    (folder / "am.yml").write_text(CONFIG.replace("URL", phone.url))
    process = subprocess.Popen(
        [
            str(PROGRAM),
            f"--config.file={folder / 'am.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url, pause = f"http://127.0.0.1:{port}", threading.Event()
    for _ in range(400):
        try:
            if httpx.get(f"{url}/-/ready", timeout=20, trust_env=False).is_success:
                break
        except httpx.TransportError:
            pause.wait(0.05)
    return process, url


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    if PROGRAM is None:
        pytest.skip("Alertmanager is not installed (apt-get install prometheus-alertmanager)")
    with web_server() as phone:
        process, url = start(tmp_path / "am", phone)
        try:
            yield Real(url, phone)
        finally:
            process.terminate()
            process.wait(20)


def test_the_real_alertmanager_follows_an_incident_from_opened_to_resolved(real):
    made = AlertmanagerChannel(
        AlertmanagerOptions.model_validate({"urls": [real.url], "labels": {"team": "comms"}})
    )
    made.check()
    began = datetime.now(UTC) - timedelta(minutes=3)

    def tell(event: Event, severity: Severity) -> None:
        sent = replace(message(event=event, severity=severity), since=began)
        made.send(delivery(sent, to=(), key=f"mw-12-{event.value}"))

    tell(Event.OPENED, Severity.HIGH)
    (alert,) = real.burning()
    assert (alert["labels"]["severity"], alert["labels"]["team"]) == ("high", "comms")
    ends = datetime.fromisoformat(alert["endsAt"]) - datetime.now(UTC)
    assert timedelta(hours=167) < ends <= timedelta(hours=168)

    tell(Event.WORSENED, Severity.CRITICAL)
    tell(Event.WORSENED, Severity.CRITICAL)
    (alert,) = real.burning()
    assert alert["labels"]["severity"] == "critical"
    assert datetime.fromisoformat(alert["startsAt"]) == began.replace(
        microsecond=began.microsecond // 1000 * 1000
    )
    (rung,) = real.heard(1)
    assert rung["status"] == "firing"
    (told,) = rung["alerts"]
    assert told["annotations"]["key"] == "mw-12-worsened"

    tell(Event.RESOLVED, Severity.CRITICAL)
    assert real.burning() == []
    assert [each["status"] for each in real.heard(2)] == ["firing", "resolved"]
    made.close()


def test_the_real_alertmanager_takes_every_kind_and_every_hostile_text(real):
    made = AlertmanagerChannel(AlertmanagerOptions.model_validate({"urls": [real.url]}))
    sent = [message(kind) for kind in SignalKind]
    sent += [hostile_message(text) for text in HOSTILE.values()]
    for number, each in enumerate(sent):
        made.send(delivery(replace(each, incident_id=number, since=NOON), to=()))
    assert len(real.burning()) == len(sent)


def test_the_real_alertmanager_says_why_it_refuses(real):
    class Confused(AlertmanagerChannel):
        def _labels(self, message):
            return {"not a name": "x"}

    made = Confused(AlertmanagerOptions.model_validate({"urls": [real.url]}))
    error = failure(made)
    assert (error.fault, error.permanent) == (DeliveryFault.REFUSED, True)
    assert "label" in str(error)
